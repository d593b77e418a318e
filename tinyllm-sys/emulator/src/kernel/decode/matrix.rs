//! Matrix instructions: `ldmatrix` and `mma.sync`.

use super::{
    Decoded,
    body::{Binding, Decoder},
    modifiers::Modifiers,
    unsupported,
};
use crate::{
    kernel::{LoadError, MatrixType, Mma, Op},
    lanes::Slot,
    ptx::ast::{Instruction, Operand, Type},
};

/// Shapes by name.
const SHAPES: [(&str, [usize; 3]); 6] = [
    ("m8n8k4", [8, 8, 4]),
    ("m16n8k4", [16, 8, 4]),
    ("m16n8k8", [16, 8, 8]),
    ("m16n8k16", [16, 8, 16]),
    ("m16n8k32", [16, 8, 32]),
    ("m8n8k16", [8, 8, 16]),
];

fn matrix_type(ty: Type) -> Option<MatrixType> {
    Some(match ty {
        Type::F16 => MatrixType::F16,
        Type::Bf16 => MatrixType::Bf16,
        Type::Tf32 => MatrixType::Tf32,
        Type::F64 => MatrixType::F64,
        Type::S8 => MatrixType::S8,
        Type::U8 => MatrixType::U8,
        _ => return None,
    })
}

impl Decoder<'_> {
    pub(super) fn matrix(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        match instruction.opcode.as_str() {
            "ldmatrix" => self.load_matrix(instruction, modifiers),
            "mma" => self.product_of_matrices(instruction, modifiers),
            _ => Ok(None),
        }
    }

    /// `sync` and `aligned`, without which there is no such instruction.
    fn synchronous(&self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Result<(), LoadError> {
        match modifiers.flag("sync") & modifiers.flag("aligned") {
            true => Ok(()),
            false => Err(unsupported(instruction, "without .sync.aligned")),
        }
    }

    fn load_matrix(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        self.synchronous(instruction, modifiers)?;
        if !(modifiers.flag("m8n8") & (modifiers.ty()? == Type::B16)) {
            return Err(unsupported(instruction, "anything but .m8n8 and .b16"));
        }
        let count = modifiers.one_of(&[("x1", 1), ("x2", 2), ("x4", 4)]);
        let count = count.ok_or_else(|| unsupported(instruction, "no count of matrices"))?;
        let transposed = modifiers.flag("trans");
        let shared = modifiers.flag("shared") | modifiers.flag("shared::cta");
        let [d, address] = self.operands(instruction)?;
        let registers = self.fragment(instruction, d, Type::B32, false)?;
        if registers.len() != count {
            return Err(unsupported(
                instruction,
                format!("{} registers for {count} matrices", registers.len()),
            ));
        }
        let (address, named) = self.address(instruction, address)?;
        let generic = !shared && !matches!(named, Some(Binding::Shared(_) | Binding::DynamicShared));
        Ok(Some(Op::LoadMatrix { address, generic, transposed, registers }))
    }

    /// Registers of a fragment.
    fn fragment(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
        ty: Type,
        source: bool,
    ) -> Result<Vec<Slot>, LoadError> {
        let single = std::slice::from_ref(operand);
        let list = match operand {
            Operand::Vector(list) => list.as_slice(),
            _ => single,
        };
        list.iter()
            .map(|operand| match source {
                true => self.source(instruction, operand, ty),
                false => self.destination(instruction, operand, ty),
            })
            .collect()
    }

    fn product_of_matrices(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        self.synchronous(instruction, modifiers)?;
        let shape = modifiers.one_of(&SHAPES);
        let [m, n, k] = shape.ok_or_else(|| unsupported(instruction, "this shape"))?;
        if !(modifiers.flag("row") & modifiers.flag("col")) {
            return Err(unsupported(instruction, "anything but .row.col"));
        }
        let saturate = modifiers.flag("satfinite");
        let &[d_type, a_type, b_type, c_type] = modifiers.types() else {
            return Err(unsupported(instruction, "not four types"));
        };
        let no_form = || unsupported(instruction, "there is no such product");
        let (a_kind, b_kind) =
            (matrix_type(a_type).ok_or_else(no_form)?, matrix_type(b_type).ok_or_else(no_form)?);
        use MatrixType::*;
        let exists = match ([m, n, k], a_kind, b_kind, d_type) {
            ([16, 8, 8 | 16], F16, F16, Type::F16 | Type::F32) => d_type == c_type,
            ([16, 8, 8 | 16], Bf16, Bf16, Type::F32) => c_type == Type::F32,
            ([16, 8, 4 | 8], Tf32, Tf32, Type::F32) => c_type == Type::F32,
            ([8, 8, 4], F64, F64, Type::F64) => c_type == Type::F64,
            ([16, 8, 16 | 32] | [8, 8, 16], S8 | U8, S8 | U8, Type::S32) => c_type == Type::S32,
            _ => false,
        };
        if !exists || saturate && !matches!(a_kind, S8 | U8) {
            return Err(no_form());
        }
        // Elements of each matrix a lane holds, and the registers that takes.
        let (packed, element) = match a_kind {
            F16 | Bf16 => (2, Type::B32),
            Tf32 => (1, Type::B32),
            S8 | U8 => (4, Type::B32),
            F64 => (1, Type::F64),
        };
        let half_accumulator = d_type == Type::F16;
        let (sums, sum_type) = match d_type {
            Type::F16 => (m * n / 64, Type::B32),
            Type::F64 => (m * n / 32, Type::F64),
            _ => (m * n / 32, Type::B32),
        };
        let [d, a, b, c] = self.operands(instruction)?;
        let a = self.fragment(instruction, a, element, true)?;
        let b = self.fragment(instruction, b, element, true)?;
        let c = self.fragment(instruction, c, sum_type, true)?;
        let d = self.fragment(instruction, d, sum_type, false)?;
        let counts = [d.len(), a.len(), b.len(), c.len()];
        let wanted = [sums, m * k / 32 / packed, n * k / 32 / packed, sums];
        if counts != wanted {
            return Err(unsupported(instruction, format!("registers {counts:?}, this form has {wanted:?}")));
        }
        Ok(Some(Op::Mma(Box::new(Mma {
            m,
            n,
            k,
            a_type: a_kind,
            b_type: b_kind,
            half_accumulator,
            saturate,
            d,
            a,
            b,
            c,
        }))))
    }
}

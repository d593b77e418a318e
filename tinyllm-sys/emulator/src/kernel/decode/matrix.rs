//! Matrix instructions: `ldmatrix`, `movmatrix` and `mma.sync`.

use super::{
    Decoded,
    body::{Binding, Decoder},
    modifiers::Modifiers,
    unsupported,
};
use crate::{
    kernel::{LoadError, MatrixType, Mma, Op, QuadPairs},
    lanes::Slot,
    numerics::Rounding,
    ptx::ast::{Instruction, Operand, Type},
};

/// Rows of A, columns of B, and columns of A, by the name of a shape.
pub(super) fn shape(name: &str) -> Option<[usize; 3]> {
    let (m, rest) = name.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some([m.parse().ok()?, n.parse().ok()?, k.parse().ok()?])
}

/// What may be a type of a matrix.
pub(super) const TYPES: [&str; 11] =
    ["f16", "bf16", "tf32", "f32", "f64", "s8", "u8", "s4", "u4", "b1", "s32"];

pub(super) fn matrix_type(name: &str) -> Option<MatrixType> {
    Some(match name {
        "f16" => MatrixType::F16,
        "bf16" => MatrixType::Bf16,
        "tf32" => MatrixType::Tf32,
        "f64" => MatrixType::F64,
        "s8" => MatrixType::S8,
        "u8" => MatrixType::U8,
        "s4" => MatrixType::S4,
        "u4" => MatrixType::U4,
        "b1" => MatrixType::B1,
        _ => return None,
    })
}

/// The type of a register that holds elements of so many bits.
pub(super) fn register_type(element_bits: u32) -> Type {
    if element_bits == 64 { Type::F64 } else { Type::B32 }
}

impl Decoder<'_> {
    pub(super) fn matrix(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        match instruction.opcode.as_str() {
            "ldmatrix" => self.load_matrix(instruction, modifiers),
            "movmatrix" => self.move_matrix(instruction, modifiers),
            "mma" => self.product_of_matrices(instruction, modifiers),
            _ => Ok(None),
        }
    }

    /// `sync` and `aligned`, without which there is no such instruction.
    pub(super) fn synchronous(
        &self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
    ) -> Result<(), LoadError> {
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

    fn move_matrix(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        self.synchronous(instruction, modifiers)?;
        if !(modifiers.flag("m8n8") & modifiers.flag("trans") & (modifiers.ty()? == Type::B16)) {
            return Err(unsupported(instruction, "anything but .m8n8.trans.b16"));
        }
        let [d, a] = self.operands(instruction)?;
        let a = self.source(instruction, a, Type::B32)?;
        let d = self.destination(instruction, d, Type::B32)?;
        Ok(Some(Op::Transpose { d, a }))
    }

    /// Registers of a fragment.
    pub(super) fn fragment(
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
        let size = instruction.modifiers.iter().find_map(|word| shape(word));
        let [m, n, k] = size.ok_or_else(|| unsupported(instruction, "no shape"))?;
        modifiers.flag(&format!("m{m}n{n}k{k}"));
        let layouts = modifiers.words(&["row", "col"]);
        let saturate = modifiers.flag("satfinite");
        let (xor, _) = (modifiers.flag("xor"), modifiers.flag("and") | modifiers.flag("popc"));
        let rounding = modifiers.rounding().unwrap_or(Rounding::Nearest);
        let &[d_type, a_type, b_type, c_type] = modifiers.words(&TYPES).as_slice() else {
            return Err(unsupported(instruction, "not four types"));
        };
        let no_form = || unsupported(instruction, "there is no such product");
        let (a_type, b_type) =
            (matrix_type(a_type).ok_or_else(no_form)?, matrix_type(b_type).ok_or_else(no_form)?);
        let quad_pairs = ([m, n, k] == [8, 8, 4] && a_type == MatrixType::F16)
            .then(|| QuadPairs { a_by_row: layouts[0] == "row", b_by_row: layouts[1] == "row" });
        if quad_pairs.is_none() && layouts != ["row", "col"] {
            return Err(no_form());
        }
        // Elements of each matrix that a lane holds; of the four products that quad pairs make, all.
        let bits = a_type.bits();
        let lanes = if quad_pairs.is_some() { 8 } else { 32 };
        let inputs = |elements: usize| elements / lanes / a_type.packed();
        let sums = |ty: &str| if ty == "f16" { m * n / lanes / 2 } else { m * n / lanes };
        let [d, a, b, c] = self.operands(instruction)?;
        let ty = register_type(bits);
        let a = self.fragment(instruction, a, ty, true)?;
        let b = self.fragment(instruction, b, ty, true)?;
        let c = self.fragment(instruction, c, ty, true)?;
        let d = self.fragment(instruction, d, ty, false)?;
        let counts = [d.len(), a.len(), b.len(), c.len()];
        let wanted = [sums(d_type), inputs(m * k), inputs(n * k), sums(c_type)];
        if counts != wanted {
            return Err(unsupported(instruction, format!("registers {counts:?}, this form has {wanted:?}")));
        }
        let (half_c, half_d) = (c_type == "f16", d_type == "f16");
        Ok(Some(Op::Mma(Box::new(Mma {
            m,
            k,
            quad_pairs,
            a_type,
            b_type,
            half_c,
            half_d,
            saturate,
            xor,
            rounding,
            d,
            a,
            b,
            c,
        }))))
    }
}

//! `wmma.load`, `wmma.mma` and `wmma.store`, as loads, stores and the products of `mma.sync`.
//!
//! Which lane holds which element of such a fragment is not specified, except that it is the same for all of a shape
//! and a type. Here it is as in `mma.sync`, whose fragments are put together where a matrix is larger than one: a register
//! has eight rows or columns, the next register the next eight. Where a fragment has more registers than its matrix
//! fills, as A and B of f16 do, the rest repeats it.
//!
//! A load or a store touches the bytes of its matrix and no others; as every access of the warp, it is checked for
//! bounds, races and values that nobody wrote, and each of a lane's accesses for its own alignment.

use super::{
    Decoded,
    body::{Decoder, Width},
    matrix::{TYPES, matrix_type, register_type, shape},
    modifiers::Modifiers,
    unsupported,
};
use crate::{
    kernel::{
        Address, Constant, Element, LoadError, MatrixType, MemoryOrder, Mma, Op, Special, Target, Transfer,
    },
    lanes::{Operands, Slot, lanes},
    numerics::Rounding,
    ptx::ast::{Instruction, Type},
};

/// Rows of A and C, columns of B, that a register has.
const EIGHT: usize = 8;

/// Lanes that share a row of A or C, or a column of B.
const THREADS: usize = 4;

/// A fragment: across are its registers' eight rows of A and C, or columns of B, along what a lane has several of.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    across: usize,
    along: usize,
    /// Of an element.
    bits: usize,
    /// Elements one after the other that a lane has.
    run: usize,
    /// Of the run, in a register.
    packed: usize,
    /// Registers as the form has them.
    registers: usize,
}

impl Fragment {
    /// `which` is one of `a`, `b`, `c` and `d`.
    fn new(which: &str, [m, n, k]: [usize; 3], ty: &str) -> Option<Self> {
        if matches!(which, "c" | "d") {
            let bits = if ty == "f16" { 16 } else { 32 * (1 + usize::from(ty == "f64")) };
            let packed = if ty == "f16" { 2 } else { 1 };
            let registers = m * n / 32 / packed;
            return Some(Fragment { across: m, along: n, bits, run: 2, packed, registers });
        }
        let ty = matrix_type(ty)?;
        let (bits, packed) = (ty.bits() as usize, ty.packed());
        let across = if which == "a" { m } else { n };
        let held = across * k / 32 / packed;
        let registers = if ty == MatrixType::F16 { 8 } else { held };
        Some(Fragment { across, along: k, bits, run: packed, packed, registers })
    }

    /// Registers that the matrix fills.
    fn held(&self) -> usize {
        self.across * self.along / 32 / self.packed
    }

    /// The runs of a lane: their first register, and how far across and along they are from the lane's first.
    fn runs(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let Fragment { across, along, run, packed, .. } = *self;
        let (blocks, step) = (across / EIGHT, THREADS * run);
        (0..along / step).flat_map(move |j| {
            (0..blocks).map(move |i| ((j * blocks + i) * run / packed, EIGHT * i, step * j))
        })
    }
}

/// Where in memory a lane's first element of a fragment is, and how its others follow.
struct Place {
    target: Target,
    base: Slot,
    wide: bool,
    offset: i64,
    /// Elements from a row or column to the next.
    stride: Slot,
    /// What is along lies one after the other.
    along_first: bool,
    /// Addresses so many rows or columns further than `base`.
    further: Vec<(usize, Slot)>,
}

/// The number that [`lane_offset`] takes.
fn packed_sizes(fragment: &Fragment, along_first: bool) -> u32 {
    (fragment.bits | fragment.run << 8 | usize::from(along_first) << 16) as u32
}

/// Bytes from the start of a matrix to a lane's first element.
#[inline(always)]
fn lane_offset(lane: u32, stride: u32, sizes: u32) -> u64 {
    let (bits, run, along_first) = (sizes & 0xff, sizes >> 8 & 0xff, sizes >> 16 != 0);
    let (across, along) = (u64::from(lane / 4), u64::from(lane % 4 * run));
    let (outer, inner) = if along_first { (across, along) } else { (along, across) };
    (outer * u64::from(stride) + inner) * u64::from(bits) / 8
}

impl Decoder<'_> {
    pub(super) fn warp_matrix(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
    ) -> Decoded {
        if instruction.opcode != "wmma" {
            return Ok(None);
        }
        self.synchronous(instruction, modifiers)?;
        let size = instruction.modifiers.iter().find_map(|word| shape(word));
        let size = size.ok_or_else(|| unsupported(instruction, "no shape"))?;
        let [m, n, k] = size;
        modifiers.flag(&format!("m{m}n{n}k{k}"));
        match modifiers.words(&["load", "store", "mma"]).first() {
            Some(&"load") => self.load_fragment(instruction, modifiers, size),
            Some(&"store") => self.store_fragment(instruction, modifiers, size),
            _ => self.product_of_fragments(instruction, modifiers, size),
        }
    }

    /// The fragment of a load or a store, its registers and its place, once all lanes are there.
    fn fragment_in_memory(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        size: [usize; 3],
        load: bool,
    ) -> Result<(Fragment, Vec<Slot>, Place), LoadError> {
        let which = modifiers.words(&["a", "b", "c", "d"]).first().copied().unwrap_or_default();
        let ty = modifiers.words(&TYPES).first().copied().unwrap_or_default();
        let fragment = Fragment::new(which, size, ty);
        let fragment = fragment.ok_or_else(|| unsupported(instruction, "there is no such fragment"))?;
        let by_row = modifiers.words(&["row", "col"]) == ["row"];
        let along_first = by_row != (which == "b");
        let (first, second, stride) = match instruction.operands.as_slice() {
            [first, second] => (first, second, None),
            [first, second, stride] => (first, second, Some(stride)),
            _ => return Err(unsupported(instruction, "operands of another form")),
        };
        let (list, address) = if load { (first, second) } else { (second, first) };
        let registers = self.fragment(instruction, list, register_type(fragment.bits as u32), !load)?;
        if registers.len() != fragment.registers {
            let problem = format!("{} registers, this form has {}", registers.len(), fragment.registers);
            return Err(unsupported(instruction, problem));
        }
        let stride = match stride {
            Some(stride) => self.source(instruction, stride, Type::B32)?,
            None => {
                let elements = if along_first { fragment.along } else { fragment.across };
                self.constant(Constant::Narrow(elements as u32))
            }
        };
        let (address, named) = self.address(instruction, address)?;
        let target = self.target(modifiers, named.as_ref());
        self.emit_guarded(instruction, Op::Meet, self.guard);
        let place = self.place_of_fragment(instruction, &fragment, target, address, stride, along_first);
        Ok((fragment, registers, place))
    }

    fn place_of_fragment(
        &mut self,
        instruction: &Instruction,
        fragment: &Fragment,
        target: Target,
        address: Address,
        stride: Slot,
        along_first: bool,
    ) -> Place {
        let Address { base: a, wide, offset } = address;
        let width = if wide { Width::W64 } else { Width::W32 };
        let (base, lane) = (self.slot(width), self.special(Special::Lane));
        let start = match wide {
            true => lanes!([imm] a: u64, b: u32, c: u32 => u64 { a.wrapping_add(lane_offset(b, c, imm)) }),
            false => {
                lanes!([imm] a: u32, b: u32, c: u32 => u32 { a.wrapping_add(lane_offset(b, c, imm) as u32) })
            }
        };
        let imm = packed_sizes(fragment, along_first);
        self.step(
            instruction,
            start,
            Operands { d: base, a, b: lane, c: stride, imm, ..Operands::default() },
        );
        let mut place = Place { target, base, wide, offset, stride, along_first, further: vec![(0, base)] };
        // All addresses before anything is loaded: a register of theirs may be a result too.
        for (_, across, along) in fragment.runs() {
            for element in 0..fragment.run {
                let lines = if along_first { across } else { along + element };
                self.further(instruction, fragment, &mut place, lines);
            }
        }
        place
    }

    /// The address so many rows or columns further.
    fn further(&mut self, instruction: &Instruction, fragment: &Fragment, place: &mut Place, lines: usize) {
        if place.further.iter().any(|(known, _)| *known == lines) {
            return;
        }
        let d = self.slot(if place.wide { Width::W64 } else { Width::W32 });
        let run = match place.wide {
            true => lanes!([imm] a: u64, b: u32 => u64 { a.wrapping_add(u64::from(b) * u64::from(imm) / 8) }),
            false => lanes!([imm] a: u32, b: u32 => u32 { a.wrapping_add(b.wrapping_mul(imm) / 8) }),
        };
        let imm = (lines * fragment.bits) as u32;
        let operands = Operands { d, a: place.base, b: place.stride, imm, ..Operands::default() };
        self.step(instruction, run, operands);
        place.further.push((lines, d));
    }

    fn load_fragment(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        size: [usize; 3],
    ) -> Decoded {
        let (fragment, registers, place) = self.fragment_in_memory(instruction, modifiers, size, true)?;
        for (register, across, along) in fragment.runs() {
            if place.along_first {
                let slots = &registers[register..][..fragment.run / fragment.packed];
                let transfer = place.run(&fragment, slots, across, along);
                self.emit(instruction, Op::Load(Box::new(transfer)))?;
                continue;
            }
            for element in 0..fragment.run {
                let d = registers[register + element / fragment.packed];
                let inside = element % fragment.packed;
                let slot = if inside == 0 { d } else { self.slot(Width::W32) };
                let transfer = place.element(&fragment, slot, across, along + element);
                self.emit(instruction, Op::Load(Box::new(transfer)))?;
                if inside > 0 {
                    let run = lanes!([imm] a: u32, b: u32 => u32 { a | b << imm });
                    let imm = (inside * fragment.bits) as u32;
                    self.step(instruction, run, Operands { d, a: d, b: slot, imm, ..Operands::default() });
                }
            }
        }
        for (index, d) in registers.iter().enumerate().skip(fragment.held()) {
            self.move_register(instruction, *d, registers[index % fragment.held()]);
        }
        Ok(Some(Op::Nop))
    }

    fn move_register(&mut self, instruction: &Instruction, d: Slot, a: Slot) {
        self.step(instruction, lanes!(a: u32 => u32 { a }), Operands { d, a, ..Operands::default() });
    }

    fn store_fragment(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        size: [usize; 3],
    ) -> Decoded {
        let (fragment, registers, place) = self.fragment_in_memory(instruction, modifiers, size, false)?;
        for (register, across, along) in fragment.runs() {
            if place.along_first {
                let slots = &registers[register..][..fragment.run / fragment.packed];
                let transfer = place.run(&fragment, slots, across, along);
                self.emit(instruction, Op::Store(Box::new(transfer)))?;
                continue;
            }
            for element in 0..fragment.run {
                let mut slot = registers[register + element / fragment.packed];
                let inside = element % fragment.packed;
                if inside > 0 {
                    let (d, imm) = (self.slot(Width::W32), (inside * fragment.bits) as u32);
                    let run = lanes!([imm] a: u32 => u32 { a >> imm });
                    self.step(instruction, run, Operands { d, a: slot, imm, ..Operands::default() });
                    slot = d;
                }
                let transfer = place.element(&fragment, slot, across, along + element);
                self.emit(instruction, Op::Store(Box::new(transfer)))?;
            }
        }
        Ok(Some(Op::Nop))
    }

    fn product_of_fragments(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        size: [usize; 3],
    ) -> Decoded {
        modifiers.words(&["row", "col"]);
        let saturate = modifiers.flag("satfinite");
        let (xor, _) = (modifiers.flag("xor"), modifiers.flag("and") | modifiers.flag("popc"));
        let rounding = modifiers.rounding().unwrap_or(Rounding::Nearest);
        let (d_type, a_type, b_type, c_type) = match modifiers.words(&TYPES).as_slice() {
            [d, a, b, c] => (*d, *a, *b, *c),
            // A and B are f16.
            [d, c] => (*d, "f16", "f16", *c),
            _ => return Err(unsupported(instruction, "neither two types nor four")),
        };
        let no_form = || unsupported(instruction, "there is no such product");
        let shapes = [("d", d_type), ("a", a_type), ("b", b_type), ("c", c_type)]
            .map(|(which, ty)| Fragment::new(which, size, ty));
        let [Some(d_shape), Some(a_shape), Some(b_shape), Some(c_shape)] = shapes else {
            return Err(no_form());
        };
        let (Some(a_type), Some(b_type)) = (matrix_type(a_type), matrix_type(b_type)) else {
            return Err(no_form());
        };
        let [d, a, b, c] = self.operands(instruction)?;
        let ty = register_type(a_shape.bits as u32);
        let a = self.fragment(instruction, a, ty, true)?;
        let b = self.fragment(instruction, b, ty, true)?;
        let c = self.fragment(instruction, c, ty, true)?;
        let d = self.fragment(instruction, d, ty, false)?;
        let counts = [d.len(), a.len(), b.len(), c.len()];
        let wanted = [d_shape, a_shape, b_shape, c_shape].map(|fragment| fragment.registers);
        if counts != wanted {
            return Err(unsupported(instruction, format!("registers {counts:?}, this form has {wanted:?}")));
        }
        // Products of `mma.sync`: of eight or sixteen rows, and of eight columns.
        let [m, n, k] = size;
        let (rows, columns) = (m / EIGHT, n / EIGHT);
        let rows_at_once = rows.min(2);
        let mut products = Vec::new();
        for (row, column) in
            (0..rows).step_by(2).flat_map(|row| (0..columns).map(move |column| (row, column)))
        {
            // Registers of C or D: one for two columns of f16, else one a column.
            let sums = |all: &[Slot], shape: &Fragment| {
                let of_block = shape.run / shape.packed;
                all[(column * rows + row) * of_block..][..rows_at_once * of_block].to_vec()
            };
            let of_a = |(index, slot): (usize, &Slot)| (index % rows / 2 == row / 2).then_some(*slot);
            products.push(Mma {
                m: m.min(2 * EIGHT),
                k,
                quad_pairs: None,
                a_type,
                b_type,
                half_c: c_type == "f16",
                half_d: d_type == "f16",
                saturate,
                xor,
                rounding,
                d: sums(&d, &d_shape),
                a: a[..a_shape.held()].iter().enumerate().filter_map(of_a).collect(),
                b: b[..b_shape.held()].iter().skip(column).step_by(columns).copied().collect(),
                c: sums(&c, &c_shape),
            });
        }
        self.emit_products(instruction, products)?;
        Ok(Some(Op::Nop))
    }

    /// Products that are one instruction: none reads what another has set.
    fn emit_products(&mut self, instruction: &Instruction, mut products: Vec<Mma>) -> Result<(), LoadError> {
        let reads = |product: &Mma, slot: &Slot| {
            [&product.a, &product.b, &product.c].into_iter().any(|slots| slots.contains(slot))
        };
        let overlap = products.iter().enumerate().any(|(index, product)| {
            products[index + 1..].iter().any(|later| product.d.iter().any(|slot| reads(later, slot)))
        });
        let mut moves = Vec::new();
        if overlap {
            for slot in products.iter_mut().flat_map(|product| &mut product.d) {
                let result = std::mem::replace(slot, self.slot(Width::W32));
                moves.push((result, *slot));
            }
        }
        for product in products {
            self.emit(instruction, Op::Mma(Box::new(product)))?;
        }
        for (d, a) in moves {
            self.move_register(instruction, d, a);
        }
        Ok(())
    }
}

impl Place {
    fn address(&self, lines: usize, bytes: usize) -> Address {
        let base =
            self.further.iter().find(|(known, _)| *known == lines).map_or(self.base, |(_, slot)| *slot);
        Address { base, wide: self.wide, offset: self.offset + bytes as i64 }
    }

    fn transfer(&self, address: Address, bytes: usize, slots: &[Slot]) -> Transfer {
        let register_bits = if bytes == 8 { 64 } else { 32 };
        Transfer {
            target: self.target,
            address,
            element: Element { bytes: bytes as u32, signed: false, register_bits },
            registers: slots.iter().copied().map(Some).collect(),
            order: MemoryOrder::default(),
        }
    }

    /// A run that lies in memory as in registers.
    fn run(&self, fragment: &Fragment, slots: &[Slot], across: usize, along: usize) -> Transfer {
        let address = self.address(across, along * fragment.bits / 8);
        self.transfer(address, fragment.bits * fragment.packed / 8, slots)
    }

    /// One element, where the next of a lane is a row or column further.
    fn element(&self, fragment: &Fragment, slot: Slot, across: usize, along: usize) -> Transfer {
        self.transfer(self.address(along, across * fragment.bits / 8), fragment.bits / 8, &[slot])
    }
}

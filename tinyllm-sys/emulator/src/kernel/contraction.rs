//! Products that are added to something without a rounding modifier on either side. The PTX manual says of `add`, `sub` and `mul`:
//! one without a rounding modifier rounds to nearest even and "may be optimized aggressively by the code optimizer. In particular,
//! mul/add sequences with no rounding modifiers may be optimized to use fused-multiply-add instructions on the target device". The
//! bits of such a sum are one of two, and the interpreter gives those of two roundings.
//!
//! What is looked for is a product that may be what a sum reads, directly or through moves and changes of sign, whichever way
//! through the code leads there. Through memory, and through `mov` of parts of registers, nothing is followed.

use std::collections::BTreeMap;

use super::{Kernel, registers::Flow};
use crate::{
    lanes::{Class, Slot},
    ptx::ast::{Instruction, Operand, Type},
};

/// Numbers that a fused operation has to have all of: their type, and whether subnormal ones are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    ty: Type,
    flushed: bool,
}

/// What an instruction is to a fused one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `mul` without a rounding modifier.
    Product(Format),
    /// `add` or `sub` without one.
    Sum(Format),
    /// `mov` or `neg`: a fused operation reads what it reads.
    Copy,
}

impl Part {
    /// The part that an instruction as written may have.
    pub(super) fn of(instruction: &Instruction) -> Option<Self> {
        let has = |modifier: &str| instruction.modifiers.iter().any(|found| found == modifier);
        match instruction.opcode.as_str() {
            "mul" | "add" | "sub" => {}
            "mov" if matches!(instruction.operands.as_slice(), [Operand::Name(_), Operand::Name(_)]) => {
                return Some(Part::Copy);
            }
            "neg" => return Some(Part::Copy),
            _ => return None,
        }
        if ["rn", "rz", "rm", "rp"].into_iter().any(has) {
            return None;
        }
        let ty = [
            ("f32", Type::F32),
            ("f64", Type::F64),
            ("f16", Type::F16),
            ("f16x2", Type::F16x2),
            ("bf16", Type::Bf16),
            ("bf16x2", Type::Bf16x2),
        ];
        let (_, ty) = ty.into_iter().find(|(name, _)| has(name))?;
        let format = Format { ty, flushed: has("ftz") };
        match instruction.opcode.as_str() {
            // A product that is cut off at 0 and 1 cannot be part of a fused one.
            "mul" if has("sat") => None,
            "mul" => Some(Part::Product(format)),
            _ => Some(Part::Sum(format)),
        }
    }
}

/// A product and a sum that ptxas may make one instruction of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) product: u32,
    pub(crate) sum: u32,
}

/// Products that a register may hold, by the register's first row.
type Held = BTreeMap<u32, (Class, Vec<u32>)>;

/// All pairs of a kernel, in the order of the sums.
pub(crate) fn pairs(kernel: &Kernel) -> Vec<Pair> {
    let part_of = |pc: u32| {
        let found = kernel.fusible.binary_search_by_key(&pc, |(pc, _)| *pc).ok()?;
        Some(kernel.fusible[found].1)
    };
    let is_product = |(_, part): &(u32, Part)| matches!(part, Part::Product(_));
    if !kernel.fusible.iter().any(is_product) {
        return Vec::new();
    }
    let uses = kernel.slot_uses();
    let flow = Flow::new(&kernel.code);
    let mut after: Vec<Held> = vec![Held::new(); flow.blocks().len()];
    let mut pairs = Vec::new();
    loop {
        let mut changed = false;
        pairs.clear();
        for (number, block) in flow.blocks().iter().enumerate() {
            let mut held = Held::new();
            for before in &block.before {
                join(&mut held, &after[*before as usize]);
            }
            for pc in block.first..=block.last {
                let part = part_of(pc);
                let (read, written) = (rows(&uses[pc as usize].reads), rows(&uses[pc as usize].writes));
                if let Some(Part::Sum(format)) = part {
                    let products =
                        read.iter().filter_map(|(row, _)| held.get(row)).flat_map(|(_, held)| held);
                    let fits = |product: &&u32| part_of(**product) == Some(Part::Product(format));
                    pairs.extend(products.filter(fits).map(|product| Pair { product: *product, sum: pc }));
                }
                let value = match (part, read.as_slice()) {
                    (Some(Part::Product(_)), _) => Some(vec![pc]),
                    (Some(Part::Copy), [(row, _)]) => held.get(row).map(|(_, held)| held.clone()),
                    _ => None,
                };
                // Where a guard holds some lanes back, what was there before stays there for them.
                if kernel.code[pc as usize].guard.is_none() {
                    written.iter().for_each(|(row, class)| forget(&mut held, *row, *class));
                }
                if let (Some(value), [(row, class)]) = (value, written.as_slice()) {
                    add(&mut held, *row, *class, &value);
                }
            }
            if after[number] != held {
                after[number] = held;
                changed = true;
            }
        }
        if !changed {
            pairs.sort_by_key(|pair| (pair.sum, pair.product));
            pairs.dedup();
            return pairs;
        }
    }
}

/// Registers by their first rows, predicates apart.
fn rows(slots: &[(Slot, Class)]) -> Vec<(u32, Class)> {
    let registers = slots.iter().filter(|(_, class)| *class != Class::Predicate);
    registers.map(|(slot, class)| (slot.0, *class)).collect()
}

/// A register is written: nothing is left of what shares a row with it.
fn forget(held: &mut Held, row: u32, class: Class) {
    let last = row + u32::from(class == Class::Pair);
    held.retain(|first, (class, _)| first + u32::from(*class == Class::Pair) < row || *first > last);
}

fn add(held: &mut Held, row: u32, class: Class, products: &[u32]) {
    let (_, known) = held.entry(row).or_insert((class, Vec::new()));
    known.extend_from_slice(products);
    known.sort_unstable();
    known.dedup();
}

fn join(held: &mut Held, other: &Held) {
    other.iter().for_each(|(row, (class, products))| add(held, *row, *class, products));
}

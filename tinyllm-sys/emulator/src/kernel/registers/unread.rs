//! Atomics whose result nobody reads: what the hardware makes of them is a reduction, which reads nothing.

use std::collections::HashSet;

use super::Access;
use crate::{
    kernel::{Instr, Op},
    lanes::Class,
};

/// Takes the destination from each atomic whose result is read nowhere, unless it acquires.
pub(crate) fn forget_unread_results(code: &mut [Instr]) {
    let mut read = HashSet::new();
    for instruction in &mut *code {
        instruction.visit_slots(&mut |slot, class, access| {
            if access == Access::Read && class != Class::Predicate {
                read.insert(slot.0);
                read.extend((class == Class::Pair).then_some(slot.0 + 1));
            }
        });
    }
    for instruction in code {
        if let Op::Atomic(atomic) = &mut instruction.op {
            let rows = if atomic.register_bits == 64 { 2 } else { 1 };
            let is_read = atomic.d.is_some_and(|d| (d.0..d.0 + rows).any(|row| read.contains(&row)));
            if !is_read && !atomic.order.acquires {
                atomic.d = None;
            }
        }
    }
}

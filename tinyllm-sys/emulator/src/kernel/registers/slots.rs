//! Which slots an instruction reads and sets, and how wide each is.

use crate::{
    kernel::{
        Address, Atomic, Barrier, BarrierMode, Element, Guard, Instr, MatrixType, Mbarrier, MbarrierAction,
        Mma, Op, Portion, Transfer, VoteMode,
    },
    lanes::{Class, Slot},
};

/// What an instruction does with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    Read,
    /// In the lanes that execute it.
    Write,
}

/// Called for each slot: all reads of an instruction come before its writes.
type Visit<'a> = &'a mut dyn FnMut(&mut Slot, Class, Access);

/// The class of a register of so many bits.
fn class_of(bits: u32) -> Class {
    if bits == 64 { Class::Pair } else { Class::Row }
}

/// The registers that an instruction reads, its guard among them, and those that it sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotUses {
    pub(crate) reads: Vec<(Slot, Class)>,
    pub(crate) writes: Vec<(Slot, Class)>,
}

impl SlotUses {
    pub(crate) fn of(instruction: &Instr) -> Self {
        let mut uses = SlotUses::default();
        instruction.clone().visit_slots(&mut |slot, class, access| match access {
            Access::Read => uses.reads.push((*slot, class)),
            Access::Write => uses.writes.push((*slot, class)),
        });
        uses
    }
}

impl Instr {
    /// Shows every slot that is read or set. What an operation does not use is not shown.
    pub(super) fn visit_slots(&mut self, visit: Visit<'_>) {
        if let Some(guard) = &mut self.guard {
            read_guard(guard, visit);
        }
        self.op.visit_slots(visit);
    }
}

impl Op {
    fn visit_slots(&mut self, visit: Visit<'_>) {
        match self {
            Op::Lanes { signature, operands, .. } => {
                let inputs = [
                    (&mut operands.a, signature.a),
                    (&mut operands.b, signature.b),
                    (&mut operands.c, signature.c),
                ];
                for (slot, class) in inputs {
                    class.into_iter().for_each(|class| visit(slot, class, Access::Read));
                }
                for (slot, class) in [(&mut operands.d, signature.d), (&mut operands.e, signature.e)] {
                    class.into_iter().for_each(|class| visit(slot, class, Access::Write));
                }
            }
            // Its address is a number.
            Op::LoadParam { transfer, .. } => visit_elements(transfer, Access::Write, visit),
            Op::Load(transfer) => {
                read_address(&mut transfer.address, visit);
                visit_elements(transfer, Access::Write, visit);
            }
            Op::Store(transfer) => {
                read_address(&mut transfer.address, visit);
                visit_elements(transfer, Access::Read, visit);
            }
            Op::Atomic(atomic) => {
                let Atomic { address, b, c, d, register_bits, .. } = &mut **atomic;
                let class = class_of(*register_bits);
                read_address(address, visit);
                visit(b, class, Access::Read);
                visit(c, class, Access::Read);
                d.iter_mut().for_each(|d| visit(d, class, Access::Write));
            }
            Op::CopyAsync { to, from, source_bytes, ignore, bytes: _ } => {
                read_address(to, visit);
                read_address(from, visit);
                source_bytes.iter_mut().for_each(|slot| visit(slot, Class::Row, Access::Read));
                ignore.iter_mut().for_each(|guard| read_guard(guard, visit));
            }
            Op::LoadMatrix { address, registers, .. } => {
                read_address(address, visit);
                registers.iter_mut().for_each(|slot| visit(slot, Class::Row, Access::Write));
            }
            Op::Mma(mma) => visit_mma(mma, visit),
            Op::Transpose { d, a } => {
                visit(a, Class::Row, Access::Read);
                visit(d, Class::Row, Access::Write);
            }
            Op::Shuffle { d, valid, a, b, c, members, mode: _ } => {
                [a, b, c, members].into_iter().for_each(|slot| visit(slot, Class::Row, Access::Read));
                visit(d, Class::Row, Access::Write);
                valid.iter_mut().for_each(|slot| visit(slot, Class::Predicate, Access::Write));
            }
            Op::Vote { mode, d, a, members } => {
                read_guard(a, visit);
                visit(members, Class::Row, Access::Read);
                let class = if *mode == VoteMode::Ballot { Class::Row } else { Class::Predicate };
                visit(d, class, Access::Write);
            }
            Op::Match { d, valid, a, wide, members, all: _ } => {
                visit(a, if *wide { Class::Pair } else { Class::Row }, Access::Read);
                visit(members, Class::Row, Access::Read);
                visit(d, Class::Row, Access::Write);
                valid.iter_mut().for_each(|slot| visit(slot, Class::Predicate, Access::Write));
            }
            Op::Reduce { d, a, members, mode: _ } => {
                visit(a, Class::Row, Access::Read);
                visit(members, Class::Row, Access::Read);
                visit(d, Class::Row, Access::Write);
            }
            Op::ActiveMask { d } => visit(d, Class::Row, Access::Write),
            Op::Barrier(barrier) => visit_barrier(barrier, visit),
            Op::Mbarrier(mbarrier) => visit_mbarrier(mbarrier, visit),
            Op::WarpBarrier { members } => visit(members, Class::Row, Access::Read),
            Op::BranchIndexed { index, targets: _ } => visit(index, Class::Row, Access::Read),
            Op::StackAllocate { d, bytes, wide, align: _ } => {
                let class = if *wide { Class::Pair } else { Class::Row };
                visit(bytes, class, Access::Read);
                visit(d, class, Access::Write);
            }
            Op::StackSave { d, wide } => {
                visit(d, if *wide { Class::Pair } else { Class::Row }, Access::Write);
            }
            Op::StackRestore { a, wide } => {
                visit(a, if *wide { Class::Pair } else { Class::Row }, Access::Read);
            }
            Op::Allocate { d, bytes } => {
                visit(bytes, Class::Pair, Access::Read);
                visit(d, Class::Pair, Access::Write);
            }
            Op::Free { address } => visit(address, Class::Pair, Access::Read),
            Op::WrongCall { address, others } => {
                visit(address, Class::Pair, Access::Read);
                others.iter_mut().for_each(|(slot, _)| visit(slot, Class::Pair, Access::Read));
            }
            Op::CachePolicy { d, priority: _, portion } => {
                match portion {
                    Portion::Fraction(slot) => visit(slot, Class::Row, Access::Read),
                    Portion::Range { address, primary, total } => {
                        read_address(address, visit);
                        [primary, total].into_iter().for_each(|slot| visit(slot, Class::Row, Access::Read));
                    }
                }
                visit(d, Class::Pair, Access::Write);
            }
            Op::IsSpace { d, a, constant: _ } => {
                visit(a, Class::Pair, Access::Read);
                visit(d, Class::Predicate, Access::Write);
            }
            Op::Clock { d, wide } => {
                visit(d, if *wide { Class::Pair } else { Class::Row }, Access::Write);
            }
            Op::CommitCopies
            | Op::WaitCopies { groups: _ }
            | Op::WaitAllCopies
            | Op::Fence { scope: _ }
            | Op::Branch { target: _ }
            | Op::Exit
            | Op::Print { format: _, arguments: _, result: _ }
            | Op::Trap
            | Op::AssertFail(_)
            | Op::Meet
            | Op::Recursion { name: _ }
            | Op::Nop => {}
        }
    }
}

fn read_guard(guard: &mut Guard, visit: Visit<'_>) {
    visit(&mut guard.predicate, Class::Predicate, Access::Read);
}

fn read_address(address: &mut Address, visit: Visit<'_>) {
    visit(&mut address.base, if address.wide { Class::Pair } else { Class::Row }, Access::Read);
}

fn visit_elements(transfer: &mut Transfer, access: Access, visit: Visit<'_>) {
    let Element { register_bits, .. } = transfer.element;
    transfer.registers.iter_mut().flatten().for_each(|slot| visit(slot, class_of(register_bits), access));
}

fn visit_mma(mma: &mut Mma, visit: Visit<'_>) {
    let class = if mma.a_type == MatrixType::F64 { Class::Pair } else { Class::Row };
    for slot in mma.a.iter_mut().chain(&mut mma.b).chain(&mut mma.c) {
        visit(slot, class, Access::Read);
    }
    mma.d.iter_mut().for_each(|slot| visit(slot, class, Access::Write));
}

fn visit_mbarrier(mbarrier: &mut Mbarrier, visit: Visit<'_>) {
    read_address(&mut mbarrier.address, visit);
    match &mut mbarrier.action {
        MbarrierAction::Init { count } => visit(count, Class::Row, Access::Read),
        MbarrierAction::Arrive { d, count, drop: _, completes: _ } => {
            count.iter_mut().for_each(|count| visit(count, Class::Row, Access::Read));
            d.iter_mut().for_each(|d| visit(d, Class::Pair, Access::Write));
        }
        MbarrierAction::Test { d, state, parity } => {
            visit(state, if *parity { Class::Row } else { Class::Pair }, Access::Read);
            visit(d, Class::Predicate, Access::Write);
        }
        MbarrierAction::Invalidate | MbarrierAction::ArriveAfterCopies { increments: _ } => {}
    }
}

fn visit_barrier(barrier: &mut Barrier, visit: Visit<'_>) {
    visit(&mut barrier.id, Class::Row, Access::Read);
    barrier.threads.iter_mut().for_each(|slot| visit(slot, Class::Row, Access::Read));
    read_guard(&mut barrier.predicate, visit);
    match barrier.mode {
        // Set when the others have come; until then this lane does nothing else.
        BarrierMode::Popc => visit(&mut barrier.d, Class::Row, Access::Write),
        BarrierMode::And | BarrierMode::Or => visit(&mut barrier.d, Class::Predicate, Access::Write),
        BarrierMode::Sync | BarrierMode::Arrive => {}
    }
}

//! Instructions that a warp's lanes do together: they wait for each other first. Lanes that name different members, each half of a warp
//! its own half, do it apart.

use super::{
    Fault,
    context::Context,
    exchange::{self, Match, Shuffle},
    groups::{Group, Wait},
    matrix,
    shared::Shared,
    step::Next,
    warp::Warp,
};
use crate::{
    kernel::Op,
    lanes::{LANES, Slot},
    report::Kind,
};

/// The register that holds who does an instruction together; `None` where all lanes do.
fn members_slot(op: &Op) -> Option<Slot> {
    match op {
        Op::Shuffle { members, .. }
        | Op::Vote { members, .. }
        | Op::Match { members, .. }
        | Op::Reduce { members, .. }
        | Op::WarpBarrier { members } => Some(*members),
        _ => None,
    }
}

/// The lanes whose number is another.
fn lanes_other_than(row: &[u32; LANES], number: u32) -> u32 {
    let mut others = 0;
    for (lane, value) in row.iter().enumerate() {
        others |= u32::from(*value != number) << lane;
    }
    others
}

impl Context<'_> {
    #[inline(always)]
    pub(super) fn together(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        active: u32,
        op: &Op,
    ) -> Result<Next, Fault> {
        debug_assert!(op.is_together(), "{op:?} would be tracked before its lanes have come");
        let mut members = u32::MAX;
        if let Some(slot) = members_slot(op) {
            let row = warp.registers.row(slot);
            members = row[active.trailing_zeros() as usize % LANES];
            let differs = row.iter().fold(0, |differs, lane| differs | (lane ^ members)) != 0;
            if differs && lanes_other_than(row, members) & active != 0 {
                let row = *row;
                return self.apart(shared, warp, pc, mask, active, op, &row);
            }
        }
        if members & warp.live & !mask != 0 && !warp.forced {
            warp.groups.put(Group { pc, mask, wait: Some(Wait::Lanes(members)) });
            return Ok(Next::Regroup);
        }
        self.perform(shared, warp, pc, mask, active, members, op)?;
        warp.forced = false;
        Ok(if warp.undefined.is_some() { Next::Track } else { Next::Follow })
    }

    /// Lanes that name different members: each part goes on when its own members have come.
    #[allow(clippy::too_many_arguments, reason = "a step touches all parts of a block")]
    #[cold]
    fn apart(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        active: u32,
        op: &Op,
        members_of: &[u32; LANES],
    ) -> Result<Next, Fault> {
        let (mut left, mut waiting, mut awaited) = (active, 0, 0);
        while left != 0 {
            let members = members_of[left.trailing_zeros() as usize];
            let part = left & !lanes_other_than(members_of, members);
            left &= !part;
            if members & warp.live & !mask != 0 && !warp.forced {
                waiting |= part;
                awaited |= members;
                continue;
            }
            // Those that came and name others do not take part.
            let others = active & !part;
            self.perform(shared, warp, pc, mask & !others, part, members, op)?;
        }
        warp.forced = false;
        if waiting == 0 {
            return Ok(if warp.undefined.is_some() { Next::Track } else { Next::Follow });
        }
        if mask & !waiting != 0 {
            warp.groups.put(Group { pc: pc + 1, mask: mask & !waiting, wait: None });
        }
        warp.groups.put(Group { pc, mask: waiting, wait: Some(Wait::Lanes(awaited)) });
        Ok(Next::Regroup)
    }

    /// The lanes of `active` do it, of those of `mask` that came.
    #[allow(clippy::too_many_arguments, reason = "a step touches all parts of a block")]
    #[inline(always)]
    fn perform(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        active: u32,
        members: u32,
        op: &Op,
    ) -> Result<(), Fault> {
        let missing = members & warp.live & !mask;
        if missing != 0 || members & active != active {
            self.lanes_disagree(warp, pc, active, members, missing);
        }
        if warp.undefined.is_some() {
            self.track(warp, pc, mask, active);
        }
        match op {
            Op::LoadMatrix { address, generic, transposed, registers } => {
                self.load_matrix(shared, warp, pc, active, *address, *generic, *transposed, registers)?;
            }
            Op::Mma(mma) => matrix::mma(warp, active, mma),
            Op::Transpose { d, a } => matrix::transpose_lanes(warp, active, *d, *a),
            Op::Shuffle { mode, d, valid, a, b, c, .. } => {
                let operands = Shuffle { mode: *mode, d: *d, valid: *valid, a: *a, b: *b, c: *c };
                if active == u32::MAX {
                    exchange::shuffle(warp, active, operands);
                } else {
                    // Looked at before a result may replace an operand.
                    let (readers, from) = exchange::from_outside(&warp.registers, active, operands);
                    exchange::shuffle(warp, active, operands);
                    if readers != 0 {
                        self.shuffle_undefined(warp, pc, readers, *d, &from);
                    }
                }
            }
            Op::Vote { mode, d, a, .. } => exchange::vote(warp, active, *mode, *d, *a),
            Op::Match { all, d, valid, a, wide, .. } => {
                let operands = Match { all: *all, d: *d, valid: *valid, a: *a, wide: *wide };
                exchange::matches(warp, active, operands);
            }
            Op::Reduce { mode, d, a, .. } => exchange::reduce(warp, active, *mode, *d, *a),
            Op::WarpBarrier { .. } => shared.clocks.warp_barrier(warp.index),
            _ => {}
        }
        if matches!(op, Op::Shuffle { .. } | Op::Vote { .. } | Op::Match { .. } | Op::Reduce { .. }) {
            shared.clocks.exchange(warp.index, pc);
        }
        Ok(())
    }

    #[cold]
    fn lanes_disagree(&mut self, warp: &Warp, pc: u32, active: u32, members: u32, missing: u32) {
        let first = active.trailing_zeros() as usize;
        let note = match missing != 0 {
            true => format!("lanes {missing:#x} of the warp do not come to it, or name other members"),
            false => format!("lanes {:#x} execute it and are not among its members", active & !members),
        };
        self.find_at(Kind::WarpDivergence, pc, warp.index, first, note, None);
    }
}

//! Where in a kernel a register's value is needed: the instructions between which it has to be kept.
//!
//! Every write is for the lanes that execute it and no others, so what holds for one thread on its way through the code holds for
//! a warp however its lanes part.

use crate::kernel::{Instr, Op};

/// An instruction reads at twice its position and sets at the place after that.
pub(super) fn read_at(pc: u32) -> u32 {
    2 * pc
}

/// See [`read_at`].
pub(super) fn write_at(pc: u32) -> u32 {
    2 * pc + 1
}

/// One use of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) pc: u32,
    pub(super) writes: bool,
    /// Whether nothing is left of what was there before.
    pub(super) kills: bool,
}

impl Event {
    fn at(self) -> u32 {
        if self.writes { write_at(self.pc) } else { read_at(self.pc) }
    }
}

/// The places from the first to the last where a register is needed. One that may be read before it is set is needed from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Interval {
    fn add(&mut self, at: u32) {
        self.start = self.start.min(at);
        self.end = self.end.max(at);
    }
}

/// Instructions that are executed one after the other.
#[derive(Clone, Debug)]
pub(in crate::kernel) struct Block {
    pub(in crate::kernel) first: u32,
    pub(in crate::kernel) last: u32,
    /// Numbers of those that it may follow.
    pub(in crate::kernel) before: Vec<u32>,
}

/// What is known of a block for the register that is looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// The register's number and 1.
    register: u32,
    kills: bool,
    live_at_start: bool,
}

/// A kernel's blocks, and which of them come before which.
#[derive(Debug)]
pub(in crate::kernel) struct Flow {
    blocks: Vec<Block>,
    /// The block of each instruction.
    block_of: Vec<u32>,
    marks: Vec<Mark>,
    registers: u32,
}

/// The successors of an instruction that is not simply followed by the next.
fn targets(op: &Op) -> Option<&[u32]> {
    match op {
        Op::Branch { target } => Some(std::slice::from_ref(target)),
        Op::BranchIndexed { targets, .. } => Some(targets),
        Op::Exit | Op::Trap | Op::AssertFail(_) | Op::WrongCall { .. } | Op::Recursion { .. } => Some(&[]),
        _ => None,
    }
}

impl Flow {
    pub(in crate::kernel) fn new(code: &[Instr]) -> Self {
        let mut begins = vec![false; code.len() + 1];
        for (pc, instruction) in code.iter().enumerate() {
            if let Some(targets) = targets(&instruction.op) {
                begins[pc + 1] = true;
                targets.iter().for_each(|target| begins[*target as usize] = true);
            }
        }
        let mut blocks: Vec<Block> = Vec::new();
        let mut block_of = Vec::with_capacity(code.len());
        for (pc, begins) in (0..code.len() as u32).zip(&begins) {
            match blocks.last_mut() {
                Some(block) if !begins => block.last = pc,
                _ => blocks.push(Block { first: pc, last: pc, before: Vec::new() }),
            }
            block_of.push(blocks.len() as u32 - 1);
        }
        for block in 0..blocks.len() as u32 {
            let last = blocks[block as usize].last;
            let instruction = &code[last as usize];
            let targets = targets(&instruction.op);
            for target in targets.unwrap_or_default() {
                blocks[block_of[*target as usize] as usize].before.push(block);
            }
            if (targets.is_none() || instruction.guard.is_some())
                && let Some(next) = blocks.get_mut(block as usize + 1)
            {
                next.before.push(block);
            }
        }
        let marks = vec![Mark::default(); blocks.len()];
        Flow { blocks, block_of, marks, registers: 0 }
    }

    /// In the order of the code.
    pub(in crate::kernel) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Where a register is needed that is used so; in the order of the code, an instruction's reads before its writes.
    pub(super) fn interval(&mut self, events: &[Event]) -> Option<Interval> {
        let first = events.first()?.at();
        let mut interval = Interval { start: first, end: first };
        self.registers += 1;
        let register = self.registers;
        // Blocks at whose start it is needed, still to be looked at.
        let mut pending = Vec::new();
        for event in events {
            interval.add(event.at());
            let block = self.block_of[event.pc as usize];
            let mark = &mut self.marks[block as usize];
            if mark.register != register {
                *mark = Mark { register, ..Mark::default() };
            }
            if !event.writes && !mark.kills && !mark.live_at_start {
                mark.live_at_start = true;
                pending.push(block);
            }
            mark.kills |= event.kills;
        }
        while let Some(number) = pending.pop() {
            let block = &self.blocks[number as usize];
            interval.add(read_at(block.first));
            for before in &block.before {
                interval.add(write_at(self.blocks[*before as usize].last));
                let mark = &mut self.marks[*before as usize];
                if mark.register != register {
                    *mark = Mark { register, ..Mark::default() };
                }
                if !mark.kills && !mark.live_at_start {
                    mark.live_at_start = true;
                    pending.push(*before);
                }
            }
        }
        Some(interval)
    }
}

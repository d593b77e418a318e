//! Exchanges between lanes of a warp: shuffles, votes, matches, reductions.

use super::{transfer::lanes_of, warp::Warp};
use crate::{
    kernel::{Guard, ReduceMode, ShuffleMode, VoteMode},
    lanes::{LANES, Lane, Registers, Slot},
};

/// The lanes where a predicate holds.
#[inline(always)]
pub(super) fn holds(registers: &Registers, guard: Guard) -> u32 {
    registers.predicate(guard.predicate) ^ if guard.negated { u32::MAX } else { 0 }
}

/// Operands of a shuffle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shuffle {
    pub(super) mode: ShuffleMode,
    pub(super) d: Slot,
    pub(super) valid: Option<Slot>,
    pub(super) a: Slot,
    pub(super) b: Slot,
    pub(super) c: Slot,
}

/// A lane of a shuffle, and the lanes that it may read.
#[derive(Clone, Copy)]
struct Asker {
    lane: u32,
    b: u32,
    segment: u32,
    last: u32,
}

#[inline(always)]
pub(super) fn shuffle(warp: &mut Warp, mask: u32, shuffle: Shuffle) {
    let registers = &mut warp.registers;
    let (from, valid) = sources(registers, shuffle);
    let a = *registers.row(shuffle.a);
    let mut values = [0; LANES];
    for (value, from) in values.iter_mut().zip(from) {
        *value = a[from as usize % LANES];
    }
    write(registers, shuffle.d, &values, mask);
    if let Some(slot) = shuffle.valid {
        registers.set_predicate(slot, valid, mask);
    }
}

/// The lanes of a mask that read from one outside of it, and the lane that each reads.
#[cold]
pub(super) fn from_outside(registers: &Registers, mask: u32, shuffle: Shuffle) -> (u32, [u32; LANES]) {
    let (from, _) = sources(registers, shuffle);
    let outside = lanes_of(mask).filter(|lane| mask >> (from[*lane] % LANES as u32) & 1 == 0);
    (outside.fold(0, |lanes, lane| lanes | 1 << lane), from)
}

/// The lane that each lane reads, and the lanes whose source is among those that they may read; the others read their own.
#[inline(always)]
pub(super) fn sources(registers: &Registers, shuffle: Shuffle) -> ([u32; LANES], u32) {
    // One loop for each mode, so that there is nothing to choose in it.
    match shuffle.mode {
        ShuffleMode::Up => each_source(registers, shuffle, |asker| {
            let Asker { lane, b, last, .. } = asker;
            (lane.wrapping_sub(b), lane as i32 - b as i32 >= last as i32)
        }),
        ShuffleMode::Down => {
            each_source(registers, shuffle, |Asker { lane, b, last, .. }| (lane + b, lane + b <= last))
        }
        ShuffleMode::Butterfly => {
            each_source(registers, shuffle, |Asker { lane, b, last, .. }| (lane ^ b, lane ^ b <= last))
        }
        ShuffleMode::Index => each_source(registers, shuffle, |Asker { lane, b, segment, last }| {
            let from = lane & segment | b & !segment;
            (from, from <= last)
        }),
    }
}

#[inline(always)]
fn each_source(
    registers: &Registers,
    shuffle: Shuffle,
    source: impl Fn(Asker) -> (u32, bool),
) -> ([u32; LANES], u32) {
    let (b, c) = (registers.row(shuffle.b), registers.row(shuffle.c));
    let mut from = [0; LANES];
    let mut valid = 0;
    for lane in 0..LANES {
        let (clamp, segment, number) = (c[lane] & 31, c[lane] >> 8 & 31, lane as u32);
        let last = number & segment | clamp & !segment;
        let (source, inside) = source(Asker { lane: number, b: b[lane] & 31, segment, last });
        from[lane] = if inside { source } else { number };
        valid |= u32::from(inside) << lane;
    }
    (from, valid)
}

#[inline(always)]
fn write(registers: &mut Registers, d: Slot, values: &[u32; LANES], mask: u32) {
    <u32 as Lane>::write(registers, d, values, mask);
}

pub(super) fn vote(warp: &mut Warp, mask: u32, mode: VoteMode, d: Slot, a: Guard) {
    let set = holds(&warp.registers, a) & mask;
    let answer = match mode {
        VoteMode::Ballot => return write(&mut warp.registers, d, &[set; LANES], mask),
        VoteMode::All => set == mask,
        VoteMode::Any => set != 0,
        VoteMode::Uniform => set == mask || set == 0,
    };
    warp.registers.set_predicate(d, if answer { u32::MAX } else { 0 }, mask);
}

/// Operands of a match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    pub(super) all: bool,
    pub(super) d: Slot,
    pub(super) valid: Option<Slot>,
    pub(super) a: Slot,
    pub(super) wide: bool,
}

pub(super) fn matches(warp: &mut Warp, mask: u32, operands: Match) {
    let Match { all, d, valid, a, wide } = operands;
    let values: [u64; LANES] = match wide {
        true => *warp.registers.wide(a),
        false => warp.registers.row(a).map(u64::from),
    };
    let equal = |lane: usize| {
        lanes_of(mask)
            .filter(|other| values[*other] == values[lane])
            .fold(0u32, |found, other| found | 1 << other)
    };
    let mut out = [0; LANES];
    for lane in lanes_of(mask) {
        let found = equal(lane);
        out[lane] = if !all || found == mask { found } else { 0 };
    }
    write(&mut warp.registers, d, &out, mask);
    if let Some(slot) = valid {
        let everybody = lanes_of(mask).all(|lane| out[lane] == mask);
        warp.registers.set_predicate(slot, if everybody { u32::MAX } else { 0 }, mask);
    }
}

pub(super) fn reduce(warp: &mut Warp, mask: u32, mode: ReduceMode, d: Slot, a: Slot) {
    let values = *warp.registers.row(a);
    let fold = |a: u32, b: u32| match mode {
        ReduceMode::Add => a.wrapping_add(b),
        ReduceMode::MinUnsigned => a.min(b),
        ReduceMode::MaxUnsigned => a.max(b),
        ReduceMode::MinSigned => (a as i32).min(b as i32) as u32,
        ReduceMode::MaxSigned => (a as i32).max(b as i32) as u32,
        ReduceMode::And => a & b,
        ReduceMode::Or => a | b,
        ReduceMode::Xor => a ^ b,
    };
    let value = lanes_of(mask).map(|lane| values[lane]).reduce(fold).unwrap_or(0);
    write(&mut warp.registers, d, &[value; LANES], mask);
}

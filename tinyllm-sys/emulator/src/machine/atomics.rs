//! Atomics: lane after lane, each on its own.

use std::cell::Cell;

use super::{
    Fault,
    addresses::addresses,
    context::Context,
    global,
    memory::parts,
    private,
    recorder::Touch,
    shared::Shared,
    transfer::{Places, lanes_of},
    warp::Warp,
    words::Use,
};
use crate::{
    kernel::{Atomic, AtomicKind, AtomicType, Target},
    lanes::{Registers, Slot},
    memory::update,
    numerics::*,
    report::Access,
};

/// The new value of an atomic.
fn combine(atomic: &Atomic, global: bool, old: u64, b: u64, c: u64) -> u64 {
    use AtomicKind::*;
    let bits = atomic.bytes * 8;
    let signed = |value: u64| (value << (64 - bits)) as i64 >> (64 - bits);
    match (atomic.kind, atomic.ty) {
        (And, _) => old & b,
        (Or, _) => old | b,
        (Xor, _) => old ^ b,
        (Exchange, _) => b,
        (CompareExchange, _) => {
            if old == b {
                c
            } else {
                old
            }
        }
        (Inc, _) => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        (Dec, _) => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        (Min, AtomicType::Signed) => signed(old).min(signed(b)) as u64,
        (Max, AtomicType::Signed) => signed(old).max(signed(b)) as u64,
        (Min, _) => old.min(b),
        (Max, _) => old.max(b),
        (Add, ty) => sum(ty, global, old, b),
    }
}

/// The sum in a type. In global memory f32 is flushed, in shared memory it is not; f16 and bf16 never are.
fn sum(ty: AtomicType, global: bool, a: u64, b: u64) -> u64 {
    let plain = Mode::default();
    let halves = |add: fn(u16, u16, Mode) -> u16| {
        let low = add(a as u16, b as u16, plain);
        let high = add((a >> 16) as u16, (b >> 16) as u16, plain);
        u64::from(low) | u64::from(high) << 16
    };
    match ty {
        AtomicType::F32 => {
            let mode = Mode { ftz: global, ..plain };
            u64::from(f32_add(f32::from_bits(a as u32), f32::from_bits(b as u32), mode).to_bits())
        }
        AtomicType::F64 => f64_add(f64::from_bits(a), f64::from_bits(b), Rounding::Nearest).to_bits(),
        AtomicType::F16 => u64::from(half_add::<F16>(a as u16, b as u16, plain)),
        AtomicType::Bf16 => u64::from(half_add::<Bf16>(a as u16, b as u16, plain)),
        AtomicType::F16x2 => halves(half_add::<F16>),
        AtomicType::Bf16x2 => halves(half_add::<Bf16>),
        AtomicType::Bits | AtomicType::Unsigned | AtomicType::Signed => a.wrapping_add(b),
    }
}

fn register(registers: &Registers, slot: Slot, bits: u32, lane: usize) -> u64 {
    match bits {
        64 => registers.wide(slot)[lane],
        16 => u64::from(registers.row(slot)[lane] & 0xffff),
        _ => u64::from(registers.row(slot)[lane]),
    }
}

impl Context<'_> {
    pub(super) fn atomic(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        atomic: &Atomic,
    ) -> Result<(), Fault> {
        let addresses = addresses(&warp.registers, atomic.address);
        let (spaces, offsets) = parts(atomic.target, &addresses, mask);
        let bytes = u64::from(atomic.bytes);
        for (target, mask) in spaces.into_iter().filter(|(_, mask)| *mask != 0) {
            match target {
                Target::Global => {
                    self.before_atomic(&addresses, mask, atomic);
                    let strong = atomic.order.reaches_blocks();
                    let touch = if strong { Touch::Atomic } else { Touch::BlockAtomic };
                    let request = global::Request {
                        pc,
                        warp: warp.index,
                        mask,
                        addresses: &addresses,
                        bytes,
                        access: Access::Atomic,
                        touch,
                    };
                    let places = self.global(&request)?;
                    let Done { written, changes } = run(warp, atomic, true, &places, mask);
                    self.changes += u64::from(changes);
                    self.after_atomic(&addresses, written, atomic);
                    if !self.unwritten.is_empty() || warp.undefined.is_some() {
                        self.global_atomic_undefined(warp, mask, atomic);
                    }
                }
                Target::Shared => {
                    let request = private::Request {
                        pc,
                        warp: warp.index,
                        mask,
                        offsets: &offsets,
                        bytes,
                        what: Use::Atomic,
                    };
                    let places = self.shared(shared, &request)?;
                    self.shared_races(shared, &request);
                    run(warp, atomic, false, &places, mask);
                    if !self.unwritten.is_empty() || warp.undefined.is_some() {
                        self.shared_atomic_undefined(shared, warp, &request, atomic);
                    }
                }
                // Local memory has no other thread, and the hardware refuses.
                _ => return Err(Fault::INVALID_ADDRESS_SPACE),
            }
        }
        Ok(())
    }
}

/// What an atomic has done.
struct Done {
    /// The lanes that have written: all but those whose comparison failed.
    written: u32,
    /// Whether memory holds another value than before.
    changes: bool,
}

fn run(warp: &mut Warp, atomic: &Atomic, global: bool, places: &Places, mask: u32) -> Done {
    let mut written = mask;
    let differs = Cell::new(0);
    for lane in lanes_of(mask) {
        let b = register(&warp.registers, atomic.b, atomic.register_bits, lane);
        let c = register(&warp.registers, atomic.c, atomic.register_bits, lane);
        // SAFETY: the place was given for an aligned value of this size; what others use meanwhile is used through words alone.
        let old = unsafe {
            update(places[lane], atomic.bytes, |old| {
                let new = combine(atomic, global, old, b, c);
                differs.set(differs.get() | (new ^ old));
                new
            })
        };
        if atomic.kind == AtomicKind::CompareExchange && old != b {
            written &= !(1 << lane);
        }
        if let Some(d) = atomic.d {
            match atomic.register_bits {
                64 => warp.registers.wide_mut(d)[lane] = old,
                _ => warp.registers.row_mut(d)[lane] = old as u32,
            }
        }
    }
    Done { written, changes: differs.get() << (64 - atomic.bytes * 8) != 0 }
}

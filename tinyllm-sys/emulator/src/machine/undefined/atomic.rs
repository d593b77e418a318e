//! Atomics and undefined values. In global memory others see at once what an atomic makes of them, which is reported there and then; an
//! exchange makes nothing of the old value, so that this is undefined until it is used. In shared memory nothing is reported: what
//! is there, and what the atomic gives, is undefined from then on.

use std::collections::{HashMap, HashSet};

use super::{Origin, Source, Undefined, load::bits_of_bytes, register_class};
use crate::{
    kernel::{Atomic, AtomicKind},
    lanes::Slot,
    machine::{context::Context, private, shared::Shared, transfer::lanes_of, warp::Warp},
};

/// What a lane finds, gives or leaves: its undefined bytes, a bit each, and where they come from.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    bytes: u32,
    origin: Origin,
}

impl Part {
    /// As a whole, where it depends on any byte that is undefined.
    fn whole(self, all: u32) -> Self {
        Part { bytes: if self.bytes == 0 { 0 } else { all }, ..self }
    }

    /// This one, or the other where this is defined.
    fn or(self, other: Part) -> Self {
        if self.bytes == 0 { other } else { self }
    }
}

/// The registers of an atomic that its result depends on.
pub(super) fn atomic_operands(atomic: &Atomic) -> impl Iterator<Item = Slot> {
    let compared = atomic.kind == AtomicKind::CompareExchange;
    std::iter::once(atomic.b).chain(compared.then_some(atomic.c))
}

impl Context<'_> {
    /// After an atomic on global memory, whose undefined operands are reported by now.
    #[cold]
    pub(in crate::machine) fn global_atomic_undefined(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        atomic: &Atomic,
    ) {
        let all = std::mem::take(&mut self.unwritten);
        if let Some(undefined) = &mut warp.undefined {
            undefined.clear_result(atomic, mask);
        }
        let mut exchanged = HashSet::new();
        for unwritten in &all {
            if atomic.kind != AtomicKind::Exchange {
                self.find_unwritten(unwritten, None);
            } else if atomic.d.is_some() && exchanged.insert(unwritten.culprit.address) {
                // Lanes after the first one take out what the one before put in.
                let undefined = self.undefined(warp);
                let origin = undefined.origin(Source::Memory(*unwritten));
                let old = Part { bytes: unwritten.missing, origin };
                undefined.set_result(atomic, unwritten.culprit.lane, old);
            }
        }
    }

    /// After an atomic on shared memory: lane after lane, as it ran.
    #[cold]
    pub(in crate::machine) fn shared_atomic_undefined(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        request: &private::Request<'_>,
        atomic: &Atomic,
    ) {
        let all = std::mem::take(&mut self.unwritten);
        let undefined = self.undefined(warp);
        let mut memory: HashMap<u64, Part> = HashMap::new();
        for unwritten in &all {
            let origin = undefined.origin(Source::Memory(*unwritten));
            let part = Part { bytes: unwritten.missing, origin };
            memory.entry(unwritten.culprit.address).or_insert(part);
        }
        let all_bytes = (1 << atomic.bytes) - 1;
        for lane in lanes_of(request.mask) {
            let place = memory.entry(request.offsets[lane]).or_default();
            let old = *place;
            let given = undefined.given(atomic, lane);
            *place = match atomic.kind {
                AtomicKind::Exchange => given,
                _ => old.or(given).whole(all_bytes),
            };
            undefined.set_result(atomic, lane, old);
        }
        for (offset, part) in memory {
            shared.store_undefined(offset, part.bytes, undefined.store(request.pc, part.origin));
        }
    }
}

impl Undefined {
    /// What a lane's operands have that is undefined.
    fn given(&self, atomic: &Atomic, lane: usize) -> Part {
        let class = register_class(atomic.register_bits);
        let part = |slot: Slot| {
            let bits = self.bits(slot, class, lane);
            let bytes = (0..atomic.bytes).filter(|byte| bits >> (8 * byte) & 0xff != 0);
            let bytes = bytes.fold(0, |bytes, byte| bytes | 1 << byte);
            Part { bytes, origin: if bits == 0 { 0 } else { self.origin_of(slot, class, lane) } }
        };
        atomic_operands(atomic).map(part).fold(Part::default(), Part::or)
    }

    fn set_result(&mut self, atomic: &Atomic, lane: usize, old: Part) {
        if let Some(d) = atomic.d {
            let class = register_class(atomic.register_bits);
            self.set(d, class, lane, bits_of_bytes(old.bytes), old.origin);
        }
    }

    fn clear_result(&mut self, atomic: &Atomic, mask: u32) {
        lanes_of(mask).for_each(|lane| self.set_result(atomic, lane, Part::default()));
    }
}

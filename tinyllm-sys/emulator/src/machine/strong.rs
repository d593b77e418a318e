//! Strong accesses of global memory and fences: what is told to [`Order`](super::order::Order), address by address.

use super::{context::Context, transfer::lanes_of};
use crate::{
    kernel::{Atomic, MemoryOrder, Scope, Transfer},
    lanes::LANES,
};

impl Context<'_> {
    pub(super) fn fence(&mut self, scope: Scope) {
        let recorder = &mut self.recorder;
        if self.orders && scope == Scope::Device {
            self.order.fence(|| recorder.take());
        }
    }

    /// Whether an access takes part in the order between blocks.
    #[inline(always)]
    fn is_tracked(&self, order: MemoryOrder) -> bool {
        order.scope.is_some() && self.orders && order.reaches_blocks()
    }

    /// A load's values are about to be read.
    #[inline(always)]
    pub(super) fn before_load(&mut self, addresses: &[u64; LANES], mask: u32, transfer: &Transfer) {
        if self.is_tracked(transfer.order) {
            for address in elements(addresses, mask, transfer) {
                self.strong_read(address, transfer.element.bytes, transfer.order.acquires);
            }
        }
    }

    #[inline(always)]
    pub(super) fn before_store(&mut self, order: MemoryOrder) {
        if self.is_tracked(order) && order.releases {
            let recorder = &mut self.recorder;
            self.order.release(|| recorder.take());
        }
    }

    /// A store's values are there.
    #[inline(always)]
    pub(super) fn after_store(&mut self, addresses: &[u64; LANES], mask: u32, transfer: &Transfer) {
        if self.is_tracked(transfer.order) {
            for address in elements(addresses, mask, transfer) {
                let value = self.value(address, transfer.element.bytes);
                self.order.write((address, value), false, transfer.order.releases);
            }
        }
    }

    #[inline(always)]
    pub(super) fn before_atomic(&mut self, addresses: &[u64; LANES], mask: u32, atomic: &Atomic) {
        if !self.is_tracked(atomic.order) {
            return;
        }
        for lane in lanes_of(mask) {
            // "Read operations are all variants of ld and atom, but not red."
            if atomic.d.is_some() {
                self.strong_read(addresses[lane], atomic.bytes, atomic.order.acquires);
            } else {
                let value = self.value(addresses[lane], atomic.bytes);
                self.order.reduce(addresses[lane], value);
            }
        }
        self.before_store(atomic.order);
    }

    /// Atomics of the lanes of a mask have written.
    #[inline(always)]
    pub(super) fn after_atomic(&mut self, addresses: &[u64; LANES], mask: u32, atomic: &Atomic) {
        if self.is_tracked(atomic.order) {
            for lane in lanes_of(mask) {
                let value = self.value(addresses[lane], atomic.bytes);
                self.order.write((addresses[lane], value), true, atomic.order.releases);
            }
        }
    }

    fn strong_read(&mut self, address: u64, bytes: u32, acquires: bool) {
        let value = self.value(address, bytes);
        let is_weak = self.recorder.is_weak(address);
        let recorder = &mut self.recorder;
        self.order.read((address, value), acquires, is_weak, || recorder.take());
    }

    /// What is at an address; 0 where nothing is, which the access itself reports.
    fn value(&self, address: u64, bytes: u32) -> u64 {
        let mut value = [0; 8];
        if let Some(region) = self.launch.find(address, u64::from(bytes)) {
            let offset = region.offset + (address - region.start);
            region.bytes.read_beside(offset, &mut value[..bytes as usize]);
        }
        u64::from_le_bytes(value)
    }
}

/// The address of each element of each lane.
fn elements<'a>(
    addresses: &'a [u64; LANES],
    mask: u32,
    transfer: &'a Transfer,
) -> impl Iterator<Item = u64> + 'a {
    lanes_of(mask).flat_map(move |lane| {
        let next = move |index| addresses[lane] + index as u64 * u64::from(transfer.element.bytes);
        (0..transfer.registers.len()).map(next)
    })
}

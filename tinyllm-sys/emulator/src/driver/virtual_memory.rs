//! Addresses that are reserved, memory without an address, and the one put at the other.

use std::{collections::BTreeMap, sync::Arc};

use tinyllm_sys::DriverCode;

use super::{
    device::{Allocation, Device, Origin},
    failure::Failure,
    handles::Handles,
};
use crate::memory::{Bytes, Region};

/// Sizes and addresses are multiples of this.
pub(super) const GRANULE_BYTES: u64 = 2 << 20;

/// Memory that `cuMemCreate` made.
#[derive(Debug)]
struct Physical {
    device: usize,
    memory: Arc<Bytes>,
    /// How often it is mapped.
    mapped: u64,
    /// The handle was released: it goes with the last mapping.
    released: bool,
}

/// Addresses that `cuMemAddressReserve` gave.
#[derive(Debug)]
struct Reservation {
    bytes: u64,
    /// By address: what is mapped, its size, and whether it may be used.
    mappings: BTreeMap<u64, Mapping>,
}

#[derive(Debug)]
struct Mapping {
    physical: u64,
    bytes: u64,
    accessible: bool,
}

fn is_granular(value: u64) -> bool {
    value > 0 && value.is_multiple_of(GRANULE_BYTES)
}

/// Addresses and memory that are made apart from each other.
#[derive(Debug, Default)]
pub(super) struct VirtualMemory {
    physical: BTreeMap<u64, Physical>,
    reservations: BTreeMap<u64, Reservation>,
}

impl VirtualMemory {
    pub(super) fn reserve_addresses(
        &mut self,
        device: &mut Device,
        bytes: u64,
        align_bytes: u64,
    ) -> Result<u64, Failure> {
        if !is_granular(bytes) || (align_bytes != 0 && !align_bytes.is_power_of_two()) {
            return Err(DriverCode::InvalidValue.into());
        }
        let align = align_bytes.max(GRANULE_BYTES);
        let start = device.heap.reserve(bytes, align).ok_or(DriverCode::OutOfMemory)?;
        self.reservations.insert(start, Reservation { bytes, mappings: BTreeMap::new() });
        Ok(start)
    }

    pub(super) fn free_addresses(&mut self, start: u64, bytes: u64) -> Result<(), Failure> {
        let reservation = self.reservations.get(&start).ok_or(DriverCode::InvalidValue)?;
        if reservation.bytes != bytes || !reservation.mappings.is_empty() {
            return Err(DriverCode::InvalidValue.into());
        }
        self.reservations.remove(&start);
        Ok(())
    }

    pub(super) fn create_memory(
        &mut self,
        devices: &mut [Device],
        ordinal: u32,
        bytes: u64,
        handles: &mut Handles,
    ) -> Result<u64, Failure> {
        let device = ordinal as usize;
        let heap = &mut devices.get_mut(device).ok_or(DriverCode::InvalidDevice)?.heap;
        if !is_granular(bytes) {
            return Err(DriverCode::InvalidValue.into());
        }
        if !heap.take(bytes) {
            return Err(DriverCode::OutOfMemory.into());
        }
        let memory = match Bytes::new(bytes) {
            Ok(memory) => Arc::new(memory),
            Err(_) => {
                heap.give(bytes);
                return Err(Failure::new(DriverCode::OutOfMemory, "the host has no memory for it"));
            }
        };
        let handle = handles.next();
        self.physical.insert(handle, Physical { device, memory, mapped: 0, released: false });
        Ok(handle)
    }

    pub(super) fn release_memory(&mut self, devices: &mut [Device], handle: u64) -> Result<(), Failure> {
        let physical = self.physical.get_mut(&handle).filter(|physical| !physical.released);
        physical.ok_or(DriverCode::InvalidValue)?.released = true;
        self.drop_unused(devices, handle);
        Ok(())
    }

    fn drop_unused(&mut self, devices: &mut [Device], handle: u64) {
        if self.physical.get(&handle).is_some_and(|physical| physical.released && physical.mapped == 0)
            && let Some(physical) = self.physical.remove(&handle)
        {
            devices[physical.device].heap.give(physical.memory.len());
        }
    }

    /// Memory whose handle was not released.
    pub(super) fn unreleased(&self) -> impl Iterator<Item = u64> {
        self.physical.values().filter(|physical| !physical.released).map(|physical| physical.memory.len())
    }

    /// Reservations that were not freed.
    pub(super) fn reservations(&self) -> usize {
        self.reservations.len()
    }

    fn reservation_of(&mut self, address: u64, bytes: u64) -> Result<(u64, &mut Reservation), Failure> {
        let (start, reservation) =
            self.reservations.range_mut(..=address).next_back().ok_or(DriverCode::InvalidValue)?;
        let end = address.checked_add(bytes).ok_or(DriverCode::InvalidValue)?;
        if end > start + reservation.bytes {
            return Err(DriverCode::InvalidValue.into());
        }
        Ok((*start, reservation))
    }

    pub(super) fn map(&mut self, address: u64, bytes: u64, offset: u64, handle: u64) -> Result<(), Failure> {
        if !is_granular(bytes) || !address.is_multiple_of(GRANULE_BYTES) || offset != 0 {
            return Err(DriverCode::InvalidValue.into());
        }
        let physical = self.physical.get(&handle).ok_or(DriverCode::InvalidValue)?;
        if bytes > physical.memory.len() {
            return Err(DriverCode::InvalidValue.into());
        }
        let (_, reservation) = self.reservation_of(address, bytes)?;
        let overlaps =
            |(start, mapping): (&u64, &Mapping)| *start < address + bytes && address < start + mapping.bytes;
        if reservation.mappings.iter().any(overlaps) {
            return Err(Failure::new(DriverCode::InvalidValue, "something is mapped there"));
        }
        reservation.mappings.insert(address, Mapping { physical: handle, bytes, accessible: false });
        if let Some(physical) = self.physical.get_mut(&handle) {
            physical.mapped += 1;
        }
        Ok(())
    }

    pub(super) fn unmap(&mut self, devices: &mut [Device], address: u64, bytes: u64) -> Result<(), Failure> {
        let (_, reservation) = self.reservation_of(address, bytes)?;
        let inside: Vec<u64> =
            reservation.mappings.range(address..address + bytes).map(|(start, _)| *start).collect();
        let covered: u64 =
            reservation.mappings.range(address..address + bytes).map(|(_, mapping)| mapping.bytes).sum();
        if inside.is_empty() || covered != bytes {
            return Err(Failure::new(DriverCode::InvalidValue, "not whole mappings"));
        }
        for start in inside {
            let (_, reservation) = self.reservation_of(start, 1)?;
            let Some(mapping) = reservation.mappings.remove(&start) else { continue };
            for device in devices.iter_mut() {
                device.remove(start);
                device.allocations.remove(&start);
            }
            if let Some(physical) = self.physical.get_mut(&mapping.physical) {
                physical.mapped -= 1;
            }
            self.drop_unused(devices, mapping.physical);
        }
        Ok(())
    }

    pub(super) fn set_access(
        &mut self,
        device: &mut Device,
        address: u64,
        bytes: u64,
    ) -> Result<(), Failure> {
        let (_, reservation) = self.reservation_of(address, bytes)?;
        let found: Vec<(u64, u64, u64)> = reservation
            .mappings
            .range_mut(address..address + bytes)
            .filter_map(|(start, mapping)| {
                let before = std::mem::replace(&mut mapping.accessible, true);
                (!before).then_some((*start, mapping.bytes, mapping.physical))
            })
            .collect();
        let label: Arc<str> = "mapped memory".into();
        for (start, bytes, handle) in found {
            let Some(physical) = self.physical.get(&handle) else { continue };
            let memory = physical.memory.clone();
            let region = Region {
                start,
                end: start + bytes,
                bytes: memory,
                offset: 0,
                constant: false,
                label: label.clone(),
            };
            device.insert(region);
            device
                .allocations
                .insert(start, Allocation { bytes, origin: Origin::Mapped, label: label.clone() });
        }
        Ok(())
    }
}

//! Calls that allocate, free, copy and fill memory.

use std::{sync::Arc, thread::ThreadId};

use tinyllm_sys::{DevicePointer, DriverCode};

use super::{
    clock::Clock,
    device::{Allocation, Device, Origin},
    execute::outside,
    failure::Failure,
    pool::{GRANULE_BYTES, Pool},
    state::State,
    work::{Source, Work},
};
use crate::{
    memory::{Bytes, Region},
    report::{Access, Finding, Kind, Relation},
};

/// Alignment of what `cuMemAlloc` gives.
const ALIGN_BYTES: u64 = 512;

fn host_failure(_: std::io::Error) -> Failure {
    Failure::new(DriverCode::OutOfMemory, "the host has no memory for it")
}

impl State {
    /// Releases the free segments of all pools.
    fn trim_all(&mut self, device: usize) {
        for pool in self.pools.values_mut().filter(|pool| pool.device == device) {
            pool.trim(&mut self.devices[device].heap, 0, self.schedule.host());
        }
    }

    /// Memory of a device that lives until it is freed.
    pub(super) fn allocate(
        &mut self,
        device: usize,
        bytes: u64,
        origin: Origin,
        label: Arc<str>,
    ) -> Result<Region, Failure> {
        let size = bytes.checked_next_multiple_of(ALIGN_BYTES).ok_or(DriverCode::OutOfMemory)?;
        if !self.devices[device].heap.take(size) {
            self.trim_all(device);
            if !self.devices[device].heap.take(size) {
                return Err(DriverCode::OutOfMemory.into());
            }
        }
        let target = &mut self.devices[device];
        let Some(address) = target.heap.reserve(size, ALIGN_BYTES) else {
            target.heap.give(size);
            return Err(Failure::new(DriverCode::OutOfMemory, "no addresses are left"));
        };
        let region = match Device::region(address, bytes, label.clone()) {
            Ok(region) => region,
            Err(error) => {
                target.heap.give(size);
                return Err(host_failure(error));
            }
        };
        target.insert(region.clone());
        target.allocations.insert(address, Allocation { bytes, origin, label });
        Ok(region)
    }

    pub(super) fn mem_alloc(&mut self, device: usize, bytes: usize) -> Result<DevicePointer, Failure> {
        if bytes == 0 {
            return Err(DriverCode::InvalidValue.into());
        }
        let label = format!("an allocation of {bytes} bytes").into();
        Ok(DevicePointer(self.allocate(device, bytes as u64, Origin::Plain, label)?.start))
    }

    /// Frees memory of [`State::allocate`].
    pub(super) fn release(&mut self, device: usize, address: u64) {
        let device = &mut self.devices[device];
        if let Some(allocation) = device.allocations.remove(&address) {
            device.heap.give(allocation.bytes.next_multiple_of(ALIGN_BYTES));
            device.remove(address);
        }
    }

    pub(super) fn mem_free(&mut self, device: usize, pointer: DevicePointer) -> Result<(), Failure> {
        if pointer.0 == 0 {
            return Ok(());
        }
        self.wait_device(device);
        let found = self.devices[device].allocations.get(&pointer.0);
        if found.is_some_and(|allocation| allocation.origin == Origin::Plain) {
            self.release(device, pointer.0);
            return Ok(());
        }
        Err(self.wrong_free(device, "cuMemFree", pointer.0))
    }

    /// A free of what is not there to be freed.
    fn wrong_free(&mut self, device: usize, call: &str, address: u64) -> Failure {
        let place = self.devices[device].place(address);
        let freed =
            place.as_ref().is_some_and(|place| place.relation == Relation::Freed && place.offset == 0);
        if self.config.check.memcheck {
            let kind = if freed { Kind::DoubleFree } else { Kind::InvalidFree };
            let note = match self.devices[device].allocations.get(&address) {
                Some(allocation) if matches!(allocation.origin, Origin::Pool(_)) => "it is memory of a pool",
                Some(_) => "it was not had by the call that belongs to it",
                None => "",
            };
            let note = note.to_owned();
            self.findings.add(Finding { address: Some(address), place, note, ..Finding::new(kind, call) });
        }
        Failure::new(
            DriverCode::InvalidValue,
            if freed { "freed already" } else { "no allocation begins there" },
        )
    }

    pub(super) fn pool_create(&mut self, ordinal: u32, threshold_bytes: u64) -> Result<u64, Failure> {
        if ordinal as usize >= self.devices.len() {
            return Err(DriverCode::InvalidDevice.into());
        }
        let handle = self.handles.next();
        self.pools.insert(handle, Pool::new(ordinal as usize, threshold_bytes));
        Ok(handle)
    }

    pub(super) fn pool_destroy(&mut self, handle: u64) -> Result<(), Failure> {
        let pool = self.pools.get(&handle).ok_or(DriverCode::InvalidHandle)?;
        if !pool.is_unused() {
            return Err(Failure::new(DriverCode::InvalidValue, "some of it is allocated still"));
        }
        let device = pool.device;
        self.wait_device(device);
        if let Some(mut pool) = self.pools.remove(&handle) {
            pool.trim(&mut self.devices[device].heap, 0, self.schedule.host());
        }
        Ok(())
    }

    pub(super) fn pool_trim(&mut self, handle: u64, keep_bytes: u64) -> Result<(), Failure> {
        let pool = self.pools.get_mut(&handle).ok_or(DriverCode::InvalidHandle)?;
        pool.trim(&mut self.devices[pool.device].heap, keep_bytes, self.schedule.host());
        Ok(())
    }

    pub(super) fn alloc_async(
        &mut self,
        bytes: usize,
        pool: u64,
        stream: u64,
    ) -> Result<DevicePointer, Failure> {
        let bytes = bytes as u64;
        if bytes == 0 {
            return Err(DriverCode::InvalidValue.into());
        }
        if self.streams.get(stream)?.capture.is_some() {
            return self.refuse_captured(stream).map(|()| DevicePointer(0));
        }
        let mut clock = self.schedule.host().clone();
        self.streams.before(stream)?.iter().for_each(|before| clock.join(&before.clock));
        let device = self.pools.get(&pool).ok_or(DriverCode::InvalidHandle)?.device;
        let mut address = self.allocate_from(pool, device, bytes, &clock);
        if address.is_none() {
            self.trim_all(device);
            address = self.allocate_from(pool, device, bytes, &clock);
        }
        let address = address.ok_or(DriverCode::OutOfMemory)?;
        let label: Arc<str> = format!("a pool's allocation of {bytes} bytes").into();
        let region = Device::region(address, bytes, label.clone()).map_err(host_failure);
        let region = match region {
            Ok(region) => region,
            Err(failure) => {
                if let Some(pool) = self.pools.get_mut(&pool) {
                    pool.free(address, bytes, &clock);
                }
                return Err(failure);
            }
        };
        let target = &mut self.devices[device];
        target.allocations.insert(address, Allocation { bytes, origin: Origin::Pool(pool), label });
        let later = if target.is_vacant(address, bytes) {
            target.insert(region);
            None
        } else {
            Some(region)
        };
        self.issue(stream, Work::Allocate { address, bytes, region: later })?;
        Ok(DevicePointer(address))
    }

    fn allocate_from(&mut self, pool: u64, device: usize, bytes: u64, clock: &Clock) -> Option<u64> {
        self.pools.get_mut(&pool)?.allocate(&mut self.devices[device].heap, bytes.max(GRANULE_BYTES), clock)
    }

    pub(super) fn free_async(&mut self, pointer: DevicePointer, stream: u64) -> Result<(), Failure> {
        let address = pointer.0;
        let device = self.streams.get(stream)?.device;
        let found = self.devices[device].allocations.get(&address).map(|found| (found.origin, found.bytes));
        let Some((Origin::Pool(pool), bytes)) = found else {
            return Err(self.wrong_free(device, "cuMemFreeAsync", address));
        };
        if self.streams.get(stream)?.capture.is_some() {
            return self.refuse_captured(stream);
        }
        let issued = self.issue(stream, Work::Free { address, bytes })?;
        self.devices[device].allocations.remove(&address);
        if let (Some(issued), Some(pool)) = (issued, self.pools.get_mut(&pool)) {
            pool.free(address, bytes.max(GRANULE_BYTES), &issued.clock);
        }
        Ok(())
    }

    pub(super) fn alloc_host(&mut self, bytes: usize) -> Result<*mut u8, Failure> {
        if bytes == 0 {
            return Err(DriverCode::InvalidValue.into());
        }
        let memory = Arc::new(Bytes::new(bytes as u64).map_err(host_failure)?);
        // The host's writes are not seen here: all of it counts as initialised.
        memory.written().insert(0, bytes as u64);
        let pointer = memory.as_ptr();
        let address = pointer.expose_provenance() as u64;
        let label: Arc<str> = format!("page-locked memory of {bytes} bytes").into();
        for device in &mut self.devices {
            let (start, end) = (address, address + bytes as u64);
            device.insert(Region {
                start,
                end,
                bytes: memory.clone(),
                offset: 0,
                constant: false,
                label: label.clone(),
            });
        }
        self.page_locked.insert(address, memory);
        Ok(pointer)
    }

    pub(super) fn free_host(&mut self, address: u64) -> Result<(), Failure> {
        for device in 0..self.devices.len() {
            self.wait_device(device);
        }
        if self.page_locked.remove(&address).is_none() {
            return Err(self.wrong_free(0, "cuMemFreeHost", address));
        }
        for device in &mut self.devices {
            device.remove(address);
        }
        Ok(())
    }

    /// The page-locked memory that a range of the host's addresses is in, all `bytes` of it.
    fn page_locked_at(&self, address: u64, bytes: u64) -> Option<&Arc<Bytes>> {
        let (start, memory) = self.page_locked.range(..=address).next_back()?;
        (address + bytes <= start + memory.len()).then_some(memory)
    }

    fn is_page_locked(&self, address: u64, bytes: u64) -> bool {
        self.page_locked_at(address, bytes).is_some()
    }

    /// Whether a range is memory that the program has; else a finding and an error of the call.
    fn check_range(
        &mut self,
        device: usize,
        call: &str,
        address: u64,
        bytes: u64,
        access: Access,
    ) -> Result<(), Failure> {
        let known = self.devices.iter().any(|device| device.allocation(address, bytes).is_some());
        if known || self.is_page_locked(address, bytes) {
            return Ok(());
        }
        if self.config.check.memcheck {
            let mut finding = outside(&self.devices[device].space, call, address, bytes, access);
            // Freed on a stream, and the free has not run yet.
            if finding.place.as_ref().is_some_and(|place| place.relation == Relation::Inside) {
                finding.kind = Kind::UseAfterFree;
            }
            self.findings.add(finding);
        }
        Err(Failure::new(
            DriverCode::InvalidValue,
            format!("{bytes} bytes at {address:#x} are not all of one allocation"),
        ))
    }

    /// A copy to the device; waits where the host's memory is ordinary and the call is not asynchronous.
    pub(super) fn copy_to_device(
        &mut self,
        call: &str,
        dst: u64,
        src: *const u8,
        bytes: usize,
        stream: u64,
        waits: bool,
    ) -> Result<(), Failure> {
        if bytes == 0 {
            return Ok(());
        }
        let device = self.streams.get(stream)?.device;
        self.check_range(device, call, dst, bytes as u64, Access::Write)?;
        let address = src.expose_provenance() as u64;
        let src = match self.page_locked_at(address, bytes as u64) {
            Some(memory) => {
                let watched = (self.config.check.stream && !waits).then(|| memory.clone());
                Source::PageLocked { address, watched }
            }
            // SAFETY: the caller of the driver's call promised that so many bytes can be read there.
            None => Source::Read(unsafe { std::slice::from_raw_parts(src, bytes) }.into()),
        };
        let issued = self.issue(stream, Work::ToDevice { dst, src, bytes: bytes as u64 })?;
        if let (Some(issued), true) = (issued, waits) {
            self.wait(&issued);
        }
        Ok(())
    }

    /// A copy to the host; waits unless the call is asynchronous and the host's memory page-locked.
    pub(super) fn copy_to_host(
        &mut self,
        call: &str,
        dst: *mut u8,
        src: u64,
        bytes: usize,
        stream: u64,
        waits: bool,
    ) -> Result<(), Failure> {
        if bytes == 0 {
            return Ok(());
        }
        let device = self.streams.get(stream)?.device;
        self.check_range(device, call, src, bytes as u64, Access::Read)?;
        let dst = dst.expose_provenance() as u64;
        let waits = waits || !self.is_page_locked(dst, bytes as u64);
        if waits {
            self.refuse_captured(stream)?;
        }
        let issued = self.issue(stream, Work::ToHost { dst, src, bytes: bytes as u64 })?;
        if let (Some(issued), true) = (issued, waits) {
            self.wait(&issued);
        }
        Ok(())
    }

    pub(super) fn copy_on_device(
        &mut self,
        call: &str,
        dst: u64,
        src: u64,
        bytes: usize,
        stream: u64,
    ) -> Result<(), Failure> {
        if bytes == 0 {
            return Ok(());
        }
        let device = self.streams.get(stream)?.device;
        self.check_range(device, call, src, bytes as u64, Access::Read)?;
        self.check_range(device, call, dst, bytes as u64, Access::Write)?;
        self.issue(stream, Work::OnDevice { dst, src, bytes: bytes as u64 })?;
        Ok(())
    }

    /// A fill; a call that is not asynchronous waits where the memory is page-locked, because the host sees it.
    #[allow(clippy::too_many_arguments, reason = "the call has that many arguments")]
    pub(super) fn memset(
        &mut self,
        call: &str,
        dst: u64,
        value: u32,
        width: u32,
        count: usize,
        stream: u64,
        asynchronous: bool,
    ) -> Result<(), Failure> {
        if !dst.is_multiple_of(u64::from(width)) {
            return Err(Failure::new(
                DriverCode::InvalidValue,
                format!("{dst:#x} is not a multiple of {width}"),
            ));
        }
        if count == 0 {
            return Ok(());
        }
        let device = self.streams.get(stream)?.device;
        let bytes = (count as u64).checked_mul(u64::from(width)).ok_or(DriverCode::InvalidValue)?;
        self.check_range(device, call, dst, bytes, Access::Write)?;
        let issued = self.issue(stream, Work::Fill { dst, value, width, count: count as u64 })?;
        if let (Some(issued), false) = (issued, asynchronous || !self.is_page_locked(dst, bytes)) {
            self.wait(&issued);
        }
        Ok(())
    }

    /// Names a range on whichever device has it.
    pub(super) fn name_memory(&mut self, address: u64, bytes: u64, name: &str) {
        for device in &mut self.devices {
            if device.allocation(address, bytes).is_some() || device.space.find(address, bytes).is_some() {
                device.name(address, bytes, name);
            }
        }
    }

    /// Refuses a call while a capture that it would disturb is under way.
    pub(super) fn device_undisturbed(&mut self, thread: ThreadId) -> Result<usize, Failure> {
        let device = self.current_device(thread)?;
        self.captures.refuse_unsafe_call(thread)?;
        Ok(device)
    }
}

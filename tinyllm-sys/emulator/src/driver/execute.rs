//! Work as it runs.

use std::io::Write;

use tinyllm_sys::DriverCode;

use super::{
    footprint::Footprint,
    history::Past,
    schedule::Waiting,
    state::State,
    work::{KernelLaunch, Source, Work},
};
use crate::{
    machine::{self, Launch},
    memory::{Region, Space},
    report::{Access, Finding, Kind, MemorySpace, Relation},
};

/// Bytes that a copy moves at once.
const PIECE: u64 = 1 << 20;

impl State {
    pub(super) fn execute(&mut self, waiting: &Waiting) {
        let device = waiting.device;
        let mut footprint = Footprint::default();
        let mut kernel = None;
        let result = match &waiting.work {
            Work::Kernel(launch) => {
                kernel = Some(launch.kernel.clone());
                self.run_kernel(device, &waiting.name, launch, &mut footprint)
            }
            Work::ToDevice { dst, src, bytes } => {
                self.copy_in(device, &waiting.name, *dst, src, *bytes, &mut footprint)
            }
            Work::ToHost { dst, src, bytes } => {
                self.copy_out(device, &waiting.name, *dst, *src, *bytes, &mut footprint)
            }
            Work::OnDevice { dst, src, bytes } => {
                self.copy_on(device, &waiting.name, *dst, *src, *bytes, &mut footprint)
            }
            Work::Fill { dst, value, width, count } => {
                self.fill(device, &waiting.name, *dst, *value, *width, *count, &mut footprint)
            }
            Work::Allocate { address, bytes, region } => {
                if let Some(region) = region {
                    self.devices[device].insert(region.clone());
                }
                footprint.writes.push(*address..*address + bytes);
                Ok(())
            }
            Work::Free { address, bytes } => {
                self.devices[device].remove(*address);
                footprint.writes.push(*address..*address + bytes);
                Ok(())
            }
            Work::Event(stamp) => {
                stamp.set();
                Ok(())
            }
            Work::Nothing => Ok(()),
        };
        if let Err(code) = result {
            self.devices[device].lost = Some(code);
        }
        if self.config.check.stream {
            let lifetime = matches!(waiting.work, Work::Allocate { .. } | Work::Free { .. });
            let past = Past {
                issued: waiting.issued.clone(),
                name: waiting.name.clone(),
                kernel,
                lifetime,
                footprint,
            };
            let findings = self.history.add(past, &self.devices[device]);
            findings.into_iter().for_each(|finding| self.findings.add(finding));
        }
    }

    fn run_kernel(
        &mut self,
        device: usize,
        name: &str,
        launch: &KernelLaunch,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let outcome = machine::run(&Launch {
            kernel: &launch.kernel,
            grid: launch.grid,
            block: launch.block,
            dynamic_shared_bytes: launch.shared_bytes,
            params: &launch.params,
            space: &self.devices[device].space,
            check: self.config.check,
            work: name.to_owned(),
            pool: self.config.threads.as_ref(),
        });
        outcome.findings.into_iter().for_each(|finding| self.findings.add(finding));
        // What nobody can read any more is no reason to fail.
        let _ = std::io::stdout().write_all(&outcome.printed);
        footprint.touched = outcome.touched;
        let counters = self.counters.entry(launch.kernel.name.clone()).or_default();
        counters.launches += 1;
        counters.total.merge(&outcome.counters);
        match outcome.fault {
            Some(code) => Err(DriverCode::from_number(code).unwrap_or(DriverCode::Unknown)),
            None => Ok(()),
        }
    }

    /// The memory of a range, or a finding: it was freed since the call.
    fn memory_of(
        &mut self,
        device: usize,
        work: &str,
        address: u64,
        bytes: u64,
        access: Access,
    ) -> Result<Region, DriverCode> {
        let device = &self.devices[device];
        if let Some(region) = device.space.find(address, bytes) {
            return Ok(region.clone());
        }
        if self.config.check.memcheck {
            self.findings.add(outside(&device.space, work, address, bytes, access));
        }
        Err(DriverCode::IllegalAddress)
    }

    fn copy_in(
        &mut self,
        device: usize,
        work: &str,
        dst: u64,
        src: &Source,
        bytes: u64,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let to = self.memory_of(device, work, dst, bytes, Access::Write)?;
        footprint.writes.push(dst..dst + bytes);
        match src {
            Source::Read(data) => to.bytes.write(to.offset + (dst - to.start), data),
            Source::PageLocked(src) => {
                let from = self.memory_of(device, work, *src, bytes, Access::Read)?;
                footprint.reads.push(*src..*src + bytes);
                copy(&from, *src, &to, dst, bytes);
            }
        }
        Ok(())
    }

    fn copy_out(
        &mut self,
        device: usize,
        work: &str,
        dst: u64,
        src: u64,
        bytes: u64,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let from = self.memory_of(device, work, src, bytes, Access::Read)?;
        footprint.reads.push(src..src + bytes);
        let offset = from.offset + (src - from.start);
        if self.config.check.initcheck
            && let Some(missing) = from.bytes.written().first_missing(offset, bytes)
        {
            let address = src + (missing - offset);
            self.findings.add(Finding {
                access: Some(Access::Read),
                space: Some(MemorySpace::Global),
                address: Some(address),
                bytes,
                place: self.devices[device].place(address),
                ..Finding::new(Kind::Uninitialized, work)
            });
        }
        if let Some(to) = self.devices[device].space.find(dst, bytes).cloned() {
            footprint.writes.push(dst..dst + bytes);
            copy(&from, src, &to, dst, bytes);
            return Ok(());
        }
        let mut piece = vec![0; PIECE.min(bytes) as usize];
        let mut at = 0;
        while at < bytes {
            let count = PIECE.min(bytes - at) as usize;
            from.bytes.read(offset + at, &mut piece[..count]);
            let to = std::ptr::with_exposed_provenance_mut::<u8>((dst + at) as usize);
            // SAFETY: whoever asked for the copy promised that so many bytes can be written there until it is done, and has
            // not been told that it is.
            unsafe { to.copy_from_nonoverlapping(piece.as_ptr(), count) };
            at += count as u64;
        }
        Ok(())
    }

    fn copy_on(
        &mut self,
        device: usize,
        work: &str,
        dst: u64,
        src: u64,
        bytes: u64,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let from = self.memory_of(device, work, src, bytes, Access::Read)?;
        let to = self.memory_of(device, work, dst, bytes, Access::Write)?;
        footprint.reads.push(src..src + bytes);
        footprint.writes.push(dst..dst + bytes);
        copy(&from, src, &to, dst, bytes);
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the call has that many arguments")]
    fn fill(
        &mut self,
        device: usize,
        work: &str,
        dst: u64,
        value: u32,
        width: u32,
        count: u64,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let bytes = count * u64::from(width);
        let to = self.memory_of(device, work, dst, bytes, Access::Write)?;
        footprint.writes.push(dst..dst + bytes);
        let pattern = &value.to_le_bytes()[..width as usize];
        let piece: Vec<u8> = pattern.iter().copied().cycle().take(PIECE.min(bytes) as usize).collect();
        let offset = to.offset + (dst - to.start);
        let mut at = 0;
        while at < bytes {
            let count = PIECE.min(bytes - at);
            to.bytes.write(offset + at, &piece[..count as usize]);
            at += count;
        }
        Ok(())
    }
}

/// Copies bytes, and which of them were written.
fn copy(from: &Region, src: u64, to: &Region, dst: u64, bytes: u64) {
    let (read, write) = (from.offset + (src - from.start), to.offset + (dst - to.start));
    let mut piece = vec![0; PIECE.min(bytes) as usize];
    let mut at = 0;
    while at < bytes {
        let count = PIECE.min(bytes - at) as usize;
        from.bytes.read(read + at, &mut piece[..count]);
        to.bytes.write(write + at, &piece[..count]);
        at += count as u64;
    }
    to.bytes.written().copy(write, from.bytes.written(), read, bytes);
}

/// A finding about a range that is nobody's.
pub(super) fn outside(space: &Space, work: &str, address: u64, bytes: u64, access: Access) -> Finding {
    // Where the first byte is fine the first that is not says more.
    let end = space.index(address).and_then(|index| space.regions.get(index)).map(|region| region.end);
    let place = space.place(end.unwrap_or(address));
    let freed = place.as_ref().is_some_and(|place| place.relation == Relation::Freed);
    let kind = if freed { Kind::UseAfterFree } else { Kind::OutOfBounds };
    Finding {
        access: Some(access),
        space: Some(MemorySpace::Global),
        address: Some(address),
        bytes,
        place,
        ..Finding::new(kind, work)
    }
}

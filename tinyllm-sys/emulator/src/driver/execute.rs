//! Work as it runs.

use std::{
    collections::{BTreeMap, HashSet},
    io::Write,
};

use tinyllm_sys::DriverCode;

use super::{
    contraction,
    device::Device,
    findings::Findings,
    footprint::Footprint,
    history::{History, Past},
    schedule::Waiting,
    staging::Staging,
    work::{KernelLaunch, Source, Work},
};
use crate::{
    Check, Counters,
    machine::{self, Launch},
    memory::{Region, Space},
    report::{Access, Finding, Kind, MemorySpace, Relation},
};

/// Bytes that a copy moves at once.
const COPY_BYTES: u64 = 1 << 20;

/// Counters of all launches of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct KernelCounters {
    /// How often it was launched.
    pub launches: u64,
    /// Of all of them together.
    pub total: Counters,
}

/// The device that a piece of work runs on, and where what is found and counted goes.
pub(super) struct Execution<'a> {
    pub(super) check: Check,
    pub(super) threads: Option<&'a rayon::ThreadPool>,
    pub(super) budget: Option<u64>,
    pub(super) device: &'a mut Device,
    pub(super) history: &'a mut History,
    pub(super) staging: &'a mut Staging,
    pub(super) findings: &'a mut Findings,
    pub(super) counters: &'a mut BTreeMap<String, KernelCounters>,
    /// Functions whose code was looked at.
    pub(super) examined: &'a mut HashSet<u64>,
}

impl Execution<'_> {
    /// Runs a piece of work. One that fails loses the device's context.
    pub(super) fn run(&mut self, waiting: &Waiting) {
        let name = &waiting.name;
        let mut footprint = Footprint::default();
        let mut kernel = None;
        let result = match &waiting.work {
            Work::Kernel(launch) => {
                kernel = Some(launch.kernel.clone());
                self.run_kernel(name, launch, &mut footprint)
            }
            Work::ToDevice { dst, src, bytes } => self.copy_in(name, *dst, src, *bytes, &mut footprint),
            Work::ToHost { dst, src, bytes } => self.copy_out(name, *dst, *src, *bytes, &mut footprint),
            Work::OnDevice { dst, src, bytes } => self.copy_on(name, *dst, *src, *bytes, &mut footprint),
            Work::Fill { dst, value, width, count } => {
                self.fill(name, *dst, *value, *width, *count, &mut footprint)
            }
            Work::Allocate { address, bytes, region } => {
                if let Some(region) = region {
                    self.device.insert(region.clone());
                }
                footprint.writes.push(*address..*address + bytes);
                Ok(())
            }
            Work::Free { address, bytes } => {
                self.device.remove(*address);
                footprint.writes.push(*address..*address + bytes);
                Ok(())
            }
            Work::Event(stamp) => {
                stamp.set();
                Ok(())
            }
            // One that is called is no work of a device.
            Work::Host(_) | Work::Nothing => Ok(()),
        };
        if let Err(code) = result {
            self.device.lost = Some(code);
        }
        if self.check.stream {
            self.staging.written_by(&footprint);
            let lifetime = matches!(waiting.work, Work::Allocate { .. } | Work::Free { .. });
            let (issued, name) = (waiting.issued.clone(), name.clone());
            let past = Past { issued, name, kernel, lifetime, footprint };
            let findings = self.history.add(past, self.device);
            findings.into_iter().for_each(|finding| self.findings.add(finding));
        }
    }

    fn run_kernel(
        &mut self,
        name: &str,
        launch: &KernelLaunch,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let workspace = if launch.cooperative { Some(self.device.add_workspace()?) } else { None };
        if self.check.contraction && self.examined.insert(launch.function) {
            let note = contraction::note(&launch.kernel, name);
            note.into_iter().for_each(|finding| self.findings.add(finding));
        }
        if launch.kernel.allocates() {
            self.device.begin_kernel_heap()?;
        }
        let outcome = machine::run(&Launch {
            kernel: &launch.kernel,
            grid: launch.grid,
            block: launch.block,
            dynamic_shared_bytes: launch.shared_bytes,
            params: &launch.params,
            space: &self.device.space,
            heap: &self.device.kernel_heap,
            grid_workspace: workspace.unwrap_or(0),
            check: self.check,
            budget: self.budget,
            work: name.to_owned(),
            pool: self.threads,
        });
        if let Some(workspace) = workspace {
            self.device.remove(workspace);
        }
        outcome.findings.into_iter().for_each(|finding| self.findings.add(finding));
        // A closed stdout is no reason to fail.
        let _ = std::io::stdout().write_all(&outcome.printed);
        let _ = std::io::stderr().write_all(&outcome.asserted);
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
        work: &str,
        address: u64,
        bytes: u64,
        access: Access,
    ) -> Result<Region, DriverCode> {
        if let Some(region) = self.device.space.find(address, bytes) {
            return Ok(region.clone());
        }
        if self.check.memcheck {
            self.findings.add(outside(&self.device.space, work, address, bytes, access));
        }
        Err(DriverCode::IllegalAddress)
    }

    fn copy_in(
        &mut self,
        work: &str,
        dst: u64,
        src: &Source,
        bytes: u64,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let to = self.memory_of(work, dst, bytes, Access::Write)?;
        footprint.writes.push(dst..dst + bytes);
        match src {
            Source::Read(data) => to.bytes.write(to.offset + (dst - to.start), data),
            Source::PageLocked { address: src, .. } => {
                let from = self.memory_of(work, *src, bytes, Access::Read)?;
                footprint.reads.push(*src..*src + bytes);
                copy(&from, *src, &to, dst, bytes);
            }
        }
        Ok(())
    }

    fn copy_out(
        &mut self,
        work: &str,
        dst: u64,
        src: u64,
        bytes: u64,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let from = self.memory_of(work, src, bytes, Access::Read)?;
        footprint.reads.push(src..src + bytes);
        let offset = from.offset + (src - from.start);
        if self.check.initcheck
            && let Some(missing) = from.bytes.written().first_missing(offset, bytes)
        {
            let address = src + (missing - offset);
            self.findings.add(Finding {
                access: Some(Access::Read),
                space: Some(MemorySpace::Global),
                address: Some(address),
                bytes,
                place: self.device.place(address),
                ..Finding::new(Kind::Uninitialized, work)
            });
        }
        if let Some(to) = self.device.space.find(dst, bytes).cloned() {
            footprint.writes.push(dst..dst + bytes);
            copy(&from, src, &to, dst, bytes);
            return Ok(());
        }
        let mut chunk = vec![0; COPY_BYTES.min(bytes) as usize];
        let mut at = 0;
        while at < bytes {
            let count = COPY_BYTES.min(bytes - at) as usize;
            from.bytes.read(offset + at, &mut chunk[..count]);
            let to = std::ptr::with_exposed_provenance_mut::<u8>((dst + at) as usize);
            // SAFETY: the caller of the copy promised that so many bytes can be written there until it is done, and no
            // call has returned yet that waits for it.
            unsafe { to.copy_from_nonoverlapping(chunk.as_ptr(), count) };
            at += count as u64;
        }
        Ok(())
    }

    fn copy_on(
        &mut self,
        work: &str,
        dst: u64,
        src: u64,
        bytes: u64,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let from = self.memory_of(work, src, bytes, Access::Read)?;
        let to = self.memory_of(work, dst, bytes, Access::Write)?;
        footprint.reads.push(src..src + bytes);
        footprint.writes.push(dst..dst + bytes);
        copy(&from, src, &to, dst, bytes);
        Ok(())
    }

    fn fill(
        &mut self,
        work: &str,
        dst: u64,
        value: u32,
        width: u32,
        count: u64,
        footprint: &mut Footprint,
    ) -> Result<(), DriverCode> {
        let bytes = count * u64::from(width);
        let to = self.memory_of(work, dst, bytes, Access::Write)?;
        footprint.writes.push(dst..dst + bytes);
        let pattern = &value.to_le_bytes()[..width as usize];
        if let Some(byte) = pattern.first().copied().filter(|first| pattern.iter().all(|byte| byte == first))
        {
            to.bytes.fill(to.offset + (dst - to.start), bytes, byte);
            return Ok(());
        }
        let chunk: Vec<u8> = pattern.iter().copied().cycle().take(COPY_BYTES.min(bytes) as usize).collect();
        let offset = to.offset + (dst - to.start);
        let mut at = 0;
        while at < bytes {
            let count = COPY_BYTES.min(bytes - at);
            to.bytes.write(offset + at, &chunk[..count as usize]);
            at += count;
        }
        Ok(())
    }
}

/// Copies bytes, and which of them were written.
fn copy(from: &Region, src: u64, to: &Region, dst: u64, bytes: u64) {
    let (read, write) = (from.offset + (src - from.start), to.offset + (dst - to.start));
    let mut chunk = vec![0; COPY_BYTES.min(bytes) as usize];
    let mut at = 0;
    while at < bytes {
        let count = COPY_BYTES.min(bytes - at) as usize;
        from.bytes.read(read + at, &mut chunk[..count]);
        to.bytes.write(write + at, &chunk[..count]);
        at += count as u64;
    }
    to.bytes.written().copy(write, from.bytes.written(), read, bytes);
}

/// A finding about a range outside of every allocation.
pub(super) fn outside(space: &Space, work: &str, address: u64, bytes: u64, access: Access) -> Finding {
    // The first byte that is outside is the one to report.
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

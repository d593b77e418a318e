//! The end of a program: what it has not freed.

use std::{fs::OpenOptions, io::Write, path::Path};

use super::{device::Origin, execute::KernelCounters, state::State};
use crate::report::{Finding, Kind, Place, Relation};

/// The work that leaks are found in.
const END: &str = "the end of the program";

fn leak(name: String, bytes: u64, address: Option<u64>, note: &str) -> Finding {
    let place = Some(Place { name, bytes, offset: 0, relation: Relation::Inside });
    Finding { address, bytes, place, note: note.to_owned(), ..Finding::new(Kind::Leak, END) }
}

/// A line of the report: a finding's fields, and as `text` what people read.
fn line(finding: &Finding) -> Option<String> {
    let mut value = serde_json::to_value(finding).ok()?;
    let object = value.as_object_mut()?;
    object.insert("text".into(), finding.to_string().into());
    object.insert("check".into(), finding.kind.check().into());
    object.insert("is_note".into(), finding.kind.is_note().into());
    serde_json::to_string(&value).ok()
}

impl State {
    /// Runs queued work, and looks for leaks. Allocations of a context that a kernel's failure lost are none.
    pub(super) fn finish(&mut self) -> Vec<Finding> {
        for id in self.host_functions.close() {
            self.schedule.release(id);
        }
        while self.run_any() {}
        self.host_functions.open();
        let changed = self.staging.finish(&self.devices);
        changed.into_iter().for_each(|finding| self.findings.add(finding));
        let mut findings = self.findings();
        if !self.config.check.leak {
            return findings;
        }
        for device in self.devices.iter().filter(|device| device.lost.is_none()) {
            for (address, allocation) in &device.allocations {
                let call = match allocation.origin {
                    Origin::Plain => "cuMemAlloc without cuMemFree",
                    Origin::Pool(_) => "cuMemAllocFromPoolAsync without cuMemFreeAsync",
                    Origin::Mapped => "cuMemMap without cuMemUnmap",
                    Origin::Module => continue,
                };
                let name =
                    device.place(*address).map_or_else(|| allocation.label.to_string(), |place| place.name);
                findings.push(leak(name, allocation.bytes, Some(*address), call));
            }
        }
        for device in self.devices.iter().filter(|device| device.lost.is_none()) {
            // Those of one size are one, counted.
            let mut found: Vec<Finding> = Vec::new();
            for region in device.kernel_heap.unfreed() {
                let is_same = |known: &&mut Finding| {
                    known.place.as_ref().is_some_and(|place| *place.name == *region.label)
                };
                match found.iter_mut().find(is_same) {
                    Some(known) => known.count += 1,
                    None => {
                        let bytes = region.end - region.start;
                        let note = "malloc in a kernel without free";
                        found.push(leak(region.label.to_string(), bytes, Some(region.start), note));
                    }
                }
            }
            findings.extend(found);
        }
        if self.devices.iter().all(|device| device.lost.is_some()) {
            return findings;
        }
        for (address, memory) in &self.page_locked {
            let name = format!("page-locked memory of {} bytes", memory.len());
            findings.push(leak(name, memory.len(), Some(*address), "cuMemAllocHost without cuMemFreeHost"));
        }
        findings.extend(self.virtual_memory.unreleased().map(|bytes| {
            leak("memory without an address".into(), bytes, None, "cuMemCreate without cuMemRelease")
        }));
        let own_pools = self.pools.values().filter(|pool| !pool.is_default);
        let counts = [
            ("streams", self.streams.of_program(), "cuStreamCreate without cuStreamDestroy"),
            ("events", self.events.len(), "cuEventCreate without cuEventDestroy"),
            ("modules", self.modules.len(), "cuModuleLoadDataEx without cuModuleUnload"),
            ("memory pools", own_pools.count(), "cuMemPoolCreate without cuMemPoolDestroy"),
            ("graphs", self.graphs.len(), "cuStreamEndCapture without cuGraphDestroy"),
            ("executable graphs", self.execs.len(), "cuGraphInstantiate without cuGraphExecDestroy"),
            (
                "reservations",
                self.virtual_memory.reservations(),
                "cuMemAddressReserve without cuMemAddressFree",
            ),
        ];
        for (what, count, note) in counts.into_iter().filter(|(_, count, _)| *count > 0) {
            let mut finding = leak(format!("{count} {what}"), 0, None, note);
            finding.count = 1;
            findings.push(finding);
        }
        findings
    }

    /// Writes the report and the summary, once.
    pub(super) fn write_results(&mut self) {
        let (report, summary) = (self.config.report.take(), self.config.summary.take());
        if report.is_none() && summary.is_none() {
            return;
        }
        let findings = self.finish();
        if let Some(path) = report.filter(|_| !findings.is_empty()) {
            let lines = findings.iter().filter_map(line);
            append(&path, &lines.map(|line| line + "\n").collect::<String>());
        }
        if let Some(path) = summary {
            let total = |of: fn(&KernelCounters) -> u64| self.counters.values().map(of).sum::<u64>();
            let launches = total(|counters| counters.launches);
            let instructions = total(|counters| counters.total.thread_instructions);
            let summary = serde_json::json!({ "launches": launches, "thread_instructions": instructions });
            append(&path, &format!("{summary}\n"));
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.write_results();
    }
}

/// Adds lines in one write, so that programs that end together do not mix theirs. No caller is left to return an error to.
fn append(path: &Path, text: &str) {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let _ = opened.and_then(|mut file| file.write_all(text.as_bytes()));
}

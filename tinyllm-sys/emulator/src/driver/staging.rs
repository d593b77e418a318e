//! Page-locked memory that copies to the device read: the host has to leave it as it is from the call until it has waited for the
//! copy. Whether the copy has run by then is the scheduler's choice, so what is compared is the memory at the call and at the wait.

use std::sync::Arc;

use super::{
    clock::Clock,
    device::Device,
    footprint::Footprint,
    schedule::{Issued, Waiting},
    work::{Source, Work},
};
use crate::{
    memory::{Bytes, CHUNK_BYTES},
    report::{Access, Finding, Kind},
};

/// A copy that the host has not waited for.
#[derive(Debug)]
struct Watched {
    issued: Issued,
    name: String,
    device: usize,
    /// The first address it reads, and where that is in the memory.
    address: u64,
    memory: Arc<Bytes>,
    offset: u64,
    /// What the host may expect to be read: the bytes at the call, with what work of the device or of the host in a stream's
    /// order has written since.
    expected: Vec<u8>,
    is_reported: bool,
}

/// All copies from page-locked memory that the host has not waited for.
#[derive(Debug, Default)]
pub(super) struct Staging {
    watched: Vec<Watched>,
}

impl Watched {
    fn read(&self) -> Vec<u8> {
        let mut now = vec![0; self.expected.len()];
        self.memory.read(self.offset, &mut now);
        now
    }

    /// Takes bytes as they are now: a part of what is read.
    fn accept(&mut self, start: u64, end: u64) {
        let last = self.address + self.expected.len() as u64;
        let (start, end) = (start.max(self.address), end.min(last));
        if start < end {
            let from = (start - self.address) as usize;
            let part = &mut self.expected[from..(end - self.address) as usize];
            self.memory.read(self.offset + from as u64, part);
        }
    }

    /// A finding where the host has changed something.
    fn compare(&mut self, devices: &[Device]) -> Option<Finding> {
        if self.is_reported {
            return None;
        }
        let now = self.read();
        let differs = |(was, is): (&u8, &u8)| was != is;
        let first = self.expected.iter().zip(&now).position(differs)?;
        let last = self.expected.iter().zip(&now).rposition(differs)?;
        self.is_reported = true;
        let address = self.address + first as u64;
        let place = devices[self.device].place(address);
        let (name, bytes, from) = (&self.name, self.expected.len(), self.address);
        Some(Finding {
            access: Some(Access::Write),
            address: Some(address),
            bytes: (last - first + 1) as u64,
            place,
            note: format!(
                "the host changed it after the call of the {name}, {bytes} bytes from {from:#x}, and before it waited for it"
            ),
            ..Finding::new(Kind::SourceChanged, name.clone())
        })
    }
}

impl Staging {
    /// Remembers what work that was just asked for will read.
    pub(super) fn watch<'a>(&mut self, asked_for: impl Iterator<Item = &'a Waiting>) {
        for waiting in asked_for {
            let Work::ToDevice { src: Source::PageLocked { address, watched: Some(memory) }, bytes, .. } =
                &waiting.work
            else {
                continue;
            };
            let offset = address - memory.as_ptr().addr() as u64;
            let mut expected = vec![0; *bytes as usize];
            memory.read(offset, &mut expected);
            self.watched.push(Watched {
                issued: waiting.issued.clone(),
                name: waiting.name.clone(),
                device: waiting.device,
                address: *address,
                memory: memory.clone(),
                offset,
                expected,
                is_reported: false,
            });
        }
    }

    /// A piece of work has run: what it wrote is no change by the host.
    pub(super) fn written_by(&mut self, footprint: &Footprint) {
        for watched in &mut self.watched {
            for range in &footprint.writes {
                watched.accept(range.start, range.end);
            }
            let (first, last) = (watched.address, watched.address + watched.expected.len() as u64 - 1);
            for index in first / CHUNK_BYTES..=last / CHUNK_BYTES {
                let Some(chunk) = footprint.touched.chunks.get(&index) else { continue };
                for (word, (written, atomic)) in chunk.written.iter().zip(&chunk.atomic).enumerate() {
                    let start = index * CHUNK_BYTES + 64 * word as u64;
                    let mut bits = written | atomic;
                    while bits != 0 {
                        let byte = start + u64::from(bits.trailing_zeros());
                        watched.accept(byte, byte + 1);
                        bits &= bits - 1;
                    }
                }
            }
        }
    }

    /// A function of the host has run in a stream's order: what it wrote, which nobody has seen, is right.
    pub(super) fn written_by_the_host(&mut self) {
        for watched in &mut self.watched {
            watched.accept(watched.address, watched.address + watched.expected.len() as u64);
        }
    }

    /// Compares what is before a clock, which the host may have waited for, and watches it no longer.
    pub(super) fn waited_for(&mut self, clock: &Clock, devices: &[Device]) -> Vec<Finding> {
        let is_done = |watched: &mut Watched| clock.knows(watched.issued.lane, watched.issued.count);
        self.watched.extract_if(.., is_done).filter_map(|mut watched| watched.compare(devices)).collect()
    }

    /// Compares all that is left: the program has ended.
    pub(super) fn finish(&mut self, devices: &[Device]) -> Vec<Finding> {
        self.watched.drain(..).filter_map(|mut watched| watched.compare(devices)).collect()
    }
}

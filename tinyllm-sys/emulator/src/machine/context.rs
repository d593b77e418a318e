//! What running a block needs beside the block itself: the launch, what was found and counted, what was touched.

use std::collections::HashMap;

use super::{
    Fault, Launch,
    aligned::Aligned,
    counts::{Counters, Executed},
    order::Order,
    recorder::Recorder,
    undefined::Unwritten,
    warp::Warp,
};
use crate::{
    lanes::LANES,
    memory::Region,
    report::{Access, Finding, Kind, MemorySpace, Thread, Used},
};

/// Findings that differ in these are different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    pc: u32,
    /// The other side's instruction.
    other: u32,
    space: Option<MemorySpace>,
}

/// State of a host thread that runs blocks.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) launch: &'a Launch<'a>,
    /// The number of the block at hand.
    pub(super) block: u64,
    pub(super) counters: Counters,
    pub(super) executed: Vec<Executed>,
    pub(super) recorder: Recorder,
    pub(super) order: Order,
    /// Whether blocks can be ordered, and it matters.
    pub(super) orders: bool,
    pub(super) params: Aligned,
    /// What the block at hand has printed.
    pub(super) printed: Vec<u8>,
    /// What it has said of assertions that failed.
    pub(super) asserted: Vec<u8>,
    /// What the access at hand has read that nobody wrote.
    pub(super) unwritten: Vec<Unwritten>,
    /// Instructions of warps so far.
    pub(super) spent: u64,
    /// Grows where something outside of the block changes: global memory, the clock, what is printed.
    pub(super) changes: u64,
    /// For each instruction, the region that it reached last.
    regions: Vec<u32>,
    /// Whether a region that an instruction came to was the host's.
    reached_host: bool,
    findings: Vec<Finding>,
    known: HashMap<Key, usize>,
}

/// An access that something is wrong with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Culprit {
    pub(super) kind: Kind,
    pub(super) pc: u32,
    pub(super) warp: u32,
    pub(super) lane: usize,
    pub(super) access: Access,
    pub(super) space: MemorySpace,
    pub(super) address: u64,
    pub(super) bytes: u64,
}

impl<'a> Context<'a> {
    pub(super) fn new(launch: &'a Launch<'a>) -> Self {
        let code = launch.kernel.code.len();
        let mut params = Aligned::new(launch.params.len());
        params.as_mut_slice().copy_from_slice(launch.params);
        Context {
            launch,
            block: 0,
            counters: Counters::default(),
            executed: vec![Executed::default(); code],
            recorder: Recorder::new(),
            order: Order::default(),
            orders: launch.kernel.ordered && launch.check.racecheck && launch.grid != [1; 3],
            params,
            printed: Vec::new(),
            asserted: Vec::new(),
            unwritten: Vec::new(),
            spent: 0,
            changes: 0,
            regions: vec![0; code],
            reached_host: false,
            findings: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// The region of a whole range.
    #[inline(always)]
    pub(super) fn region(&mut self, pc: u32, address: u64, bytes: u64) -> Option<&'a Region> {
        let regions = &self.launch.space.regions;
        let last = regions.get(self.regions[pc as usize] as usize);
        let inside = |region: &&Region| {
            address >= region.start && address.checked_add(bytes).is_some_and(|end| end <= region.end)
        };
        if let Some(region) = last.filter(inside) {
            return Some(region);
        }
        let index = self.launch.space.index(address)?;
        self.regions[pc as usize] = index as u32;
        let region = regions.get(index).filter(inside)?;
        self.reached_host |= region.is_of_host();
        Some(region)
    }

    /// From now on, [`Context::reads_of_host`] sees every instruction.
    pub(super) fn forget_regions(&mut self) {
        self.regions.fill(u32::MAX);
        self.reached_host = false;
    }

    /// Whether an instruction has reached memory of the host since [`Context::forget_regions`].
    pub(super) fn reads_of_host(&self) -> bool {
        self.reached_host
    }

    /// A thread of the block at hand.
    pub(super) fn thread(&self, warp: u32, lane: usize) -> Thread {
        let number = warp * LANES as u32 + lane as u32;
        let [x, y, _] = self.launch.block;
        Thread {
            block: self.launch.block_position(self.block),
            thread: [number % x, number / x % y, number / x / y],
        }
    }

    /// Notes a finding; what makes it up is asked for only where there is none like it yet.
    pub(super) fn find(&mut self, culprit: Culprit, other: u32, add: impl FnOnce(&Self, &mut Finding)) {
        if !self.launch.check.finds(culprit.kind) {
            return;
        }
        let key = Key { kind: culprit.kind, pc: culprit.pc, other, space: Some(culprit.space) };
        if let Some(index) = self.known.get(&key) {
            self.findings[*index].count += 1;
            return;
        }
        let mut finding = Finding {
            site: self.launch.kernel.site(culprit.pc),
            thread: Some(self.thread(culprit.warp, culprit.lane)),
            access: Some(culprit.access),
            space: Some(culprit.space),
            address: Some(culprit.address),
            bytes: culprit.bytes,
            place: self.launch.place(culprit.space, culprit.address),
            ..Finding::new(culprit.kind, self.launch.work.clone())
        };
        add(self, &mut finding);
        self.known.insert(key, self.findings.len());
        self.findings.push(finding);
    }

    /// A finding about a barrier of the block.
    pub(super) fn find_barrier(&mut self, pc: u32, warp: u32, lane: usize, note: String) {
        self.find_at(Kind::BarrierDivergence, pc, warp, lane, note, None);
    }

    /// A finding about an instruction whose operands are none that it takes.
    pub(super) fn find_misuse(&mut self, pc: u32, warp: u32, lane: usize, note: String) {
        self.find_at(Kind::InvalidOperand, pc, warp, lane, note, None);
    }

    /// Lanes come to an instruction that ends the kernel.
    #[cold]
    pub(super) fn trapped(&mut self, warp: &Warp, pc: u32, active: u32) -> Fault {
        let lane = active.trailing_zeros() as usize;
        self.find_at(Kind::Trap, pc, warp.index, lane, "the kernel ends itself".into(), None);
        Fault::LAUNCH_FAILED
    }

    /// A finding about an instruction that concerns no address.
    pub(super) fn find_at(
        &mut self,
        kind: Kind,
        pc: u32,
        warp: u32,
        lane: usize,
        note: String,
        used: Option<Used>,
    ) {
        self.find_with(kind, pc, warp, lane, |_, finding| (finding.note, finding.used) = (note, used));
    }

    /// The same, with whatever else is known.
    pub(super) fn find_with(
        &mut self,
        kind: Kind,
        pc: u32,
        warp: u32,
        lane: usize,
        add: impl FnOnce(&Self, &mut Finding),
    ) {
        if !self.launch.check.finds(kind) {
            return;
        }
        let key = Key { kind, pc, other: 0, space: None };
        if let Some(index) = self.known.get(&key) {
            self.findings[*index].count += 1;
            return;
        }
        let mut finding = Finding {
            site: self.launch.kernel.site(pc),
            thread: Some(self.thread(warp, lane)),
            ..Finding::new(kind, self.launch.work.clone())
        };
        add(self, &mut finding);
        self.known.insert(key, self.findings.len());
        self.findings.push(finding);
    }

    /// Takes what was found.
    pub(super) fn take_findings(&mut self) -> Vec<Finding> {
        self.known.clear();
        std::mem::take(&mut self.findings)
    }
}

//! A whole launch: its blocks over the processor's threads, or one at a time where their order shows.

use std::{collections::VecDeque, sync::Mutex};

use rayon::prelude::*;

use super::{
    Fault, Launch, Outcome,
    block::{Block, Progress},
    context::Context,
    counts::Executed,
    endless,
    order::Interval,
    races::Races,
};
use crate::{lanes::Registers, report::Finding};

/// Blocks that are run before their results are put together.
const WAVE: u64 = 256;

/// Turns of a block that waits for others before they get theirs.
const TURNS: u64 = 64;

/// Blocks that may wait for each other at once: as many as the emulated device holds of the smallest.
const RESIDENT: usize = super::block::MULTIPROCESSORS as usize * 32;

/// A host thread's part: what running blocks needs, and the memory of one block.
struct Worker<'a> {
    context: Context<'a>,
    block: Block,
    prototype: Registers,
}

/// What one block did.
struct BlockOutcome {
    intervals: Vec<Interval>,
    findings: Vec<Finding>,
    printed: Vec<u8>,
    asserted: Vec<u8>,
    /// Instructions of warps of the launch, so far as it knows of them.
    spent: u64,
    fault: Option<Fault>,
}

impl<'a> Worker<'a> {
    fn new(launch: &'a Launch<'a>) -> Self {
        let prototype = launch.kernel.registers();
        Worker { context: Context::new(launch), block: Block::new(launch, &prototype), prototype }
    }

    /// Runs a block; `spent` instructions of the launch are over.
    fn run(&mut self, index: u64, spent: u64) -> BlockOutcome {
        let Worker { context, block, prototype } = self;
        context.spent = spent;
        block.start(context, prototype, index);
        loop {
            match block.run(context, u64::MAX) {
                Ok(Progress::More) => {
                    let Some(reason) = endless::reason(context, || block.repeats(context)) else { continue };
                    match endless::finding(context, reason, std::iter::once(&mut *block)) {
                        Some(finding) => return stopped(context, block, finding),
                        None => block.watch_anew(),
                    }
                }
                result => return finished(context, result),
            }
        }
    }
}

/// What the block that just ended leaves.
fn finished(context: &mut Context<'_>, result: Result<Progress, Fault>) -> BlockOutcome {
    let touched = context.recorder.take();
    BlockOutcome {
        intervals: context.order.finish(touched),
        findings: context.take_findings(),
        printed: std::mem::take(&mut context.printed),
        asserted: std::mem::take(&mut context.asserted),
        spent: context.spent,
        fault: result.err(),
    }
}

/// What a block leaves that is stopped.
fn stopped(context: &mut Context<'_>, block: &mut Block, finding: Finding) -> BlockOutcome {
    block.swap(context);
    let mut outcome = finished(context, Err(Fault::LAUNCH_TIMEOUT));
    outcome.findings.extend(context.launch.check.finds(finding.kind).then_some(finding));
    outcome
}

/// Runs a kernel. The launch's shape and its shared memory are within the device's limits.
pub(crate) fn run(launch: &Launch<'_>) -> Outcome {
    let blocks = launch.grid.map(u64::from).iter().product::<u64>();
    let mut gathered = Gathered::default();
    if launch.kernel.ordered || blocks == 1 {
        in_order(launch, blocks, &mut gathered);
    } else {
        match launch.pool {
            Some(pool) => pool.install(|| in_parallel(launch, blocks, &mut gathered)),
            None => in_parallel(launch, blocks, &mut gathered),
        }
    }
    gathered.finish(launch)
}

fn in_parallel(launch: &Launch<'_>, blocks: u64, gathered: &mut Gathered) {
    let idle: Mutex<Vec<Worker<'_>>> = Mutex::new(Vec::new());
    let borrow = || idle.lock().ok().and_then(|mut idle| idle.pop()).unwrap_or_else(|| Worker::new(launch));
    let (mut first, mut spent) = (0, 0);
    while first < blocks && gathered.fault.is_none() {
        if let Some(budget) = launch.budget.filter(|budget| spent > *budget) {
            let finding = endless::over_budget(launch, budget, first, blocks);
            gathered.outcome.findings.extend(launch.check.finds(finding.kind).then_some(finding));
            gathered.fault = Some(Fault::LAUNCH_TIMEOUT);
            break;
        }
        let end = blocks.min(first + WAVE);
        let outcomes: Vec<BlockOutcome> = (first as usize..end as usize)
            .into_par_iter()
            .map(|index| {
                let mut worker = borrow();
                let outcome = worker.run(index as u64, spent);
                if let Ok(mut idle) = idle.lock() {
                    idle.push(worker);
                }
                outcome
            })
            .collect();
        let before = spent;
        for (index, outcome) in (first..end).zip(outcomes) {
            spent += outcome.spent - before;
            if gathered.fault.is_none() {
                gathered.add(launch, index, outcome);
            }
        }
        first = end;
    }
    for worker in idle.into_inner().unwrap_or_default() {
        gathered.count(launch, &worker.context);
    }
}

/// Block after block. One that waits for others stays, and the next ones begin.
fn in_order(launch: &Launch<'_>, blocks: u64, gathered: &mut Gathered) {
    let mut context = Context::new(launch);
    let prototype = launch.kernel.registers();
    let mut resident: VecDeque<Block> = VecDeque::new();
    let mut spare: Vec<Block> = Vec::new();
    let mut next = 0;
    while next < blocks || !resident.is_empty() {
        // A new block begins while there is room; those that wait get their turn after it.
        let mut block = if next < blocks && resident.len() < RESIDENT {
            let mut block = spare.pop().unwrap_or_else(|| Block::new(launch, &prototype));
            block.start(&context, &prototype, next);
            next += 1;
            block
        } else {
            let Some(block) = resident.pop_front() else { break };
            block
        };
        match block.run(&mut context, TURNS) {
            Ok(Progress::More) => {
                gathered.races.add(launch, block.index, block.take_done());
                resident.push_back(block);
                let none_begins = next == blocks || resident.len() >= RESIDENT;
                let all_repeat = || none_begins && resident.iter().all(|block| block.repeats(&context));
                let Some(reason) = endless::reason(&context, all_repeat) else { continue };
                match (endless::finding(&mut context, reason, resident.iter_mut()), resident.back_mut()) {
                    (Some(finding), Some(block)) => {
                        let outcome = stopped(&mut context, block, finding);
                        gathered.add(launch, block.index, outcome);
                        break;
                    }
                    _ => resident.iter_mut().for_each(Block::watch_anew),
                }
            }
            result => {
                let outcome = finished(&mut context, result);
                gathered.add(launch, block.index, outcome);
                spare.push(block);
                if gathered.fault.is_some() {
                    break;
                }
            }
        }
    }
    gathered.count(launch, &context);
}

/// Results of blocks, put together in the order of their numbers.
#[derive(Default)]
struct Gathered {
    outcome: Outcome,
    races: Races,
    executed: Vec<Executed>,
    fault: Option<Fault>,
}

impl Gathered {
    fn add(&mut self, launch: &Launch<'_>, index: u64, outcome: BlockOutcome) {
        for finding in outcome.findings {
            let same = |other: &&mut Finding| {
                let lines = |finding: &Finding| {
                    let other = finding.other.as_ref().and_then(|other| other.site.as_ref());
                    (finding.site.as_ref().map(|site| site.ptx_line), other.map(|site| site.ptx_line))
                };
                other.kind == finding.kind && other.space == finding.space && lines(other) == lines(&finding)
            };
            match self.outcome.findings.iter_mut().find(same) {
                Some(known) => known.count += finding.count,
                None => self.outcome.findings.push(finding),
            }
        }
        self.outcome.printed.extend_from_slice(&outcome.printed);
        self.outcome.asserted.extend_from_slice(&outcome.asserted);
        self.races.add(launch, index, outcome.intervals);
        self.fault = outcome.fault;
    }

    fn count(&mut self, launch: &Launch<'_>, context: &Context<'_>) {
        self.outcome.counters.merge(&context.counters);
        self.executed.resize(launch.kernel.code.len(), Executed::default());
        for (sum, executed) in self.executed.iter_mut().zip(&context.executed) {
            sum.warps += executed.warps;
            sum.threads += executed.threads;
        }
    }

    fn finish(mut self, launch: &Launch<'_>) -> Outcome {
        self.outcome.counters.add_executed(launch.kernel, &self.executed);
        let (findings, touched) = self.races.finish();
        self.outcome.findings.extend(findings);
        let (read, written) = touched.unique_bytes();
        self.outcome.counters.unique_bytes_read = read;
        self.outcome.counters.unique_bytes_written = written;
        self.outcome.touched = touched;
        self.outcome.fault = self.fault.map(|fault| fault.0);
        self.outcome
    }
}

//! Everything an emulator knows: values that each look after themselves, and what takes several of them at once.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    thread::ThreadId,
};

use tinyllm_sys::{DeviceHandle, DriverCode, EventHandle, StreamHandle};

use super::{
    capture::Captures,
    device::Device,
    event::Event,
    execute::{Execution, KernelCounters},
    failure::Failure,
    findings::Findings,
    graph::{Graph, GraphExec},
    handles::Handles,
    history::History,
    host_functions::HostFunctions,
    module::Modules,
    pool::Pool,
    schedule::{Issued, Schedule},
    staging::Staging,
    streams::Streams,
    virtual_memory::VirtualMemory,
    work::Work,
};
use crate::{Check, memory::Bytes, report::Finding};

/// What an emulator is made with.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) check: Check,
    pub(super) threads: Option<rayon::ThreadPool>,
    /// Instructions of warps that a launch may take.
    pub(super) budget: Option<u64>,
    /// Findings are added to this file at the end.
    pub(super) report: Option<std::path::PathBuf>,
    /// What kernels did in all is added to this file at the end.
    pub(super) summary: Option<std::path::PathBuf>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) handles: Handles,
    pub(super) devices: Vec<Device>,
    /// Each thread's stack of contexts, by device; the current one is the last.
    pub(super) contexts: HashMap<ThreadId, Vec<usize>>,
    pub(super) streams: Streams,
    pub(super) events: BTreeMap<u64, Event>,
    pub(super) modules: Modules,
    pub(super) pools: BTreeMap<u64, Pool>,
    pub(super) captures: Captures,
    pub(super) graphs: BTreeMap<u64, Graph>,
    pub(super) execs: BTreeMap<u64, GraphExec>,
    pub(super) virtual_memory: VirtualMemory,
    pub(super) page_locked: BTreeMap<u64, Arc<Bytes>>,
    pub(super) schedule: Schedule,
    history: History,
    pub(super) staging: Staging,
    pub(super) host_functions: HostFunctions,
    pub(super) findings: Findings,
    pub(super) counters: BTreeMap<String, KernelCounters>,
    /// Functions whose code was looked at: see [`super::contraction`].
    examined: HashSet<u64>,
}

impl State {
    pub(super) fn new(devices: usize, memory_bytes: u64, seed: u64, config: Config) -> Self {
        let mut handles = Handles::default();
        State {
            config,
            devices: (0..devices).map(|ordinal| Device::new(ordinal, memory_bytes)).collect(),
            contexts: HashMap::new(),
            streams: Streams::new(devices, &mut handles),
            events: BTreeMap::new(),
            modules: Modules::default(),
            pools: BTreeMap::new(),
            captures: Captures::default(),
            graphs: BTreeMap::new(),
            execs: BTreeMap::new(),
            virtual_memory: VirtualMemory::default(),
            page_locked: BTreeMap::new(),
            schedule: Schedule::new(seed),
            history: History::default(),
            staging: Staging::default(),
            host_functions: HostFunctions::default(),
            findings: Findings::default(),
            counters: BTreeMap::new(),
            examined: HashSet::new(),
            handles,
        }
    }

    /// The findings so far, with modules where they are needed to tell kernels apart.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.findings.list().to_vec();
        findings.iter_mut().for_each(|finding| self.modules.identities.name(finding));
        findings
    }

    pub(super) fn device_of(&self, device: DeviceHandle) -> Result<usize, Failure> {
        let ordinal = usize::try_from(device.0).ok().filter(|ordinal| *ordinal < self.devices.len());
        ordinal.ok_or(DriverCode::InvalidDevice.into())
    }

    /// The device of a thread's context, if it has one.
    pub(super) fn context_of(&self, thread: ThreadId) -> Option<usize> {
        self.contexts.get(&thread)?.last().copied()
    }

    /// The device of the calling thread's context.
    pub(super) fn current_device(&self, thread: ThreadId) -> Result<usize, Failure> {
        let device = self.context_of(thread).ok_or(DriverCode::InvalidContext)?;
        match self.devices[device].lost {
            Some(code) => Err(Failure::new(code, "the context is lost: an earlier kernel failed")),
            None => Ok(device),
        }
    }

    /// Fails where work that was waited for lost the context.
    pub(super) fn check_context(&self, device: usize) -> Result<(), Failure> {
        self.devices[device].lost.map_or(Ok(()), |code| Err(code.into()))
    }

    /// The key of a stream's handle, for a thread with a current context.
    pub(super) fn stream_key(&mut self, handle: StreamHandle, thread: ThreadId) -> Result<u64, Failure> {
        let device = self.current_device(thread)?;
        self.streams.key(handle, thread, device, &mut self.handles)
    }

    pub(super) fn event(&self, event: EventHandle) -> Result<&Event, Failure> {
        self.events.get(&event.0).ok_or(DriverCode::InvalidHandle.into())
    }

    /// The work that an event stands for, if it was recorded.
    pub(super) fn recorded(&self, event: EventHandle) -> Result<Option<Issued>, Failure> {
        let event = self.event(event)?;
        if event.captured.is_some() {
            return Err(DriverCode::CapturedEvent.into());
        }
        Ok(event.recorded.as_ref().map(|(issued, _)| issued.clone()))
    }

    /// Refuses a call that waits for a captured stream; the capture is invalidated.
    pub(super) fn refuse_captured(&mut self, stream: u64) -> Result<(), Failure> {
        let Some(capture) = self.streams.get(stream)?.capture else { return Ok(()) };
        self.captures.invalidate(capture);
        Err(DriverCode::StreamCaptureUnsupported.into())
    }

    /// Gives work to a stream. `None` where it became part of a capture.
    pub(super) fn issue(&mut self, key: u64, work: Work) -> Result<Option<Issued>, Failure> {
        if let Some(capture) = self.streams.get(key)?.capture {
            self.captures.add(capture, key, work)?;
            return Ok(None);
        }
        self.streams.refuse_implicit_capture(key)?;
        let before = self.streams.before(key)?;
        let stream = self.streams.get_mut(key)?;
        let name = format!("{} on {}", work.name(), stream.name);
        let issued = self.schedule.add(stream.device, stream.lane, work, name, &before);
        stream.last = Some(issued.clone());
        self.staging.watch(self.schedule.since(issued.id));
        self.host_functions.poke();
        Ok(Some(issued))
    }

    /// Lets some work run that may: none, or a few pieces.
    pub(super) fn advance(&mut self) {
        for _ in 0..self.schedule.eagerness() {
            self.run_any();
        }
    }

    /// Runs one piece of work; false where there is none.
    pub(super) fn run_any(&mut self) -> bool {
        self.take_note_of_host_functions();
        let Some(waiting) = self.schedule.take() else { return false };
        if let Work::Host(function) = &waiting.work
            && self.host_functions.is_open()
        {
            // Before it begins: what it does is no longer compared with what was there at a call.
            self.host_learns(&before(&waiting.issued));
            self.host_functions.start(waiting.issued.id, function);
            self.schedule.hold(waiting);
            return true;
        }
        let mut execution = Execution {
            check: self.config.check,
            threads: self.config.threads.as_ref(),
            budget: self.config.budget,
            device: &mut self.devices[waiting.device],
            history: &mut self.history,
            staging: &mut self.staging,
            findings: &mut self.findings,
            counters: &mut self.counters,
            examined: &mut self.examined,
        };
        execution.run(&waiting);
        self.schedule.done(&waiting);
        if let Some(code) = self.devices[waiting.device].lost {
            for lost in self.schedule.forget(waiting.device) {
                if let Work::Host(function) = &lost.work {
                    self.host_functions.fail(lost.issued.id, function, code);
                }
            }
        }
        true
    }

    /// Runs a piece of work where a host function waits for some; false where there is neither.
    pub(super) fn run_before_host_functions(&mut self) -> bool {
        self.take_note_of_host_functions();
        self.schedule.has_host_functions(self.host_functions.running()) && self.run_any()
    }

    /// What comes after host functions that have returned may run.
    fn take_note_of_host_functions(&mut self) {
        for id in self.host_functions.returned() {
            // It may have written page-locked memory, in its stream's order.
            self.staging.written_by_the_host();
            if let Some(issued) = self.schedule.release(id) {
                self.host_learns(&issued);
            }
        }
    }

    /// Runs work, or waits for a host function to return; false where neither is left.
    fn make_progress(&mut self) -> bool {
        if self.run_any() {
            return true;
        }
        let progress = self.host_functions.progress();
        let count = progress.count();
        self.take_note_of_host_functions();
        if self.host_functions.is_running() {
            progress.wait_beyond(count);
            return true;
        }
        self.run_any()
    }

    /// Whether work is done; where it is, the host has waited for it.
    pub(super) fn query(&mut self, issued: &Issued) -> bool {
        // A loop that polls makes progress.
        self.run_any();
        let is_done = self.schedule.is_done(issued.id);
        if is_done {
            self.wait(issued);
        }
        is_done
    }

    /// Runs work until a piece of it is done.
    pub(super) fn wait(&mut self, issued: &Issued) {
        self.wait_for_all(std::slice::from_ref(issued));
    }

    /// Waits for everything on a device.
    pub(super) fn wait_device(&mut self, device: usize) {
        self.wait_for_all(&self.streams.last_of(device));
    }

    /// What the host has waited for is before all that it asks for later: it can race with nothing any more, and pools give
    /// it back.
    fn wait_for_all(&mut self, last: &[Issued]) {
        for issued in last {
            while !self.schedule.is_done(issued.id) && self.make_progress() {}
            self.schedule.waited_for(issued);
        }
        self.host_has_learnt();
    }

    /// The host may know that a piece of work is done.
    fn host_learns(&mut self, issued: &Issued) {
        self.schedule.waited_for(issued);
        self.host_has_learnt();
    }

    fn host_has_learnt(&mut self) {
        let host = self.schedule.host();
        let changed = self.staging.waited_for(host, &self.devices);
        changed.into_iter().for_each(|finding| self.findings.add(finding));
        self.history.forget(host);
        self.streams.forget(host);
        for pool in self.pools.values_mut() {
            let keep = pool.threshold_bytes;
            pool.trim(&mut self.devices[pool.device].heap, keep, host);
        }
    }
}

/// What is before a piece of work, which a host function may tell the program.
fn before(issued: &Issued) -> Issued {
    let mut clock = (*issued.clock).clone();
    clock.set(issued.lane, issued.count - 1);
    Issued { clock: clock.into(), ..issued.clone() }
}

//! Everything an emulator knows, and how calls reach it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    thread::ThreadId,
};

use tinyllm_sys::{DriverCode, EventTiming, StreamFlags, StreamHandle};

use super::{
    capture::{Capture, Graph, GraphExec},
    clock::{Clock, Lane},
    device::Device,
    findings::Findings,
    history::History,
    module::{Function, Module},
    pool::Pool,
    schedule::Schedule,
    virtual_memory::{Physical, Reservation},
    work::{Issued, Stamp, Work},
};
use crate::{Check, Counters};

/// Why a call fails: the driver's code, and what there is to say beside the arguments.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: DriverCode,
    pub(super) note: String,
}

impl From<DriverCode> for Failure {
    fn from(code: DriverCode) -> Self {
        Failure { code, note: String::new() }
    }
}

impl Failure {
    pub(super) fn new(code: DriverCode, note: impl Into<String>) -> Self {
        Failure { code, note: note.into() }
    }
}

/// What an emulator is made with.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) check: Check,
    pub(super) threads: Option<rayon::ThreadPool>,
    /// Findings are added to this file at the end.
    pub(super) report: Option<std::path::PathBuf>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) device: usize,
    pub(super) flags: StreamFlags,
    pub(super) lane: Lane,
    /// As findings call it.
    pub(super) name: String,
    pub(super) last: Option<Issued>,
    pub(super) capture: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) timing: EventTiming,
    pub(super) recorded: Option<(Issued, Stamp)>,
    /// The capture and the node that it stands for.
    pub(super) captured: Option<(u64, usize)>,
}

/// Counters of all launches of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct KernelCounters {
    /// How often it was launched.
    pub launches: u64,
    /// Of all of them together.
    pub total: Counters,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) devices: Vec<Device>,
    /// Each thread's stack of contexts, by device; the current one is the last.
    pub(super) contexts: HashMap<ThreadId, Vec<usize>>,
    pub(super) streams: BTreeMap<u64, Stream>,
    /// The default stream of a thread on a device.
    per_thread: HashMap<(ThreadId, usize), u64>,
    pub(super) events: BTreeMap<u64, Event>,
    pub(super) modules: BTreeMap<u64, Module>,
    pub(super) functions: BTreeMap<u64, Function>,
    pub(super) pools: BTreeMap<u64, Pool>,
    pub(super) captures: BTreeMap<u64, Capture>,
    pub(super) graphs: BTreeMap<u64, Graph>,
    pub(super) execs: BTreeMap<u64, GraphExec>,
    pub(super) physical: BTreeMap<u64, Physical>,
    pub(super) reservations: BTreeMap<u64, Reservation>,
    pub(super) page_locked: BTreeMap<u64, Arc<crate::memory::Bytes>>,
    pub(super) schedule: Schedule,
    pub(super) counts: HashMap<Lane, u64>,
    /// What the host has waited for.
    pub(super) host: Clock,
    pub(super) history: History,
    pub(super) findings: Findings,
    pub(super) counters: BTreeMap<String, KernelCounters>,
    /// Last work of streams that are gone.
    orphans: Vec<(usize, Issued)>,
    next_handle: u64,
    next_stream: u64,
}

/// Streams' handles that the driver defines; each device has the first of its own.
const LEGACY: u64 = 0;

impl State {
    pub(super) fn new(devices: usize, memory_bytes: u64, seed: u64, config: Config) -> Self {
        let mut state = State {
            config,
            devices: (0..devices).map(|ordinal| Device::new(ordinal, memory_bytes)).collect(),
            contexts: HashMap::new(),
            streams: BTreeMap::new(),
            per_thread: HashMap::new(),
            events: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            pools: BTreeMap::new(),
            captures: BTreeMap::new(),
            graphs: BTreeMap::new(),
            execs: BTreeMap::new(),
            physical: BTreeMap::new(),
            reservations: BTreeMap::new(),
            page_locked: BTreeMap::new(),
            schedule: Schedule::new(seed),
            counts: HashMap::new(),
            host: Clock::default(),
            history: History::default(),
            findings: Findings::default(),
            counters: BTreeMap::new(),
            orphans: Vec::new(),
            next_handle: 0x1000,
            next_stream: 1,
        };
        for device in 0..devices {
            let lane = state.handle();
            let name = "the default stream".to_owned();
            let stream =
                Stream { device, flags: StreamFlags::Default, lane, name, last: None, capture: None };
            state.streams.insert(default_key(device), stream);
        }
        state
    }

    /// A number that nothing else has.
    pub(super) fn handle(&mut self) -> u64 {
        self.next_handle += 0x10;
        self.next_handle
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

    /// The key of a stream's handle, for a thread with a current context.
    pub(super) fn stream_key(&mut self, handle: StreamHandle, thread: ThreadId) -> Result<u64, Failure> {
        let device = self.current_device(thread)?;
        if handle.0 == LEGACY || handle.0 == 1 {
            return Ok(default_key(device));
        }
        if handle == StreamHandle::PER_THREAD {
            if let Some(key) = self.per_thread.get(&(thread, device)) {
                return Ok(*key);
            }
            let key = self.new_stream(device, StreamFlags::Default, "a thread's default stream".into());
            self.per_thread.insert((thread, device), key);
            return Ok(key);
        }
        match self.streams.contains_key(&handle.0) && !self.is_default_stream(handle.0) {
            true => Ok(handle.0),
            false => Err(DriverCode::InvalidHandle.into()),
        }
    }

    fn new_stream(&mut self, device: usize, flags: StreamFlags, name: String) -> u64 {
        let (key, lane) = (self.handle(), self.handle());
        self.streams.insert(key, Stream { device, flags, lane, name, last: None, capture: None });
        key
    }

    pub(super) fn create_stream(&mut self, device: usize, flags: StreamFlags) -> u64 {
        let name = format!("stream {}", self.next_stream);
        self.next_stream += 1;
        self.new_stream(device, flags, name)
    }

    pub(super) fn destroy_stream(&mut self, key: u64) -> Result<(), Failure> {
        if self.is_default_stream(key) || self.per_thread.values().any(|known| *known == key) {
            return Err(DriverCode::InvalidHandle.into());
        }
        let stream = self.streams.remove(&key).ok_or(DriverCode::InvalidHandle)?;
        self.orphans.extend(stream.last.map(|last| (stream.device, last)));
        Ok(())
    }

    /// Streams that the program made and has not destroyed.
    pub(super) fn program_streams(&self) -> impl Iterator<Item = &Stream> {
        let own = |(key, _): &(&u64, &Stream)| {
            !self.is_default_stream(**key) && !self.per_thread.values().any(|known| known == *key)
        };
        self.streams.iter().filter(own).map(|(_, stream)| stream)
    }

    pub(super) fn is_default_stream(&self, key: u64) -> bool {
        key < default_key(self.devices.len())
    }

    pub(super) fn stream(&self, key: u64) -> Result<&Stream, Failure> {
        self.streams.get(&key).ok_or(DriverCode::InvalidHandle.into())
    }

    pub(super) fn stream_mut(&mut self, key: u64) -> Result<&mut Stream, Failure> {
        self.streams.get_mut(&key).ok_or(DriverCode::InvalidHandle.into())
    }

    pub(super) fn stream_name(&self, key: u64) -> String {
        self.streams.get(&key).map_or_else(String::new, |stream| stream.name.clone())
    }

    /// What is before the next work of a stream: its own last, and between the default stream and those that are not apart
    /// from it, each other's.
    pub(super) fn before(&self, key: u64) -> Result<Vec<Issued>, Failure> {
        let stream = self.stream(key)?;
        let mut before: Vec<Issued> = stream.last.iter().cloned().collect();
        if self.is_default_stream(key) {
            let others = self.streams.values().filter(|other| {
                other.device == stream.device
                    && other.flags == StreamFlags::Default
                    && other.capture.is_none()
            });
            before.extend(others.filter_map(|other| other.last.clone()));
            let orphans = self.orphans.iter().filter(|(device, _)| *device == stream.device);
            before.extend(orphans.map(|(_, last)| last.clone()));
        } else if stream.flags == StreamFlags::Default {
            before.extend(self.streams.get(&default_key(stream.device)).and_then(|other| other.last.clone()));
        }
        Ok(before)
    }

    /// Gives work to a stream. `None` where it is kept in a capture.
    pub(super) fn issue(&mut self, key: u64, work: Work) -> Result<Option<Issued>, Failure> {
        if let Some(capture) = self.stream(key)?.capture {
            self.keep(capture, key, work)?;
            return Ok(None);
        }
        if self.is_default_stream(key) {
            // The default stream would have to wait for work that is not there yet.
            let device = self.stream(key)?.device;
            let captured = self.streams.values().any(|other| {
                other.device == device && other.flags == StreamFlags::Default && other.capture.is_some()
            });
            if captured {
                return Err(DriverCode::StreamCaptureImplicit.into());
            }
        }
        let before = self.before(key)?;
        let stream = self.stream(key)?;
        let (device, lane) = (stream.device, stream.lane);
        let name = format!("{} on {}", work.name(), stream.name);
        let issued = self.add_work(device, lane, work, name, &before);
        self.stream_mut(key)?.last = Some(issued.clone());
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
        let Some(waiting) = self.schedule.take() else { return false };
        self.execute(&waiting);
        self.schedule.done(&waiting);
        if self.devices[waiting.device].lost.is_some() {
            self.schedule.forget(waiting.device);
        }
        true
    }

    /// Runs work until a piece of it is done, and lets the host know what was before it.
    pub(super) fn wait(&mut self, issued: &Issued) {
        while !self.schedule.is_done(issued.id) && self.run_any() {}
        self.host.join(&issued.clock);
        self.heard();
    }

    /// Waits for everything on a device.
    pub(super) fn wait_device(&mut self, device: usize) {
        let last: Vec<Issued> = self
            .streams
            .values()
            .filter(|stream| stream.device == device)
            .filter_map(|stream| stream.last.clone())
            .chain(self.orphans.iter().filter(|(of, _)| *of == device).map(|(_, last)| last.clone()))
            .collect();
        for issued in &last {
            while !self.schedule.is_done(issued.id) && self.run_any() {}
            self.host.join(&issued.clock);
        }
        self.heard();
    }

    /// The host knows more: what it knows can race with nothing any more, and pools give back.
    fn heard(&mut self) {
        let host = &self.host;
        self.history.forget(host);
        self.orphans.retain(|(_, last)| !host.knows(last.lane, last.count));
        for pool in self.pools.values_mut() {
            let keep = pool.threshold_bytes;
            pool.trim(&mut self.devices[pool.device].heap, keep, host);
        }
    }
}

/// The key of a device's default stream.
const fn default_key(device: usize) -> u64 {
    device as u64
}

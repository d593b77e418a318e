//! Streams: which work is before the next of each.

use std::{
    collections::{BTreeMap, HashMap},
    thread::ThreadId,
};

use tinyllm_sys::{DriverCode, StreamFlags, StreamHandle};

use super::{
    clock::{Clock, Lane},
    failure::Failure,
    handles::Handles,
    schedule::Issued,
};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) device: usize,
    pub(super) flags: StreamFlags,
    pub(super) lane: Lane,
    /// As findings call it.
    pub(super) name: String,
    pub(super) last: Option<Issued>,
    /// The capture that it is part of.
    pub(super) capture: Option<u64>,
}

/// All streams by key: a handle, or of default streams the number of the device.
#[derive(Debug)]
pub(super) struct Streams {
    streams: BTreeMap<u64, Stream>,
    devices: u64,
    /// The default stream of a thread on a device.
    per_thread: HashMap<(ThreadId, usize), u64>,
    /// Last work of streams that were destroyed, with its device.
    orphans: Vec<(usize, Issued)>,
    /// For names.
    next: u64,
}

/// Handles of the default stream that the driver defines.
const LEGACY: [u64; 2] = [0, 1];

impl Streams {
    /// The default stream of each device.
    pub(super) fn new(devices: usize, handles: &mut Handles) -> Self {
        let default = |device| {
            let name = "the default stream".to_owned();
            let lane = handles.next();
            let stream =
                Stream { device, flags: StreamFlags::Default, lane, name, last: None, capture: None };
            (device as u64, stream)
        };
        Streams {
            streams: (0..devices).map(default).collect(),
            devices: devices as u64,
            per_thread: HashMap::new(),
            orphans: Vec::new(),
            next: 1,
        }
    }

    /// The key of a handle, for a thread whose context is a device's.
    pub(super) fn key(
        &mut self,
        handle: StreamHandle,
        thread: ThreadId,
        device: usize,
        handles: &mut Handles,
    ) -> Result<u64, Failure> {
        if LEGACY.contains(&handle.0) {
            return Ok(device as u64);
        }
        if handle == StreamHandle::PER_THREAD {
            if let Some(key) = self.per_thread.get(&(thread, device)) {
                return Ok(*key);
            }
            let name = "a thread's default stream".into();
            let key = self.insert(device, StreamFlags::Default, name, handles);
            self.per_thread.insert((thread, device), key);
            return Ok(key);
        }
        match self.streams.contains_key(&handle.0) && !self.is_default(handle.0) {
            true => Ok(handle.0),
            false => Err(DriverCode::InvalidHandle.into()),
        }
    }

    fn insert(&mut self, device: usize, flags: StreamFlags, name: String, handles: &mut Handles) -> u64 {
        let (key, lane) = (handles.next(), handles.next());
        self.streams.insert(key, Stream { device, flags, lane, name, last: None, capture: None });
        key
    }

    pub(super) fn create(&mut self, device: usize, flags: StreamFlags, handles: &mut Handles) -> u64 {
        let name = format!("stream {}", self.next);
        self.next += 1;
        self.insert(device, flags, name, handles)
    }

    pub(super) fn destroy(&mut self, key: u64) -> Result<(), Failure> {
        if !self.is_of_program(key) {
            return Err(DriverCode::InvalidHandle.into());
        }
        let stream = self.streams.remove(&key).ok_or(DriverCode::InvalidHandle)?;
        self.orphans.extend(stream.last.map(|last| (stream.device, last)));
        Ok(())
    }

    /// How many the program made and has not destroyed.
    pub(super) fn of_program(&self) -> usize {
        self.streams.keys().filter(|key| self.is_of_program(**key)).count()
    }

    fn is_of_program(&self, key: u64) -> bool {
        !self.is_default(key) && !self.per_thread.values().any(|known| *known == key)
    }

    /// Whether it is a device's default stream.
    pub(super) fn is_default(&self, key: u64) -> bool {
        key < self.devices
    }

    pub(super) fn get(&self, key: u64) -> Result<&Stream, Failure> {
        self.streams.get(&key).ok_or(DriverCode::InvalidHandle.into())
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Result<&mut Stream, Failure> {
        self.streams.get_mut(&key).ok_or(DriverCode::InvalidHandle.into())
    }

    /// What is before the next work of a stream: its own last, and between the default stream and blocking streams each
    /// other's.
    pub(super) fn before(&self, key: u64) -> Result<Vec<Issued>, Failure> {
        let stream = self.get(key)?;
        let mut before: Vec<Issued> = stream.last.iter().cloned().collect();
        if self.is_default(key) {
            let others = self.blocking(stream.device).filter(|other| other.capture.is_none());
            before.extend(others.filter_map(|other| other.last.clone()));
            before.extend(self.orphans_of(stream.device));
        } else if stream.flags == StreamFlags::Default {
            let default = self.streams.get(&(stream.device as u64));
            before.extend(default.and_then(|default| default.last.clone()));
        }
        Ok(before)
    }

    /// Fails for a default stream whose next work would wait for captured work, which has not been launched.
    pub(super) fn refuse_implicit_capture(&self, key: u64) -> Result<(), Failure> {
        let device = self.get(key)?.device;
        if self.is_default(key) && self.blocking(device).any(|other| other.capture.is_some()) {
            return Err(DriverCode::StreamCaptureImplicit.into());
        }
        Ok(())
    }

    /// The last work of every stream of a device, those that were destroyed included.
    pub(super) fn last_of(&self, device: usize) -> Vec<Issued> {
        let streams = self.streams.values().filter(|stream| stream.device == device);
        streams.filter_map(|stream| stream.last.clone()).chain(self.orphans_of(device)).collect()
    }

    /// Forgets work of destroyed streams that the host has waited for.
    pub(super) fn forget(&mut self, host: &Clock) {
        self.orphans.retain(|(_, last)| !host.knows(last.lane, last.count));
    }

    /// Takes all streams out of a capture that ended.
    pub(super) fn end_capture(&mut self, id: u64) {
        for stream in self.streams.values_mut().filter(|stream| stream.capture == Some(id)) {
            stream.capture = None;
        }
    }

    fn blocking(&self, device: usize) -> impl Iterator<Item = &Stream> {
        let is_one = move |other: &&Stream| other.device == device && other.flags == StreamFlags::Default;
        self.streams.values().filter(is_one)
    }

    fn orphans_of(&self, device: usize) -> impl Iterator<Item = Issued> {
        self.orphans.iter().filter(move |(of, _)| *of == device).map(|(_, last)| last.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use std::thread;

    use super::*;

    fn issued(id: u64, lane: Lane) -> Option<Issued> {
        let mut clock = Clock::default();
        clock.set(lane, 1);
        Some(Issued { id, lane, count: 1, clock: clock.into() })
    }

    fn before(streams: &Streams, key: u64) -> Vec<u64> {
        streams.before(key).unwrap().iter().map(|issued| issued.id).collect()
    }

    #[test]
    fn the_default_stream_and_blocking_streams_wait_for_each_other() {
        let handles = &mut Handles::default();
        let mut streams = Streams::new(2, handles);
        let blocking = streams.create(0, StreamFlags::Default, handles);
        let apart = streams.create(0, StreamFlags::NonBlocking, handles);
        for (id, key) in [(10, 0), (11, blocking), (12, apart), (13, 1)] {
            let lane = streams.get(key).unwrap().lane;
            streams.get_mut(key).unwrap().last = issued(id, lane);
        }
        assert_eq!(before(&streams, 0), [10, 10, 11]);
        assert_eq!(before(&streams, blocking), [11, 10]);
        assert_eq!(before(&streams, apart), [12]);
        assert_eq!(before(&streams, 1), [13, 13], "another device");
        // Destroyed streams' work is waited for until the host has.
        streams.destroy(blocking).unwrap();
        assert_eq!(before(&streams, 0), [10, 10, 11]);
        let last = streams.last_of(0);
        assert_eq!(last.iter().map(|issued| issued.id).collect::<Vec<_>>(), [10, 12, 11]);
        streams.forget(&last[2].clock);
        assert_eq!(before(&streams, 0), [10, 10]);
    }

    #[test]
    fn default_streams_have_keys_of_their_own_and_are_not_destroyed() {
        let handles = &mut Handles::default();
        let mut streams = Streams::new(2, handles);
        let own = thread::current().id();
        let mut key = |handle, device| streams.key(StreamHandle(handle), own, device, handles);
        assert_eq!([key(0, 0).unwrap(), key(0, 1).unwrap(), key(1, 1).unwrap()], [0, 1, 1]);
        let per_thread = key(2, 0).unwrap();
        assert_eq!(key(2, 0).unwrap(), per_thread);
        assert_ne!(key(2, 1).unwrap(), per_thread);
        assert!(key(0x9999, 0).is_err());
        assert_eq!(streams.of_program(), 0);
        for key in [0, 1, per_thread] {
            assert!(streams.destroy(key).is_err());
        }
        let made = streams.create(0, StreamFlags::Default, handles);
        assert_eq!(streams.of_program(), 1);
        streams.destroy(made).unwrap();
        assert!(streams.destroy(made).is_err());
    }

    #[test]
    fn the_default_stream_does_not_wait_for_captured_work() {
        let handles = &mut Handles::default();
        let mut streams = Streams::new(1, handles);
        let blocking = streams.create(0, StreamFlags::Default, handles);
        let apart = streams.create(0, StreamFlags::NonBlocking, handles);
        streams.get_mut(apart).unwrap().capture = Some(7);
        assert!(streams.refuse_implicit_capture(0).is_ok());
        streams.get_mut(blocking).unwrap().capture = Some(7);
        let failure = streams.refuse_implicit_capture(0).unwrap_err();
        assert_eq!(failure.code, DriverCode::StreamCaptureImplicit);
        assert!(streams.refuse_implicit_capture(apart).is_ok());
        streams.end_capture(7);
        assert!(streams.refuse_implicit_capture(0).is_ok());
    }
}

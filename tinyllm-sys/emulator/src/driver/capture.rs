//! Captures: work of streams that becomes a graph instead of being done.

use std::{
    collections::{BTreeMap, HashMap},
    thread::ThreadId,
};

use tinyllm_sys::{CaptureMode, CaptureStatus, DriverCode};

use super::{
    failure::Failure,
    graph::{Graph, GraphNode},
    work::Work,
};

/// A capture under way. Streams are named by their keys.
#[derive(Debug)]
pub(super) struct Capture {
    origin: u64,
    mode: CaptureMode,
    thread: ThreadId,
    device: usize,
    nodes: Vec<GraphNode>,
    /// The nodes that the next work of a stream comes after.
    heads: HashMap<u64, Vec<usize>>,
    is_invalidated: bool,
}

/// All captures under way, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Captures {
    captures: BTreeMap<u64, Capture>,
}

impl Captures {
    /// Begins the capture `id` with a stream of a device.
    pub(super) fn begin(&mut self, id: u64, origin: u64, device: usize, mode: CaptureMode, thread: ThreadId) {
        let heads = HashMap::from([(origin, Vec::new())]);
        let nodes = Vec::new();
        let capture = Capture { origin, mode, thread, device, nodes, heads, is_invalidated: false };
        self.captures.insert(id, capture);
    }

    /// Takes a capture that a stream and a thread may end.
    pub(super) fn end(&mut self, id: u64, stream: u64, thread: ThreadId) -> Result<Capture, Failure> {
        let capture = self.captures.get(&id).ok_or(DriverCode::InvalidHandle)?;
        if capture.origin != stream {
            return Err(DriverCode::StreamCaptureUnmatched.into());
        }
        if capture.mode != CaptureMode::Relaxed && capture.thread != thread {
            return Err(DriverCode::StreamCaptureWrongThread.into());
        }
        self.captures.remove(&id).ok_or(DriverCode::InvalidHandle.into())
    }

    /// What `cuStreamIsCapturing` answers for a stream in this capture.
    pub(super) fn status(&self, id: u64) -> CaptureStatus {
        match self.captures.get(&id) {
            None => CaptureStatus::None,
            Some(capture) if capture.is_invalidated => CaptureStatus::Invalidated,
            Some(_) => CaptureStatus::Active,
        }
    }

    /// Refuses a thread's call where the mode of a capture forbids it; such captures are invalidated.
    pub(super) fn refuse_unsafe_call(&mut self, thread: ThreadId) -> Result<(), Failure> {
        let mut is_refused = false;
        for capture in self.captures.values_mut() {
            let is_forbidden = match capture.mode {
                CaptureMode::Global => true,
                CaptureMode::ThreadLocal => capture.thread == thread,
                CaptureMode::Relaxed => false,
            };
            capture.is_invalidated |= is_forbidden;
            is_refused |= is_forbidden;
        }
        if is_refused { Err(DriverCode::StreamCaptureUnsupported.into()) } else { Ok(()) }
    }

    /// A call that a captured stream does not allow: the capture is invalidated.
    pub(super) fn invalidate(&mut self, id: u64) {
        if let Some(capture) = self.captures.get_mut(&id) {
            capture.is_invalidated = true;
        }
    }

    /// Adds a stream's work.
    pub(super) fn add(&mut self, id: u64, stream: u64, work: Work) -> Result<(), Failure> {
        let capture = self.get_mut(id)?;
        if capture.is_invalidated {
            return Err(DriverCode::StreamCaptureInvalidated.into());
        }
        if !work.can_be_captured() {
            capture.is_invalidated = true;
            return Err(DriverCode::StreamCaptureUnsupported.into());
        }
        capture.push(stream, work);
        Ok(())
    }

    /// The node that stands for an event recorded on a stream: one of its own, so that what waits for the event has one node
    /// to wait for.
    pub(super) fn add_event(&mut self, id: u64, stream: u64) -> Result<usize, Failure> {
        Ok(self.get_mut(id)?.push(stream, Work::Nothing))
    }

    /// A stream waits for a node: it joins the capture, if it had not.
    pub(super) fn join(&mut self, id: u64, stream: u64, node: usize) -> Result<(), Failure> {
        let heads = self.get_mut(id)?.heads.entry(stream).or_default();
        if !heads.contains(&node) {
            heads.push(node);
        }
        Ok(())
    }

    fn get_mut(&mut self, id: u64) -> Result<&mut Capture, Failure> {
        self.captures.get_mut(&id).ok_or(DriverCode::InvalidHandle.into())
    }
}

impl Capture {
    /// Adds a node after a stream's heads, and makes it the head.
    fn push(&mut self, stream: u64, work: Work) -> usize {
        let node = self.nodes.len();
        let after = self.heads.insert(stream, vec![node]).unwrap_or_default();
        self.nodes.push(GraphNode { work, after });
        node
    }

    /// The graph, if the capture was not invalidated and every stream that joined came back to the first one.
    pub(super) fn into_graph(self) -> Result<Graph, Failure> {
        if self.is_invalidated {
            return Err(DriverCode::StreamCaptureInvalidated.into());
        }
        let mut is_joined = vec![false; self.nodes.len()];
        let mut next: Vec<usize> = self.heads.get(&self.origin).cloned().unwrap_or_default();
        while let Some(node) = next.pop() {
            if !std::mem::replace(&mut is_joined[node], true) {
                next.extend(&self.nodes[node].after);
            }
        }
        if is_joined.contains(&false) {
            return Err(DriverCode::StreamCaptureUnjoined.into());
        }
        Ok(Graph { device: self.device, nodes: self.nodes })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use std::thread;

    use super::*;

    const ID: u64 = 7;
    const FIRST: u64 = 1;
    const SECOND: u64 = 2;

    fn begun(mode: CaptureMode) -> Captures {
        let mut captures = Captures::default();
        captures.begin(ID, FIRST, 0, mode, thread::current().id());
        captures
    }

    fn fill() -> Work {
        Work::Fill { dst: 0, value: 0, width: 1, count: 1 }
    }

    fn end(mut captures: Captures) -> Result<Graph, DriverCode> {
        let capture = captures.end(ID, FIRST, thread::current().id());
        capture.and_then(Capture::into_graph).map_err(|failure| failure.code)
    }

    fn other_thread() -> ThreadId {
        thread::spawn(|| thread::current().id()).join().unwrap()
    }

    #[test]
    fn a_fork_and_a_join_become_a_graph() {
        let mut captures = begun(CaptureMode::Global);
        captures.add(ID, FIRST, fill()).unwrap();
        let forked = captures.add_event(ID, FIRST).unwrap();
        captures.join(ID, SECOND, forked).unwrap();
        captures.add(ID, SECOND, fill()).unwrap();
        captures.add(ID, FIRST, fill()).unwrap();
        let joined = captures.add_event(ID, SECOND).unwrap();
        captures.join(ID, FIRST, joined).unwrap();
        captures.join(ID, FIRST, joined).unwrap();
        captures.add(ID, FIRST, fill()).unwrap();
        assert_eq!(captures.status(ID), CaptureStatus::Active);
        let graph = end(captures).unwrap();
        let after: Vec<Vec<usize>> = graph.nodes.into_iter().map(|node| node.after).collect();
        assert_eq!(after, [vec![], vec![0], vec![1], vec![1], vec![2], vec![3, 4]]);
    }

    #[test]
    fn a_stream_that_did_not_come_back_is_an_error() {
        let mut captures = begun(CaptureMode::Global);
        let forked = captures.add_event(ID, FIRST).unwrap();
        captures.join(ID, SECOND, forked).unwrap();
        captures.add(ID, SECOND, fill()).unwrap();
        assert_eq!(end(captures).unwrap_err(), DriverCode::StreamCaptureUnjoined);
    }

    #[test]
    fn only_the_first_stream_and_its_thread_end_a_capture() {
        let mut captures = begun(CaptureMode::ThreadLocal);
        let code = |result: Result<Capture, Failure>| result.unwrap_err().code;
        let unmatched = captures.end(ID, SECOND, thread::current().id());
        assert_eq!(code(unmatched), DriverCode::StreamCaptureUnmatched);
        assert_eq!(code(captures.end(ID, FIRST, other_thread())), DriverCode::StreamCaptureWrongThread);
        assert_eq!(code(captures.end(8, FIRST, thread::current().id())), DriverCode::InvalidHandle);
        assert!(end(captures).unwrap().nodes.is_empty());
        assert!(begun(CaptureMode::Relaxed).end(ID, FIRST, other_thread()).is_ok());
    }

    #[test]
    fn what_a_mode_forbids_invalidates_the_capture() {
        for (mode, by_own, by_other) in [
            (CaptureMode::Global, true, true),
            (CaptureMode::ThreadLocal, true, false),
            (CaptureMode::Relaxed, false, false),
        ] {
            for (thread, is_refused) in [(thread::current().id(), by_own), (other_thread(), by_other)] {
                let mut captures = begun(mode);
                assert_eq!(captures.refuse_unsafe_call(thread).is_err(), is_refused, "{mode:?}");
                assert_eq!(captures.status(ID) == CaptureStatus::Invalidated, is_refused, "{mode:?}");
                assert_eq!(captures.add(ID, FIRST, fill()).is_err(), is_refused, "{mode:?}");
                assert_eq!(end(captures).is_err(), is_refused, "{mode:?}");
            }
        }
    }

    #[test]
    fn memory_of_pools_is_not_captured() {
        let mut captures = begun(CaptureMode::Relaxed);
        let failure = captures.add(ID, FIRST, Work::Free { address: 0, bytes: 1 }).unwrap_err();
        assert_eq!(failure.code, DriverCode::StreamCaptureUnsupported);
        assert_eq!(end(captures).unwrap_err(), DriverCode::StreamCaptureInvalidated);
    }
}

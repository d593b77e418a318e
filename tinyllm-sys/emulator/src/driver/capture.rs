//! Graphs: work that is kept as it was asked for, and launched later as often as wanted.

use std::{collections::HashMap, thread::ThreadId};

use tinyllm_sys::{CaptureMode, CaptureStatus, DriverCode};

use super::{
    clock::{Clock, Lane},
    state::{Failure, State},
    work::{Issued, Work, WorkId, same_shape},
};

/// A piece of a graph's work.
#[derive(Clone, Debug)]
pub(super) struct GraphNode {
    pub(super) work: Work,
    /// Numbers of the nodes that are before it.
    pub(super) after: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) device: usize,
    pub(super) nodes: Vec<GraphNode>,
}

/// A graph that can be launched: its branches are lanes of their own.
#[derive(Debug)]
pub(super) struct GraphExec {
    graph: Graph,
    /// The lane of each node.
    lanes: Vec<Lane>,
    last: Option<Issued>,
}

/// A capture under way.
#[derive(Debug)]
pub(super) struct Capture {
    origin: u64,
    mode: CaptureMode,
    thread: ThreadId,
    device: usize,
    nodes: Vec<GraphNode>,
    /// The nodes that what comes next on a stream is after.
    heads: HashMap<u64, Vec<usize>>,
    spoiled: bool,
}

impl State {
    /// Begins to keep a stream's work.
    pub(super) fn begin_capture(
        &mut self,
        stream: u64,
        mode: CaptureMode,
        thread: ThreadId,
    ) -> Result<(), Failure> {
        if self.is_default_stream(stream) {
            return Err(DriverCode::StreamCaptureUnsupported.into());
        }
        let device = self.stream(stream)?.device;
        if self.stream(stream)?.capture.is_some() {
            return Err(DriverCode::IllegalState.into());
        }
        let id = self.handle();
        self.stream_mut(stream)?.capture = Some(id);
        let heads = HashMap::from([(stream, Vec::new())]);
        let capture =
            Capture { origin: stream, mode, thread, device, nodes: Vec::new(), heads, spoiled: false };
        self.captures.insert(id, capture);
        Ok(())
    }

    /// Ends a capture; the graph is the caller's.
    pub(super) fn end_capture(&mut self, stream: u64, thread: ThreadId) -> Result<u64, Failure> {
        let Some(id) = self.stream(stream)?.capture else { return Err(DriverCode::IllegalState.into()) };
        let capture = self.captures.get(&id).ok_or(DriverCode::InvalidHandle)?;
        if capture.origin != stream {
            return Err(DriverCode::StreamCaptureUnmatched.into());
        }
        if capture.mode != CaptureMode::Relaxed && capture.thread != thread {
            return Err(DriverCode::StreamCaptureWrongThread.into());
        }
        let Some(capture) = self.captures.remove(&id) else { return Err(DriverCode::InvalidHandle.into()) };
        for stream in self.streams.values_mut().filter(|stream| stream.capture == Some(id)) {
            stream.capture = None;
        }
        for event in
            self.events.values_mut().filter(|event| event.captured.is_some_and(|(found, _)| found == id))
        {
            event.captured = None;
        }
        if capture.spoiled {
            return Err(DriverCode::StreamCaptureInvalidated.into());
        }
        // Everything that joined has to have come back to the first stream.
        let mut joined = vec![false; capture.nodes.len()];
        let mut look: Vec<usize> = capture.heads.get(&stream).cloned().unwrap_or_default();
        while let Some(node) = look.pop() {
            if !std::mem::replace(&mut joined[node], true) {
                look.extend(&capture.nodes[node].after);
            }
        }
        if joined.contains(&false) {
            return Err(DriverCode::StreamCaptureUnjoined.into());
        }
        let graph = self.handle();
        self.graphs.insert(graph, Graph { device: capture.device, nodes: capture.nodes });
        Ok(graph)
    }

    pub(super) fn capture_status(&self, stream: u64) -> Result<CaptureStatus, Failure> {
        let capture = self.stream(stream)?.capture.and_then(|id| self.captures.get(&id));
        Ok(match capture {
            None => CaptureStatus::None,
            Some(capture) if capture.spoiled => CaptureStatus::Invalidated,
            Some(_) => CaptureStatus::Active,
        })
    }

    /// A call that captures do not allow: those that could be disturbed by it are spoiled.
    pub(super) fn disturb(&mut self, thread: ThreadId) -> Result<(), Failure> {
        let mut disturbed = false;
        for capture in self.captures.values_mut() {
            let forbidden = match capture.mode {
                CaptureMode::Global => true,
                CaptureMode::ThreadLocal => capture.thread == thread,
                CaptureMode::Relaxed => false,
            };
            capture.spoiled |= forbidden;
            disturbed |= forbidden;
        }
        if disturbed { Err(DriverCode::StreamCaptureUnsupported.into()) } else { Ok(()) }
    }

    /// Whether a stream's work is kept; a wait for it is refused then, and spoils the capture.
    pub(super) fn refuse_captured(&mut self, stream: u64) -> Result<(), Failure> {
        let Some(id) = self.stream(stream)?.capture else { return Ok(()) };
        if let Some(capture) = self.captures.get_mut(&id) {
            capture.spoiled = true;
        }
        Err(DriverCode::StreamCaptureUnsupported.into())
    }

    /// Keeps a piece of work in the capture of its stream.
    pub(super) fn keep(&mut self, id: u64, stream: u64, work: Work) -> Result<(), Failure> {
        let capture = self.captures.get_mut(&id).ok_or(DriverCode::InvalidHandle)?;
        if capture.spoiled {
            return Err(DriverCode::StreamCaptureInvalidated.into());
        }
        if !work.can_be_captured() {
            capture.spoiled = true;
            return Err(DriverCode::StreamCaptureUnsupported.into());
        }
        let after = capture.heads.insert(stream, vec![capture.nodes.len()]).unwrap_or_default();
        capture.nodes.push(GraphNode { work, after });
        Ok(())
    }

    /// An event recorded on a captured stream stands for the nodes at its head.
    pub(super) fn keep_event(&mut self, id: u64, stream: u64, event: u64) -> Result<(), Failure> {
        let capture = self.captures.get_mut(&id).ok_or(DriverCode::InvalidHandle)?;
        let heads = capture.heads.get(&stream).cloned().unwrap_or_default();
        // A node of its own, so that what waits for the event has one thing to wait for.
        capture.nodes.push(GraphNode { work: Work::Nothing, after: heads });
        let node = capture.nodes.len() - 1;
        capture.heads.insert(stream, vec![node]);
        self.events.get_mut(&event).ok_or(DriverCode::InvalidHandle)?.captured = Some((id, node));
        Ok(())
    }

    /// A stream waits for an event of a capture: it joins the capture.
    pub(super) fn join_capture(&mut self, stream: u64, id: u64, node: usize) -> Result<(), Failure> {
        match self.stream(stream)?.capture {
            Some(other) if other != id => return Err(DriverCode::StreamCaptureMerge.into()),
            Some(_) => {}
            None if self.is_default_stream(stream) => return Err(DriverCode::StreamCaptureImplicit.into()),
            None => self.stream_mut(stream)?.capture = Some(id),
        }
        let capture = self.captures.get_mut(&id).ok_or(DriverCode::InvalidHandle)?;
        let heads = capture.heads.entry(stream).or_default();
        if !heads.contains(&node) {
            heads.push(node);
        }
        Ok(())
    }

    pub(super) fn instantiate(&mut self, graph: u64) -> Result<u64, Failure> {
        let graph = self.graphs.get(&graph).ok_or(DriverCode::InvalidHandle)?.clone();
        let lanes = chains(&graph.nodes).into_iter();
        let mut of_chain: HashMap<usize, Lane> = HashMap::new();
        let lanes = lanes.map(|chain| *of_chain.entry(chain).or_insert_with(|| self.handle())).collect();
        let exec = self.handle();
        self.execs.insert(exec, GraphExec { graph, lanes, last: None });
        Ok(exec)
    }

    /// Gives a graph's arguments to one that can be launched already; false where they differ in more.
    pub(super) fn update_exec(&mut self, exec: u64, graph: u64) -> Result<bool, Failure> {
        let graph = self.graphs.get(&graph).ok_or(DriverCode::InvalidHandle)?;
        let exec = self.execs.get_mut(&exec).ok_or(DriverCode::InvalidHandle)?;
        let (old, new) = (&exec.graph.nodes, &graph.nodes);
        let same = old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same_shape(old, new));
        if same {
            exec.graph.nodes.clone_from(new);
        }
        Ok(same)
    }

    /// Launches a graph: its work comes after the stream's, and after the graph's own last launch.
    pub(super) fn launch_graph(&mut self, exec: u64, stream: u64) -> Result<(), Failure> {
        let key = exec;
        let Some(exec) = self.execs.get(&key) else { return Err(DriverCode::InvalidHandle.into()) };
        let (nodes, lanes, device) = (exec.graph.nodes.clone(), exec.lanes.clone(), exec.graph.device);
        let last = exec.last.clone();
        if self.stream(stream)?.capture.is_some() {
            return Err(DriverCode::StreamCaptureUnsupported.into());
        }
        let mut first = self.before(stream)?;
        first.extend(last);
        let mut issued: Vec<Issued> = Vec::with_capacity(nodes.len());
        let mut has_after = vec![false; nodes.len()];
        let where_ = self.stream_name(stream);
        for (index, node) in nodes.iter().enumerate() {
            let after: Vec<Issued> = match node.after.is_empty() {
                true => first.clone(),
                false => node.after.iter().map(|before| issued[*before].clone()).collect(),
            };
            node.after.iter().for_each(|before| has_after[*before] = true);
            let name = format!("{} of a graph on {where_}", node.work.name());
            issued.push(self.add_work(device, lanes[index], node.work.clone(), name, &after));
        }
        let ends = issued.iter().zip(&has_after).filter(|(_, followed)| !**followed);
        let mut ends: Vec<Issued> = ends.map(|(issued, _)| issued.clone()).collect();
        if ends.is_empty() {
            ends = first;
        }
        let lane = self.stream(stream)?.lane;
        let end = self.add_work(device, lane, Work::Nothing, format!("end of a graph on {where_}"), &ends);
        self.stream_mut(stream)?.last = Some(end.clone());
        if let Some(exec) = self.execs.get_mut(&key) {
            exec.last = Some(end);
        }
        Ok(())
    }

    /// Numbers, joins and schedules a piece of work.
    pub(super) fn add_work(
        &mut self,
        device: usize,
        lane: Lane,
        work: Work,
        name: String,
        after: &[Issued],
    ) -> Issued {
        let mut clock: Clock = self.host.clone();
        after.iter().for_each(|before| clock.join(&before.clock));
        let count = self.counts.entry(lane).or_default();
        *count += 1;
        let count = *count;
        clock.set(lane, count);
        let id = self.schedule.number();
        let issued = Issued { id, lane, count, clock: clock.into() };
        let ids: Vec<WorkId> = after.iter().map(|before| before.id).collect();
        self.schedule.add(device, work, issued.clone(), name, &ids);
        issued
    }
}

/// The chain of each node: nodes that follow one another alone are of one chain.
fn chains(nodes: &[GraphNode]) -> Vec<usize> {
    let mut chains: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut tail: Vec<usize> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let follows =
            node.after.iter().map(|before| chains[*before]).find(|chain| node.after.contains(&tail[*chain]));
        let chain = follows.unwrap_or_else(|| {
            tail.push(index);
            tail.len() - 1
        });
        tail[chain] = index;
        chains.push(chain);
    }
    chains
}

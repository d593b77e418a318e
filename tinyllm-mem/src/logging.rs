//! An adaptor that writes every call as a line of JSON, and [`replay`], which makes the same calls on another resource.

use std::{
    collections::HashMap,
    io::{BufRead, Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    Category, MemError, MemoryInfo, Part, Stream,
    resource::{Allocation, MemoryResource, Request, Space},
};

/// A line of the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
enum Line {
    Allocate {
        /// Which allocation, counted from 0.
        id: u64,
        name: String,
        bytes: usize,
        align_bytes: usize,
        stream: u64,
        /// Category, name and bytes.
        parts: Vec<(Category, String, usize)>,
        /// The resource's error, where it refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    Deallocate {
        id: u64,
        stream: u64,
    },
}

/// The longest line that is replayed: one allocation of some hundred thousand parts.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// Writes a line of JSON for each allocation and each deallocation.
#[derive(Debug)]
pub struct Logging<S: Space, W: Write> {
    inner: Arc<dyn MemoryResource<Space = S>>,
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    out: W,
    next_id: u64,
    /// Ids of live allocations, by address and size (zero-byte allocations share addresses).
    live: HashMap<(usize, usize), Vec<u64>>,
    failed: Option<std::io::Error>,
}

impl<W: Write> State<W> {
    /// The log never stands in the way of memory: what goes wrong with it is kept for [`Logging::finish`].
    fn write(&mut self, line: &Line) {
        if self.failed.is_some() {
            return;
        }
        let written = serde_json::to_vec(line).map_err(std::io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            self.out.write_all(&text)
        });
        self.failed = written.err();
    }
}

impl<S: Space, W: Write> Logging<S, W> {
    /// Logs the calls to `inner` in `out`.
    pub fn new(inner: Arc<dyn MemoryResource<Space = S>>, out: W) -> Self {
        let state = State { out, next_id: 0, live: HashMap::new(), failed: None };
        Logging { inner, state: Mutex::new(state) }
    }

    /// Flushes and gives the writer back.
    ///
    /// # Errors
    /// The first error of writing.
    pub fn finish(self) -> std::io::Result<W> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failed {
            Some(error) => Err(error),
            None => state.out.flush().map(|()| state.out),
        }
    }
}

// SAFETY: every allocation is the inner resource's own.
unsafe impl<S: Space, W: Write + Send + std::fmt::Debug> MemoryResource for Logging<S, W> {
    type Space = S;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let result = self.inner.allocate(request);
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let id = state.next_id;
        state.next_id += 1;
        if let Ok(allocation) = &result {
            state.live.entry((allocation.address.as_ptr().addr(), allocation.bytes)).or_default().push(id);
        }
        let part = |part: &Part| (part.category, part.name.clone(), part.bytes);
        state.write(&Line::Allocate {
            id,
            name: request.name.clone(),
            bytes: request.bytes,
            align_bytes: request.align_bytes,
            stream: request.stream.number(),
            parts: request.parts.iter().map(part).collect(),
            error: result.as_ref().err().map(ToString::to_string),
        });
        result
    }

    unsafe fn deallocate(&self, allocation: Allocation, stream: &Stream) {
        {
            let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let place = (allocation.address.as_ptr().addr(), allocation.bytes);
            if let Some(id) = state.live.get_mut(&place).and_then(Vec::pop) {
                state.write(&Line::Deallocate { id, stream: stream.number() });
            }
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.inner.deallocate(allocation, stream) }
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        self.inner.memory_info()
    }
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// Allocations that were made.
    pub allocations: u64,
    /// Allocations that the log has as refused, and that were not asked for again.
    pub refused: u64,
    /// The most bytes that lived at once.
    pub peak_bytes: usize,
    /// Bytes that the log never gave back; they are freed at the end.
    pub leaked_bytes: usize,
}

/// Makes the calls of a log on `resource`, in order, and frees at the end what the log did not. `streams` gives the stream for
/// a stream's number in the log; 0 is the default stream.
///
/// # Errors
/// [`MemError::Log`] for a line that is none; the resource's own errors. Everything allocated so far is freed.
pub fn replay<S: Space>(
    mut log: impl BufRead,
    resource: &Arc<dyn MemoryResource<Space = S>>,
    streams: impl Fn(u64) -> Stream,
) -> Result<Replay, MemError> {
    let mut live = Live { resource, allocations: HashMap::new() };
    let (mut done, mut live_bytes) = (Replay::default(), 0);
    let mut text = Vec::new();
    for number in 1.. {
        let malformed = |problem: String| MemError::Log { line: number, problem };
        text.clear();
        let read = log.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut text);
        match read.map_err(|error| malformed(error.to_string()))? as u64 {
            0 => break,
            1..=MAX_LINE_BYTES => {}
            _ => return Err(malformed(format!("it is longer than {MAX_LINE_BYTES} bytes"))),
        }
        match serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))? {
            Line::Allocate { error: Some(_), .. } => done.refused += 1,
            Line::Allocate { id, name, bytes, align_bytes, stream, parts, error: None } => {
                let parts = parts
                    .into_iter()
                    .map(|(category, name, bytes)| Part::new(category, name, bytes))
                    .collect();
                let request = Request { bytes, align_bytes, stream: streams(stream), name, parts };
                if live.allocations.contains_key(&id) {
                    return Err(malformed(format!("allocation {id} is there already")));
                }
                request.check_parts().map_err(|error| malformed(error.to_string()))?;
                live.allocations.insert(id, (resource.allocate(&request)?, request.stream));
                done.allocations += 1;
                live_bytes += bytes;
                done.peak_bytes = done.peak_bytes.max(live_bytes);
            }
            Line::Deallocate { id, stream } => {
                let (allocation, _) = live
                    .allocations
                    .remove(&id)
                    .ok_or_else(|| malformed(format!("allocation {id} is not there")))?;
                live_bytes -= allocation.bytes;
                // SAFETY: it came from this resource above, was removed from the list just now, and nobody uses it.
                unsafe { resource.deallocate(allocation, &streams(stream)) }
            }
        }
    }
    done.leaked_bytes = live_bytes;
    Ok(done)
}

/// Allocations of a replay; freed when dropped.
struct Live<'a, S: Space> {
    resource: &'a Arc<dyn MemoryResource<Space = S>>,
    allocations: HashMap<u64, (Allocation, Stream)>,
}

impl<S: Space> Drop for Live<'_, S> {
    fn drop(&mut self) {
        for (allocation, stream) in self.allocations.values() {
            // SAFETY: it came from this resource, is still in the list, and nobody uses it.
            unsafe { self.resource.deallocate(*allocation, stream) }
        }
    }
}

//! Work for a device: what was asked for, kept until it runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{
    capture::GraphNode,
    clock::{Clock, Lane},
};
use crate::{kernel::Kernel, memory::Region};

/// A number of a piece of work.
pub(super) type WorkId = u64;

/// A piece of work as streams and events remember it.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) id: WorkId,
    pub(super) lane: Lane,
    pub(super) count: u64,
    /// What is before it, itself included.
    pub(super) clock: Arc<Clock>,
}

/// When an event's work was done.
#[derive(Clone, Debug, Default)]
pub(super) struct Stamp(Arc<Mutex<Option<Instant>>>);

impl Stamp {
    pub(super) fn set(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kernel with everything it was launched with.
#[derive(Clone, Debug)]
pub(super) struct KernelLaunch {
    pub(super) kernel: Arc<Kernel>,
    pub(super) function: u64,
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) shared_bytes: u32,
    pub(super) params: Vec<u8>,
}

/// Where a copy's bytes come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Ordinary memory of the host, read when the call was made.
    Read(Arc<[u8]>),
    /// Page-locked memory, read when the copy runs.
    PageLocked(u64),
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Kernel(Box<KernelLaunch>),
    ToDevice {
        dst: u64,
        src: Source,
        bytes: u64,
    },
    /// `dst` is an address of the host, page-locked or waited for.
    ToHost {
        dst: u64,
        src: u64,
        bytes: u64,
    },
    OnDevice {
        dst: u64,
        src: u64,
        bytes: u64,
    },
    /// `count` times `value`'s lowest `width` bytes.
    Fill {
        dst: u64,
        value: u32,
        width: u32,
        count: u64,
    },
    /// Memory of a pool. The region is there already, unless another still was when the call was made.
    Allocate {
        address: u64,
        bytes: u64,
        region: Option<Region>,
    },
    Free {
        address: u64,
        bytes: u64,
    },
    /// An event's place.
    Event(Stamp),
    /// The end of a graph.
    Nothing,
}

impl Work {
    /// As findings call it, without the stream.
    pub(super) fn name(&self) -> String {
        match self {
            Work::Kernel(launch) => format!("kernel {}", launch.kernel.name),
            Work::ToDevice { .. } => "copy to the device".into(),
            Work::ToHost { .. } => "copy to the host".into(),
            Work::OnDevice { .. } => "copy on the device".into(),
            Work::Fill { .. } => "memset".into(),
            Work::Allocate { .. } => "cuMemAllocFromPoolAsync".into(),
            Work::Free { .. } => "cuMemFreeAsync".into(),
            Work::Event(_) => "event".into(),
            Work::Nothing => "end of a graph".into(),
        }
    }

    /// Whether it may be part of a graph.
    pub(super) fn can_be_captured(&self) -> bool {
        !matches!(self, Work::Allocate { .. } | Work::Free { .. })
    }
}

/// Whether two nodes of graphs differ in nothing but their arguments.
pub(super) fn same_shape(a: &GraphNode, b: &GraphNode) -> bool {
    let same_work = match (&a.work, &b.work) {
        (Work::Kernel(a), Work::Kernel(b)) => a.function == b.function,
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    };
    same_work && a.after == b.after
}

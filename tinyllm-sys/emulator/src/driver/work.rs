//! Work for a device: what was asked for, kept until it runs.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::host_functions::HostFunction;
use crate::{
    kernel::Kernel,
    memory::{Bytes, Region},
};

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
    /// All of its blocks run at once, and may wait for each other.
    pub(super) cooperative: bool,
}

/// Where a copy's bytes come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Ordinary memory of the host, read when the call was made.
    Read(Arc<[u8]>),
    /// Page-locked memory, read when the copy runs; and where changes by the host are looked for, what it is in.
    PageLocked { address: u64, watched: Option<Arc<Bytes>> },
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
    /// A function of the host.
    Host(HostFunction),
    /// The end of a graph.
    Nothing,
}

impl Work {
    /// As findings call it, without the stream.
    pub(super) fn name(&self) -> String {
        match self {
            Work::Kernel(launch) => format!("kernel {}", launch.kernel.readable),
            Work::ToDevice { .. } => "copy to the device".into(),
            Work::ToHost { .. } => "copy to the host".into(),
            Work::OnDevice { .. } => "copy on the device".into(),
            Work::Fill { .. } => "memset".into(),
            Work::Allocate { .. } => "cuMemAllocFromPoolAsync".into(),
            Work::Free { .. } => "cuMemFreeAsync".into(),
            Work::Event(_) => "event".into(),
            Work::Host(function) => function.name().into(),
            Work::Nothing => "end of a graph".into(),
        }
    }

    /// Whether it may be part of a graph.
    pub(super) fn can_be_captured(&self) -> bool {
        match self {
            Work::Allocate { .. } | Work::Free { .. } => false,
            Work::Host(function) => !function.is_callback,
            _ => true,
        }
    }

    /// Whether two pieces of work differ in nothing but their arguments.
    pub(super) fn has_shape_of(&self, other: &Work) -> bool {
        match (self, other) {
            (Work::Kernel(a), Work::Kernel(b)) => a.function == b.function,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_no_part_of_the_shape() {
        let fill = |dst| Work::Fill { dst, value: 0, width: 1, count: 1 };
        assert!(fill(1).has_shape_of(&fill(2)));
        assert!(!fill(1).has_shape_of(&Work::OnDevice { dst: 1, src: 2, bytes: 1 }));
    }

    #[test]
    fn a_stamp_is_the_same_for_all_its_clones() {
        let stamp = Stamp::default();
        let clone = stamp.clone();
        assert_eq!(clone.get(), None);
        stamp.set();
        assert!(clone.get().is_some());
    }

    #[test]
    fn memory_of_pools_is_not_captured() {
        assert!(Work::Nothing.can_be_captured());
        assert!(!Work::Free { address: 0, bytes: 1 }.can_be_captured());
        assert!(!Work::Allocate { address: 0, bytes: 1, region: None }.can_be_captured());
    }
}

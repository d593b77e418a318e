//! What every resource promises. The memory of all spaces tested here can be touched by the processor.

use std::sync::Arc;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tinyllm_mem::{Allocation, Category, MAX_ALIGN_BYTES, MemError, MemoryResource, Request, Space, Stream};

type Resource<S> = Arc<dyn MemoryResource<Space = S>>;

/// A stream of a driver made of host memory, which takes any number for one.
pub(crate) fn stream(handle: u64) -> Stream {
    // SAFETY: no driver reads what the handle points to.
    unsafe { Stream::from_raw(handle) }
}

/// Runs the suite on fresh resources.
pub(crate) fn run<S: Space>(make: &dyn Fn() -> Resource<S>) {
    sizes_and_alignments(&make());
    impossible_requests(&make());
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec((any::<bool>(), 0usize..40_000, 0u32..13, 0u64..3), 0..60);
    TestRunner::new(config).run(&steps, |steps| random_calls(&make(), &steps)).unwrap();
    // A mapping of its own, past the sizes above.
    random_calls(&make(), &[(true, 5 << 20, 12, 0), (true, 3 << 20, 3, 0), (false, 0, 0, 0)]).unwrap();
}

fn request(bytes: usize, align_bytes: usize, stream: u64) -> Request {
    Request::new(Category::Workspace, "suite", bytes, align_bytes).on(self::stream(stream))
}

fn sizes_and_alignments<S: Space>(resource: &Resource<S>) {
    for bytes in [0, 1, 3, 64, 4095, 4096, 4097, 1 << 20] {
        for align_bytes in [1, 2, 16, 256, MAX_ALIGN_BYTES] {
            let allocation = resource.allocate(&request(bytes, align_bytes, 0)).unwrap();
            assert_eq!((allocation.bytes, allocation.align_bytes), (bytes, align_bytes));
            assert!(allocation.address.as_ptr().addr().is_multiple_of(align_bytes), "{bytes} {align_bytes}");
            // SAFETY: handed out just now, and used by nobody.
            unsafe { resource.deallocate(allocation, Stream::DEFAULT) }
        }
    }
}

fn impossible_requests<S: Space>(resource: &Resource<S>) {
    for align_bytes in [0, 3, 2 * MAX_ALIGN_BYTES] {
        let error = resource.allocate(&request(64, align_bytes, 0)).unwrap_err();
        assert!(matches!(error, MemError::BadAlignment { .. }), "{error}");
    }
    for bytes in [usize::MAX, isize::MAX as usize, isize::MAX as usize - MAX_ALIGN_BYTES] {
        assert!(resource.allocate(&request(bytes, 64, 0)).is_err(), "{bytes}");
    }
    // And it goes on.
    let allocation = resource.allocate(&request(64, 64, 0)).unwrap();
    // SAFETY: handed out just now, and used by nobody.
    unsafe { resource.deallocate(allocation, Stream::DEFAULT) }
}

/// Allocates and frees in any order; each allocation is filled with bytes of its own, which must be there at the end.
fn random_calls<S: Space>(
    resource: &Resource<S>,
    steps: &[(bool, usize, u32, u64)],
) -> Result<(), TestCaseError> {
    let mut live: Vec<(Allocation, u8)> = Vec::new();
    for (index, (is_allocation, bytes, align, stream)) in steps.iter().enumerate() {
        if *is_allocation || live.is_empty() {
            let allocation = resource.allocate(&request(*bytes, 1 << align, *stream)).unwrap();
            let start = allocation.address.as_ptr().addr();
            for (other, _) in live.iter().filter(|(other, _)| other.bytes > 0 && *bytes > 0) {
                let other_start = other.address.as_ptr().addr();
                prop_assert!(start + bytes <= other_start || other_start + other.bytes <= start, "overlap");
            }
            // SAFETY: as many bytes as were asked for, and nobody else's.
            unsafe { allocation.address.write_bytes(index as u8, *bytes) };
            live.push((allocation, index as u8));
        } else {
            let (allocation, fill) = live.swap_remove(bytes % live.len());
            free(resource, allocation, fill, *stream)?;
        }
    }
    live.into_iter().try_for_each(|(allocation, fill)| free(resource, allocation, fill, 0))
}

fn free<S: Space>(
    resource: &Resource<S>,
    allocation: Allocation,
    fill: u8,
    stream: u64,
) -> Result<(), TestCaseError> {
    // SAFETY: `random_calls` wrote every byte.
    let bytes = unsafe { std::slice::from_raw_parts(allocation.address.as_ptr(), allocation.bytes) };
    prop_assert!(bytes.iter().all(|byte| *byte == fill), "the contents changed");
    // SAFETY: it came from this resource and is given back once.
    unsafe { resource.deallocate(allocation, self::stream(stream)) }
    Ok(())
}

//! What every resource promises, for host and device memory.

use std::sync::Arc;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tinyllm_mem::{Allocation, Category, MAX_ALIGN_BYTES, MemError, MemoryResource, Request, Space, Stream};

type Resource<S> = Arc<dyn MemoryResource<Space = S>>;

/// How a test reaches a resource's memory.
pub(crate) trait Memory {
    /// The stream of a small number.
    fn stream(&self, stream: u64) -> Stream;

    /// Writes every byte of an allocation, in the order of a stream.
    fn fill(&self, allocation: &Allocation, stream: u64, byte: u8);

    /// Every byte of an allocation, in the order of a stream, which has been waited for then.
    fn read(&self, allocation: &Allocation, stream: u64) -> Vec<u8>;
}

/// Memory that the processor can touch.
struct HostBytes;

impl Memory for HostBytes {
    fn stream(&self, _stream: u64) -> Stream {
        Stream::DEFAULT
    }

    fn fill(&self, allocation: &Allocation, _stream: u64, byte: u8) {
        // SAFETY: as many bytes as were allocated, used by this test alone.
        unsafe { allocation.address.write_bytes(byte, allocation.bytes) }
    }

    fn read(&self, allocation: &Allocation, _stream: u64) -> Vec<u8> {
        // SAFETY: the suite filled every byte before.
        unsafe { std::slice::from_raw_parts(allocation.address.as_ptr(), allocation.bytes) }.to_vec()
    }
}

/// Runs the suite on fresh resources of host memory.
pub(crate) fn run<S: Space>(make: &dyn Fn() -> Resource<S>) {
    run_on(&HostBytes, make);
}

/// Runs the suite on fresh resources.
pub(crate) fn run_on<S: Space>(memory: &dyn Memory, make: &dyn Fn() -> Resource<S>) {
    sizes_and_alignments(&make());
    impossible_requests(&make());
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec((any::<bool>(), 0usize..40_000, 0u32..13, 0u64..3), 0..60);
    TestRunner::new(config).run(&steps, |steps| random_calls(memory, &make(), &steps)).unwrap();
    // A mapping of its own, past the sizes above.
    let large = [(true, 5 << 20, 12, 0), (true, 3 << 20, 3, 0), (false, 0, 0, 0)];
    random_calls(memory, &make(), &large).unwrap();
}

fn request(bytes: usize, align_bytes: usize, stream: &Stream) -> Request {
    Request::new(Category::Workspace, "suite", bytes, align_bytes).on(stream)
}

fn sizes_and_alignments<S: Space>(resource: &Resource<S>) {
    for bytes in [0, 1, 3, 64, 4095, 4096, 4097, 1 << 20] {
        for align_bytes in [1, 2, 16, 256, MAX_ALIGN_BYTES] {
            let allocation = resource.allocate(&request(bytes, align_bytes, &Stream::DEFAULT)).unwrap();
            assert_eq!((allocation.bytes, allocation.align_bytes), (bytes, align_bytes));
            assert!(allocation.address.as_ptr().addr().is_multiple_of(align_bytes), "{bytes} {align_bytes}");
            // SAFETY: allocated just now, and not used.
            unsafe { resource.deallocate(allocation, &Stream::DEFAULT) }
        }
    }
}

fn impossible_requests<S: Space>(resource: &Resource<S>) {
    for align_bytes in [0, 3, 2 * MAX_ALIGN_BYTES] {
        let error = resource.allocate(&request(64, align_bytes, &Stream::DEFAULT)).unwrap_err();
        assert!(matches!(error, MemError::BadAlignment { .. }), "{error}");
    }
    for bytes in [usize::MAX, isize::MAX as usize, isize::MAX as usize - MAX_ALIGN_BYTES] {
        assert!(resource.allocate(&request(bytes, 64, &Stream::DEFAULT)).is_err(), "{bytes}");
    }
    // And it goes on.
    let allocation = resource.allocate(&request(64, 64, &Stream::DEFAULT)).unwrap();
    // SAFETY: allocated just now, and not used.
    unsafe { resource.deallocate(allocation, &Stream::DEFAULT) }
}

/// Allocates and frees in any order; each allocation is filled with bytes of its own, which must be there at the end.
fn random_calls<S: Space>(
    memory: &dyn Memory,
    resource: &Resource<S>,
    steps: &[(bool, usize, u32, u64)],
) -> Result<(), TestCaseError> {
    let mut live: Vec<(Allocation, u8, u64)> = Vec::new();
    for (index, (is_allocation, bytes, align, stream)) in steps.iter().enumerate() {
        if *is_allocation || live.is_empty() {
            let allocation =
                resource.allocate(&request(*bytes, 1 << align, &memory.stream(*stream))).unwrap();
            let start = allocation.address.as_ptr().addr();
            for (other, ..) in live.iter().filter(|(other, ..)| other.bytes > 0 && *bytes > 0) {
                let other_start = other.address.as_ptr().addr();
                prop_assert!(start + bytes <= other_start || other_start + other.bytes <= start, "overlap");
            }
            memory.fill(&allocation, *stream, index as u8);
            live.push((allocation, index as u8, *stream));
        } else {
            let (allocation, fill, of) = live.swap_remove(bytes % live.len());
            free(memory, resource, allocation, fill, of, *stream)?;
        }
    }
    live.into_iter().try_for_each(|(allocation, fill, of)| free(memory, resource, allocation, fill, of, 0))
}

/// Looks at an allocation on the stream that it was made on, waits for that, and gives it back on another.
fn free<S: Space>(
    memory: &dyn Memory,
    resource: &Resource<S>,
    allocation: Allocation,
    fill: u8,
    of: u64,
    stream: u64,
) -> Result<(), TestCaseError> {
    let bytes = memory.read(&allocation, of);
    prop_assert!(bytes.iter().all(|byte| *byte == fill), "the contents changed");
    // SAFETY: it came from this resource and is freed once.
    unsafe { resource.deallocate(allocation, &memory.stream(stream)) }
    Ok(())
}

//! Every allocation of a run fails once: a clear error, nothing left, and the next run succeeds.

use std::sync::Arc;

use tinyllm_mem::{
    Allocation, Buffer, FailureInjection, Failures, Host, HostMemory, HostResource, MemError, MemoryInfo,
    MemoryResource, Request, Stream, Tracking,
};
use tinyllm_model::{
    Engine, ModelError, Result,
    engine::{EngineOptions, KvCacheConfig},
};

use crate::common::{RandomModel, small_config};

/// Loads, prefills, decodes eight tokens; the tokens' logits as bits.
fn run(memory: &HostMemory) -> Result<Vec<u32>> {
    let model = RandomModel::new(small_config(), 5);
    let options = EngineOptions::default().with_kv(KvCacheConfig::of_tokens(64)).with_threads(Some(2));
    let mut engine = Engine::load(&model, &options, memory, &|_| {})?;
    let mut bits: Vec<u32> = Vec::new();
    let sequence = engine.create_sequence()?;
    if let Some(logits) = engine.prefill(sequence, &[1, 2, 3], &mut || true)? {
        bits.extend(logits.iter().map(|logit| logit.to_bits()));
    }
    for token in 0..8 {
        bits.extend(engine.decode(sequence, token)?.iter().map(|logit| logit.to_bits()));
    }
    Ok(bits)
}

fn every_allocation_fails_once(memory_over: &dyn Fn(HostMemory) -> HostMemory) -> u64 {
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let counting = Arc::new(FailureInjection::new(tracking.clone(), Failures::Never));
    let expected = run(&memory_over(counting.clone())).unwrap();
    let calls = counting.calls();
    for nth in 0..calls {
        let failing: HostMemory = Arc::new(FailureInjection::new(tracking.clone(), Failures::Nth(nth)));
        let memory = memory_over(failing);
        let error = run(&memory).unwrap_err();
        assert!(matches!(error, ModelError::Memory(MemError::Injected { .. })), "{nth}: {error}");
        assert_eq!(tracking.report().total.live_bytes, 0, "{nth}");
        // The failure was the nth call's alone: the next run on the same resource succeeds.
        assert_eq!(run(&memory).unwrap(), expected, "{nth}");
        assert_eq!(tracking.report().total.live_bytes, 0, "{nth}");
    }
    calls
}

#[test]
fn with_slabs() {
    assert_eq!(every_allocation_fails_once(&|memory| memory), 4);
}

/// Takes an allocation of its own for each part of a slab from another resource: what a memory checker would see.
#[derive(Debug)]
struct PartByPart {
    inner: HostMemory,
    slabs: HostResource,
    parts: std::sync::Mutex<std::collections::HashMap<usize, Vec<Buffer<u8>>>>,
}

// SAFETY: the memory handed out is the host resource's; the parts beside it are only counted.
unsafe impl MemoryResource for PartByPart {
    type Space = Host;

    fn allocate(&self, request: &Request) -> std::result::Result<Allocation, MemError> {
        let parts = request.parts.iter().map(|part| {
            let single = Request::new(part.category, part.name.clone(), part.bytes, request.align_bytes);
            Buffer::allocate(&self.inner, single)
        });
        let parts = parts.collect::<std::result::Result<Vec<_>, _>>()?;
        let allocation = self.slabs.allocate(request)?;
        self.parts.lock().unwrap().insert(allocation.address.as_ptr().addr(), parts);
        Ok(allocation)
    }

    unsafe fn deallocate(&self, allocation: Allocation, stream: &Stream) {
        self.parts.lock().unwrap().remove(&allocation.address.as_ptr().addr());
        // SAFETY: the caller's promise, passed on.
        unsafe { self.slabs.deallocate(allocation, stream) }
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        self.inner.memory_info()
    }
}

#[test]
fn with_an_allocation_for_each_region() {
    let calls = every_allocation_fails_once(&|inner| {
        Arc::new(PartByPart { inner, slabs: HostResource::default(), parts: std::sync::Mutex::default() })
    });
    assert!(calls > 40, "{calls} parts");
}

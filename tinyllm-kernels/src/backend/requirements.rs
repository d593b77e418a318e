//! The memory requirements of a compiled program.

use tinyllm_mem::{Part, Plan};

use crate::KernelError;

/// Every byte that [`crate::Compiled::bind`] allocates: three slabs, and a fourth where data goes through memory of the host.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Requirements {
    /// The weights slab, by weight and vector; a part need not be contiguous.
    pub weights: Vec<Part>,
    /// The KV cache.
    pub kv_bytes: usize,
    /// The activation arena: the program's regions, by [`crate::RegionId::index`], then the backend's own.
    pub arena: Plan,
    /// Page-locked host memory on the way to and from a device; nothing for a backend on the host.
    pub staging: Vec<Part>,
    /// Alignment of the slabs in bytes.
    pub align_bytes: usize,
}

impl Requirements {
    /// Requirements of these slabs.
    pub fn new(weights: Vec<Part>, kv_bytes: usize, arena: Plan, align_bytes: usize) -> Self {
        Requirements { weights, kv_bytes, arena, staging: Vec::new(), align_bytes }
    }

    /// The same with page-locked host memory.
    pub fn with_staging(self, staging: Vec<Part>) -> Self {
        Requirements { staging, ..self }
    }

    /// Bytes of page-locked host memory.
    pub fn staging_bytes(&self) -> usize {
        self.staging.iter().map(|part| part.bytes).sum()
    }

    /// Bytes of the weights slab.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] if the sum overflows.
    pub fn weights_bytes(&self) -> Result<usize, KernelError> {
        let sum = self.weights.iter().try_fold(0usize, |sum, part| sum.checked_add(part.bytes));
        sum.ok_or_else(|| KernelError::Invalid { what: "weights", problem: "their bytes overflow".into() })
    }
}

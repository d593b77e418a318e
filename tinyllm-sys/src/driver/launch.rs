//! How a kernel is launched.

/// A launch's shape.
///
/// ```
/// use tinyllm_sys::LaunchConfig;
///
/// let config = LaunchConfig { shared_bytes: 1024, ..LaunchConfig::new([80, 1, 1], [256, 1, 1]) };
/// assert!(config.is_plain());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaunchConfig {
    /// Blocks in each dimension.
    pub grid: [u32; 3],
    /// Threads of a block in each dimension.
    pub block: [u32; 3],
    /// Shared memory of each block, beside what the kernel declares.
    pub shared_bytes: u32,
    /// Whether all blocks are resident at once, so that they can wait for each other.
    pub cooperative: bool,
    /// Blocks of a cluster in each dimension; the grid is a multiple of them.
    pub cluster: Option<[u32; 3]>,
}

impl LaunchConfig {
    /// A grid of blocks, without anything else.
    pub const fn new(grid: [u32; 3], block: [u32; 3]) -> Self {
        LaunchConfig { grid, block, shared_bytes: 0, cooperative: false, cluster: None }
    }

    /// Whether `cuLaunchKernel` can express it: no attributes.
    pub const fn is_plain(&self) -> bool {
        !self.cooperative && self.cluster.is_none()
    }
}

//! Device memory, freed on drop, and pseudo-random numbers in it that the host can compute too.

use tinyllm_mem::{Buffer, Category, Request};
use tinyllm_sys::DevicePointer;

use crate::device::{Device, Outcome};

/// Period of the random numbers: 16 times a prime, so that rows and matrices begin at different numbers, and copies
/// stay aligned.
const PERIOD: usize = 16 * 524_287;

/// An allocation in device memory.
pub(crate) struct Memory<'device> {
    device: &'device Device,
    buffer: Buffer<u8, tinyllm_mem::Device>,
}

impl<'device> Memory<'device> {
    /// An allocation filled with 0xff: NaN as f16 and f32, so that results that were not written are detected.
    pub(crate) fn new(device: &'device Device, name: &str, bytes: usize) -> Outcome<Self> {
        let request = Request::new(Category::Workspace, name, bytes, 256);
        let memory = Memory { device, buffer: Buffer::allocate(&device.memory, request)? };
        memory.fill(0xff)?;
        Ok(memory)
    }

    pub(crate) fn address(&self) -> u64 {
        self.buffer.address().addr() as u64
    }

    fn pointer(&self) -> DevicePointer {
        DevicePointer(self.address())
    }

    pub(crate) fn fill(&self, value: u8) -> Outcome {
        // SAFETY: the whole allocation, which nothing else uses between two synchronisations.
        unsafe { self.device.driver.memset_d8(self.pointer(), value, self.buffer.len()) }?;
        self.device.synchronize()
    }

    /// Copies values to the beginning.
    pub(crate) fn upload<T: bytemuck::Pod>(&self, values: &[T]) -> Outcome {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        assert!(bytes.len() <= self.buffer.len(), "more values than there is memory");
        // SAFETY: as many bytes on both sides, which nothing else uses between two synchronisations.
        unsafe { self.device.driver.memcpy_htod(self.pointer(), bytes.as_ptr(), bytes.len()) }?;
        self.device.synchronize()
    }

    /// `count` values, from index `first` on.
    pub(crate) fn download<T: bytemuck::Pod>(&self, first: usize, count: usize) -> Outcome<Vec<T>> {
        let mut values = vec![T::zeroed(); count];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        let offset = first * size_of::<T>();
        assert!(offset + bytes.len() <= self.buffer.len(), "more values than there is memory");
        let from = DevicePointer(self.address() + offset as u64);
        self.device.synchronize()?;
        // SAFETY: the ranges have the same size, inside the allocation, and no work is pending.
        unsafe { self.device.driver.memcpy_dtoh(bytes.as_mut_ptr(), from, bytes.len()) }?;
        Ok(values)
    }

    /// Repeats the first bytes up to the end.
    fn repeat(&self, mut filled_bytes: usize) -> Outcome {
        while filled_bytes < self.buffer.len() {
            let more = filled_bytes.min(self.buffer.len() - filled_bytes);
            let to = DevicePointer(self.address() + filled_bytes as u64);
            // SAFETY: inside the allocation, and what is read lies before what is written. The default stream orders them.
            unsafe { self.device.driver.memcpy_dtod(to, self.pointer(), more) }?;
            filled_bytes += more;
        }
        self.device.synchronize()
    }
}

/// Memory full of random numbers.
pub(crate) struct Random<'device, T> {
    memory: Memory<'device>,
    values: Vec<T>,
}

impl<'device, T: bytemuck::Pod> Random<'device, T> {
    /// `count` numbers: `of` applied to random numbers in [-1, 1).
    pub(crate) fn new(
        device: &'device Device,
        name: &str,
        count: usize,
        of: impl Fn(f32) -> T,
    ) -> Outcome<Self> {
        let values: Vec<T> = uniform(name, count.min(PERIOD)).map(of).collect();
        let memory = Memory::new(device, name, count * size_of::<T>())?;
        memory.upload(&values)?;
        memory.repeat(size_of_val(values.as_slice()))?;
        Ok(Random { memory, values })
    }

    /// The number at an index.
    pub(crate) fn at(&self, index: usize) -> T {
        self.values[index % self.values.len()]
    }

    /// The address of the memory.
    pub(crate) fn address(&self, index: usize) -> u64 {
        self.memory.address() + (index * size_of::<T>()) as u64
    }
}

/// Pseudo-random numbers in [-1, 1), seeded by the name: xorshift64.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let mix = |state: u64, byte| (state ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut state = name.bytes().fold(1, mix);
    (0..count).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    })
}

//! Throughput of the emulated device, with all checks, on one core, in thread-instructions a second.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ffi::{CString, c_void};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tinyllm_emulator::{Check, Emulator};
use tinyllm_sys::{DriverApi, FunctionHandle, LaunchConfig, StreamHandle};

/// A kernel with its launch configuration and arguments.
struct Launch {
    driver: Emulator,
    function: FunctionHandle,
    config: LaunchConfig,
    arguments: Vec<u64>,
}

impl Launch {
    /// Arguments are numbers, or buffers to allocate, fill and pass.
    fn new(check: Check, ptx: &str, name: &str, config: LaunchConfig, arguments: &[Argument]) -> Self {
        let driver = Emulator::builder().threads(1).check(check).build();
        // SAFETY: handles are this driver's, and writes are inside the allocations just made.
        unsafe {
            driver
                .context_set_current(driver.primary_context_retain(driver.device_get(0).unwrap()).unwrap())
                .unwrap();
            let module = driver.module_load_data(&CString::new(ptx).unwrap()).unwrap();
            let function = driver.module_get_function(module, &CString::new(name).unwrap()).unwrap();
            let arguments = arguments.iter().map(|argument| match argument {
                Argument::Number(value) => *value,
                Argument::Memory(bytes, word) => {
                    let memory = driver.mem_alloc(*bytes).unwrap();
                    driver.memset_d32(memory, *word, bytes / 4).unwrap();
                    memory.0
                }
            });
            let arguments = arguments.collect();
            driver.context_synchronize().unwrap();
            Launch { driver, function, config, arguments }
        }
    }

    fn run(&mut self) {
        let params: Vec<*mut c_void> =
            self.arguments.iter_mut().map(|argument| std::ptr::from_mut(argument).cast()).collect();
        // SAFETY: as many arguments as the kernel has parameters, over allocations as large as it needs.
        unsafe { self.driver.launch_kernel(self.function, &self.config, StreamHandle::LEGACY, &params) }
            .unwrap();
        self.driver.context_synchronize().unwrap();
    }

    /// Thread-instructions of one launch.
    fn instructions(&mut self, name: &str) -> u64 {
        self.run();
        assert_eq!(self.driver.findings(), []);
        let counters = self.driver.counters();
        counters[name].total.thread_instructions / counters[name].launches
    }
}

enum Argument {
    /// A buffer of `bytes` bytes filled with a word.
    Memory(usize, u32),
    Number(u64),
}

fn emulated(criterion: &mut Criterion) {
    use Argument::{Memory, Number};
    const F16_ONES: u32 = 0x3c00_3c00;
    let row = |grid, block| LaunchConfig::new(grid, [block, 1, 1]);
    let (rows, columns) = (1024usize, 2048usize);
    let gemv = vec![
        Memory(rows * columns, 0x0102_0304),
        Memory(rows * columns / 64 * 2, F16_ONES),
        Memory(columns * 2, F16_ONES),
        Memory(rows * 4, 0),
        Number(rows as u64),
        Number(columns as u64),
        Number(64),
        Number(1),
        Number(0x8080_8080),
    ];
    let (m, n, k) = (128usize, 256usize, 1024usize);
    let gemm = vec![
        Memory(m * k * 2, F16_ONES),
        Memory(n * k, 0x0102_0304),
        Memory(n * k / 64 * 2, F16_ONES),
        Memory(m * n * 4, 0),
        Number(m as u64),
        Number(n as u64),
        Number(k as u64),
        Number(64),
        Number(0x8080_8080),
    ];
    let (sequences, kv_heads, length) = (4usize, 4usize, 1024usize);
    let blocks = length / 16;
    let attention = vec![
        Memory(sequences * kv_heads * 4 * 64 * 4, 0x3f80_0000),
        Memory(blocks * kv_heads * 16 * 2 * 64 * 2, F16_ONES),
        Memory(sequences * blocks * 4, 3),
        Memory(sequences * 4, length as u32),
        Memory(sequences * kv_heads * 4 * 64 * 4, 0),
        Number(kv_heads as u64),
        Number(4),
        Number(1),
        Number(0),
        Number(16),
        Number(blocks as u64),
        Number(0xffff_ffff),
        Number(u64::from(0.125f32.to_bits())),
    ];
    let ptx = [
        include_str!("../../ptx/w8a16_gemv.ptx"),
        include_str!("../../ptx/w8a16_gemm.ptx"),
        include_str!("../../ptx/attention_decode.ptx"),
        include_str!("mma_s8.ptx"),
    ];
    let cases = [
        ("w8a16_gemv_1", ptx[0], row([rows as u32 / 8, 1, 1], 128), gemv),
        ("w8a16_gemm_f32_128x128", ptx[1], row([1, 2, 1], 256), gemm),
        ("attention_decode_f16_d64_h4", ptx[2], row([kv_heads as u32, sequences as u32, 1], 256), attention),
        ("mma_s8", ptx[3], row([1, 1, 1], 128), vec![Memory(512, 0), Number(4096)]),
    ];
    for (title, check) in [("emulated, all checks", Check::all()), ("emulated, no check", Check::none())] {
        let mut group = criterion.benchmark_group(title);
        group.sample_size(10);
        for (name, ptx, config, arguments) in &cases {
            let mut launch = Launch::new(check, ptx, name, *config, arguments);
            group.throughput(Throughput::Elements(launch.instructions(name)));
            group.bench_function(*name, |bencher| bencher.iter(|| launch.run()));
        }
        group.finish();
    }
}

criterion_group!(benches, emulated);
criterion_main!(benches);

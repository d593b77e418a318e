//! Launches and variables, whichever way the fat binary is compressed.

use std::ffi::c_void;

use crate::{
    ANY, Memory, PTX, Program, TO_DEVICE, TO_HOST,
    calls::{
        __cudaGetKernel, __cudaInitModule, __cudaLaunchKernel, __cudaPopCallConfiguration,
        __cudaPushCallConfiguration, Config, Dim3, cudaFuncGetAttributes, cudaGetSymbolSize,
        cudaLaunchKernel, cudaLaunchKernelExC, cudaMemcpy, cudaMemcpy2D, cudaMemcpyFromSymbol, cudaMemset,
    },
    done,
    fat_binary::Compression,
};

const COLUMNS: usize = 64;
const ROWS: usize = 3;
const ONE_F16: u16 = 0x3c00;

/// What the kernel reads and writes: rows of ones, weights of one.
struct Tensors {
    input: Memory,
    weight: Memory,
    output: Memory,
    clamped: Memory,
}

impl Tensors {
    fn new() -> Self {
        let tensors = Tensors {
            input: Memory::new(ROWS * COLUMNS * 4),
            weight: Memory::new(COLUMNS * 2),
            output: Memory::new(ROWS * COLUMNS * 2),
            clamped: Memory::new(4),
        };
        let (ones, weights) = (vec![1f32; ROWS * COLUMNS], vec![ONE_F16; COLUMNS]);
        // SAFETY: each copy is as long as both sides.
        unsafe {
            done(cudaMemcpy(tensors.input.0, ones.as_ptr().cast(), ROWS * COLUMNS * 4, TO_DEVICE));
            done(cudaMemcpy(tensors.weight.0, weights.as_ptr().cast(), COLUMNS * 2, ANY));
            done(cudaMemset(tensors.output.0, 0, ROWS * COLUMNS * 2));
            done(cudaMemset(tensors.clamped.0, 0, 4));
        }
        tensors
    }

    /// Does something with the kernel's arguments.
    fn with_arguments(&self, work: impl FnOnce(*mut *mut c_void)) {
        let mut addresses = [self.input.0, self.weight.0, self.output.0, self.clamped.0];
        let (mut columns, mut eps) = (COLUMNS as u32, 0f32);
        let [input, weight, output, clamped] = &mut addresses;
        let mut arguments: [*mut c_void; 6] = [
            (&raw mut *input).cast(),
            (&raw mut *weight).cast(),
            (&raw mut *output).cast(),
            (&raw mut *clamped).cast(),
            (&raw mut columns).cast(),
            (&raw mut eps).cast(),
        ];
        work(arguments.as_mut_ptr());
    }

    /// Ones, divided by the root of the mean of their squares, are ones.
    #[track_caller]
    fn check(&self) {
        let mut out = vec![0u16; ROWS * COLUMNS];
        // SAFETY: as long as both sides.
        done(unsafe { cudaMemcpy(out.as_mut_ptr().cast(), self.output.0, ROWS * COLUMNS * 2, TO_HOST) });
        assert_eq!(out, vec![ONE_F16; ROWS * COLUMNS]);
    }
}

const GRID: Dim3 = Dim3(ROWS as u32, 1, 1);
const BLOCK: Dim3 = Dim3(32, 1, 1);

/// `<<<…>>>` as nvcc 12 and older write it.
fn by_address(program: &Program, arguments: *mut *mut c_void) {
    let (mut grid, mut block, mut shared, mut stream) = (Dim3(0, 0, 0), BLOCK, 1, std::ptr::null_mut());
    // SAFETY: what the stub passes.
    unsafe {
        assert_eq!(__cudaPushCallConfiguration(GRID, BLOCK, 0, std::ptr::null_mut()), 0);
        let popped =
            __cudaPopCallConfiguration(&raw mut grid, &raw mut block, &raw mut shared, &raw mut stream);
        done(popped);
        assert_eq!((grid, block, shared, stream.is_null()), (GRID, BLOCK, 0, true));
        done(cudaLaunchKernel(program.kernel(), grid, block, arguments, shared, stream));
    }
}

/// As nvcc 12.x and 13 write it.
fn by_handle(program: &Program, arguments: *mut *mut c_void) {
    let mut kernel = std::ptr::null();
    // SAFETY: what the stub passes.
    unsafe {
        done(__cudaGetKernel(&raw mut kernel, program.kernel()));
        done(__cudaLaunchKernel(kernel, GRID, BLOCK, arguments, 0, std::ptr::null_mut()));
    }
}

/// `cudaLaunchKernelEx`.
fn by_configuration(program: &Program, arguments: *mut *mut c_void) {
    let config = Config {
        grid: GRID,
        block: BLOCK,
        shared_bytes: 0,
        stream: std::ptr::null_mut(),
        attributes: std::ptr::null(),
        attribute_count: 0,
    };
    // SAFETY: one configuration without attributes, the kernel's arguments.
    done(unsafe { cudaLaunchKernelExC(&raw const config, program.kernel(), arguments) });
}

#[test]
fn a_kernel_runs_however_it_is_compressed_and_launched() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        for launch in [by_address, by_handle, by_configuration] {
            let program = Program::new(PTX, compression);
            let tensors = Tensors::new();
            tensors.with_arguments(|arguments| launch(&program, arguments));
            tensors.check();
        }
    }
}

#[test]
fn a_variable_is_read_and_has_its_size() {
    let program = Program::new(PTX, Compression::Lz4);
    let (mut bytes, mut value) = (0, 0f32);
    // SAFETY: room for a size and for a number of 4 bytes.
    unsafe {
        done(cudaGetSymbolSize(&raw mut bytes, program.variable()));
        done(cudaMemcpyFromSymbol((&raw mut value).cast(), program.variable(), 4, 0, TO_HOST));
    }
    assert_eq!((bytes, value), (4, 65_504.0));
}

#[test]
fn attributes_of_a_kernel_come_from_its_ptx() {
    let program = Program::new(PTX, Compression::Zstd);
    let mut attributes = [0; 144];
    // SAFETY: room for the structure.
    done(unsafe { cudaFuncGetAttributes(&raw mut attributes, program.kernel()) });
    // Eight sums of a block, and its launch bounds.
    assert_eq!(attributes[..8], 32usize.to_ne_bytes());
    assert_eq!(attributes[24..28], 256i32.to_ne_bytes());
    // SAFETY: registered, and still there.
    assert_eq!(unsafe { __cudaInitModule(program.handle) }, 1);
}

#[test]
fn rectangles_are_copied_row_by_row() {
    let memory = Memory::new(64);
    let source: Vec<u8> = (0..12).collect();
    let mut back = [0xffu8; 20];
    // SAFETY: 3 rows of 4 bytes here, 16 bytes apart there, 8 apart on the way back.
    unsafe {
        done(cudaMemset(memory.0, 9, 64));
        done(cudaMemcpy2D(memory.0, 16, source.as_ptr().cast(), 4, 4, 3, TO_DEVICE));
        done(cudaMemcpy2D(back.as_mut_ptr().cast(), 8, memory.0, 16, 4, 3, TO_HOST));
    }
    let f = 0xff;
    assert_eq!(back, [0, 1, 2, 3, f, f, f, f, 4, 5, 6, 7, f, f, f, f, 8, 9, 10, 11]);
}

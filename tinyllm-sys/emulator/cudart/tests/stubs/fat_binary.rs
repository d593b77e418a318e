//! Bytes of a fat binary, as nvcc 13 writes them.

use std::ffi::c_void;

/// How the text is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Compression {
    None,
    Lz4,
    Zstd,
}

/// `__fatBinC_Wrapper_t`.
#[repr(C)]
struct Wrapper {
    magic: u32,
    version: u32,
    data: *const u8,
    more: *const c_void,
}

/// A wrapper and the container that it names.
pub(crate) struct FatBinary {
    wrapper: Box<Wrapper>,
    _container: Vec<u8>,
}

impl FatBinary {
    pub(crate) fn of_ptx(ptx: &str, compression: Compression) -> Self {
        let text = ptx.as_bytes();
        let (payload, flags) = match compression {
            Compression::None => (text.to_vec(), 0x11),
            Compression::Lz4 => (lz4_flex::block::compress(text), 0x2011),
            Compression::Zstd => {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                (ruzstd::encoding::compress_to_vec(text, level), 0x8011)
            }
        };
        let original = if flags == 0x11 { 0 } else { text.len() as u64 };
        FatBinary::new(&entry(1, 80, flags, &payload, original))
    }

    /// With machine code alone.
    pub(crate) fn of_machine_code() -> Self {
        FatBinary::new(&entry(2, 80, 0x11, b"\x7fELF\x02\x01\x01\x33", 0))
    }

    fn new(entries: &[u8]) -> Self {
        let mut container = 0xBA55_ED50u32.to_le_bytes().to_vec();
        container.extend([1, 0, 16, 0]);
        container.extend((entries.len() as u64).to_le_bytes());
        container.extend(entries);
        let wrapper =
            Wrapper { magic: 0x4662_43B1, version: 1, data: container.as_ptr(), more: std::ptr::null() };
        FatBinary { wrapper: Box::new(wrapper), _container: container }
    }

    pub(crate) fn wrapper(&self) -> *const c_void {
        (&raw const *self.wrapper).cast()
    }
}

fn entry(kind: u16, architecture: u32, flags: u64, payload: &[u8], original_bytes: u64) -> Vec<u8> {
    let filled = payload.len().next_multiple_of(8);
    let compressed_bytes = if original_bytes == 0 { 0 } else { payload.len() as u32 };
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(0x101u16.to_le_bytes());
    bytes.extend(80u32.to_le_bytes());
    bytes.extend((filled as u64).to_le_bytes());
    bytes.extend(compressed_bytes.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(architecture.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(flags.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(original_bytes.to_le_bytes());
    // What nvcc adds to the header since CUDA 13.
    bytes.extend([0; 16]);
    bytes.extend(payload);
    bytes.resize(80 + filled, 0);
    bytes
}

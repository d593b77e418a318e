//! Containers as nvcc writes them, taken apart, and damaged ones, refused.

use super::*;

const TEXT: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";
/// `kind` of machine code.
const ELF: u16 = 2;
const LZ4: u64 = 1 << 13;
const ZSTD: u64 = 1 << 15;

/// An entry as nvcc 13 writes it: a header of 64 bytes, the payload filled up to a multiple of 8.
fn entry(kind: u16, architecture: u32, flags: u64, payload: &[u8], original_bytes: u64) -> Vec<u8> {
    let filled = payload.len().next_multiple_of(8);
    let compressed_bytes = if original_bytes == 0 { 0 } else { payload.len() as u32 };
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(0x101u16.to_le_bytes());
    bytes.extend(64u32.to_le_bytes());
    bytes.extend((filled as u64).to_le_bytes());
    bytes.extend(compressed_bytes.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(architecture.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(flags.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(original_bytes.to_le_bytes());
    bytes.extend(payload);
    bytes.resize(64 + filled, 0);
    bytes
}

fn whole(entries: &[Vec<u8>]) -> Vec<u8> {
    let all = entries.concat();
    let mut bytes = 0xBA55_ED50u32.to_le_bytes().to_vec();
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(16u16.to_le_bytes());
    bytes.extend((all.len() as u64).to_le_bytes());
    bytes.extend(all);
    bytes
}

fn compressed(flags: u64) -> Vec<u8> {
    let packed = match flags {
        LZ4 => lz4_flex::block::compress(TEXT.as_bytes()),
        _ => ruzstd::encoding::compress_to_vec(TEXT.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest),
    };
    entry(PTX, 80, flags, &packed, TEXT.len() as u64)
}

#[test]
fn text_is_found_however_it_is_compressed() {
    for container in [
        whole(&[entry(PTX, 80, 0x11, TEXT.as_bytes(), 0)]),
        whole(&[compressed(LZ4)]),
        whole(&[compressed(ZSTD)]),
        whole(&[entry(ELF, 90, 0x11, b"\x7fELF", 0), compressed(ZSTD)]),
    ] {
        assert_eq!(ptx(&container, 80).unwrap().to_str().unwrap(), TEXT);
    }
}

#[test]
fn the_newest_architecture_that_the_device_runs_is_taken() {
    let container = whole(&[
        entry(PTX, 70, 0, b"seventy", 0),
        entry(PTX, 80, 0, b"eighty", 0),
        entry(PTX, 90, 0, b"ninety", 0),
    ]);
    assert_eq!(ptx(&container, 80).unwrap().as_c_str(), c"eighty");
    assert_eq!(ptx(&container, 75).unwrap().as_c_str(), c"seventy");
    assert_eq!(ptx(&container, 60), Err(Unusable::TooNew { ptx: vec![70, 80, 90], device: 60 }));
}

#[test]
fn machine_code_alone_is_refused_with_the_remedy() {
    let refused = ptx(&whole(&[entry(ELF, 86, 0, b"\x7fELF", 0)]), 80).unwrap_err();
    assert_eq!(refused, Unusable::NoPtx { machine_code: vec![86] });
    assert!(refused.to_string().contains("-gencode arch=compute_80,code=compute_80"));
    assert_eq!(ptx(&whole(&[]), 80), Err(Unusable::NoPtx { machine_code: vec![] }));
}

#[test]
fn a_container_cut_short_is_refused() {
    for container in [whole(&[compressed(LZ4)]), whole(&[compressed(ZSTD)])] {
        for bytes in 0..container.len() {
            assert_eq!(ptx(&container[..bytes], 80), Err(Unusable::Damaged), "{bytes}");
        }
    }
}

#[test]
fn no_byte_that_is_changed_makes_it_panic() {
    for container in [whole(&[compressed(LZ4)]), whole(&[compressed(ZSTD)])] {
        for at in 0..container.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = container.clone();
                changed[at] = value;
                // Refused or read; texts are compared elsewhere.
                let _ = ptx(&changed, 80);
            }
        }
    }
}

#[test]
fn a_wrapper_is_checked_before_its_container_is_read() {
    let container_bytes = whole(&[compressed(LZ4)]);
    let wrapper =
        Wrapper { magic: WRAPPER, version: WHOLE, data: container_bytes.as_ptr(), _more: std::ptr::null() };
    // SAFETY: each wrapper is null, refused by its own fields, or names a whole container.
    unsafe {
        assert_eq!(container(&wrapper).unwrap(), container_bytes);
        assert_eq!(container(std::ptr::null()), Err(Unusable::Damaged));
        assert_eq!(container(&Wrapper { magic: 1, ..wrapper }), Err(Unusable::Damaged));
        assert_eq!(container(&Wrapper { data: std::ptr::null(), ..wrapper }), Err(Unusable::Damaged));
        assert_eq!(container(&Wrapper { version: 2, ..wrapper }), Err(Unusable::Relocatable));
    }
}

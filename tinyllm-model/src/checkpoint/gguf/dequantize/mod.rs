//! Tensor bytes to f32, block by block. One file to a family of types; the layouts are those of ggml's `ggml-common.h`.
//!
//! Every multiplication and addition is rounded by itself, in the order of the reference (`scale · quantised`, then the
//! minimum), so the results are the reference's to the bit. Blocks and their fields are arrays of fixed size (`block`):
//! the inner loops have no bounds checks and vectorise.

mod block;
mod float;
mod iq4;
mod k_scales;
mod q2_k;
mod q3_k;
mod q4;
mod q4_k;
mod q5;
mod q5_k;
mod q6_k;
mod q8_0;

use super::GgmlType;

/// Writes the elements of `bytes` to `out`. Both are whole blocks of the type, and equally many; a remainder
/// of either is not touched; callers check sizes first.
pub(super) fn dequantize(ggml_type: GgmlType, bytes: &[u8], out: &mut [f32]) {
    match ggml_type {
        GgmlType::F32 => float::f32(bytes, out),
        GgmlType::F16 => float::f16(bytes, out),
        GgmlType::BF16 => float::bf16(bytes, out),
        GgmlType::Q4_0 => each_block(bytes, out, q4::q4_0),
        GgmlType::Q4_1 => each_block(bytes, out, q4::q4_1),
        GgmlType::Q5_0 => each_block(bytes, out, q5::q5_0),
        GgmlType::Q5_1 => each_block(bytes, out, q5::q5_1),
        GgmlType::Q8_0 => each_block(bytes, out, q8_0::q8_0),
        GgmlType::Q2_K => each_block(bytes, out, q2_k::q2_k),
        GgmlType::Q3_K => each_block(bytes, out, q3_k::q3_k),
        GgmlType::Q4_K => each_block(bytes, out, q4_k::q4_k),
        GgmlType::Q5_K => each_block(bytes, out, q5_k::q5_k),
        GgmlType::Q6_K => each_block(bytes, out, q6_k::q6_k),
        GgmlType::IQ4_NL => each_block(bytes, out, iq4::iq4_nl),
        GgmlType::IQ4_XS => each_block(bytes, out, iq4::iq4_xs),
    }
}

fn each_block<const BYTES: usize, const ELEMS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    dequantize_block: impl Fn(&[u8; BYTES], &mut [f32; ELEMS]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (outs, _) = out.as_chunks_mut::<ELEMS>();
    for (block, out) in blocks.iter().zip(outs) {
        dequantize_block(block, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of random bytes against the numpy dequantisers of the PyPI package `gguf`, bit for bit.
    #[test]
    fn every_type_equals_the_reference() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gguf_blocks.safetensors");
        let file = std::fs::read(path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        for ggml_type in GgmlType::all() {
            let name = ggml_type.name();
            let bytes = tensors.tensor(&format!("{name}.bytes")).unwrap().data();
            let (expected, _) = tensors.tensor(&format!("{name}.values")).unwrap().data().as_chunks::<4>();
            assert_eq!(
                bytes.len() / ggml_type.block_bytes() * ggml_type.block_elems(),
                expected.len(),
                "{name}"
            );

            let mut values = vec![f32::NAN; expected.len()];
            dequantize(ggml_type, bytes, &mut values);
            for (index, (value, expected)) in values.iter().zip(expected).enumerate() {
                let expected = f32::from_le_bytes(*expected);
                assert_eq!(value.to_bits(), expected.to_bits(), "{name}[{index}]: {value}, not {expected}");
            }
        }
    }
}

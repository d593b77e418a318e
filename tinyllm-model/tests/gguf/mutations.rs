//! Sound files with seeded damage: opening and reading all of one never panics, whatever was hit.

use std::path::Path;

use crate::{
    support::{read_everything, reference_dir},
    writer::{Meta, tiny_model},
};

/// SplitMix64 (Steele, Lea, Flood 2014): the same damage in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One to four wounds, most of them in the first `header_bytes`.
fn damage(sound: &[u8], header_bytes: usize, random: &mut Random) -> Vec<u8> {
    const EXTREMES: [u64; 8] = [0, 1, 4, 9, 0x7fff_ffff, 0xffff_ffff, 1 << 62, u64::MAX];
    let mut bytes = sound.to_vec();
    for _ in 0..=random.below(4) {
        let reach = if random.below(8) == 0 { bytes.len() } else { header_bytes.min(bytes.len()) };
        let at = random.below(reach);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            2 => drop(bytes.drain(at..(at + random.below(16)).min(bytes.len()))),
            3 => bytes.extend_from_within(at..(at + random.below(64)).min(bytes.len())),
            4 | 5 => {
                let extreme = EXTREMES[random.below(EXTREMES.len())].to_le_bytes();
                let width = if random.below(2) == 0 { 4 } else { 8 };
                for (byte, new) in bytes[at..].iter_mut().zip(&extreme[..width]) {
                    *byte = *new;
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

/// Reads `rounds` damaged copies; how many of them still loaded.
fn survive(sound: &[u8], header_bytes: usize, rounds: usize, seed: u64) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.gguf");
    let mut random = Random(seed);
    let mut loaded = 0;
    for _ in 0..rounds {
        std::fs::write(&path, damage(sound, header_bytes, &mut random)).unwrap();
        match read_everything(&path) {
            Ok(_) => loaded += 1,
            Err(error) => assert!(error.to_string().len() < 2000, "a message too long to read: {error}"),
        }
    }
    loaded
}

#[test]
fn damaged_files_never_panic() {
    for (seed, architecture) in [(1, "llama"), (2, "qwen2"), (3, "qwen3")] {
        let mut file = tiny_model(architecture);
        file.set("tokenizer.ggml.merges", Meta::Texts(vec!["a b", "c d"]));
        // One quantised tensor: 32 × 32 weights of Q4_0.
        let quantised =
            file.tensors.iter_mut().find(|tensor| tensor.0 == "blk.0.attn_output.weight").unwrap();
        (quantised.2, quantised.3) = (2, vec![0x5a; 32 * 18]);
        let sound = file.to_bytes();
        let data_bytes: usize = file.tensors.iter().map(|tensor| tensor.3.len().next_multiple_of(32)).sum();
        let loaded = survive(&sound, sound.len() - data_bytes, 2000, seed);
        assert!(loaded > 0, "some damage is harmless; else the reader never gets past the header");
        assert!(loaded < 1000, "most damage to a header is noticed");
    }
}

#[test]
fn damaged_reference_files_never_panic() {
    let Some(dir) = reference_dir("TINYLLM_ORACLE_DIR", "oracle") else { return };
    for (seed, kind) in [(4, "q2_k"), (5, "q4_k_m"), (6, "iq4_xs")] {
        let path = dir.join(format!("gguf/tiny256.{kind}.gguf"));
        let Ok(sound) = std::fs::read(Path::new(&path)) else {
            eprintln!("skipped: {} is absent", path.display());
            continue;
        };
        survive(&sound, 12 << 10, 150, seed);
    }
}

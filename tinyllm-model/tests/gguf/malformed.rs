//! Damaged files: each is refused with a message that names file and field, or loads where it is sound.

use tinyllm_model::{ModelError, Result};

use crate::support::{read_everything, reference_dir};

/// What the message names, for files that are refused.
const FIELDS: [(&str, &str); 47] = [
    ("01_empty", ""),
    ("03_wrong_magic", "magic"),
    ("04_version0", "version"),
    ("06_version1", "version"),
    ("07_big_endian", "big-endian"),
    ("09_kv_count_max", "metadata count"),
    ("10_kv_count_too_small", "tokenizer.ggml.eos_token_id"),
    ("12_str_len_eof", "zz: needs 10000000 bytes"),
    ("13_array_count_2e62", "zz: a count"),
    ("15_nested_arrays_5000", "nested"),
    ("16_value_type_77", "value type 77"),
    ("18_dup_key", "llama.block_count"),
    ("19_align0", "general.alignment"),
    ("21_align_str", "general.alignment"),
    ("22_align_2e31", "general.alignment"),
    ("24_ndims5", "5 dimensions"),
    ("25_dims_overflow", ".weight"),
    ("27_dim_zero", ".weight"),
    ("28_dim_negative", ".weight"),
    ("30_type4_removed", "Q4_2"),
    ("31_offset_eof", ".weight"),
    ("33_offset_misaligned", "offset 33"),
    ("34_offsets_overlap", "overlap"),
    ("36_truncated_data", "cut short"),
    ("37_truncated_header", "tensor count"),
    ("39_q4_0_row_not_multiple", "Q4_0"),
    ("40_no_embedding_length", "llama.embedding_length"),
    ("42_heads3", "llama.attention.head_count"),
    ("43_kv_heads_gt_heads", "llama.attention.head_count_kv"),
    ("45_missing_tensor", "blk.0.attn_q.weight"),
    ("46_extra_tensor", ""),
    ("48_ctx_len_max", "llama.context_length"),
    ("49_block_count_str", "llama.block_count"),
    ("51_rope_base_0", "llama.rope.freq_base"),
    ("52_eps_negative", "llama.attention.layer_norm_rms_epsilon"),
    ("55_arch_missing", "general.architecture"),
    ("60_eos_out_of_range", "tokenizer.ggml.eos_token_id"),
    ("66_split_missing", "split.count"),
    ("67_split_no_ge_count", "split.no"),
    ("72_no_tensors", "token_embd.weight"),
    ("73_rope_scaling_unknown", "spiral"),
    // Not this reader's to refuse: the model is sound, and its vocabulary or template is not.
    ("57_tokens_short", ""),
    ("58_token_type_short", ""),
    ("61_dup_tokens", ""),
    ("63_template_syntax", ""),
    ("64_template_bomb", ""),
    // Refused where weights are quantised: reading gives infinities and NaNs.
    ("69_q8_inf_scale", ""),
];

/// The file whose vocabulary is at fault: opening the tokenizer refuses it.
const LEFT_TO_THE_TOKENIZER: [&str; 1] = ["58_token_type_short"];

/// Resident memory that the run may reach, with the test program's own.
const MOST_RESIDENT_KIB: u64 = 256 << 10;

#[test]
fn every_malformed_file_is_refused_or_loads_as_listed() {
    let Some(dir) = reference_dir("TINYLLM_MALFORMED_DIR", "malformed") else { return };
    let manifest = std::fs::read(dir.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    for entry in manifest["files"].as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        let Some(name) = file.strip_prefix("gguf/").and_then(|name| name.strip_suffix(".gguf")) else {
            continue;
        };
        let path = dir.join(file);
        if !path.is_file() {
            eprintln!("skipped: {} is absent", path.display());
            continue;
        }
        check(name, entry["expect"].as_str().unwrap(), &path.to_string_lossy(), read_everything(&path));
    }
    if let Some(peak_kib) = peak_resident_kib() {
        assert!(peak_kib < MOST_RESIDENT_KIB, "{peak_kib} KiB resident");
    }
}

fn check(name: &str, expect: &str, path: &str, outcome: Result<usize>) {
    match (expect, outcome) {
        ("error", Ok(_)) if LEFT_TO_THE_TOKENIZER.contains(&name) => {}
        ("error", Ok(_)) => panic!("{name}: a damaged file loads"),
        ("ok", Err(error)) => panic!("{name}: a sound file is refused: {error}"),
        (_, Err(error)) => {
            let message = error.to_string();
            let field = FIELDS.iter().find(|(known, _)| *known == name).map_or("", |(_, field)| field);
            assert!(message.contains(path), "{name}: does not name the file: {message}");
            assert!(message.contains(field), "{name}: does not name {field:?}: {message}");
            let named = matches!(error, ModelError::Malformed { .. } | ModelError::Unsupported { .. });
            assert!(named || name == "01_empty", "{name}: names no field: {error:?}");
            eprintln!("{message}");
        }
        ("ok" | "either", Ok(_)) => {}
        (other, _) => panic!("{name}: the manifest expects {other}"),
    }
}

/// The process's peak resident memory, on Linux.
fn peak_resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

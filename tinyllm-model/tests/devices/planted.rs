//! Faults planted in the kernels' PTX, as a slip in their source would leave them: each is found while a model runs.

use std::sync::Arc;

use tinyllm_emulator::{Builder, Check, Emulator};
use tinyllm_kernels::Cuda;
use tinyllm_mem::{Context, HostResource};
use tinyllm_model::{
    Engine,
    engine::{EngineOptions, KvCacheConfig},
};

use crate::common::{RandomModel, small_config};

/// A slip.
#[derive(Clone, Copy, Debug)]
enum Slip {
    /// A barrier of the block is left out.
    NoBarrier(usize),
    /// A store to shared memory is left out.
    NoSharedStore(usize),
    /// A read of global memory lands 1 GiB further on.
    ReadsElsewhere(usize),
    /// A write of global memory lands 1 GiB further on.
    WritesElsewhere(usize),
    /// Every block takes itself for the first.
    FirstBlock(usize),
    /// Half a warp is named by a shuffle.
    HalfMask(usize),
    /// Copies to shared memory are not waited for.
    NoWait(usize),
    /// A write of global memory is left out.
    NoStore(usize),
}

/// Whether a slip may change a line, and what becomes of it.
type Matches = fn(&str) -> bool;
type Edit = fn(&str) -> String;

impl Slip {
    /// Which of the lines that it may change it does, which these are, and how.
    fn of(self) -> (usize, Matches, Edit) {
        let left_out: Edit = |_| String::new();
        match self {
            Slip::NoBarrier(index) => {
                (index, |line| line.contains("bar.sync") || line.contains("barrier.sync"), left_out)
            }
            Slip::NoSharedStore(index) => (index, |line| line.contains("st.shared"), left_out),
            Slip::NoStore(index) => (index, |line| line.contains("st.global"), left_out),
            Slip::ReadsElsewhere(index) => {
                (index, |line| line.contains("ld.global"), |line| beside(line, 1 << 30))
            }
            Slip::WritesElsewhere(index) => {
                (index, |line| line.contains("st.global"), |line| beside(line, 1 << 30))
            }
            Slip::FirstBlock(index) => (
                index,
                |line| line.contains("%ctaid."),
                |line| {
                    let start = line.find("%ctaid.").unwrap();
                    format!("{}0;", &line[..start])
                },
            ),
            Slip::HalfMask(index) => (
                index,
                |line| line.contains("shfl.sync"),
                |line| format!("{}, 65535;", line.rsplit_once(',').unwrap().0),
            ),
            Slip::NoWait(index) => (index, |line| line.contains("cp.async.wait"), left_out),
        }
    }
}

/// The same access so many bytes further on.
fn beside(line: &str, bytes: usize) -> String {
    let end = line.rfind(']').unwrap();
    let start = line[..end].rfind('[').unwrap();
    let (base, offset) = line[start + 1..end].split_once('+').unwrap_or((&line[start + 1..end], "0"));
    let offset = offset.trim().parse::<i64>().unwrap() + bytes as i64;
    format!("{}[{}+{offset}]{}", &line[..start], base.trim(), &line[end + 1..])
}

/// A module with a slip in one of its kernels; `None` where it has no such line.
fn edited(text: &str, kernel: &str, slip: Slip) -> Option<String> {
    let start = text.find(&format!(".entry {kernel}("))?;
    let end = start + text[start..].find("\n}")?;
    let (index, is_its, edit) = slip.of();
    let lines: Vec<&str> = text[start..end].split('\n').collect();
    let at = (0..lines.len()).filter(|line| is_its(lines[*line])).nth(index)?;
    let mut body: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    body[at] = edit(lines[at]);
    Some(format!("{}{}{}", &text[..start], body.join("\n"), &text[end..]))
}

/// Runs a prompt and a few tokens on a device whose kernel has a slip; what was found, and whether the kernel ran.
fn run(kernel: &'static str, slip: Slip, model: &RandomModel) -> (bool, Vec<String>) {
    let was_edited = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = Arc::clone(&was_edited);
    let edit = move |text: &str| match edited(text, kernel, slip) {
        Some(edited) => {
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
            edited
        }
        None => text.to_owned(),
    };
    let builder =
        Builder::default().check(Check::parse("memcheck,initcheck,racecheck,synccheck,stream").unwrap());
    let emulator: Emulator = builder.instruction_budget(20_000_000).edit_modules(edit).build();
    let context = Context::primary(Arc::new(emulator.clone()), 0).unwrap();
    let cuda = Cuda::new(&context).unwrap();
    let kv = KvCacheConfig::of_tokens(640).with_max_batch_size(2);
    let options = EngineOptions::default().with_kv(kv).with_prefill_chunk(100).with_sampled_rows(2);
    // What fails, fails: the findings are what counts.
    if let Ok(mut engine) = Engine::load_on(&cuda, model, &options, &HostResource::shared(), &|_| {}) {
        let sequence = engine.create_sequence().unwrap();
        let prompt: Vec<u32> = (0..300).map(|i| i * 7 % 50).collect();
        let ran = engine.prefill(sequence, &prompt, &mut || true).is_ok();
        let _ = ran && engine.decode(sequence, 3).is_ok() && engine.decode(sequence, 4).is_ok();
    }
    drop((cuda, context));
    let findings = emulator.finish().iter().map(ToString::to_string).collect();
    (was_edited.load(std::sync::atomic::Ordering::Relaxed), findings)
}

/// A model whose groups are whole and whose prompt is longer than a segment of attention.
fn model() -> RandomModel {
    let mut config = small_config();
    config.max_position_embeddings = 640;
    RandomModel::new(config, 4)
}

/// Kernels, slips, and what each is found as.
const PLANTED: [(&str, Slip, &str); 30] = [
    ("embed_int8", Slip::FirstBlock(0), "race between blocks"),
    ("embed_int8", Slip::NoStore(0), "uninitialized read"),
    ("rms_norm_rounded", Slip::NoBarrier(0), "race in shared memory"),
    ("rms_norm_rounded", Slip::NoSharedStore(0), "uninitialized read"),
    ("rms_norm_rounded", Slip::HalfMask(0), "warp divergence"),
    ("rms_norm_rounded", Slip::FirstBlock(2), "race between blocks"),
    ("rms_norm_rounded", Slip::ReadsElsewhere(2), "out of bounds"),
    ("round_rows", Slip::FirstBlock(1), "race between blocks"),
    ("round_rows", Slip::WritesElsewhere(1), "out of bounds"),
    ("matmul_prompt", Slip::NoBarrier(1), "race in shared memory"),
    ("matmul_prompt", Slip::NoWait(1), "race in shared memory"),
    ("matmul_prompt", Slip::NoSharedStore(0), "uninitialized read"),
    ("matmul_prompt", Slip::NoStore(1), "uninitialized read"),
    ("matmul_prompt", Slip::WritesElsewhere(1), "out of bounds"),
    ("matmul_rows_8", Slip::NoBarrier(1), "race in shared memory"),
    ("matmul_rows_8", Slip::NoSharedStore(2), "uninitialized read"),
    ("matmul_rows_8", Slip::ReadsElsewhere(0), "out of bounds"),
    ("rope_cache_f16", Slip::NoSharedStore(0), "uninitialized read"),
    ("rope_cache_f16", Slip::FirstBlock(0), "race between blocks"),
    ("rope_cache_f16", Slip::WritesElsewhere(1), "out of bounds"),
    ("attention_rows_f16", Slip::NoBarrier(0), "race in shared memory"),
    ("attention_rows_f16", Slip::NoSharedStore(0), "uninitialized read"),
    ("attention_segments_f16", Slip::NoBarrier(0), "race in shared memory"),
    ("attention_segments_f16", Slip::NoSharedStore(0), "uninitialized read"),
    ("attention_segments_f16", Slip::HalfMask(0), "warp divergence"),
    ("attention_segments_f16", Slip::NoStore(1), "uninitialized read"),
    ("attention_merge", Slip::FirstBlock(1), "race between blocks"),
    ("attention_merge", Slip::ReadsElsewhere(1), "out of bounds"),
    ("gather_rows", Slip::ReadsElsewhere(1), "out of bounds"),
    ("repack_int8", Slip::FirstBlock(0), "race between blocks"),
];

#[test]
fn slips_are_found() {
    let model = model();
    let mut missed = Vec::new();
    for (kernel, slip, kind) in PLANTED {
        let (was_edited, found) = run(kernel, slip, &model);
        assert!(was_edited, "{kernel}: no line for {slip:?}");
        if !found.iter().any(|finding| finding.starts_with(kind)) {
            missed.push(format!("{kernel}, {slip:?}: no {kind}, but {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_kernel_without_a_slip_has_no_finding() {
    assert_eq!(run("none", Slip::NoBarrier(0), &model()), (false, Vec::new()));
}

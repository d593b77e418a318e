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
    /// A vector is read 4 bytes beside its place.
    Misaligned(usize),
    /// Every block takes itself for the first.
    FirstBlock(usize),
    /// Half a warp is named by a shuffle.
    HalfMask(usize),
    /// Copies to shared memory are not waited for.
    NoWait(usize),
    /// A loop's step is 0.
    NoStep(usize),
    /// A write of global memory is left out.
    NoStore(usize),
}

impl Slip {
    /// The lines that it may change, and how.
    fn of(self) -> (usize, fn(&str) -> bool, fn(&str) -> String) {
        let left_out: fn(&str) -> String = |_| String::new();
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
            Slip::Misaligned(index) => (
                index,
                |line| line.contains("ld.global") && (line.contains(".v4") || line.contains(".v2")),
                |line| beside(line, 4),
            ),
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
            Slip::NoStep(index) => (
                index,
                |line| {
                    let mut parts = line.trim().split([' ', ',', ';']).filter(|part| !part.is_empty());
                    let is_add = parts.next().is_some_and(|add| add == "add.s32");
                    let (to, from, step) = (parts.next(), parts.next(), parts.next());
                    is_add
                        && to == from
                        && step.is_some_and(|step| step.parse::<i32>().is_ok_and(|step| step != 0))
                },
                |line| format!("{}, 0;", line.rsplit_once(',').unwrap().0),
            ),
        }
    }
}

/// The same access so many bytes further on.
fn beside(line: &str, bytes: usize) -> String {
    let end = line.rfind(']').unwrap();
    let start = line[..end].rfind('[').unwrap();
    let (base, offset) = line[start + 1..end].split_once('+').unwrap_or((&line[start + 1..end], "0"));
    let offset = offset.parse::<i64>().unwrap() + bytes as i64;
    format!("{}[{base}+{offset}]{}", &line[..start], &line[end + 1..])
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
fn run(kernel: &'static str, slip: Slip, model: &RandomModel) -> Option<Vec<String>> {
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
    let options = EngineOptions::default().with_kv(kv).with_prefill_chunk(300).with_sampled_rows(2);
    // What fails, fails: the findings are what counts.
    if let Ok(mut engine) = Engine::load_on(&cuda, model, &options, &HostResource::shared(), &|_| {}) {
        let sequence = engine.create_sequence().unwrap();
        let prompt: Vec<u32> = (0..300).map(|i| i * 7 % 50).collect();
        let ran = engine.prefill(sequence, &prompt, &mut || true).is_ok();
        let _ = ran && engine.decode(sequence, 3).is_ok() && engine.decode(sequence, 4).is_ok();
    }
    drop((cuda, context));
    let findings = emulator.finish().iter().map(ToString::to_string).collect();
    was_edited.load(std::sync::atomic::Ordering::Relaxed).then_some(findings)
}

/// A model whose groups are whole and whose prompt is longer than a segment of attention.
fn model() -> RandomModel {
    let mut config = small_config();
    config.max_position_embeddings = 640;
    config.num_hidden_layers = 1;
    config.sliding_windows = vec![None];
    RandomModel::new(config, 4)
}

#[test]
fn a_kernel_without_a_slip_has_no_finding() {
    assert_eq!(run("none", Slip::NoBarrier(0), &model()), None);
}

#[test]
#[ignore]
fn survey() {
    let model = model();
    let kernels = std::env::var("KERNELS").unwrap();
    for kernel in kernels.split(',') {
        let kernel: &'static str = kernel.to_owned().leak();
        for index in 0..3 {
            for slip in [
                Slip::NoBarrier(index),
                Slip::NoSharedStore(index),
                Slip::ReadsElsewhere(index),
                Slip::WritesElsewhere(index),
                Slip::Misaligned(index),
                Slip::FirstBlock(index),
                Slip::HalfMask(index),
                Slip::NoWait(index),
                Slip::NoStep(index),
                Slip::NoStore(index),
            ] {
                let start = std::time::Instant::now();
                if let Some(found) = run(kernel, slip, &model) {
                    eprintln!(
                        "{kernel} {slip:?}: {} {:.2}s {}",
                        found.len(),
                        start.elapsed().as_secs_f64(),
                        found.first().map_or("", |f| &f[..f.len().min(90)])
                    );
                }
            }
        }
    }
}

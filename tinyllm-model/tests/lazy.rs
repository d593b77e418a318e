//! A model that is loaded while it answers gives the numbers of one that was loaded before, in the same memory.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test ends where it fails, and says what it skips

mod common;

use std::{path::Path, sync::Arc};

use common::{expected, oracle_entries};
use tinyllm_kernels::Isa;
use tinyllm_mem::{HostMemory, HostResource, Tracking};
use tinyllm_model::{
    Engine, Result, checkpoint,
    engine::{EmbeddingsMode, EngineOptions},
};

fn load_lazily(model: &Path, options: &EngineOptions, memory: &HostMemory) -> Result<Engine> {
    let checkpoint = checkpoint::open(model)?;
    assert!(checkpoint.is_cached(), "{} was just read or written", model.display());
    Engine::load_lazily_on(&Engine::cpu(options, memory)?, &*checkpoint, options, memory, &|_| {})
}

fn load(model: &Path, options: &EngineOptions, memory: &HostMemory) -> Result<Engine> {
    Engine::load(&*checkpoint::open(model)?, options, memory, &|_| {})
}

/// The bits of the logits after a prompt and after each token that follows.
fn answer(engine: &mut Engine, ids: &[u32]) -> Result<Vec<Vec<u32>>> {
    let bits = |logits: &mut [f32]| logits.iter().map(|value| value.to_bits()).collect();
    let (prompt, rest) = ids.split_at(5);
    let sequence = engine.create_sequence()?;
    let mut rows = vec![bits(engine.prefill(sequence, prompt, &mut || true)?.unwrap())];
    for id in rest {
        rows.push(bits(engine.decode(sequence, *id)?));
    }
    Ok(rows)
}

/// Quantised models, each a copy that was read into memory just now.
fn models() -> Vec<(tempfile::TempDir, Vec<u32>)> {
    let entries = oracle_entries("ct").into_iter().filter(|path| path.join("config.json").exists());
    entries
        .map(|model| {
            let copy = tempfile::tempdir().unwrap();
            for file in ["config.json", "model.safetensors"] {
                std::fs::copy(model.join(file), copy.path().join(file)).unwrap();
            }
            let (ids, _) = expected(&model.join("expected.safetensors"), "logits");
            (copy, ids)
        })
        .collect()
}

/// Makes an element of a matrix in a model's file all ones: no number in f16, bf16 and f32. Returns which, chosen by shape.
fn spoil(model: &Path, tensor: &str, choose: impl Fn(usize, usize) -> (usize, usize)) -> (usize, usize) {
    let path = model.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(tensor).unwrap();
    let (rows, columns) = (view.shape()[0], view.shape()[1]);
    let (row, column) = choose(rows, columns);
    let size = view.data().len() / (rows * columns);
    let start = view.data().as_ptr().addr() - bytes.as_ptr().addr() + size * (row * columns + column);
    bytes[start..start + size].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    (row, column)
}

#[test]
fn every_step_has_the_bits_of_a_model_loaded_before() {
    for (model, ids) in models() {
        for (threads, mmap) in [(1, false), (3, false), (2, true)] {
            for embeddings in [None, Some(EmbeddingsMode::Int8), Some(EmbeddingsMode::F16)] {
                for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                    let options = EngineOptions::default()
                        .with_threads(Some(threads))
                        .with_mmap(mmap)
                        .with_embeddings(embeddings)
                        .with_isa(isa);
                    let memory = HostResource::shared();
                    let whole = answer(&mut load(model.path(), &options, &memory).unwrap(), &ids).unwrap();
                    let mut engine = load_lazily(model.path(), &options, &memory).unwrap();
                    let lazy = answer(&mut engine, &ids).unwrap();
                    assert!(lazy == whole, "{threads} threads, {embeddings:?}, {isa}");
                    assert_eq!(engine.warm_up(1).unwrap(), 0, "thirteen steps load everything");
                }
            }
        }
    }
}

#[test]
fn memory_is_what_is_planned_and_loading_ends_when_asked() {
    let Some((model, ids)) = models().into_iter().next() else { return };
    let options = EngineOptions::default().with_threads(Some(2));
    let record = |load: &dyn Fn(&HostMemory) -> Engine| {
        let tracking = Arc::new(Tracking::new(HostResource::shared()));
        let memory: HostMemory = tracking.clone();
        let mut engine = load(&memory);
        answer(&mut engine, &ids).unwrap();
        tracking.report()
    };
    let whole = record(&|memory| load(model.path(), &options, memory).unwrap());
    let lazy = record(&|memory| load_lazily(model.path(), &options, memory).unwrap());
    assert_eq!(lazy.categories, whole.categories);
    assert_eq!(lazy.allocations_total, whole.allocations_total);

    let mut engine = load_lazily(model.path(), &options, &HostResource::shared()).unwrap();
    let mut left = engine.warm_up(1).unwrap();
    assert!(left > 0, "a panel is not everything");
    while left > 0 {
        let before = left;
        left = engine.warm_up(1000).unwrap();
        assert!(left < before);
    }
}

#[test]
fn what_is_no_number_is_named_by_the_step_that_reads_it() {
    for (model, ids) in models() {
        // The row is no token of the prompt.
        let unused = |rows| (0..rows).find(|row| !ids.contains(&(*row as u32))).unwrap();
        let (row, _) = spoil(model.path(), "model.embed_tokens.weight", |rows, _| (unused(rows), 3));
        let options = EngineOptions::default().with_embeddings(Some(EmbeddingsMode::Int8));
        let memory = HostResource::shared();
        let before = load(model.path(), &options, &memory).err().unwrap().to_string();
        assert!(
            before.contains("model.embed_tokens.weight") && before.contains(&row.to_string()),
            "{before}"
        );
        let mut engine = load_lazily(model.path(), &options, &memory).unwrap();
        let during = answer(&mut engine, &ids).err().unwrap().to_string();
        assert!(during.contains(&model.path().display().to_string()), "{during}");
        assert!(
            during.contains("model.embed_tokens.weight") && during.contains(&row.to_string()),
            "{during}"
        );
    }
}

#[test]
fn a_scale_that_is_no_number_is_refused_with_its_place() {
    for (model, _) in models() {
        let scales = "model.layers.0.mlp.gate_proj.weight_scale";
        let (row, group) = spoil(model.path(), scales, |rows, groups| (rows - 2, groups - 1));
        let memory = HostResource::shared();
        let lazy = load_lazily(model.path(), &EngineOptions::default(), &memory);
        let loads =
            [false, true].map(|mmap| load(model.path(), &EngineOptions::default().with_mmap(mmap), &memory));
        for result in loads.into_iter().chain([lazy]) {
            let error = result.err().unwrap().to_string();
            let place = format!("row {row}, group {group}");
            let file = model.path().display().to_string();
            for part in ["model.layers.0.mlp.gate_proj.weight", &place, &file] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}

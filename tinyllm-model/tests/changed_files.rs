//! Files that somebody else cuts short or overwrites while a model is read: an error that names them, or the header as it
//! was; never a fault of memory, and never text that is none.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test ends where it fails, and says what it skips

mod common;

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use common::oracle_dir;
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, Result,
    checkpoint::{self, Checkpoint, TensorData, gguf::Gguf},
    engine::EngineOptions,
};

/// A model of the reference set and the file of its copy that holds the weights.
fn copy(model: &str) -> Option<(tempfile::TempDir, PathBuf, PathBuf)> {
    let source = oracle_dir().join(model);
    if !source.exists() {
        eprintln!("skipped: {} is absent", source.display());
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    if source.is_file() {
        let path = folder.path().join("model.gguf");
        std::fs::copy(&source, &path).unwrap();
        return Some((folder, path.clone(), path));
    }
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let (path, weights) = (folder.path().to_owned(), folder.path().join("model.safetensors"));
    Some((folder, path, weights))
}

const MODELS: [&str; 3] = ["tiny/llama_gqa_tied_bf16", "ct/int_g32_f16", "gguf/tiny256.q8_0.gguf"];

fn options() -> EngineOptions {
    EngineOptions::default().with_threads(Some(2))
}

fn cut(path: &Path, bytes: u64) {
    File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn assert_named(error: &str, weights: &Path) {
    let name = weights.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name) && error.contains("cut short while it was read"), "{error}");
}

#[test]
fn a_file_cut_short_after_it_was_opened_is_not_loaded() {
    for (folder, model, weights) in MODELS.into_iter().filter_map(copy) {
        let checkpoint = checkpoint::open(&model).unwrap();
        cut(&weights, 100);
        let error = Engine::load(&*checkpoint, &options(), &HostResource::shared(), &|_| {}).err().unwrap();
        assert_named(&error.to_string(), &weights);
        drop(folder);
    }
}

#[test]
fn a_file_cut_short_while_it_is_loaded_ends_the_loading() {
    for (folder, model, weights) in MODELS.into_iter().filter_map(copy) {
        let checkpoint = checkpoint::open(&model).unwrap();
        let after_the_first = |_: tinyllm_model::engine::LoadProgress<'_>| cut(&weights, 100);
        let loaded = Engine::load(&*checkpoint, &options(), &HostResource::shared(), &after_the_first);
        assert_named(&loaded.err().unwrap().to_string(), &weights);
        drop(folder);
    }
}

#[test]
fn what_is_loaded_later_is_an_error_then() {
    let Some((_folder, model, weights)) = copy("ct/int_g32_f16") else { return };
    let checkpoint = checkpoint::open(&model).unwrap();
    let memory = HostResource::shared();
    let backend = Engine::cpu(&options(), &memory).unwrap();
    let mut engine = Engine::load_lazily_on(&backend, &*checkpoint, &options(), &memory, &|_| {}).unwrap();
    cut(&weights, 100);
    assert_named(&engine.warm_up(usize::MAX).unwrap_err().to_string(), &weights);
}

#[test]
fn writing_the_quantised_model_of_a_file_cut_short_ends_too() {
    let Some((_folder, model, weights)) = copy("tiny/llama_gqa_tied_bf16") else { return };
    let checkpoint = checkpoint::open(&model).unwrap();
    cut(&weights, 100);
    let out = tempfile::tempdir().unwrap();
    let group = tinyllm_kernels::GroupSize::Elements(32);
    let config = serde_json::json!({});
    let written =
        tinyllm_model::quantize::write_w8a16(&*checkpoint, config, out.path(), group, &mut |_, _| {});
    assert_named(&written.unwrap_err().to_string(), &weights);
}

/// Every string of the metadata.
fn strings(gguf: &Gguf) -> Vec<String> {
    let metadata = gguf.metadata();
    metadata
        .keys()
        .flat_map(|key| {
            let all = metadata.strings(key).ok().flatten().into_iter().flatten().map(str::to_owned);
            all.chain(metadata.string(key).ok().flatten().map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn text_stays_what_was_checked_when_the_file_is_overwritten() {
    let path = oracle_dir().join("gguf/tiny_spm1000.f16.gguf");
    if !path.exists() {
        eprintln!("skipped: {} is absent", path.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("m.gguf");
    std::fs::copy(&path, &copy).unwrap();
    let gguf = Gguf::open(&copy).unwrap();
    let before = strings(&gguf);
    assert!(before.len() > 1000, "{} strings", before.len());
    let file = File::options().write(true).open(&copy).unwrap();
    file.write_all_at(&vec![0xff; file.metadata().unwrap().len() as usize], 0).unwrap();
    assert!(strings(&gguf) == before);
}

/// The first logits of a model that was opened before `change` was made to its file.
fn logits(model: &Path, change: impl FnOnce(&dyn Checkpoint)) -> Result<Vec<f32>> {
    let checkpoint = checkpoint::open(model)?;
    change(&*checkpoint);
    let mut engine = Engine::load(&*checkpoint, &options(), &HostResource::shared(), &|_| {})?;
    let sequence = engine.create_sequence()?;
    Ok(engine.prefill(sequence, &[1, 2, 3], &mut || true)?.unwrap().to_vec())
}

/// A model whose header is overwritten after it was opened loads as it was: nothing is parsed twice.
#[test]
fn a_header_is_read_once() {
    let Some((_folder, model, weights)) = copy("tiny/llama_gqa_tied_bf16") else { return };
    let before = logits(&model, |_| {}).unwrap();
    let after = logits(&model, |checkpoint| {
        assert!(matches!(checkpoint.open(0), Ok(TensorData::Float(_))));
        File::options().write(true).open(&weights).unwrap().write_all_at(&[0xff; 64], 0).unwrap();
    });
    assert!(after.unwrap() == before);
    assert!(checkpoint::open(&model).is_err(), "the header is spoilt");
}

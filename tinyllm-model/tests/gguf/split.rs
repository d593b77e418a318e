//! Models in several files.

use std::path::{Path, PathBuf};

use tinyllm_model::checkpoint::{Checkpoint, gguf::GgufCheckpoint};

use crate::{
    support::read,
    writer::{Meta, Writer, tiny_model},
};

/// The tiny model in `parts` files; their paths.
fn write_split(dir: &Path, parts: usize) -> Vec<PathBuf> {
    let whole = tiny_model("llama");
    let size = whole.tensors.len().div_ceil(parts);
    (0..parts)
        .map(|part| {
            let mut file = if part == 0 { whole.clone() } else { Writer::default() };
            file.tensors = whole.tensors.iter().skip(part * size).take(size).cloned().collect();
            file.set("split.count", Meta::U32(parts as u32)).set("split.no", Meta::U32(part as u32));
            file.set("split.tensors.count", Meta::U32(whole.tensors.len() as u32));
            file.write(dir, &format!("tiny-{:05}-of-{parts:05}.gguf", part + 1))
        })
        .collect()
}

#[test]
fn a_split_model_opens_by_any_of_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let whole = GgufCheckpoint::open(&tiny_model("llama").write(dir.path(), "whole.gguf")).unwrap();
    for path in write_split(dir.path(), 3) {
        let split = GgufCheckpoint::open(&path).unwrap();
        assert_eq!(split.config(), whole.config());
        assert_eq!(split.tensors().len(), whole.tensors().len());
        for (index, (a, b)) in split.tensors().iter().zip(whole.tensors()).enumerate() {
            assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
            assert_eq!(read(&split, index).unwrap(), read(&whole, index).unwrap(), "{}", a.name);
        }
        assert_eq!(split.tensors()[0].file, "tiny-00001-of-00003.gguf");
        assert_eq!(split.tensors()[split.tensors().len() - 1].file, "tiny-00003-of-00003.gguf");
    }
}

#[test]
fn an_incomplete_or_renamed_split_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let paths = write_split(dir.path(), 3);
    let refusal =
        |path: &Path| GgufCheckpoint::open(path).err().map(|error| error.to_string()).unwrap_or_default();

    std::fs::copy(&paths[1], &paths[2]).unwrap();
    assert!(refusal(&paths[0]).contains("split.no"), "{}", refusal(&paths[0]));
    std::fs::remove_file(&paths[2]).unwrap();
    assert!(refusal(&paths[0]).contains("tiny-00003-of-00003.gguf is not there"), "{}", refusal(&paths[0]));
    let renamed = dir.path().join("renamed.gguf");
    std::fs::rename(&paths[0], &renamed).unwrap();
    assert!(refusal(&renamed).contains("-00001-of-00003.gguf"), "{}", refusal(&renamed));
}

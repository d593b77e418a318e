//! Why a path is not a model that can be opened: what it is instead, and what to do.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::head::Head;
use crate::input;

/// Limit of a safetensors header.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// A tensor that every model has; a prefix before its name precedes the other names too.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// What is wrong with a path that was given as a MODEL.
pub(super) fn of(path: &Path) -> Option<String> {
    if path.is_file() {
        return of_file(path);
    }
    let names = names_in(path);
    let has = |name: &str| names.iter().any(|other| other == name);
    let ends = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    if let Some(problem) =
        names.iter().filter(|name| is_model_file(name)).find_map(|name| of_file(&path.join(name)))
    {
        return Some(problem);
    }
    if has("config.json") {
        return of_config(&path.join("config.json")).or_else(|| of_tensor_names(path, &names));
    }
    let here = path.display();
    Some(if has("adapter_config.json") {
        let base = input::json::<Value>(&path.join("adapter_config.json"), input::MAX_SMALL_BYTES).ok();
        let base = base.as_ref().and_then(|adapter| adapter["base_model_name_or_path"].as_str());
        let base = base.map_or_else(|| "its base model".into(), |base| format!("its base model {base}"));
        format!(
            "{here}: a LoRA adapter, not a model; adapters are not supported: merge it into {base} (peft's \
             merge_and_unload) and pass the result"
        )
    } else if ends(".gguf") > 1 {
        let all = names.iter().filter(|name| name.ends_with(".gguf")).cloned().collect::<Vec<_>>().join(", ");
        format!("{here}: holds several .gguf files; pass the path of one of {all}")
    } else if has("params.json") {
        format!(
            "{here}: params.json is the layout of the model's first publisher; take the one for transformers, with \
             config.json and safetensors, or a .gguf file"
        )
    } else {
        format!(
            "{here}: neither config.json nor a .gguf file is there; a model is a directory with config.json, \
                 tokenizer.json and safetensors, or a .gguf file"
        )
    })
}

/// Why a directory's tokenizer cannot be read.
pub(super) fn of_tokenizer(directory: &Path) -> Option<String> {
    let json = directory.join("tokenizer.json");
    if json.exists() {
        return of_file(&json);
    }
    let others: Vec<&str> = ["tokenizer.model", "vocab.json", "tekken.json"]
        .into_iter()
        .filter(|name| directory.join(name).exists())
        .collect();
    let here = directory.display();
    Some(match others.first() {
        Some(other) => format!(
            "{here}: has {other} and no tokenizer.json, which alone is read; transformers makes one: python3 -c \
             \"from transformers import AutoTokenizer; AutoTokenizer.from_pretrained('{here}').save_pretrained('{here}')\""
        ),
        None => format!("{here}: has no tokenizer.json; take the one that was published with the model"),
    })
}

/// A git-lfs pointer or an HTML page in place of a file.
fn of_file(path: &Path) -> Option<String> {
    let here = path.display();
    match Head::of(path) {
        Head::LfsPointer => Some(format!(
            "{here}: a git-lfs pointer, not the file itself: run `git lfs pull` in its directory, or let `tinyllm pull` \
             fetch the model"
        )),
        Head::Html => Some(format!(
            "{here}: an HTML page, not the file itself: on the hub a file is at …/resolve/main/…, where …/blob/main/… \
             shows it; or let `tinyllm pull` fetch the model"
        )),
        Head::Other => None,
    }
}

fn of_config(path: &Path) -> Option<String> {
    let config: Value = input::json(path, input::MAX_SMALL_BYTES).ok()?;
    // compressed-tensors and the others say quantization_config.
    let bits = &config["quantization"]["bits"];
    bits.is_number().then(|| {
        format!(
            "{}: weights in {bits} bits as MLX has them, which only MLX reads; take the original, or a .gguf file",
            path.display()
        )
    })
}

fn of_tensor_names(directory: &Path, names: &[String]) -> Option<String> {
    let weights = names.iter().filter(|name| name.starts_with("model") && name.ends_with(".safetensors"));
    let tensors: Vec<String> =
        weights.flat_map(|name| tensor_names(&directory.join(name)).unwrap_or_default()).collect();
    let here = directory.display();
    if tensors.iter().any(|name| name == EMBEDDING) {
        return None;
    }
    if let Some(prefix) = tensors.iter().find_map(|name| name.strip_suffix(EMBEDDING)) {
        let made_by = match prefix {
            "_orig_mod." => " (torch.compile puts it there)",
            "module." => " (DataParallel puts it there)",
            "base_model.model." => " (peft puts it there: merge the adapter first)",
            "language_model." => " (the model reads pictures too, which is not supported)",
            _ => "",
        };
        return Some(format!(
            "{here}: its tensors are named {prefix}{EMBEDDING} and so on{made_by}; save it without the prefix {prefix}"
        ));
    }
    let unprefixed = EMBEDDING.strip_prefix("model.").unwrap_or(EMBEDDING);
    tensors.iter().any(|name| name == unprefixed).then(|| {
        format!(
            "{here}: its tensors are named {unprefixed} and so on, without `model.`, as embedding models are saved: \
             they give vectors and no text, and are not supported"
        )
    })
}

/// The names in the header of a safetensors file.
fn tensor_names(path: &Path) -> Option<Vec<String>> {
    let mut file = path.is_file().then(|| File::open(path).ok()).flatten()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    let mut header = Vec::new();
    file.take(length.min(MAX_HEADER_BYTES)).read_to_end(&mut header).ok()?;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&header).ok()?;
    Some(header.into_iter().map(|(name, _)| name).collect())
}

/// The files of a directory, sorted.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn is_model_file(name: &str) -> bool {
    [".safetensors", ".gguf", ".json"].iter().any(|end| name.ends_with(end))
}

/// The GGUF of a directory that holds only one, whole or split, and no safetensors.
pub(super) fn only_gguf(directory: &Path) -> Option<PathBuf> {
    let names = names_in(directory);
    let is_first = |name: &&String| !name.contains("-of-") || name.contains("-00001-of-");
    // Vision models come with a projector as a GGUF of its own.
    let is_model = |name: &&String| name.ends_with(".gguf") && !name.starts_with("mmproj");
    let mut ggufs = names.iter().filter(is_model).filter(is_first);
    let (first, others) = (ggufs.next()?, ggufs.count());
    let has_weights =
        names.iter().any(|name| name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"));
    (others == 0 && !has_weights).then(|| directory.join(first))
}

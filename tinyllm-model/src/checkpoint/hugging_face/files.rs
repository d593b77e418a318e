//! Which files hold a directory's weights, and their mappings.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use tinyllm_mem::{MappedFile, MappedRange};

use crate::{ModelError, Result, config::read_bounded};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";
/// The longest index that is read; those of the largest models are below 1 MB.
const MAX_INDEX_BYTES: u64 = 16 << 20;
const MAX_INDEX_ENTRIES: usize = 1 << 17;
const MAX_SHARDS: usize = 4096;
/// Bytes read at a time where a whole tensor is scanned.
const BLOCK_BYTES: usize = 64 << 10;

/// Bytes of one of the weight files.
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// Index of the file.
    pub(super) file: usize,
    /// Where in the file.
    pub(super) bytes: Range<usize>,
}

/// The mapped files of a model, in the order of their names.
pub(super) struct WeightFiles {
    files: Vec<WeightFile>,
}

/// One mapped file.
pub(super) struct WeightFile {
    /// Its name in the directory.
    pub(super) name: String,
    /// Its path, for errors.
    pub(super) path: PathBuf,
    pub(super) mapping: Arc<MappedFile>,
}

/// The `weight_map` of an index: which shard holds each tensor.
pub(super) struct ShardIndex {
    /// The index file.
    pub(super) path: PathBuf,
    /// Tensor and shard, the latter as an index into the [`WeightFiles`].
    pub(super) entries: Vec<(String, usize)>,
}

impl WeightFiles {
    /// Maps the weights of a directory. As in transformers, a single file goes before an index.
    pub(super) fn of_directory(directory: &Path) -> Result<(Self, Option<ShardIndex>)> {
        let single = directory.join(SINGLE_FILE);
        if single.exists() {
            let mapping = MappedFile::open(&single)?;
            let file = WeightFile { name: SINGLE_FILE.to_owned(), path: single, mapping };
            return Ok((WeightFiles { files: vec![file] }, None));
        }
        let index_path = directory.join(INDEX_FILE);
        if !index_path.exists() {
            return Err(no_weights(directory));
        }
        let weight_map = read_index(&index_path)?;
        let mut files = Vec::with_capacity(weight_map.shards.len());
        for (name, tensor) in weight_map.shards {
            let path = directory.join(&name);
            if !path.exists() {
                let problem = format!("is in {name}, which is not in the directory; complete the download");
                return Err(ModelError::malformed(&index_path, tensor, problem));
            }
            let mapping = MappedFile::open(&path)?;
            files.push(WeightFile { name, path, mapping });
        }
        let entries = weight_map.entries;
        Ok((WeightFiles { files }, Some(ShardIndex { path: index_path, entries })))
    }

    /// One file that is part of the program.
    pub(super) fn from_static(model_safetensors: &'static [u8], label: &Path) -> Self {
        let path = label.join(SINGLE_FILE);
        let mapping = MappedFile::from_static(model_safetensors, &path.display().to_string());
        WeightFiles { files: vec![WeightFile { name: SINGLE_FILE.to_owned(), path, mapping }] }
    }

    /// The files, in the order that [`Located::file`] counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = &WeightFile> {
        self.files.iter()
    }

    /// The file of an index that came from here.
    pub(super) fn file(&self, index: usize) -> &WeightFile {
        &self.files[index]
    }

    /// Bytes that the inventory located.
    pub(super) fn range(&self, at: &Located) -> Result<MappedRange> {
        Ok(self.files[at.file].mapping.range(at.bytes.clone())?)
    }

    /// Reads them block by block until `each` returns true; whether it did.
    pub(super) fn any_block(&self, at: &Located, mut each: impl FnMut(&[u8]) -> bool) -> Result<bool> {
        let range = self.range(at)?;
        let mut block = vec![0; BLOCK_BYTES.min(range.len())];
        for start in (0..range.len()).step_by(BLOCK_BYTES) {
            let count = BLOCK_BYTES.min(range.len() - start);
            range.read_at(start, &mut block[..count])?;
            if each(&block[..count]) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether two tensors are the same bytes.
    pub(super) fn are_equal(&self, a: &Located, b: &Located) -> Result<bool> {
        let (other, mut at) = (self.range(b)?, 0);
        let (mut block, mut failure) = (vec![0; BLOCK_BYTES.min(other.len())], None);
        let differ = a.bytes.len() != b.bytes.len()
            || self.any_block(a, |bytes| {
                let block = &mut block[..bytes.len()];
                failure = other.read_at(at, block).err();
                at += bytes.len();
                failure.is_some() || block != bytes
            })?;
        failure.map_or(Ok(!differ), |error| Err(error.into()))
    }

    /// Whether all of them are in the page cache.
    pub(super) fn are_cached(&self) -> bool {
        self.files.iter().all(|file| file.mapping.is_cached())
    }

    /// What errors about the weights as a whole name: the file, or the index's directory.
    pub(super) fn label(&self) -> &Path {
        match self.files.as_slice() {
            [single] => &single.path,
            several => several.first().and_then(|file| file.path.parent()).unwrap_or(Path::new("")),
        }
    }
}

/// Says what to pass instead where a path is not a model directory.
pub(super) fn refuse_other_than_directory(path: &Path) -> Result<()> {
    let metadata = std::fs::metadata(path).map_err(|error| ModelError::io(path, error))?;
    if metadata.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_safetensors = path.extension().is_some_and(|extension| extension == "safetensors");
    let what = if is_safetensors { "a lone .safetensors file" } else { "this file" };
    let remedy = format!(
        "a model is a directory that holds config.json beside its weights: pass {}, or a .gguf file",
        parent.display()
    );
    Err(ModelError::unsupported(path, "model", what, remedy))
}

/// The error for a directory without weights: what it holds instead, and what to do.
fn no_weights(directory: &Path) -> ModelError {
    let others: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            [".bin", ".pt", ".pth", ".h5", ".msgpack", ".safetensors"].iter().any(|end| name.ends_with(end))
        })
        .take(3)
        .collect();
    if others.iter().any(|name| name.ends_with(".safetensors")) {
        let problem = format!("missing, and so is {INDEX_FILE}; the directory holds {}", others.join(", "));
        return ModelError::malformed(directory, SINGLE_FILE, problem);
    }
    if others.is_empty() {
        return ModelError::malformed(directory, SINGLE_FILE, format!("missing, and so is {INDEX_FILE}"));
    }
    ModelError::unsupported(
        directory,
        SINGLE_FILE,
        format!("a model with only {}", others.join(", ")),
        "weights must be safetensors or GGUF; convert them with transformers: \
         AutoModelForCausalLM.from_pretrained(DIRECTORY).save_pretrained(OUT, safe_serialization=True)",
    )
}

fn read_index(path: &Path) -> Result<WeightMap> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: WeightMap,
    }
    let bytes = read_bounded(path, MAX_INDEX_BYTES)?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|error| ModelError::malformed(path, "weight_map", error.to_string()))?;
    Ok(index.weight_map)
}

/// `weight_map` with the shards counted in the order of their names.
struct WeightMap {
    entries: Vec<(String, usize)>,
    /// Each shard with the first tensor that names it.
    shards: Vec<(String, String)>,
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = WeightMap;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of shards by tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut in_order = Vec::new();
                let mut shards: BTreeMap<String, (usize, String)> = BTreeMap::new();
                while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
                    check_shard_name(&shard).map_err(|problem| {
                        A::Error::custom(format!(
                            "{tensor}: {problem}; it must be a .safetensors file in the directory"
                        ))
                    })?;
                    if in_order.len() == MAX_INDEX_ENTRIES || shards.len() > MAX_SHARDS {
                        return Err(A::Error::custom(format!(
                            "more than {MAX_INDEX_ENTRIES} tensors or {MAX_SHARDS} shards"
                        )));
                    }
                    let met = shards.len();
                    let number = shards.entry(shard).or_insert_with(|| (met, tensor.clone())).0;
                    in_order.push((tensor, number));
                }
                let mut rank = vec![0; shards.len()];
                for (position, (number, _)) in shards.values().enumerate() {
                    rank[*number] = position;
                }
                Ok(WeightMap {
                    entries: in_order.into_iter().map(|(tensor, number)| (tensor, rank[number])).collect(),
                    shards: shards.into_iter().map(|(shard, (_, tensor))| (shard, tensor)).collect(),
                })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A shard is a plain file name: the index must not lead out of the directory, nor to itself.
fn check_shard_name(name: &str) -> Result<(), String> {
    const LONGEST_BYTES: usize = 255;
    let plain = !name.contains(['/', '\\', '\0']) && name.len() <= LONGEST_BYTES && !name.starts_with('.');
    if plain && name.ends_with(".safetensors") {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(format!("{shown:?} is not a shard's name"))
}

//! A Hugging Face model directory: config.json with model.safetensors, or with shards and their index.
//!
//! Opening checks everything but the numbers: the files' headers, that every tensor of the configuration is there once
//! with its shape, and that nothing else is. Which layers are quantised, and how, `config::compressed_tensors`
//! says; `quantized_layer` finds their parts.

mod assemble;
mod files;
mod inventory;
mod quantized_layer;

use std::path::{Path, PathBuf};

use self::{
    assemble::Contents,
    files::{ShardIndex, WeightFiles},
    inventory::Inventory,
};
use super::{Checkpoint, QuantizedMatrix, TensorData, TensorInfo, rows::StoredRows};
use crate::{
    ModelConfig, ModelError, Result,
    config::{
        Fields, MAX_CONFIG_BYTES, compressed_tensors::QuantizationConfig, parse_config_bytes, read_bounded,
        yarn_notes,
    },
};

/// An opened model directory, or the same two files embedded in the program.
pub struct HuggingFaceCheckpoint {
    path: PathBuf,
    config: ModelConfig,
    config_json: serde_json::Value,
    notes: Vec<String>,
    files: WeightFiles,
    tensors: Vec<TensorInfo>,
    contents: Vec<Contents>,
}

impl HuggingFaceCheckpoint {
    /// Opens a model directory.
    ///
    /// # Errors
    /// Where a file cannot be read, is malformed, or asks for something the engine does not do; a tensor is missing,
    /// misshapen, there twice, or unknown. The message names file and tensor or field.
    pub fn open(directory: &Path) -> Result<Self> {
        files::refuse_other_than_directory(directory)?;
        let config_path = directory.join("config.json");
        let config_json = parse_config_bytes(&read_bounded(&config_path, MAX_CONFIG_BYTES)?, &config_path)?;
        let mut config = ModelConfig::from_json_value(&config_json, &config_path)?;
        let of_generation = config.add_generation_config(&directory.join("generation_config.json"));
        let (files, index) = WeightFiles::of_directory(directory)?;
        let mut checkpoint =
            Self::assemble(directory, &config_path, config_json, config, files, index.as_ref())?;
        checkpoint.notes.extend(of_generation);
        Ok(checkpoint)
    }

    /// A model embedded in the program: the contents of its config.json and of its model.safetensors. `label` is what
    /// errors call it.
    ///
    /// # Errors
    /// As [`HuggingFaceCheckpoint::open`].
    pub fn from_memory(
        config_json: &'static [u8],
        model_safetensors: &'static [u8],
        label: &str,
    ) -> Result<Self> {
        let path = Path::new(label);
        let config_path = path.join("config.json");
        let config_json = parse_config_bytes(config_json, &config_path)?;
        let config = ModelConfig::from_json_value(&config_json, &config_path)?;
        let files = WeightFiles::from_static(model_safetensors, path);
        Self::assemble(path, &config_path, config_json, config, files, None)
    }

    /// The parsed config.json, for writers that keep what they do not change.
    pub fn config_json(&self) -> &serde_json::Value {
        &self.config_json
    }

    fn assemble(
        path: &Path,
        config_path: &Path,
        config_json: serde_json::Value,
        mut config: ModelConfig,
        files: WeightFiles,
        index: Option<&ShardIndex>,
    ) -> Result<Self> {
        let quantization = QuantizationConfig::from_config_json(&Fields::top(&config_json, config_path)?)?;
        let mut inventory = Inventory::of(&files)?;
        if let Some(index) = index {
            inventory.check_index(index, &files)?;
        }
        let (tensors, contents) = assemble::assemble(&config, quantization.as_ref(), &mut inventory, &files)?;
        let mut notes: Vec<String> = config.drop_unknown_end_tokens().into_iter().collect();
        notes.extend(config.rope_notes().into_iter().map(|note| format!("rope_scaling.{note}")));
        notes.extend(yarn_notes(&config_json, &config));
        let notes = notes.into_iter().map(|note| format!("{}: {note}", config_path.display())).collect();
        Ok(HuggingFaceCheckpoint {
            path: path.to_owned(),
            config,
            config_json,
            notes,
            files,
            tensors,
            contents,
        })
    }
}

impl Checkpoint for HuggingFaceCheckpoint {
    fn path(&self) -> &Path {
        &self.path
    }

    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn is_cached(&self) -> bool {
        self.files.are_cached()
    }

    fn open(&self, index: usize) -> Result<TensorData<'_>> {
        let (Some(info), Some(contents)) = (self.tensors.get(index), self.contents.get(index)) else {
            return Err(ModelError::UnknownTensor { index, tensors: self.tensors.len() });
        };
        let (n, k) = match *info.shape.as_slice() {
            [n, k] => (n, k),
            _ => (1, info.shape.iter().product()),
        };
        Ok(match contents {
            Contents::Float { at, element } => TensorData::Float(Box::new(StoredRows {
                name: info.name.clone(),
                bytes: self.files.range(at)?,
                element: *element,
                n,
                k,
            })),
            Contents::W8A16(layer) => {
                let (values, scales) = (self.files.range(&layer.values)?, self.files.range(&layer.scales)?);
                let format = info
                    .storage
                    .quantized_format()
                    .ok_or_else(|| ModelError::malformed(&self.path, &info.name, "its type is not W8A16"))?;
                let (row_bytes, offset_binary) = (layer.row_bytes, layer.offset_binary);
                let matrix = QuantizedMatrix::new((n, k), format, values, row_bytes, offset_binary, scales)?;
                TensorData::Quantized(matrix)
            }
        })
    }
}

#[cfg(test)]
mod tests;

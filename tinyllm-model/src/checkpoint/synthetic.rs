//! A model of weights that nobody trained, made as they are read: for measurements of shapes without files.

use std::path::{Path, PathBuf};

use super::{
    Checkpoint, Storage, TensorData, TensorInfo,
    expected::{TensorKind, expected_tensors},
};
use crate::{ModelConfig, ModelError, Result};
use tinyllm_kernels::{FloatRows, KernelError};

/// Values that the rows of weights are cut from: a prime number, so that rows differ.
const VALUES: usize = 65_521;

/// A checkpoint of any configuration, whose weights are drawn at random: of the size of trained ones, so that steps compute
/// finite numbers. Nothing of it is on disk, and its memory does not depend on the configuration.
pub struct SyntheticCheckpoint {
    name: PathBuf,
    config: ModelConfig,
    tensors: Vec<TensorInfo>,
    kinds: Vec<TensorKind>,
    /// `[VALUES]`, uniform in -1 to 1, twice, so that each cut is contiguous.
    values: Vec<f32>,
}

impl SyntheticCheckpoint {
    /// A model of this configuration; `name` is what errors call it.
    pub fn new(name: &str, config: ModelConfig) -> Self {
        let expected = expected_tensors(&config);
        let info = |tensor: &super::expected::ExpectedTensor| TensorInfo {
            name: tensor.name.clone(),
            name_in_file: tensor.name.clone(),
            file: String::new(),
            shape: tensor.shape.clone(),
            dtype: "F32".into(),
            storage: Storage::Float,
            bytes: 4 * tensor.shape.iter().product::<usize>() as u64,
        };
        // Knuth's MMIX generator.
        let mut state = 1u64;
        let mut value = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 * (2.0 / (1u32 << 24) as f32) - 1.0
        };
        let once: Vec<f32> = (0..VALUES).map(|_| value()).collect();
        SyntheticCheckpoint {
            name: name.into(),
            tensors: expected.iter().map(info).collect(),
            kinds: expected.iter().map(|tensor| tensor.kind).collect(),
            values: [&once[..], &once].concat(),
            config,
        }
    }
}

impl Checkpoint for SyntheticCheckpoint {
    fn path(&self) -> &Path {
        &self.name
    }

    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn open(&self, index: usize) -> Result<TensorData<'_>> {
        let tensors = self.tensors.len();
        let info = self.tensors.get(index).ok_or(ModelError::UnknownTensor { index, tensors })?;
        let (rows, columns) = match info.shape[..] {
            [rows, columns] => (rows, columns),
            _ => (1, info.shape.iter().product()),
        };
        let scale = match self.kinds[index] {
            TensorKind::Embedding => 1.0,
            // Sums of `columns` products have the size of one input.
            TensorKind::Linear => 1.7 / (columns as f32).sqrt(),
            TensorKind::Vector => 0.0,
        };
        let offset = usize::from(info.name.ends_with("norm.weight"));
        Ok(TensorData::Float(Box::new(Rows {
            values: &self.values,
            rows,
            columns,
            scale,
            offset: offset as f32,
            seed: index,
        })))
    }
}

struct Rows<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// A value is one of `values` times `scale`, plus `offset`.
    scale: f32,
    offset: f32,
    seed: usize,
}

impl FloatRows for Rows<'_> {
    fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    fn read(&self, rows: std::ops::Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        for (row, out) in rows.zip(out.chunks_exact_mut(self.columns.max(1))) {
            let mut start = (self.seed * 7919 + row * 104_729) % VALUES;
            for out in out.chunks_mut(VALUES) {
                for (out, value) in out.iter_mut().zip(&self.values[start..]) {
                    *out = value * self.scale + self.offset;
                }
                start = (start + 1) % VALUES;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use tinyllm_mem::HostResource;

    use super::*;
    use crate::{Engine, engine::EngineOptions};

    #[test]
    fn every_shape_loads_and_computes_finite_numbers() {
        let config = serde_json::json!({
            "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50, "max_position_embeddings": 128,
            "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        });
        let config = ModelConfig::from_json_value(&config, Path::new("config.json")).unwrap();
        let model = SyntheticCheckpoint::new("synthetic", config);
        let options = EngineOptions::default();
        let mut engine = Engine::load(&model, &options, &HostResource::shared(), &|_| {}).unwrap();
        let mut rows = Vec::new();
        engine.logits(&[1, 2, 3], &mut |_, row| rows.push(row.to_vec())).unwrap();
        assert!(rows.iter().flatten().all(|logit| logit.is_finite()));
        assert_ne!(rows[0], rows[1]);
    }
}

//! Writes a model as compressed-tensors W8A16 (`pack-quantized`, 8 bits), which vLLM, SGLang and transformers read.
//!
//! Weights of Linears become int8 with f16 scales; everything else is f16. Tied embeddings stay f16, because readers
//! elsewhere cannot load a packed table.

mod config;
mod layout;

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use half::f16;
use rayon::prelude::*;
use tinyllm_kernels::{FetchedRows, FloatRows, GroupSize, KernelError, quantize::quantize_row};

use self::layout::{Entry, Layout, group_size_of};
use crate::{
    ModelError, Result,
    checkpoint::{
        Checkpoint, TensorData,
        expected::{ExpectedTensor, expected_tensors},
    },
    engine::GroupSizeChoice,
};

/// Rows that are read, quantised and written together.
const BLOCK_ROWS: usize = 64;

/// The quantisation error of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorError {
    /// The tensor.
    pub name: String,
    /// The largest difference between a weight and its dequantised value.
    pub max_abs_error: f64,
    /// Root of the mean squared difference over the root of the mean squared weight.
    pub relative_rms_error: f64,
}

/// The result of [`write_w8a16`].
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizeReport {
    /// Bytes of the tensors that were read.
    pub source_bytes: u64,
    /// Bytes of model.safetensors.
    pub written_bytes: u64,
    /// The group size.
    pub group_size: GroupSize,
    /// The quantised tensors.
    pub tensors: Vec<TensorError>,
}

/// The group size for a model, refused where other readers could not load the file.
///
/// # Errors
/// [`ModelError::GroupSizeMismatch`] where the group does not divide an input width and `force` is not set.
pub fn group_size(checkpoint: &dyn Checkpoint, choice: GroupSizeChoice, force: bool) -> Result<GroupSize> {
    let widths = checkpoint.config().input_widths();
    let group_size = choice.resolve(&widths);
    if let GroupSize::Elements(group) = group_size
        && let Some(width) = widths.iter().find(|width| !width.is_multiple_of(group))
        && !force
    {
        return Err(ModelError::GroupSizeMismatch { group_size: group, width: *width });
    }
    Ok(group_size)
}

/// Bytes of the model.safetensors that [`write_w8a16`] makes of a model.
pub fn file_bytes(checkpoint: &dyn Checkpoint, group_size: GroupSize) -> u64 {
    Layout::of(&expected_tensors(checkpoint.config()), group_size).file_bytes()
}

/// Writes config.json and model.safetensors into `directory`, which the caller makes and renames when all of it
/// is written. `config_json` is the model's own, which is kept but for what quantisation changes.
///
/// # Errors
/// A checkpoint that is quantised already, weights that are not finite or do not fit f16, a full disk.
pub fn write_w8a16(
    checkpoint: &dyn Checkpoint,
    config_json: serde_json::Value,
    directory: &Path,
    group_size: GroupSize,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<QuantizeReport> {
    let tensors = expected_tensors(checkpoint.config());
    let layout = Layout::of(&tensors, group_size);
    let path = directory.join("model.safetensors");
    let io = |error| ModelError::io(&path, error);
    let mut file = File::create(&path).map_err(io)?;
    file.write_all(&layout.header()).map_err(io)?;
    let total_bytes: u64 = checkpoint.tensors().iter().map(|tensor| tensor.bytes).sum();
    let mut report = QuantizeReport {
        source_bytes: total_bytes,
        written_bytes: layout.file_bytes(),
        group_size,
        tensors: Vec::new(),
    };
    let mut done_bytes = 0;
    for tensor in &tensors {
        let Some(index) = checkpoint.tensors().iter().position(|info| info.name == tensor.name) else {
            return Err(ModelError::malformed(checkpoint.path(), &tensor.name, "the tensor is missing"));
        };
        let TensorData::Float(rows) = checkpoint.open(index)? else {
            return Err(ModelError::malformed(checkpoint.path(), &tensor.name, "is quantised already"));
        };
        let failed = |source| ModelError::Load { path: checkpoint.path().to_owned(), source };
        let entry = layout.entry(&tensor.name);
        let mut writer =
            TensorWriter { tensor, entry, file: &mut file, path: &path, start: layout.data_start() };
        match group_size_of(tensor, group_size) {
            Some(group) => report.tensors.push(writer.quantize(rows.as_ref(), group, &failed)?),
            None => writer.round(rows.as_ref(), &failed)?,
        }
        done_bytes += checkpoint.tensors()[index].bytes;
        progress(done_bytes, total_bytes);
    }
    file.sync_all().map_err(io)?;
    let tied = checkpoint.config().tie_word_embeddings;
    config::write(config_json, directory, group_size, tied)?;
    Ok(report)
}

struct TensorWriter<'a> {
    tensor: &'a ExpectedTensor,
    entry: Entry,
    file: &'a mut File,
    path: &'a Path,
    start: u64,
}

impl TensorWriter<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let start = self.start + offset;
        let written = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.write_all(bytes));
        written.map_err(|error| ModelError::io(self.path, error))
    }

    fn quantize(
        &mut self,
        rows: &dyn FloatRows,
        group: usize,
        failed: &(dyn Fn(KernelError) -> ModelError + Sync),
    ) -> Result<TensorError> {
        let (n, k) = rows.shape();
        let (packed_k, groups) = (k.next_multiple_of(4), k.div_ceil(group));
        let (mut worst, mut squares, mut lost) = (0.0f64, 0.0f64, 0.0f64);
        let mut fetched = FetchedRows::default();
        for first in (0..n).step_by(BLOCK_ROWS) {
            let block = first..(first + BLOCK_ROWS).min(n);
            rows.fetch(block.clone(), &mut fetched).map_err(failed)?;
            let quantized: Vec<Quantized> = block
                .clone()
                .into_par_iter()
                .map(|row| Quantized::of(&self.tensor.name, rows, &fetched, row, group))
                .collect::<Result<_, KernelError>>()
                .map_err(failed)?;
            let mut packed = Vec::with_capacity(block.len() * packed_k);
            let mut scales = Vec::with_capacity(block.len() * groups * 2);
            for row in &quantized {
                packed.extend(row.q.iter().map(|q| *q as u8 ^ 0x80));
                packed.resize(packed.len() + packed_k - k, 0);
                scales.extend(row.scales.iter().flat_map(|scale| scale.to_le_bytes()));
                worst = worst.max(row.worst);
                squares += row.squares;
                lost += row.lost;
            }
            self.write_at(self.entry.values + (block.start * packed_k) as u64, &packed)?;
            self.write_at(self.entry.scales + (block.start * groups * 2) as u64, &scales)?;
        }
        let shape: Vec<u8> = [n as i64, k as i64].iter().flat_map(|size| size.to_le_bytes()).collect();
        self.write_at(self.entry.shape, &shape)?;
        Ok(TensorError {
            name: self.tensor.name.clone(),
            max_abs_error: worst,
            relative_rms_error: if squares > 0.0 { (lost / squares).sqrt() } else { 0.0 },
        })
    }

    /// Writes the tensor as f16.
    fn round(
        &mut self,
        rows: &dyn FloatRows,
        failed: &(dyn Fn(KernelError) -> ModelError + Sync),
    ) -> Result<()> {
        let (n, k) = rows.shape();
        let mut values = Vec::new();
        for first in (0..n).step_by(BLOCK_ROWS) {
            let block = first..(first + BLOCK_ROWS).min(n);
            values.clear();
            values.resize(block.len() * k, 0.0f32);
            rows.read(block.clone(), &mut values).map_err(failed)?;
            let mut bytes = Vec::with_capacity(values.len() * 2);
            for (index, value) in values.iter().enumerate() {
                let rounded = f16::from_f32(*value);
                if !rounded.is_finite() {
                    let (row, group) = (first + index / k, index % k);
                    let name = self.tensor.name.clone();
                    return Err(failed(KernelError::F16Overflow { name, row, group, value: *value }));
                }
                bytes.extend_from_slice(&rounded.to_le_bytes());
            }
            self.write_at(self.entry.values + (block.start * k * 2) as u64, &bytes)?;
        }
        Ok(())
    }
}

/// One quantised row and its error.
struct Quantized {
    q: Vec<i8>,
    scales: Vec<f16>,
    worst: f64,
    squares: f64,
    lost: f64,
}

impl Quantized {
    fn of(
        name: &str,
        rows: &dyn FloatRows,
        fetched: &FetchedRows,
        row: usize,
        group: usize,
    ) -> Result<Self, KernelError> {
        let (_, k) = rows.shape();
        let mut weights = vec![0.0f32; k];
        rows.read_fetched(row, fetched, &mut weights)?;
        let (mut q, mut scales) = (vec![0i8; k], vec![f16::ZERO; k.div_ceil(group)]);
        quantize_row(name, row, &weights, group, &mut q, &mut scales)?;
        let (mut worst, mut squares, mut lost) = (0.0f64, 0.0f64, 0.0f64);
        for (column, (weight, q)) in weights.iter().zip(&q).enumerate() {
            let error = f64::from(*weight) - f64::from(*q) * scales[column / group].to_f64();
            worst = worst.max(error.abs());
            squares += f64::from(*weight) * f64::from(*weight);
            lost += error * error;
        }
        Ok(Quantized { q, scales, worst, squares, lost })
    }
}

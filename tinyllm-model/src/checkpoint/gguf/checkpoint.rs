//! A GGUF as a [`Checkpoint`]: every tensor reads as f32, by rows, in Hugging Face's order.

use std::{ops::Range, path::Path, sync::Arc};

use tinyllm_kernels::{FetchedRows, FloatRows, KernelError};
use tinyllm_mem::MappedRange;

use super::{
    Gguf, GgufTensor, config,
    dequantize::dequantize,
    tensors::{self, Found, RowOrder},
};
use crate::{
    ModelConfig, ModelError, Result,
    checkpoint::{
        Checkpoint, Storage, TensorData, TensorInfo,
        rows::{not_fetched, read_by_fetching},
    },
};

/// A model in a GGUF file: configuration and tensors found and checked, weights not yet read.
pub struct GgufCheckpoint {
    gguf: Arc<Gguf>,
    config: ModelConfig,
    notes: Vec<String>,
    found: Vec<Found>,
    tensors: Vec<TensorInfo>,
}

impl GgufCheckpoint {
    /// Opens a file, or any part of a split model.
    ///
    /// # Errors
    /// Where the file is damaged, or the model is incomplete or not one the engine runs.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(Arc::new(Gguf::open(path)?))
    }

    /// The model in an open file, which its tokenizer may share.
    ///
    /// # Errors
    /// As [`GgufCheckpoint::open`].
    pub fn new(gguf: Arc<Gguf>) -> Result<Self> {
        let config = config::model_config(&gguf)?;
        let found = tensors::find(&gguf, &config)?;
        let tensors = found.iter().map(|found| tensor_info(&gguf, found)).collect();
        let notes = config.rope_notes();
        let notes =
            notes.into_iter().map(|note| format!("{}: rope.scaling.{note}", gguf.path().display())).collect();
        Ok(GgufCheckpoint { gguf, config, notes, found, tensors })
    }

    /// The file, for its metadata.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }
}

fn tensor_info(gguf: &Gguf, found: &Found) -> TensorInfo {
    let tensor = &gguf.tensors()[found.index];
    let file = gguf.file(tensor).path().file_name().unwrap_or_default();
    TensorInfo {
        name: found.name.clone(),
        name_in_file: tensor.name.clone(),
        file: file.to_string_lossy().into_owned(),
        shape: tensor.shape.clone(),
        dtype: tensor.ggml_type.name(),
        storage: Storage::Float,
        bytes: tensor.len_bytes() as u64,
    }
}

impl Checkpoint for GgufCheckpoint {
    fn path(&self) -> &Path {
        self.gguf.path()
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

    fn open(&self, index: usize) -> Result<TensorData<'_>> {
        let found =
            self.found.get(index).ok_or(ModelError::UnknownTensor { index, tensors: self.found.len() })?;
        let tensor = &self.gguf.tensors()[found.index];
        Ok(TensorData::Float(Box::new(GgufRows {
            bytes: self.gguf.bytes(tensor)?,
            tensor,
            order: found.order,
        })))
    }
}

/// The rows of one tensor.
struct GgufRows<'a> {
    bytes: MappedRange,
    tensor: &'a GgufTensor,
    order: RowOrder,
}

impl GgufRows<'_> {
    fn misfit(&self, rows: &Range<usize>, floats: usize) -> KernelError {
        let (n, k) = self.shape();
        let problem = format!("rows {rows:?} of {n}, each of {k}, into {floats} floats");
        KernelError::Source { name: self.tensor.name.clone(), problem }
    }

    /// Whether its elements are the rows of its matrix: a bias.
    fn is_vector(&self) -> bool {
        self.tensor.shape.len() == 1
    }

    /// The rows of the file that hold these rows.
    fn rows_in_file(&self, rows: Range<usize>) -> Range<usize> {
        match self.order {
            RowOrder::Interleaved { .. } if !self.is_vector() => {
                let in_file = || rows.clone().map(|row| self.order.row_in_file(row));
                in_file().min().unwrap_or(0)..in_file().max().map_or(0, |last| last + 1)
            }
            _ => rows,
        }
    }

    /// Dequantises a row that was fetched, as it lies in the file.
    fn read_in_file(&self, row: usize, fetched: &FetchedRows, out: &mut [f32]) -> Result<(), KernelError> {
        let bytes = fetched.row(row).ok_or_else(|| not_fetched(&self.tensor.name, row))?;
        dequantize(self.tensor.ggml_type, bytes, out);
        Ok(())
    }
}

impl FloatRows for GgufRows<'_> {
    fn shape(&self) -> (usize, usize) {
        match *self.tensor.shape.as_slice() {
            [n, k] => (n, k),
            ref shape => (1, shape.iter().product()),
        }
    }

    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        if rows.len().checked_mul(self.shape().1) != Some(out.len()) {
            return Err(self.misfit(&rows, out.len()));
        }
        read_by_fetching(self, rows, out)
    }

    fn fetch(&self, rows: Range<usize>, fetched: &mut FetchedRows) -> Result<(), KernelError> {
        let (n, k) = self.shape();
        if rows.start > rows.end || rows.end > n {
            return Err(self.misfit(&rows, rows.len().saturating_mul(k)));
        }
        let (rows, row_bytes) = (self.rows_in_file(rows), self.bytes.len() / n);
        let start = rows.start * row_bytes;
        Ok(self.bytes.read_at(start, fetched.replace(rows, row_bytes))?)
    }

    fn read_fetched(&self, row: usize, fetched: &FetchedRows, out: &mut [f32]) -> Result<(), KernelError> {
        match self.order {
            RowOrder::Interleaved { .. } if self.is_vector() => {
                let mut in_file = vec![0.0; out.len()];
                self.read_in_file(row, fetched, &mut in_file)?;
                for (index, out) in out.iter_mut().enumerate() {
                    *out = in_file[self.order.row_in_file(index)];
                }
                Ok(())
            }
            order => self.read_in_file(order.row_in_file(row), fetched, out),
        }
    }
}

//! A GGUF as a [`Checkpoint`]: every tensor reads as f32, by rows, in Hugging Face's order.

use std::{ops::Range, path::Path};

use tinyllm_kernels::{FloatRows, KernelError};

use super::{
    Gguf, GgufTensor, config,
    dequantize::dequantize,
    tensors::{self, Found, RowOrder},
};
use tinyllm_mem::MappedFile;

use crate::{
    ModelConfig, ModelError, Result,
    checkpoint::{Checkpoint, Storage, TensorData, TensorInfo},
};

/// A model in a GGUF file: configuration and tensors found and checked, weights not yet read.
pub struct GgufCheckpoint {
    gguf: Gguf,
    config: ModelConfig,
    found: Vec<Found>,
    tensors: Vec<TensorInfo>,
}

impl GgufCheckpoint {
    /// Opens a file, or any part of a split model.
    ///
    /// # Errors
    /// Where the file is damaged, or the model is incomplete or not one the engine runs.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(Gguf::open(path)?)
    }

    /// The model in an open file.
    ///
    /// # Errors
    /// As [`GgufCheckpoint::open`].
    pub fn new(gguf: Gguf) -> Result<Self> {
        let config = config::model_config(&gguf)?;
        let found = tensors::find(&gguf, &config)?;
        let tensors = found.iter().map(|found| tensor_info(&gguf, found)).collect();
        Ok(GgufCheckpoint { gguf, config, found, tensors })
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

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn open(&self, index: usize) -> Result<TensorData<'_>> {
        let found = self.found.get(index).ok_or_else(|| {
            ModelError::Request(format!("there is no tensor {index}; the model has {}", self.found.len()))
        })?;
        let tensor = &self.gguf.tensors()[found.index];
        Ok(TensorData::Float(Box::new(GgufRows {
            file: self.gguf.file(tensor),
            bytes: self.gguf.bytes(tensor),
            tensor,
            order: found.order,
        })))
    }
}

/// The rows of one tensor.
struct GgufRows<'a> {
    file: &'a MappedFile,
    bytes: &'a [u8],
    tensor: &'a GgufTensor,
    order: RowOrder,
}

impl GgufRows<'_> {
    /// Dequantises rows as they lie in the file.
    fn read_in_file(&self, rows: Range<usize>, row_bytes: usize, out: &mut [f32]) {
        let bytes = &self.bytes[rows.start * row_bytes..rows.end * row_bytes];
        dequantize(self.tensor.ggml_type, bytes, out);
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
        let (n, k) = self.shape();
        if rows.start > rows.end || rows.end > n || out.len() != rows.len() * k {
            let problem = format!("rows {rows:?} of {n}, each of {k}, into {} floats", out.len());
            return Err(KernelError::Source { name: self.tensor.name.clone(), problem });
        }
        let row_bytes = self.bytes.len() / n;
        match self.order {
            RowOrder::HuggingFace => self.read_in_file(rows, row_bytes, out),
            // A bias: its elements are the rows of its matrix.
            order if self.tensor.shape.len() == 1 => {
                let mut in_file = vec![0.0; k];
                self.read_in_file(0..1, row_bytes, &mut in_file);
                for (index, out) in out.iter_mut().enumerate() {
                    *out = in_file[order.row_in_file(index)];
                }
            }
            order => {
                for (row, out) in rows.zip(out.chunks_exact_mut(k)) {
                    let row = order.row_in_file(row);
                    self.read_in_file(row..row + 1, row_bytes, out);
                }
            }
        }
        Ok(())
    }

    fn consumed(&self, rows: Range<usize>) {
        // Interleaved rows lie in the same heads, so the same range will do.
        let row_bytes = self.bytes.len() / self.shape().0;
        if let Some(bytes) = self.bytes.get(rows.start * row_bytes..rows.end * row_bytes) {
            self.file.drop_pages(bytes);
        }
    }
}

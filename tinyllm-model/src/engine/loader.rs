//! Moves a checkpoint's tensors into a backend's weights, one after another; each is read in parallel by rows.

use std::{collections::HashMap, ops::Range};

use tinyllm_kernels::{
    Backend, MappedWeight, Placement, Program, QuantizedRows, RawQuantized, WeightFormat, WeightSource,
};

use tinyllm_mem::MappedFile;

use super::dequantize::Dequantized;
use crate::{
    ModelError, Result,
    checkpoint::{Checkpoint, Storage, TensorData, W8A16Tensor},
};

/// How far loading has come.
#[derive(Clone, Copy, Debug)]
pub struct LoadProgress<'a> {
    /// The tensor that was read last.
    pub tensor: &'a str,
    /// Bytes of the file read so far.
    pub done_bytes: u64,
    /// Bytes to read in all.
    pub total_bytes: u64,
}

/// A checkpoint's tensors by name.
pub(crate) struct TensorIndex<'a> {
    checkpoint: &'a dyn Checkpoint,
    by_name: HashMap<&'a str, usize>,
}

impl<'a> TensorIndex<'a> {
    pub(crate) fn new(checkpoint: &'a dyn Checkpoint) -> Self {
        let by_name = checkpoint
            .tensors()
            .iter()
            .enumerate()
            .map(|(index, info)| (info.name.as_str(), index))
            .collect();
        TensorIndex { checkpoint, by_name }
    }

    fn position(&self, name: &str) -> Result<usize> {
        self.by_name
            .get(name)
            .copied()
            .ok_or_else(|| ModelError::malformed(self.checkpoint.path(), name, "the tensor is missing"))
    }

    pub(crate) fn storage(&self, name: &str) -> Result<Storage> {
        Ok(self.checkpoint.tensors()[self.position(name)?].storage)
    }
}

/// Reads every weight and vector of `program`.
pub(crate) fn load<B: Backend>(
    backend: &B,
    weights: &mut B::Weights,
    program: &Program,
    checkpoint: &dyn Checkpoint,
    progress: &(dyn Fn(LoadProgress<'_>) + Sync),
) -> Result<()> {
    let index = TensorIndex::new(checkpoint);
    let failed = |source| ModelError::Load { path: checkpoint.path().to_owned(), source };
    let total_bytes = checkpoint.tensors().iter().map(|info| info.bytes).sum();
    let mut done_bytes = 0;
    let mut report = |position: usize| {
        let info = &checkpoint.tensors()[position];
        done_bytes += info.bytes;
        progress(LoadProgress { tensor: &info.name, done_bytes, total_bytes });
    };
    for (id, spec) in program.weight_ids() {
        let position = index.position(&spec.name)?;
        let data = checkpoint.open(position)?;
        match &data {
            TensorData::Float(rows) => backend.upload(weights, id, WeightSource::Float(rows.as_ref())),
            TensorData::W8A16(tensor) if spec.placement == Placement::Mapped => {
                backend.upload(weights, id, WeightSource::Mapped(&mapped(tensor)))
            }
            TensorData::W8A16(tensor) => match (spec.format, checkpoint.tensors()[position].storage) {
                (WeightFormat::W8A16 { .. }, _) => {
                    backend.upload(weights, id, WeightSource::Quantized(tensor))
                }
                (_, Storage::W8A16 { group_size, scales }) => {
                    let rows = Dequantized::new(tensor, group_size, scales);
                    backend.upload(weights, id, WeightSource::Float(&rows))
                }
                _ => {
                    return Err(ModelError::malformed(
                        checkpoint.path(),
                        &spec.name,
                        "its type is not W8A16",
                    ));
                }
            },
        }
        .map_err(failed)?;
        report(position);
    }
    let mut values = Vec::new();
    for (id, spec) in program.vector_ids() {
        let position = index.position(&spec.name)?;
        let TensorData::Float(rows) = checkpoint.open(position)? else {
            return Err(ModelError::malformed(checkpoint.path(), &spec.name, "a vector cannot be quantised"));
        };
        values.clear();
        values.resize(spec.len, 0.0);
        rows.read(0..rows.shape().0, &mut values).map_err(failed)?;
        rows.consumed(0..rows.shape().0);
        backend.upload_vector(weights, id, &values).map_err(failed)?;
        report(position);
    }
    // Reading a tensor mapped pages of its neighbours again.
    for (_, spec) in program.weight_ids().filter(|(_, spec)| spec.placement == Placement::Slab) {
        match checkpoint.open(index.position(&spec.name)?)? {
            TensorData::Float(rows) => rows.consumed(0..rows.shape().0),
            TensorData::W8A16(tensor) => tensor.consumed(0..tensor.n),
        }
    }
    Ok(())
}

/// The tensor's place in its mapping.
fn mapped(tensor: &W8A16Tensor<'_>) -> MappedWeight {
    let range = |file: &MappedFile, bytes: &[u8]| {
        let start = bytes.as_ptr().addr() - file.bytes().as_ptr().addr();
        start..start + bytes.len()
    };
    MappedWeight {
        file: tensor.file.clone(),
        values: range(tensor.file, tensor.values),
        row_bytes: tensor.row_bytes,
        offset_binary: tensor.offset_binary,
        scales_file: tensor.scales_file.clone(),
        scales: range(tensor.scales_file, tensor.scales),
    }
}

impl QuantizedRows for W8A16Tensor<'_> {
    fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    fn raw(&self) -> RawQuantized<'_> {
        RawQuantized {
            values: self.values,
            row_bytes: self.row_bytes,
            offset_binary: self.offset_binary,
            scales: self.scales,
        }
    }

    fn consumed(&self, rows: Range<usize>) {
        self.file.drop_pages(&self.values[rows.start * self.row_bytes..rows.end * self.row_bytes]);
        let row_scales = self.scales.len() / self.n.max(1);
        self.scales_file.drop_pages(&self.scales[rows.start * row_scales..rows.end * row_scales]);
    }
}

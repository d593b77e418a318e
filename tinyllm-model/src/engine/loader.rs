//! Moves a checkpoint's tensors into a backend's weights, one after another; each is read in parallel by rows.

use std::collections::HashMap;

use tinyllm_kernels::{Keep, KernelError, Placement, Program, ScaleType, Session, Source, WeightFormat};

use super::dequantize::Dequantized;
use crate::{
    ModelError, Result,
    checkpoint::{Checkpoint, Storage, TensorData},
    config::QuantizationType,
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

/// Reads every vector of `program` and every weight; `lazily` those that a W8A16 file holds are left there, with a table
/// that is quantised on the way.
pub(crate) fn load(
    session: &mut dyn Session,
    program: &Program,
    checkpoint: &dyn Checkpoint,
    lazily: bool,
    progress: &(dyn Fn(LoadProgress<'_>) + Sync),
) -> Result<()> {
    let lazily = lazily && checkpoint.config().quantization == QuantizationType::W8A16;
    let keep = if lazily { Keep::UntilWarm } else { Keep::Copy };
    let index = TensorIndex::new(checkpoint);
    let failed = |source| match source {
        // It names the file itself.
        KernelError::Memory(error) => ModelError::Memory(error),
        source => ModelError::Load { path: checkpoint.path().to_owned(), source },
    };
    let total_bytes = checkpoint.tensors().iter().map(|info| info.bytes).sum();
    let mut done_bytes = 0;
    let mut report = |position: usize| {
        let info = &checkpoint.tensors()[position];
        done_bytes += info.bytes;
        progress(LoadProgress { tensor: &info.name, done_bytes, total_bytes });
    };
    for (id, spec) in program.weight_ids() {
        let position = index.position(&spec.name)?;
        let keep = if spec.placement == Placement::Mapped { Keep::Forever } else { keep };
        match (checkpoint.open(position)?, spec.format) {
            (TensorData::Float(rows), WeightFormat::W8A16 { scales: ScaleType::F16, .. }) => {
                session.upload(id.into(), Source::float(rows.as_ref()).keep(keep))
            }
            (TensorData::Float(rows), _) => session.upload(id.into(), Source::float(rows.as_ref())),
            (TensorData::Quantized(matrix), WeightFormat::W8A16 { .. }) => {
                session.upload(id.into(), Source::quantized(&matrix).keep(keep))
            }
            (TensorData::Quantized(matrix), WeightFormat::F16 | WeightFormat::F32) => {
                session.upload(id.into(), Source::float(&Dequantized::new(&spec.name, &matrix)))
            }
        }
        .map_err(failed)?;
        report(position);
    }
    for (id, spec) in program.vector_ids() {
        let position = index.position(&spec.name)?;
        let TensorData::Float(rows) = checkpoint.open(position)? else {
            return Err(ModelError::malformed(checkpoint.path(), &spec.name, "a vector cannot be quantised"));
        };
        session.upload(id.into(), Source::float(rows.as_ref())).map_err(failed)?;
        report(position);
    }
    Ok(())
}

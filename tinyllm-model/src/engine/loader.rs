//! Moves a checkpoint's tensors into a backend's weights, one after another; each is read in parallel by rows.

use std::collections::HashMap;

use tinyllm_kernels::{Keep, KernelError, Placement, Program, ScaleType, Source, WeightFormat};

use super::{
    dequantize::Dequantized,
    pipeline::{Pipeline, Stage},
    plan::StagePlan,
};
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

/// Reads the vectors and weights of all layers; `lazily` those that a W8A16 file holds are left there, with a table that is
/// quantised on the way.
pub(super) fn load(
    layers: &mut Pipeline,
    plans: &[StagePlan],
    checkpoint: &dyn Checkpoint,
    lazily: bool,
    progress: &(dyn Fn(LoadProgress<'_>) + Sync),
) -> Result<()> {
    let lazily = lazily && checkpoint.config().quantization == QuantizationType::W8A16;
    let index = TensorIndex::new(checkpoint);
    let mut total_bytes = 0;
    for program in plans.iter().map(|plan| &plan.program) {
        let weights = program.weights().iter().map(|spec| &spec.name);
        for name in weights.chain(program.vectors().iter().map(|spec| &spec.name)) {
            total_bytes += checkpoint.tensors()[index.position(name)?].bytes;
        }
    }
    let mut done_bytes = 0;
    let mut report = |position: usize| {
        let info = &checkpoint.tensors()[position];
        done_bytes += info.bytes;
        progress(LoadProgress { tensor: &info.name, done_bytes, total_bytes });
    };
    let keep = if lazily { Keep::UntilWarm } else { Keep::Copy };
    for (stage, plan) in layers.stages_mut().iter_mut().zip(plans) {
        load_stage(stage, &plan.program, checkpoint, &index, keep, &mut report)?;
    }
    Ok(())
}

fn load_stage(
    stage: &mut Stage,
    program: &Program,
    checkpoint: &dyn Checkpoint,
    index: &TensorIndex<'_>,
    keep: Keep,
    report: &mut dyn FnMut(usize),
) -> Result<()> {
    let failed = |stage: &Stage, source| match source {
        // It names the file itself, or the device.
        KernelError::Memory(_) => stage.error(source).into(),
        source => ModelError::Load { path: checkpoint.path().to_owned(), source },
    };
    for (id, spec) in program.weight_ids() {
        let position = index.position(&spec.name)?;
        let keep = if spec.placement == Placement::Mapped { Keep::Forever } else { keep };
        let session = &mut stage.session;
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
        .map_err(|error| failed(stage, error))?;
        report(position);
    }
    for (id, spec) in program.vector_ids() {
        let position = index.position(&spec.name)?;
        let TensorData::Float(rows) = checkpoint.open(position)? else {
            return Err(ModelError::malformed(checkpoint.path(), &spec.name, "a vector cannot be quantised"));
        };
        let uploaded = stage.session.upload(id.into(), Source::float(rows.as_ref()));
        uploaded.map_err(|error| failed(stage, error))?;
        report(position);
    }
    Ok(())
}

//! The sessions of a model's layers, on one device after another: a step goes through all of them.

use tinyllm_kernels::{
    BlockCopy, Compiled, EntryId, KernelError, RegionId, Session, Step, StepInput, Ticket,
    quantize::VanishedGroups,
};

use super::plan::StagePlan;
use crate::{ModelError, Result, llama};

/// Contiguous layers, bound to their device.
pub(super) struct Stage {
    /// The device's name, where it is worth saying in errors: it is not the processor alone.
    device: Option<String>,
    pub(super) session: Box<dyn Session>,
    /// The residual stream that the layers before leave; `None` where tokens come in.
    input: Option<RegionId>,
    entries: StageEntries,
}

/// What can be submitted of a stage's program.
#[derive(Clone, Copy, Debug)]
struct StageEntries {
    forward: EntryId,
    /// Of the last layers.
    last: Option<LastEntries>,
}

#[derive(Clone, Copy, Debug)]
struct LastEntries {
    prefill: EntryId,
    head: EntryId,
}

/// What a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// All of it.
    Forward,
    /// What fills the cache.
    Prefill,
    /// From the end of [`Run::Prefill`]: logits of sampled rows.
    Head,
}

/// An error of a stage, and its device's name where it is worth saying.
pub(super) struct StageError {
    device: Option<String>,
    pub(super) source: KernelError,
}

impl From<StageError> for ModelError {
    /// Memory, and what goes wrong with a device, is named with the device.
    fn from(error: StageError) -> Self {
        match (error.device, error.source) {
            (Some(device), KernelError::Memory(source)) => ModelError::Device { device, source },
            (_, source) => source.into(),
        }
    }
}

/// A model's layers, in order.
pub(super) struct Pipeline {
    stages: Vec<Stage>,
    /// The last step, where it succeeded.
    ticket: Option<Ticket>,
}

impl Pipeline {
    /// Binds what was compiled: allocates all of it, or nothing.
    ///
    /// # Errors
    /// Memory that cannot be had.
    pub(super) fn bind(plans: &[StagePlan], compiled: Vec<Box<dyn Compiled>>) -> Result<Self> {
        let is_plain = plans.iter().all(|plan| plan.device == "cpu");
        let bind = |(plan, compiled): (&StagePlan, Box<dyn Compiled>)| {
            let device = (!is_plain).then(|| plan.device.clone());
            let session = compiled.bind().map_err(|source| StageError { device: device.clone(), source })?;
            let entry = |name| plan.program.entry(name);
            let last = match (entry(llama::PREFILL), entry(llama::HEAD)) {
                (Ok(prefill), Ok(head)) => Some(LastEntries { prefill, head }),
                _ => None,
            };
            let entries = StageEntries { forward: entry(llama::FORWARD)?, last };
            Ok(Stage { device, session, input: plan.program.input(), entries })
        };
        let stages = plans.iter().zip(compiled).map(bind).collect::<Result<_>>()?;
        Ok(Pipeline { stages, ticket: None })
    }

    pub(super) fn stages_mut(&mut self) -> &mut [Stage] {
        &mut self.stages
    }

    /// Forgets the last step's outputs.
    pub(super) fn forget(&mut self) {
        self.ticket = None;
    }

    /// Copies blocks of the cache, in all layers.
    ///
    /// # Errors
    /// Those of [`Session::copy_blocks`].
    pub(super) fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<(), StageError> {
        self.stages.iter_mut().try_for_each(|stage| {
            let copied = stage.session.copy_blocks(copies);
            copied.map_err(|source| stage.error(source))
        })
    }

    /// As [`Session::warm_up`], on each device.
    ///
    /// # Errors
    /// Those of [`Session::warm_up`].
    pub(super) fn warm_up(&mut self, max_bytes: usize) -> Result<usize, StageError> {
        self.stages.iter_mut().try_fold(0, |left, stage| {
            let own = stage.session.warm_up(max_bytes);
            Ok(left + own.map_err(|source| stage.error(source))?)
        })
    }

    pub(super) fn vanished_groups(&self) -> Vec<VanishedGroups> {
        self.stages.iter().flat_map(|stage| stage.session.vanished_groups()).collect()
    }

    /// Runs a step through all layers, and waits for it. Between devices the residual stream is copied, through the host.
    ///
    /// # Errors
    /// Those of [`Session::submit`] and [`Session::wait`], and the device's that it was.
    pub(super) fn run(&mut self, run: Run, step: &Step<'_>) -> Result<(), StageError> {
        self.ticket = None;
        let last = self.stages.len().saturating_sub(1);
        let first = if run == Run::Head { last } else { 0 };
        let mut before: Option<Ticket> = None;
        for index in first..self.stages.len() {
            let (done, stages) = self.stages.split_at_mut(index);
            let Some(stage) = stages.first_mut() else { break };
            if let (Some(ticket), Some(input), Some(previous)) = (before, stage.input, done.last_mut()) {
                previous.copy_output(ticket, stage, input)?;
            }
            let mut own = *step;
            if index > 0 {
                own.input = StepInput::Rows(step.tokens());
            }
            let entry = match (stage.entries.last, run) {
                (Some(last), Run::Prefill) => last.prefill,
                (Some(last), Run::Head) => last.head,
                (Some(_), Run::Forward) => stage.entries.forward,
                (None, _) => {
                    own.sampled_rows = &[];
                    stage.entries.forward
                }
            };
            let ticket = stage.session.submit(entry, &own).map_err(|source| stage.error(source))?;
            before = Some(ticket);
        }
        if let (Some(ticket), Some(stage)) = (before, self.stages.last_mut()) {
            let waited = stage.session.wait(ticket).map(|_| ());
            waited.map_err(|source| stage.error(source))?;
        }
        self.ticket = before;
        Ok(())
    }

    /// A row of the last step's logits; `None` where it computed none.
    pub(super) fn output(&mut self, row: usize) -> Option<&mut [f32]> {
        let ticket = self.ticket?;
        self.stages.last_mut()?.session.wait(ticket).ok()?.into_row(row)
    }
}

impl Stage {
    pub(super) fn error(&self, source: KernelError) -> StageError {
        StageError { device: self.device.clone(), source }
    }

    /// Waits for a step's residual stream, and gives it to the next layers.
    fn copy_output(&mut self, ticket: Ticket, to: &mut Stage, input: RegionId) -> Result<(), StageError> {
        let device = &self.device;
        let outputs = self.session.wait(ticket);
        let outputs = outputs.map_err(|source| StageError { device: device.clone(), source })?;
        let apart = || KernelError::Invalid { what: "outputs", problem: "rows that are apart".into() };
        let rows =
            outputs.contiguous().ok_or_else(|| StageError { device: device.clone(), source: apart() })?;
        to.session.write_region(input, rows).map_err(|source| to.error(source))
    }
}

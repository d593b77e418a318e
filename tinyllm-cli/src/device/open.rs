//! Opens a device: its driver, its context, and the backend whose memory is tracked with the host's.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use tinyllm_emulator::Builder;
use tinyllm_kernels::{Backend, Cuda, DeviceMemory};
use tinyllm_mem::{Context, DeviceResource, Host, HostMemory, PinnedHostResource, Tracking};
use tinyllm_model::{
    Engine,
    engine::{EngineOptions, EnginePlan},
};
use tinyllm_sys::{DriverApi, LibCuda, LoadError};

use super::DeviceChoice;
use crate::output::{self, numbers::size};

/// Makes a plan on a backend.
pub(crate) type PlanOn<'a> = &'a dyn Fn(&dyn Backend, &EngineOptions) -> tinyllm_model::Result<EnginePlan>;

/// The backend of a device, which counts its memory with `tracking`. Where it is not the processor and no budget was asked
/// for, the budget is what is free there, so that a plan beyond it is refused before anything is loaded.
///
/// # Errors
/// A device that is not there or cannot be used, with the remedy.
pub(crate) fn open(
    choice: DeviceChoice,
    options: &mut EngineOptions,
    tracking: &Arc<Tracking<Host>>,
    plan: PlanOn<'_>,
) -> anyhow::Result<Box<dyn Backend>> {
    match choice {
        DeviceChoice::Cpu => processor(options, tracking),
        DeviceChoice::Auto => match fitting_gpu(options, tracking, plan) {
            Some(cuda) => Ok(Box::new(cuda)),
            None => processor(options, tracking),
        },
        DeviceChoice::Cuda(ordinal) => {
            let driver = LibCuda::load().map_err(|error| remedy(&error))?;
            let device = format!("--device cuda:{ordinal}");
            let driver: Arc<dyn DriverApi> = Arc::new(driver);
            let count = driver.device_count().with_context(|| device.clone())?;
            if ordinal >= count {
                bail!("{device}: there are {count} devices here, counted from 0; doctor lists them");
            }
            let cuda = tracked(&Context::primary(driver, ordinal)?, tracking).context(device)?;
            limit(options, &cuda);
            Ok(Box::new(cuda))
        }
        DeviceChoice::Emulated(memory) => {
            let builder = Builder::from_env().context("--device emulated")?;
            let builder = memory.map_or_else(|| builder.clone(), |bytes| builder.clone().memory(bytes));
            let context = Context::primary(Arc::new(builder.build()), 0)?;
            let cuda = tracked(&context, tracking)?;
            limit(options, &cuda);
            Ok(Box::new(cuda))
        }
    }
}

fn processor(options: &EngineOptions, tracking: &Arc<Tracking<Host>>) -> anyhow::Result<Box<dyn Backend>> {
    let memory: HostMemory = tracking.clone();
    Ok(Box::new(Engine::cpu(options, &memory)?))
}

/// The first GPU that the model fits, said in one line. What is in the way is said too, unless there is no driver at all.
fn fitting_gpu(
    options: &mut EngineOptions,
    tracking: &Arc<Tracking<Host>>,
    plan: PlanOn<'_>,
) -> Option<Cuda> {
    // What only the processor does was asked for.
    if options.mmap || options.threads.is_some() {
        return None;
    }
    let driver: Arc<dyn DriverApi> = match LibCuda::load() {
        Ok(driver) => Arc::new(driver),
        Err(LoadError::NoLibrary) => return None,
        Err(error) => {
            output::note(&format!("running on the processor: {error}"));
            return None;
        }
    };
    let mut problem = None;
    for ordinal in 0..driver.device_count().ok()? {
        let found = Context::primary(Arc::clone(&driver), ordinal).map_err(anyhow::Error::from);
        let found = found.and_then(|context| tracked(&context, tracking));
        let found = found.and_then(|cuda| Ok((plan(&cuda, options)?, cuda)));
        match found {
            Ok((plan, cuda)) => {
                let free = cuda.context().memory_info().map_or(0, |memory| memory.free_bytes);
                let needed = plan.device_bytes() as u64;
                if needed <= free {
                    output::note(&format!(
                        "running on cuda:{ordinal}: {} of {} free",
                        size(needed),
                        size(free)
                    ));
                    limit(options, &cuda);
                    return Some(cuda);
                }
                let lacks = format!("it needs {}, and cuda:{ordinal} has {} free", size(needed), size(free));
                problem.get_or_insert(lacks);
            }
            Err(error) => _ = problem.get_or_insert(format!("cuda:{ordinal}: {error:#}")),
        }
    }
    if let Some(problem) = problem {
        output::note(&format!("running on the processor: {problem}"));
    }
    None
}

/// The backend of a context, whose memory is counted with the host's.
fn tracked(context: &Context, tracking: &Arc<Tracking<Host>>) -> anyhow::Result<Cuda> {
    let memory: DeviceMemory = Arc::new(tracking.beside(Arc::new(DeviceResource::new(context))));
    let pinned: HostMemory = Arc::new(tracking.beside(Arc::new(PinnedHostResource::new(context))));
    Ok(Cuda::new(context)?.with_memory(memory, pinned))
}

/// Limits a plan to what is free on the device, unless it is limited already.
fn limit(options: &mut EngineOptions, cuda: &Cuda) {
    if let (None, Some(memory)) = (options.memory_budget_bytes, cuda.context().memory_info()) {
        options.memory_budget_bytes = usize::try_from(memory.free_bytes).ok();
    }
}

/// A driver that cannot be used, with what to do about it.
fn remedy(error: &LoadError) -> anyhow::Error {
    anyhow::anyhow!("--device cuda: {error}; --device cpu runs on the processor, doctor says what is here")
}

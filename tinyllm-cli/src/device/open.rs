//! Opens devices: their driver, their contexts, and backends whose memory is tracked with the host's.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use tinyllm_kernels::{Backend, Cpu, Cuda, DeviceMemory};
use tinyllm_mem::{Context, DeviceResource, Host, HostMemory, PinnedHostResource, Tracking};
use tinyllm_model::{
    Engine,
    engine::{DeviceLayers, DeviceRoom, EngineOptions, EnginePlan, LayerSplit, plan::PlanSource},
};
use tinyllm_sys::{DriverApi, LibCuda, LoadError};

use super::{DeviceChoice, GpuLayers, emulated};
use crate::output::{self, numbers::size};

/// The devices that the options name.
pub(crate) struct Wanted<'a> {
    /// In the order in which they take layers.
    pub(crate) devices: &'a [DeviceChoice],
    /// Layers of devices other than the processor.
    pub(crate) gpu_layers: Option<GpuLayers>,
    /// What single devices may take, by name.
    pub(crate) budgets: &'a [(String, usize)],
}

/// Devices that a model is loaded on.
pub(crate) struct Devices {
    opened: Vec<Opened>,
    gpu_layers: Option<GpuLayers>,
}

struct Opened {
    device: Device,
    /// What was asked for, or what is free on it.
    budget_bytes: Option<usize>,
}

/// A device.
pub(crate) enum Device {
    /// The processor.
    Processor(Cpu),
    /// A GPU, or an emulated device.
    Gpu(Cuda),
}

impl Device {
    fn backend(&self) -> &dyn Backend {
        match self {
            Device::Processor(cpu) => cpu,
            Device::Gpu(cuda) => cuda,
        }
    }
}

impl Devices {
    /// Opens devices, whose memory is counted with `tracking`. Where no budget of one was asked for, it is what is free there,
    /// so that a plan beyond it is refused before anything is loaded.
    ///
    /// # Errors
    /// A device that is not there or cannot be used, with the remedy.
    pub(crate) fn open(
        wanted: &Wanted<'_>,
        options: &EngineOptions,
        tracking: &Arc<Tracking<Host>>,
        source: PlanSource<'_>,
    ) -> anyhow::Result<Self> {
        let mut choices = wanted.devices.to_vec();
        for (index, choice) in choices.iter().enumerate() {
            if choices[..index].iter().any(|other| other.name() == choice.name()) {
                bail!("--device: {} is named twice", choice.name());
            }
        }
        if choices.len() > 1 && choices.contains(&DeviceChoice::Auto) {
            bail!("--device: auto chooses alone, without other devices beside it");
        }
        let processor_only =
            |choices: &[DeviceChoice]| choices.iter().all(|choice| *choice == DeviceChoice::Cpu);
        if wanted.gpu_layers.is_some() {
            if choices == [DeviceChoice::Auto] {
                choices = vec![DeviceChoice::Cuda(0)];
            }
            if processor_only(&choices) && wanted.gpu_layers != Some(GpuLayers::Count(0)) {
                bail!("--gpu-layers: --device names no GPU");
            }
            // As in llama.cpp, the last layers are the GPU's.
            if !choices.contains(&DeviceChoice::Cpu) {
                choices.insert(0, DeviceChoice::Cpu);
            }
        }
        let mut devices = Devices { opened: Vec::new(), gpu_layers: wanted.gpu_layers };
        let is_emulated = |choice: &DeviceChoice| matches!(choice, DeviceChoice::Emulated { .. });
        let emulator = choices.iter().any(is_emulated).then(|| emulated::build(&choices)).transpose()?;
        for choice in &choices {
            let opened = match (*choice, &emulator) {
                (DeviceChoice::Auto, _) => match fitting_gpu(options, tracking, source) {
                    Some(gpu) => Opened::gpu(gpu),
                    None => Opened::processor(options, tracking)?,
                },
                (DeviceChoice::Cpu, _) => Opened::processor(options, tracking)?,
                (DeviceChoice::Cuda(ordinal), _) => Opened::gpu(gpu(ordinal, tracking)?),
                (DeviceChoice::Emulated { ordinal, .. }, Some(driver)) => {
                    let cuda = tracked(&emulated::context(driver, ordinal)?, tracking)?;
                    Opened::gpu(cuda.with_name(&choice.name()))
                }
                (DeviceChoice::Emulated { .. }, None) => bail!("--device emulated: no driver"),
            };
            devices.opened.push(opened);
        }
        for (name, budget) in wanted.budgets {
            let names: Vec<String> = devices.names().into_iter().map(str::to_owned).collect();
            let found = devices.opened.iter_mut().find(|opened| opened.device.backend().name() == *name);
            let Some(device) = found else {
                bail!("--memory-budget: {name} is not among the devices: {}", names.join(", "));
            };
            device.budget_bytes = Some(device.budget_bytes.map_or(*budget, |free| free.min(*budget)));
        }
        Ok(devices)
    }

    /// The devices' names.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.opened.iter().map(|opened| opened.device.backend().name()).collect()
    }

    /// The device, where there is only one.
    pub(crate) fn only(&self) -> Option<&Device> {
        match &self.opened[..] {
            [only] => Some(&only.device),
            _ => None,
        }
    }

    /// Whether a plan can be beyond what a device may take.
    pub(crate) fn has_budgets(&self) -> bool {
        self.opened.iter().any(|device| device.budget_bytes.is_some())
    }

    /// The layers of each device.
    ///
    /// # Errors
    /// Devices without room for the layers; whatever is wrong with the model or the options.
    pub(crate) fn split(
        &self,
        source: PlanSource<'_>,
        options: &EngineOptions,
    ) -> tinyllm_model::Result<LayerSplit<'_>> {
        if let ([only], None) = (&self.opened[..], self.gpu_layers) {
            let device = DeviceLayers::all(only.device.backend()).with_budget_bytes(only.budget_bytes);
            return Ok(LayerSplit::new(vec![device]));
        }
        let rooms: Vec<DeviceRoom<'_>> = self.opened.iter().map(Opened::room).collect();
        let layers = match self.gpu_layers {
            Some(GpuLayers::Count(layers)) => Some(layers),
            Some(GpuLayers::Auto) | None => None,
        };
        LayerSplit::fit(&rooms, layers, source, options)
    }

    /// The plan of a model on these devices.
    ///
    /// # Errors
    /// As [`Devices::split`].
    pub(crate) fn plan(
        &self,
        source: PlanSource<'_>,
        options: &EngineOptions,
    ) -> tinyllm_model::Result<EnginePlan> {
        EnginePlan::new(self.split(source, options)?, source, options)
    }
}

impl Opened {
    fn processor(options: &EngineOptions, tracking: &Arc<Tracking<Host>>) -> anyhow::Result<Self> {
        let memory: HostMemory = tracking.clone();
        Ok(Opened { device: Device::Processor(Engine::cpu(options, &memory)?), budget_bytes: None })
    }

    /// The processor takes what GPUs have no room for.
    fn room(&self) -> DeviceRoom<'_> {
        match &self.device {
            Device::Processor(cpu) => DeviceRoom::rest(cpu, self.budget_bytes),
            Device::Gpu(cuda) => DeviceRoom::new(cuda, self.budget_bytes),
        }
    }

    fn gpu(cuda: Cuda) -> Self {
        let budget_bytes = free_bytes(&cuda).map(|free| usize::try_from(free).unwrap_or(usize::MAX));
        Opened { device: Device::Gpu(cuda), budget_bytes }
    }
}

/// Memory that is left to the driver, for the code of kernels.
const DRIVER_BYTES: u64 = 64 << 20;

/// What a model may take of a device's free memory.
fn free_bytes(cuda: &Cuda) -> Option<u64> {
    cuda.context().memory_info().map(|memory| memory.free_bytes - DRIVER_BYTES.min(memory.free_bytes / 16))
}

fn gpu(ordinal: u32, tracking: &Arc<Tracking<Host>>) -> anyhow::Result<Cuda> {
    let driver = LibCuda::load().map_err(|error| remedy(&error))?;
    let device = format!("--device cuda:{ordinal}");
    let driver: Arc<dyn DriverApi> = Arc::new(driver);
    let count = driver.device_count().with_context(|| device.clone())?;
    if ordinal >= count {
        let plural = if count == 1 { "is 1 device" } else { &format!("are {count} devices") };
        bail!("{device}: there {plural} here, counted from 0; doctor lists them");
    }
    tracked(&Context::primary(driver, ordinal)?, tracking).context(device)
}

/// The first GPU that the model fits, said in one line. What is in the way is said too, unless there is no driver at all.
fn fitting_gpu(
    options: &EngineOptions,
    tracking: &Arc<Tracking<Host>>,
    source: PlanSource<'_>,
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
        let found = found.and_then(|cuda| Ok((EnginePlan::new(&cuda, source, options)?, cuda)));
        match found {
            Ok((plan, cuda)) => {
                let free = free_bytes(&cuda).unwrap_or(0);
                let needed = plan.devices().iter().map(|device| device.device_bytes as u64).sum();
                if needed <= free {
                    output::note(&format!(
                        "running on cuda:{ordinal}: {} of {} free",
                        size(needed),
                        size(free)
                    ));
                    return Some(cuda);
                }
                let lacks = format!("it needs {}, and cuda:{ordinal} has {} free", size(needed), size(free));
                problem.get_or_insert(lacks);
            }
            Err(error) => _ = problem.get_or_insert(format!("cuda:{ordinal}: {error:#}")),
        }
    }
    if let Some(problem) = problem {
        output::note(&format!(
            "running on the processor: {problem}; --gpu-layers auto takes the layers that fit"
        ));
    }
    None
}

/// The backend of a context, whose memory is counted with the host's.
fn tracked(context: &Context, tracking: &Arc<Tracking<Host>>) -> anyhow::Result<Cuda> {
    let memory: DeviceMemory = Arc::new(tracking.beside(Arc::new(DeviceResource::new(context))));
    let pinned: HostMemory = Arc::new(tracking.beside(Arc::new(PinnedHostResource::new(context))));
    Ok(Cuda::new(context)?.with_memory(memory, pinned))
}

/// A driver that cannot be used, with what to do about it.
fn remedy(error: &LoadError) -> anyhow::Error {
    anyhow::anyhow!("--device cuda: {error}; --device cpu runs on the processor, doctor says what is here")
}

//! The backend for NVIDIA GPUs, and for the emulated device: the CPU's bits by the same operations in the same order, with
//! matmuls as exact integers on int8 tensor cores.

mod compile;
mod graphs;
mod kernels;
mod layout;
mod limits;
mod passes;
mod planes;
mod session;
mod slab;
mod step_data;
mod upload;

use std::sync::Arc;

use tinyllm_mem::{Context, Device, DeviceResource, HostMemory, MemoryResource, PinnedHostResource};

pub use self::limits::CudaLimits;
use crate::{Backend, Capabilities, Compiled, KernelError, Program};

/// A shared resource of a device's memory.
pub type DeviceMemory = Arc<dyn MemoryResource<Space = Device>>;

/// The backend for one device: its context, the resource that `bind` allocates from, and one of page-locked host memory.
/// Clones share them.
#[derive(Clone, Debug)]
pub struct Cuda {
    name: Arc<str>,
    context: Context,
    memory: DeviceMemory,
    pinned: HostMemory,
}

impl Cuda {
    /// A backend for the context's device, in memory of the driver's.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for a device below compute capability 8.0; the driver's.
    pub fn new(context: &Context) -> Result<Self, KernelError> {
        check_capability(context)?;
        Ok(Cuda {
            name: format!("cuda:{}", context.ordinal()).into(),
            context: context.clone(),
            memory: Arc::new(DeviceResource::new(context)),
            pinned: Arc::new(PinnedHostResource::new(context)),
        })
    }

    /// The same backend with programs bound to memory of these resources: the context's device's, and host memory that is
    /// page-locked for it.
    pub fn with_memory(self, memory: DeviceMemory, pinned: HostMemory) -> Self {
        Cuda { memory, pinned, ..self }
    }

    /// The same backend by another name, in plans and errors, than `cuda:` and the device's number.
    pub fn with_name(self, name: &str) -> Self {
        Cuda { name: name.into(), ..self }
    }

    /// The device's context.
    pub fn context(&self) -> &Context {
        &self.context
    }
}

impl Backend for Cuda {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn compile(&self, program: Arc<Program>) -> Result<Box<dyn Compiled>, KernelError> {
        Ok(Box::new(compile::compile(self.clone(), program)?))
    }
}

/// The compute capability that the PTX is for.
const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// Refuses a device that cannot run the kernels.
fn check_capability(context: &Context) -> Result<(), KernelError> {
    use tinyllm_sys::DeviceAttribute::{ComputeCapabilityMajor, ComputeCapabilityMinor};
    let found = context.call(|driver| {
        let device = driver.device_get(context.ordinal())?;
        let attribute = |attribute| driver.device_attribute(attribute, device);
        Ok((attribute(ComputeCapabilityMajor)?, attribute(ComputeCapabilityMinor)?))
    });
    let (major, minor) =
        found.map_err(|error| tinyllm_mem::MemError::Driver { name: "compute capability".into(), error })?;
    if (major, minor) >= LEAST_CAPABILITY {
        return Ok(());
    }
    let problem =
        format!("its compute capability is {major}.{minor}, and the kernels need 8.0 (Ampere) or later");
    Err(KernelError::Invalid { what: "device", problem })
}

//! Modules: kernels and variables of PTX that was loaded, functions, and the checks of launches.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{CStr, c_void},
    sync::Arc,
};

use tinyllm_sys::{DriverCode, FunctionAttribute, LaunchConfig};

use super::{
    failure::Failure,
    handles::Handles,
    identities::Identities,
    limits,
    work::{KernelLaunch, Work},
};
use crate::kernel::{Image, Kernel, LoadError};

#[derive(Debug)]
pub(super) struct Module {
    pub(super) device: usize,
    pub(super) image: Image,
    /// Its number: see [`Identities`].
    pub(super) number: u32,
    /// Of its variables, by name.
    pub(super) addresses: HashMap<String, u64>,
    /// Those that were asked for.
    pub(super) kernels: HashMap<String, Result<Arc<Kernel>, LoadError>>,
    /// Address and size by name.
    pub(super) variables: HashMap<String, (u64, u64)>,
    /// Of its variables in constant memory.
    pub(super) constant_bytes: u64,
}

impl Module {
    /// A kernel, decoded the first time that it is asked for.
    fn kernel(&mut self, name: &str) -> Result<Arc<Kernel>, Failure> {
        let found = match self.kernels.get(name) {
            Some(found) => found.clone(),
            None => {
                let none = || Failure::new(DriverCode::NotFound, "the module has no kernel of that name");
                let mut found = self.image.kernel(name, &self.addresses).ok_or_else(none)?;
                found.iter_mut().for_each(|kernel| kernel.module = self.number);
                let found = found.map(Arc::new);
                self.kernels.insert(name.to_owned(), found.clone());
                found
            }
        };
        found.map_err(|error| Failure::new(DriverCode::InvalidPtx, error.to_string()))
    }
}

#[derive(Debug)]
struct Function {
    module: u64,
    kernel: Arc<Kernel>,
    max_dynamic_shared: u32,
    version: (u32, u32),
}

/// All modules and the functions that were asked for.
#[derive(Debug, Default)]
pub(super) struct Modules {
    modules: BTreeMap<u64, Module>,
    functions: BTreeMap<u64, Function>,
    pub(super) identities: Identities,
}

impl Modules {
    pub(super) fn add(&mut self, handle: u64, module: Module) {
        self.modules.insert(handle, module);
    }

    pub(super) fn get(&self, handle: u64) -> Result<&Module, Failure> {
        self.modules.get(&handle).ok_or(DriverCode::InvalidHandle.into())
    }

    /// Takes a module away, and its functions.
    pub(super) fn remove(&mut self, handle: u64) -> Result<Module, Failure> {
        let module = self.modules.remove(&handle).ok_or(DriverCode::InvalidHandle)?;
        self.functions.retain(|_, function| function.module != handle);
        Ok(module)
    }

    pub(super) fn len(&self) -> usize {
        self.modules.len()
    }

    pub(super) fn get_function(
        &mut self,
        module: u64,
        name: &CStr,
        handles: &mut Handles,
    ) -> Result<u64, Failure> {
        let found = self.modules.get_mut(&module).ok_or(DriverCode::InvalidHandle)?;
        let version = found.image.version();
        let kernel = found.kernel(&name.to_string_lossy())?;
        let known = self
            .functions
            .iter()
            .find(|(_, function)| function.module == module && Arc::ptr_eq(&function.kernel, &kernel));
        if let Some((handle, _)) = known {
            return Ok(*handle);
        }
        let handle = handles.next();
        let max_dynamic_shared = limits::SHARED_OF_BLOCK.saturating_sub(kernel.static_shared_bytes);
        self.functions.insert(handle, Function { module, kernel, max_dynamic_shared, version });
        Ok(handle)
    }

    pub(super) fn get_variable(&self, module: u64, name: &CStr) -> Result<(u64, u64), Failure> {
        let module = self.get(module)?;
        let found = module.variables.get(name.to_string_lossy().as_ref());
        found
            .copied()
            .ok_or_else(|| Failure::new(DriverCode::NotFound, "the module has no variable of that name"))
    }

    fn function(&self, handle: u64) -> Result<&Function, Failure> {
        self.functions.get(&handle).ok_or(DriverCode::InvalidHandle.into())
    }

    /// Offset and size of each parameter.
    pub(super) fn function_params(&self, handle: u64) -> Result<Vec<(u32, u32)>, Failure> {
        let params = &self.function(handle)?.kernel.params;
        Ok(params.iter().map(|(offset, bytes)| (*offset, *bytes)).collect())
    }

    pub(super) fn function_attribute(
        &self,
        handle: u64,
        attribute: FunctionAttribute,
    ) -> Result<i32, Failure> {
        let function = self.function(handle)?;
        let kernel = &function.kernel;
        Ok(match attribute {
            FunctionAttribute::MaxThreadsPerBlock => kernel.max_threads.min(limits::THREADS_OF_BLOCK) as i32,
            FunctionAttribute::SharedSizeBytes => kernel.static_shared_bytes as i32,
            FunctionAttribute::ConstSizeBytes => {
                self.modules.get(&function.module).map_or(0, |module| module.constant_bytes as i32)
            }
            FunctionAttribute::LocalSizeBytes => kernel.local_bytes as i32,
            FunctionAttribute::NumRegs => limits::REGISTERS_OF_THREAD as i32,
            FunctionAttribute::PtxVersion => (function.version.0 * 10 + function.version.1) as i32,
            FunctionAttribute::BinaryVersion => 80,
            FunctionAttribute::MaxDynamicSharedSizeBytes => function.max_dynamic_shared as i32,
            FunctionAttribute::PreferredSharedMemoryCarveout => -1,
            _ => 0,
        })
    }

    pub(super) fn set_function_attribute(
        &mut self,
        handle: u64,
        attribute: FunctionAttribute,
        value: i32,
    ) -> Result<(), Failure> {
        let function = self.functions.get_mut(&handle).ok_or(DriverCode::InvalidHandle)?;
        match attribute {
            FunctionAttribute::MaxDynamicSharedSizeBytes => {
                let room = limits::SHARED_OPTIN.saturating_sub(function.kernel.static_shared_bytes);
                let bytes = u32::try_from(value).ok().filter(|bytes| *bytes <= room);
                let too_much = || Failure::new(DriverCode::InvalidValue, format!("{room} bytes at most"));
                function.max_dynamic_shared = bytes.ok_or_else(too_much)?;
                Ok(())
            }
            // A preference changes nothing that can be seen.
            FunctionAttribute::PreferredSharedMemoryCarveout if (-1..=100).contains(&value) => Ok(()),
            _ => Err(DriverCode::InvalidValue.into()),
        }
    }

    /// Blocks of a kernel that a multiprocessor holds.
    pub(super) fn occupancy(&self, handle: u64, threads: u32, dynamic_bytes: usize) -> Result<u32, Failure> {
        let function = self.function(handle)?;
        if threads == 0 || threads > limits::THREADS_OF_BLOCK {
            return Err(DriverCode::InvalidValue.into());
        }
        let shared = function.kernel.static_shared_bytes as usize + dynamic_bytes;
        if shared > limits::SHARED_OPTIN as usize {
            return Ok(0);
        }
        let threads = threads.next_multiple_of(32);
        let by_threads = limits::THREADS_OF_MULTIPROCESSOR / threads;
        let by_registers = limits::REGISTERS_OF_MULTIPROCESSOR / (threads * limits::REGISTERS_OF_THREAD);
        let by_shared = limits::SHARED_OF_MULTIPROCESSOR / (shared as u32 + limits::SHARED_RESERVED);
        Ok(by_threads.min(by_registers).min(by_shared).min(limits::BLOCKS_OF_MULTIPROCESSOR))
    }

    /// The work of a launch.
    ///
    /// # Safety
    /// As [`tinyllm_sys::DriverApi::launch_kernel`].
    pub(super) unsafe fn launch(
        &self,
        handle: u64,
        config: &LaunchConfig,
        params: &[*mut c_void],
    ) -> Result<Work, Failure> {
        self.check_shape(handle, config)?;
        let kernel = self.function(handle)?.kernel.clone();
        if params.len() != kernel.params.len() {
            let note = format!("{} arguments for {} parameters", params.len(), kernel.params.len());
            return Err(Failure::new(DriverCode::InvalidValue, note));
        }
        let mut block = vec![0; kernel.param_bytes as usize];
        for ((offset, bytes), param) in kernel.params.iter().zip(params) {
            let (start, count) = (*offset as usize, *bytes as usize);
            // SAFETY: the caller promised that each argument is as large as its parameter.
            let value = unsafe { std::slice::from_raw_parts(param.cast::<u8>().cast_const(), count) };
            block[start..start + count].copy_from_slice(value);
        }
        Ok(Work::Kernel(Box::new(KernelLaunch {
            kernel,
            function: handle,
            grid: config.grid,
            block: config.block,
            shared_bytes: config.shared_bytes,
            params: block,
            cooperative: config.cooperative,
        })))
    }

    fn check_shape(&self, handle: u64, config: &LaunchConfig) -> Result<(), Failure> {
        let function = self.function(handle)?;
        let wrong = |note: String| Err(Failure::new(DriverCode::InvalidValue, note));
        if config.cluster.is_some_and(|cluster| cluster != [1; 3]) {
            return Err(Failure::new(
                DriverCode::NotSupported,
                "clusters need compute capability 9.0, this is 8.0",
            ));
        }
        for axis in 0..3 {
            if config.grid[axis] == 0 || config.grid[axis] > limits::GRID_DIMS[axis] {
                return wrong(format!("a grid of {:?}", config.grid));
            }
            if config.block[axis] == 0 || config.block[axis] > limits::BLOCK_DIMS[axis] {
                return wrong(format!("a block of {:?}", config.block));
            }
        }
        let threads: u32 = config.block.iter().product();
        if threads > limits::THREADS_OF_BLOCK {
            return wrong(format!("{threads} threads in a block"));
        }
        if threads > function.kernel.max_threads {
            let note = format!(
                "{threads} threads in a block, the kernel is made for {}",
                function.kernel.max_threads
            );
            return wrong(note);
        }
        if function.kernel.required_threads.is_some_and(|required| required != config.block) {
            return wrong(format!("a block of {:?}, the kernel requires another", config.block));
        }
        if config.shared_bytes > function.max_dynamic_shared {
            let note = format!(
                "{} bytes of dynamic shared memory; {} at most until CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES is set",
                config.shared_bytes, function.max_dynamic_shared
            );
            return wrong(note);
        }
        if config.cooperative {
            let resident = self.occupancy(handle, threads, config.shared_bytes as usize)?;
            let blocks = config.grid.map(u64::from).iter().product::<u64>();
            if blocks > u64::from(resident) * u64::from(limits::MULTIPROCESSORS) {
                return Err(DriverCode::CooperativeLaunchTooLarge.into());
            }
        }
        Ok(())
    }
}

//! Loading and unloading of modules: PTX is read and linked, and its variables get memory of the device.

use std::{collections::HashMap, ffi::CStr, sync::Arc};

use tinyllm_sys::DriverCode;

use super::{device::Origin, failure::Failure, module::Module, state::State};
use crate::kernel::{Image, readable};

/// Addresses that a function takes: nothing is there to be read.
const FUNCTION_BYTES: u64 = 16;

impl State {
    pub(super) fn load_module(&mut self, device: usize, image: &CStr) -> Result<u64, Failure> {
        let text = image.to_str().map_err(|_| {
            Failure::new(
                DriverCode::InvalidImage,
                "not text: only PTX can be interpreted, no cubin and no fatbinary",
            )
        })?;
        let image =
            Image::load(text).map_err(|error| Failure::new(DriverCode::InvalidPtx, error.to_string()))?;
        let mut variables: HashMap<String, (u64, u64)> = HashMap::new();
        for global in &image.globals {
            let kind = if global.constant { "constant variable" } else { "variable" };
            let label: Arc<str> = format!("{kind} {}", readable(&global.name)).into();
            match self.allocate(device, global.bytes.max(1), Origin::Module, label) {
                Ok(region) => {
                    let rest = (global.bytes as usize).saturating_sub(global.init.len());
                    if global.constant {
                        self.devices[device].set_constant(region.start);
                    }
                    region.bytes.write(0, &global.init);
                    region.bytes.write(global.init.len() as u64, &vec![0; rest]);
                    variables.insert(global.name.clone(), (region.start, global.bytes));
                }
                Err(failure) => {
                    variables.values().for_each(|(address, _)| self.release(device, *address));
                    return Err(failure);
                }
            }
        }
        let mut addresses: HashMap<String, u64> =
            variables.iter().map(|(name, (address, _))| (name.clone(), *address)).collect();
        let functions = image.functions();
        if !functions.is_empty() {
            let bytes = functions.len() as u64 * FUNCTION_BYTES;
            let Some(start) = self.devices[device].heap.reserve(bytes, FUNCTION_BYTES) else {
                variables.values().for_each(|(address, _)| self.release(device, *address));
                return Err(Failure::new(DriverCode::OutOfMemory, "no addresses are left"));
            };
            for (names, address) in functions.into_iter().zip((start..).step_by(FUNCTION_BYTES as usize)) {
                addresses.extend(names.into_iter().map(|name| (name, address)));
            }
        }
        if let Err(error) = self.write_pointers(device, &image, &addresses) {
            variables.values().for_each(|(address, _)| self.release(device, *address));
            return Err(Failure::new(DriverCode::InvalidPtx, error.to_string()));
        }
        let constant_bytes =
            image.globals.iter().filter(|global| global.constant).map(|global| global.bytes).sum();
        let number = self.modules.identities.number(text, image.names());
        let handle = self.handles.next();
        let kernels = HashMap::new();
        let module = Module { device, image, number, addresses, kernels, variables, constant_bytes };
        self.modules.add(handle, module);
        Ok(handle)
    }

    fn write_pointers(
        &mut self,
        device: usize,
        image: &Image,
        addresses: &HashMap<String, u64>,
    ) -> Result<(), crate::LoadError> {
        for global in &image.globals {
            for (at, name, offset) in &global.pointers {
                let target = addresses.get(name).ok_or_else(|| crate::LoadError::Declaration {
                    line: 0,
                    name: name.clone(),
                    problem: format!("nothing defines it, and {} points to it", global.name),
                })?;
                let address = addresses[&global.name] + at;
                if let Some(region) = self.devices[device].space.find(address, 8) {
                    let value = target.wrapping_add_signed(*offset).to_le_bytes();
                    region.bytes.write(address - region.start, &value);
                }
            }
        }
        Ok(())
    }

    pub(super) fn unload_module(&mut self, handle: u64) -> Result<(), Failure> {
        let device = self.modules.get(handle)?.device;
        self.wait_device(device);
        let module = self.modules.remove(handle)?;
        module.variables.values().for_each(|(address, _)| self.release(device, *address));
        Ok(())
    }
}

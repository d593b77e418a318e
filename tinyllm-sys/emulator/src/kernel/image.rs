//! A module as loaded: kernels decoded, no addresses yet.

use std::{collections::HashMap, sync::Arc};

use super::{Constant, Kernel, LoadError, decode, registers, variable::Global};
use crate::ptx::{self, ast::Space};

/// A module without addresses.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// `.version`.
    pub(crate) version: (u32, u32),
    pub(crate) globals: Vec<Global>,
    kernels: Vec<Kernel>,
}

impl Image {
    /// Reads PTX. Everything that the interpreter cannot do is an error here, with line and instruction.
    ///
    /// # Errors
    /// What is wrong with the text, or what the interpreter lacks.
    pub(crate) fn load(text: &str) -> Result<Self, LoadError> {
        let module = ptx::parse(text)?;
        if module.address_size != 64 {
            return Err(LoadError::Declaration {
                line: 1,
                name: ".address_size".into(),
                problem: format!("{} bits, only 64 can be run", module.address_size),
            });
        }
        let globals = module
            .variables
            .iter()
            .filter(|variable| matches!(variable.space, Space::Global | Space::Const))
            .map(Global::new)
            .collect::<Result<Vec<_>, _>>()?;
        let mut kernels = decode::kernels(&module)?;
        kernels.iter_mut().for_each(registers::allocate);
        Ok(Image { version: module.version, globals, kernels })
    }

    /// The kernels, with the variables at these addresses (every one of [`Image::globals`]).
    ///
    /// # Errors
    /// A variable without an address.
    pub(crate) fn link(
        &self,
        addresses: &HashMap<String, u64>,
    ) -> Result<HashMap<String, Arc<Kernel>>, LoadError> {
        let mut linked = HashMap::new();
        for kernel in &self.kernels {
            let mut kernel = kernel.clone();
            for (_, constant) in &mut kernel.constants {
                if let Constant::Symbol(name, offset) = constant {
                    let Some(address) = addresses.get(name) else {
                        return Err(LoadError::Declaration {
                            line: 0,
                            name: name.clone(),
                            problem: "nothing defines it".into(),
                        });
                    };
                    *constant = Constant::Wide(address.wrapping_add_signed(*offset));
                }
            }
            linked.insert(kernel.name.clone(), Arc::new(kernel));
        }
        Ok(linked)
    }
}

//! A module as loaded: declarations known, kernels decoded when they are asked for.

use std::collections::HashMap;

use super::{Constant, Kernel, LoadError, decode, functions::addressed, registers, variable::Global};
use crate::ptx::{self, ast};

/// A module without addresses.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    module: ast::Module,
    pub(crate) globals: Vec<Global>,
}

impl Image {
    /// Reads PTX.
    ///
    /// # Errors
    /// What is wrong with the text, or with the variables that all its kernels share.
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
            .filter(|variable| matches!(variable.space, ast::Space::Global | ast::Space::Const))
            .map(Global::new)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Image { module, globals })
    }

    /// `.version`.
    pub(crate) fn version(&self) -> (u32, u32) {
        self.module.version
    }

    /// The names of its kernels.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.bodies().map(|function| function.name.as_str())
    }

    /// Functions whose address is taken, each with its other names.
    pub(crate) fn functions(&self) -> Vec<Vec<String>> {
        let names = |function: String| {
            let aliases = self.module.aliases.iter().filter(|(_, name)| *name == function);
            let aliases: Vec<String> = aliases.map(|(alias, _)| alias.clone()).collect();
            [function].into_iter().chain(aliases).collect()
        };
        addressed(&self.module).into_iter().map(names).collect()
    }

    fn bodies(&self) -> impl Iterator<Item = &ast::Function> {
        self.module.functions.iter().filter(|function| function.kernel && function.body.is_some())
    }

    /// A kernel ready to run, with the variables and functions at these addresses (every one of [`Image::globals`] and [`Image::functions`]); `None` where there is none
    /// of the name.
    ///
    /// # Errors
    /// Everything in it that the interpreter cannot do, with line and instruction; a variable without an address.
    pub(crate) fn kernel(
        &self,
        name: &str,
        addresses: &HashMap<String, u64>,
    ) -> Option<Result<Kernel, LoadError>> {
        let function = self.bodies().find(|function| function.name == name)?;
        Some(self.decode(function).and_then(|kernel| link(kernel, addresses)))
    }

    fn decode(&self, function: &ast::Function) -> Result<Kernel, LoadError> {
        let mut kernel = decode::kernel(&self.module, function)?;
        registers::allocate(&mut kernel);
        Ok(kernel)
    }
}

/// The kernels of a module, in the order of the text, each with why it cannot be run if it cannot.
///
/// # Errors
/// Why the module as a whole is not loaded.
///
/// ```
/// let ptx = ".version 8.0 .target sm_80 .address_size 64 .entry k() { fence.proxy.async; ret; }";
/// let kernels = tinyllm_emulator::would_load(ptx)?;
/// assert_eq!(kernels[0].0, "k");
/// assert!(kernels[0].1.as_ref().is_some_and(|error| error.to_string().contains("fence.proxy.async")));
/// # Ok::<(), tinyllm_emulator::LoadError>(())
/// ```
pub fn would_load(ptx: &str) -> Result<Vec<(String, Option<LoadError>)>, LoadError> {
    let image = Image::load(ptx)?;
    Ok(image.bodies().map(|function| (function.name.clone(), image.decode(function).err())).collect())
}

fn link(mut kernel: Kernel, addresses: &HashMap<String, u64>) -> Result<Kernel, LoadError> {
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
    Ok(kernel)
}

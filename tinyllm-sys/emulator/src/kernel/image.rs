//! A module as loaded: kernels decoded, variables laid out, no addresses yet.

use std::{collections::HashMap, sync::Arc};

use super::{Constant, Kernel, LoadError, decode, registers};
use crate::ptx::{
    self,
    ast::{Initializer, Linking, Space, Variable},
};

/// A variable of a module, in global or constant memory. Bytes that no initialiser gives are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Global {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// In constant memory.
    pub(crate) constant: bool,
    pub(crate) align_bytes: u64,
    /// The first bytes.
    pub(crate) init: Vec<u8>,
    /// Addresses of other variables to write: at which byte, of what, how far from its start.
    pub(crate) pointers: Vec<(u64, String, i64)>,
}

/// A module without addresses.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// `.version`.
    pub(crate) version: (u32, u32),
    pub(crate) globals: Vec<Global>,
    kernels: Vec<Kernel>,
}

/// Bytes that a variable may take: more is a mistake, not a program.
const MAX_VARIABLE_BYTES: u64 = 1 << 32;

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

/// Bytes of a variable that has a size, `None` for `name[]`.
pub(crate) fn variable_bytes(variable: &Variable) -> Result<Option<u64>, LoadError> {
    let element = u64::from(variable.vector) * u64::from(variable.ty.bytes());
    let bytes = variable.dims.iter().try_fold(Some(element), |bytes, dim| match (bytes, dim) {
        (Some(bytes), Some(dim)) => {
            bytes.checked_mul(*dim).filter(|bytes| *bytes <= MAX_VARIABLE_BYTES).map(Some)
        }
        _ => Some(None),
    });
    bytes.ok_or_else(|| problem(variable, format!("larger than {MAX_VARIABLE_BYTES} bytes")))
}

fn problem(variable: &Variable, problem: String) -> LoadError {
    LoadError::Declaration { line: variable.line, name: variable.name.clone(), problem }
}

impl Global {
    fn new(variable: &Variable) -> Result<Self, LoadError> {
        let element = u64::from(variable.ty.bytes());
        let mut init = Vec::new();
        let mut pointers = Vec::new();
        for value in &variable.init {
            let at = init.len() as u64;
            let bits = match value {
                Initializer::Bits(bits) => *bits,
                Initializer::Address { name, offset, .. } => {
                    if element != 8 {
                        return Err(problem(variable, "an address in an element that is not 64 bits".into()));
                    }
                    pointers.push((at, name.clone(), *offset));
                    0
                }
            };
            init.extend_from_slice(&bits.to_le_bytes()[..element as usize]);
        }
        let bytes = match variable_bytes(variable)? {
            Some(bytes) => bytes,
            None if variable.linking == Linking::Extern => {
                return Err(problem(variable, "extern, and modules are not linked with others".into()));
            }
            None => init.len() as u64,
        };
        if init.len() as u64 > bytes {
            return Err(problem(variable, format!("{} bytes of values for {bytes}", init.len())));
        }
        Ok(Global {
            name: variable.name.clone(),
            bytes,
            constant: variable.space == Space::Const,
            align_bytes: u64::from(variable.align_bytes).max(1),
            init,
            pointers,
        })
    }
}

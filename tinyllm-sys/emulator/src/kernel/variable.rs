//! Variables as a module declares them: their sizes, and what global and constant ones hold when it is loaded.

use super::LoadError;
use crate::ptx::ast::{Initializer, Linking, Space, Variable};

/// Bytes that a variable may take: more is a mistake, not a program.
const MAX_VARIABLE_BYTES: u64 = 1 << 32;

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

impl Global {
    pub(super) fn new(variable: &Variable) -> Result<Self, LoadError> {
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

/// Bytes of a variable that has a size, `None` for `name[]`.
pub(super) fn variable_bytes(variable: &Variable) -> Result<Option<u64>, LoadError> {
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

//! PTX with meaning: a module's variables and kernels, decoded once into instructions over numbered slots.

mod contraction;
mod decode;
mod error;
mod functions;
mod image;
mod names;
mod op;
mod origin;
mod registers;
mod variable;

pub(crate) use contraction::pairs as contractible_pairs;
pub use error::LoadError;
pub(crate) use image::Image;
pub use image::would_load;
pub(crate) use names::readable;
pub(crate) use op::{
    Address, AssertFail, Atomic, AtomicKind, AtomicType, Barrier, BarrierMode, Element, Guard, Instr,
    MBARRIER_FIELD_BITS, MatrixType, Mbarrier, MbarrierAction, MemoryOrder, Mma, Op, Portion, QuadPairs,
    ReduceMode, Scope, ShuffleMode, Special, Target, Transfer, VoteMode,
};
pub(crate) use registers::SlotUses;

pub(crate) use origin::{Inline, Origin, Placed};

use std::sync::{Arc, OnceLock};

use crate::lanes::{Registers, Slot};

/// A value that every lane of a register holds when a warp starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    /// In a 32-bit register.
    Narrow(u32),
    /// In a 64-bit register.
    Wide(u64),
    /// The address of a module's variable and bytes after it, in a 64-bit register.
    Symbol(String, i64),
}

/// A kernel ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// As PTX has it.
    pub(crate) name: String,
    /// As people read it.
    pub(crate) readable: String,
    /// The number of its module, among those that differ.
    pub(crate) module: u32,
    /// Offset and size of each parameter in the parameter block.
    pub(crate) params: Vec<(u32, u32)>,
    pub(crate) param_bytes: u32,
    pub(crate) static_shared_bytes: u32,
    /// Bytes of local memory of a thread.
    pub(crate) local_bytes: u32,
    /// From `.maxntid` or `.reqntid`; else 1024.
    pub(crate) max_threads: u32,
    pub(crate) required_threads: Option<[u32; 3]>,
    pub(crate) code: Vec<Instr>,
    pub(crate) origins: Vec<Origin>,
    pub(crate) texts: Arc<[String]>,
    pub(crate) files: Arc<[(u32, String)]>,
    pub(crate) inlines: Vec<Inline>,
    /// Shared and local variables that have a name and a size.
    pub(crate) shared_variables: Vec<Placed>,
    pub(crate) local_variables: Vec<Placed>,
    /// The name of the shared memory that is asked for at launch.
    pub(crate) dynamic_shared: Option<String>,
    /// Rows and predicates that a warp needs.
    pub(crate) rows: u32,
    pub(crate) predicates: u32,
    pub(crate) constants: Vec<(Slot, Constant)>,
    pub(crate) specials: Vec<(Slot, Special)>,
    /// What may become part of a fused multiplication and addition: positions in order.
    pub(crate) fusible: Vec<(u32, contraction::Part)>,
    /// Whether blocks have to run in the order of their numbers: what an atomic returns, or a sum of floats, depends on it.
    pub(crate) ordered: bool,
    /// [`Kernel::slot_uses`], once it is asked for.
    pub(crate) slot_uses: OnceLock<Vec<SlotUses>>,
}

impl Kernel {
    /// Registers as a warp finds them, but for what depends on its place.
    pub(crate) fn registers(&self) -> Registers {
        let mut registers = Registers::new(self.rows as usize, self.predicates as usize);
        for (slot, constant) in &self.constants {
            match constant {
                Constant::Narrow(value) => registers.row_mut(*slot).fill(*value),
                Constant::Wide(value) => registers.wide_mut(*slot).fill(*value),
                // Linking has made numbers of them.
                Constant::Symbol(..) => {}
            }
        }
        registers
    }

    /// For each instruction the registers that it reads and sets.
    pub(crate) fn slot_uses(&self) -> &[SlotUses] {
        self.slot_uses.get_or_init(|| self.code.iter().map(SlotUses::of).collect())
    }

    /// Whether it allocates memory or frees some.
    pub(crate) fn allocates(&self) -> bool {
        self.code.iter().any(|instruction| matches!(instruction.op, Op::Allocate { .. } | Op::Free { .. }))
    }
}

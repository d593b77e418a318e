//! A finding: what went wrong, where in the program, and what memory it concerns.

use serde::Serialize;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// An address that no allocation has.
    OutOfBounds,
    /// An address whose allocation was freed.
    UseAfterFree,
    /// An address that is not a multiple of what the access needs.
    Misaligned,
    /// Memory freed twice.
    DoubleFree,
    /// A free of what was never allocated, or of the middle of an allocation.
    InvalidFree,
    /// An instruction with operands that it does not take.
    InvalidOperand,
    /// A call through a register that holds the address of no function that may be called so.
    InvalidCall,
    /// An instruction that ends the kernel: `trap`, or `brkpt` without a debugger.
    Trap,
    /// A read of bytes that were never written.
    Uninitialized,
    /// Two threads of a block, the same bytes of shared memory, and no barrier between.
    SharedRace,
    /// Two threads of a block that store one value to the same bytes of shared memory, and no barrier between: a note.
    EqualStores,
    /// Two blocks of a kernel, the same bytes of global memory, and nothing that orders them.
    GlobalRace,
    /// A barrier that some threads of its warp or block do not reach.
    BarrierDivergence,
    /// Lanes that an instruction of the warp names and that do not come to it, or that come and are not named.
    WarpDivergence,
    /// A shuffle that reads from a lane which has ended, or does not execute it.
    InactiveLane,
    /// A kernel that never ends, or not within its budget.
    Endless,
    /// An `mbarrier` operation where no object is, or that the object does not take.
    MbarrierMisuse,
    /// Two pieces of work on different streams, the same bytes, and no event between.
    StreamRace,
    /// Page-locked memory that the host changed while a copy from it was under way.
    SourceChanged,
    /// Memory, a stream, an event or a module that is still there at the end.
    Leak,
    /// Sums of products without a rounding modifier, which ptxas may fuse: a note.
    Contraction,
}

impl Kind {
    /// The check that finds it, as `--only` names it.
    pub const fn check(self) -> &'static str {
        match self {
            Kind::OutOfBounds
            | Kind::UseAfterFree
            | Kind::Misaligned
            | Kind::DoubleFree
            | Kind::InvalidFree
            | Kind::InvalidOperand
            | Kind::InvalidCall
            | Kind::Trap => "memcheck",
            Kind::Uninitialized => "initcheck",
            Kind::SharedRace | Kind::EqualStores | Kind::GlobalRace => "racecheck",
            Kind::BarrierDivergence
            | Kind::WarpDivergence
            | Kind::InactiveLane
            | Kind::Endless
            | Kind::MbarrierMisuse => "synccheck",
            Kind::StreamRace | Kind::SourceChanged => "stream",
            Kind::Leak => "leak",
            Kind::Contraction => "contraction",
        }
    }

    /// Whether it is worth a note and no more: the program may mean it so.
    pub const fn is_note(self) -> bool {
        matches!(self, Kind::EqualStores | Kind::Contraction)
    }
}

/// How memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read.
    Read,
    /// Written.
    Write,
    /// Changed atomically.
    Atomic,
    /// Allocated or freed.
    Lifetime,
}

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemorySpace {
    /// A device's, or page-locked memory of the host.
    Global,
    /// A block's.
    Shared,
    /// A thread's.
    Local,
    /// A kernel's parameters.
    Param,
}

/// Where in a program: a line of PTX, and the line of CUDA it was made from where the file says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Site {
    /// The kernel, as PTX has it.
    pub kernel: String,
    /// The kernel, as its source has it: without C++'s or Rust's mangling.
    pub name: String,
    /// Which module, where several that differ have a kernel of the name: they are counted from 1 in the order in which they were
    /// loaded.
    pub module: Option<u32>,
    /// The line in the PTX.
    pub ptx_line: u32,
    /// The instruction as written.
    pub instruction: String,
    /// The source's name and line.
    pub source: Option<(String, u32)>,
    /// The functions between that line and the kernel, the innermost first.
    pub calls: Vec<Call>,
}

/// A function that was put in where it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Call {
    /// Its name, as its source has it.
    pub function: String,
    /// The source's name and line of the call, where they are known.
    pub called_at: Option<(String, u32)>,
}

/// A thread of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Thread {
    /// `%ctaid`.
    pub block: [u32; 3],
    /// `%tid`.
    pub thread: [u32; 3],
}

/// Where an address is in relation to an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// In it.
    Inside,
    /// In what it was before it was freed.
    Freed,
    /// Before its first byte.
    Before,
    /// After its last byte.
    After,
}

/// The nearest allocation to an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// What it is called.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Bytes from its start; before it, bytes to its start; after it, bytes from its end.
    pub offset: u64,
    /// Which of these.
    pub relation: Relation,
}

/// The other side of a race.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Other {
    /// What it does.
    pub access: Access,
    /// The first address of its access.
    pub address: Option<u64>,
    /// Bytes of its access.
    pub bytes: u64,
    /// Which thread, where one is known.
    pub thread: Option<Thread>,
    /// Where, where it is known.
    pub site: Option<Site>,
    /// The work it is part of, where it is another: `copy from the device on stream 2`.
    pub work: Option<String>,
}

/// Where a value that was read from unwritten memory makes a difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Used {
    /// How: `stored to global memory`.
    pub how: String,
    /// The thread that uses it, which may have it from another one.
    pub thread: Option<Thread>,
    /// The instruction.
    pub site: Option<Site>,
}

/// One finding. Those that differ in nothing but the thread are one, counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// The work: `kernel gemv on stream 1`, `cuMemFree`.
    pub work: String,
    /// Where in a kernel.
    pub site: Option<Site>,
    /// The first thread that did it.
    pub thread: Option<Thread>,
    /// How the memory is used.
    pub access: Option<Access>,
    /// Which memory.
    pub space: Option<MemorySpace>,
    /// The first address.
    pub address: Option<u64>,
    /// Bytes of the access.
    pub bytes: u64,
    /// The nearest allocation.
    pub place: Option<Place>,
    /// The other side of a race.
    pub other: Option<Other>,
    /// Where a value that was never written is used.
    pub used: Option<Used>,
    /// More about it.
    pub note: String,
    /// How often it was seen.
    pub count: u64,
}

impl Finding {
    /// A finding with nothing known yet but what and in which work.
    pub(crate) fn new(kind: Kind, work: impl Into<String>) -> Self {
        Finding {
            kind,
            work: work.into(),
            site: None,
            thread: None,
            access: None,
            space: None,
            address: None,
            bytes: 0,
            place: None,
            other: None,
            used: None,
            note: String::new(),
            count: 1,
        }
    }
}

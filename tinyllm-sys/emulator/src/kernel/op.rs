//! What a decoded instruction does. Registers are slots, labels are positions, types are sizes.

use crate::{
    lanes::{LaneFn, LaneLoop, Operands, Signature, Slot},
    numerics::Rounding,
};

/// An instruction: what, and for which lanes.
#[derive(Clone, Debug)]
pub(crate) struct Instr {
    pub(crate) op: Op,
    pub(crate) guard: Option<Guard>,
}

/// The lanes where a predicate is set, or where it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) predicate: Slot,
    pub(crate) negated: bool,
}

/// Memory that an address may point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Global,
    Shared,
    Local,
    /// The kernel's parameters.
    Param,
    /// Whatever the address says.
    Generic,
}

/// An address: a register, 64 or 32 bits of it, and bytes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) base: Slot,
    pub(crate) wide: bool,
    pub(crate) offset: i64,
}

/// One element of a load or a store, and the register it goes to or comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// In memory: 1, 2, 4 or 8.
    pub(crate) bytes: u32,
    /// Whether a load extends the sign.
    pub(crate) signed: bool,
    /// Bits of the register: 16, 32 or 64.
    pub(crate) register_bits: u32,
}

/// Threads that a strong access or a fence is for. A kernel runs on one device, so that `.sys` has the same threads as `.gpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `.cta`.
    Block,
    /// `.gpu` and `.sys`.
    Device,
}

/// The memory order of an access: `.weak`, `.relaxed`, `.acquire`, `.release`, `.acq_rel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryOrder {
    /// `None` for a weak access.
    pub(crate) scope: Option<Scope>,
    pub(crate) acquires: bool,
    pub(crate) releases: bool,
}

impl MemoryOrder {
    /// Whether it is strong towards threads of other blocks.
    pub(crate) fn reaches_blocks(self) -> bool {
        self.scope == Some(Scope::Device)
    }
}

/// `ld`, `st` and their kin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) target: Target,
    pub(crate) address: Address,
    pub(crate) element: Element,
    /// One register an element; `None` for `_`.
    pub(crate) registers: Vec<Option<Slot>>,
    pub(crate) order: MemoryOrder,
}

impl Transfer {
    /// Bytes of a lane.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.element.bytes) * self.registers.len() as u64
    }
}

/// What an atomic does with the old value and its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicKind {
    Add,
    And,
    Or,
    Xor,
    Min,
    Max,
    Inc,
    Dec,
    Exchange,
    CompareExchange,
}

/// How an atomic sees its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicType {
    Bits,
    Unsigned,
    Signed,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
}

/// `atom` and `red`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Atomic {
    pub(crate) target: Target,
    pub(crate) address: Address,
    pub(crate) kind: AtomicKind,
    pub(crate) ty: AtomicType,
    /// 2, 4 or 8.
    pub(crate) bytes: u32,
    /// Where the old value goes.
    pub(crate) d: Option<Slot>,
    pub(crate) b: Slot,
    /// The new value of a compare and exchange, whose `b` is what is expected.
    pub(crate) c: Slot,
    /// Bits of the registers.
    pub(crate) register_bits: u32,
    pub(crate) order: MemoryOrder,
}

/// Which lane a shuffle reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

/// What a vote says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteMode {
    All,
    Any,
    Uniform,
    Ballot,
}

/// What `redux` folds lanes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReduceMode {
    Add,
    MinUnsigned,
    MinSigned,
    MaxUnsigned,
    MaxSigned,
    And,
    Or,
    Xor,
}

/// What a block's barrier does to those who reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierMode {
    Sync,
    Arrive,
    /// Waits, and counts the threads whose predicate is set.
    Popc,
    And,
    Or,
}

/// `bar` and `barrier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub(crate) mode: BarrierMode,
    pub(crate) id: Slot,
    /// How many threads, where not all.
    pub(crate) threads: Option<Slot>,
    /// Whether all threads of a warp have to execute it together.
    pub(crate) aligned: bool,
    /// A reduction's result and input.
    pub(crate) d: Slot,
    pub(crate) predicate: Guard,
}

/// Elements of a matrix product's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatrixType {
    F16,
    Bf16,
    Tf32,
    F64,
    S8,
    U8,
    S4,
    U4,
    B1,
}

impl MatrixType {
    /// Of an element.
    pub(crate) fn bits(self) -> u32 {
        match self {
            MatrixType::F64 => 64,
            MatrixType::Tf32 => 32,
            MatrixType::F16 | MatrixType::Bf16 => 16,
            MatrixType::S8 | MatrixType::U8 => 8,
            MatrixType::S4 | MatrixType::U4 => 4,
            MatrixType::B1 => 1,
        }
    }

    /// Elements of a register.
    pub(crate) fn packed(self) -> usize {
        (32 / self.bits()).max(1) as usize
    }
}

/// How the lanes of `mma.m8n8k4` of f16 hold A and B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuadPairs {
    /// A lane has a row of A, not a column.
    pub(crate) a_by_row: bool,
    /// A lane has a row of B, not a column.
    pub(crate) b_by_row: bool,
}

/// `mma.sync`: D = A · B + C.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mma {
    pub(crate) m: usize,
    pub(crate) k: usize,
    /// Where it is four products, each of two groups of four lanes.
    pub(crate) quad_pairs: Option<QuadPairs>,
    pub(crate) a_type: MatrixType,
    pub(crate) b_type: MatrixType,
    /// Whether C is f16 rather than f32 (or s32).
    pub(crate) half_c: bool,
    /// Whether D is f16.
    pub(crate) half_d: bool,
    /// Whether integer sums stop at the ends of their range.
    pub(crate) saturate: bool,
    /// Whether bits that differ are counted, rather than those that both have.
    pub(crate) xor: bool,
    /// Of sums of f64.
    pub(crate) rounding: Rounding,
    pub(crate) d: Vec<Slot>,
    pub(crate) a: Vec<Slot>,
    pub(crate) b: Vec<Slot>,
    pub(crate) c: Vec<Slot>,
}

/// The part of accesses that `createpolicy` gives its first priority to, by the slots that say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Portion {
    /// An f32 above 0, at most 1.
    Fraction(Slot),
    /// Bytes at an address, of as many.
    Range { address: Address, primary: Slot, total: Slot },
}

/// What is done with an `mbarrier` object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MbarrierAction {
    Init {
        count: Slot,
    },
    Invalidate,
    Arrive {
        /// Where the state goes.
        d: Option<Slot>,
        count: Option<Slot>,
        /// Later phases wait for less.
        drop: bool,
        /// `false` of `.noComplete`.
        completes: bool,
    },
    Test {
        d: Slot,
        /// A phase's state, or its parity.
        state: Slot,
        parity: bool,
    },
    /// `cp.async.mbarrier.arrive`; `increments` of the one without `.noinc`.
    ArriveAfterCopies {
        increments: bool,
    },
}

/// Bits of each number in an `mbarrier` object and in an arrival's state: the pending count has the lowest.
pub(crate) const MBARRIER_FIELD_BITS: u32 = 20;

/// `mbarrier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mbarrier {
    pub(crate) address: Address,
    /// Whether the address is a generic one.
    pub(crate) generic: bool,
    pub(crate) action: MbarrierAction,
}

/// What a lane of `ldmatrix` names: eight elements of 16 bits.
const MATRIX_ROW_BYTES: u64 = 16;

/// An `mbarrier` object.
const MBARRIER_BYTES: u64 = 8;

/// What a step of a warp does.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Something in every lane.
    Lanes {
        run: LaneLoop,
        signature: Signature,
        operands: Operands,
    },
    /// A kernel's parameter, the same for every thread.
    LoadParam {
        offset: u32,
        transfer: Box<Transfer>,
    },
    Load(Box<Transfer>),
    Store(Box<Transfer>),
    Atomic(Box<Atomic>),
    /// `cp.async`: from global to shared memory, the rest filled with 0.
    CopyAsync {
        to: Address,
        from: Address,
        bytes: u32,
        source_bytes: Option<Slot>,
        ignore: Option<Guard>,
    },
    CommitCopies,
    /// Waits until at most so many groups are under way.
    WaitCopies {
        groups: u32,
    },
    /// `cp.async.wait_all`: those not committed too.
    WaitAllCopies,
    LoadMatrix {
        address: Address,
        generic: bool,
        transposed: bool,
        registers: Vec<Slot>,
    },
    Mma(Box<Mma>),
    /// `movmatrix`: a matrix of eight rows of eight elements of 16 bits, two a lane, is transposed.
    Transpose {
        d: Slot,
        a: Slot,
    },
    /// Waits until all lanes of the warp are here. It orders no memory.
    Meet,
    Shuffle {
        mode: ShuffleMode,
        d: Slot,
        valid: Option<Slot>,
        a: Slot,
        b: Slot,
        c: Slot,
        members: Slot,
    },
    Vote {
        mode: VoteMode,
        d: Slot,
        a: Guard,
        members: Slot,
    },
    /// `match.any`, or `match.all` with its predicate.
    Match {
        all: bool,
        d: Slot,
        valid: Option<Slot>,
        a: Slot,
        wide: bool,
        members: Slot,
    },
    Reduce {
        mode: ReduceMode,
        d: Slot,
        a: Slot,
        members: Slot,
    },
    ActiveMask {
        d: Slot,
    },
    Barrier(Box<Barrier>),
    Mbarrier(Box<Mbarrier>),
    WarpBarrier {
        members: Slot,
    },
    Fence {
        scope: Scope,
    },
    Branch {
        target: u32,
    },
    BranchIndexed {
        index: Slot,
        targets: Vec<u32>,
    },
    Exit,
    /// `vprintf`: where in local memory its two pointers are, and its result.
    Print {
        format: u32,
        arguments: u32,
        /// Where what it returns goes.
        result: Option<u32>,
    },
    Trap,
    /// `alloca`; `wide` of registers of 64 bits.
    StackAllocate {
        d: Slot,
        bytes: Slot,
        wide: bool,
        align: u32,
    },
    /// `stacksave`.
    StackSave {
        d: Slot,
        wide: bool,
    },
    /// `stackrestore`.
    StackRestore {
        a: Slot,
        wide: bool,
    },
    /// `malloc`.
    Allocate {
        d: Slot,
        bytes: Slot,
    },
    /// `free`.
    Free {
        address: Slot,
    },
    /// A call through a register that holds none of the addresses that it may: those of other functions, by name.
    WrongCall {
        address: Slot,
        others: Vec<(Slot, String)>,
    },
    /// A function that is called, through a register, while it runs: what is put in where it is called cannot be.
    Recursion {
        name: String,
    },
    /// `__assertfail`: where in local memory its arguments are.
    AssertFail(Box<AssertFail>),
    CachePolicy {
        d: Slot,
        priority: u64,
        portion: Portion,
    },
    /// `isspacep` of memory that lies among the device's.
    IsSpace {
        d: Slot,
        a: Slot,
        constant: bool,
    },
    /// `%clock` and its kin: instructions that this warp has begun.
    Clock {
        d: Slot,
        wide: bool,
    },
    Nop,
}

impl Op {
    /// Bytes that each lane reads or writes; 0 where it is no access.
    pub(crate) fn access_bytes(&self) -> u64 {
        match self {
            Op::Load(transfer) | Op::Store(transfer) => transfer.bytes(),
            Op::Atomic(atomic) => u64::from(atomic.bytes),
            Op::CopyAsync { bytes, .. } => u64::from(*bytes),
            Op::LoadMatrix { .. } => MATRIX_ROW_BYTES,
            Op::Mbarrier(_) => MBARRIER_BYTES,
            _ => 0,
        }
    }

    /// Whether the lanes of a warp do it together, so that those who come first wait.
    pub(crate) fn is_together(&self) -> bool {
        matches!(
            self,
            Op::LoadMatrix { .. }
                | Op::Mma(_)
                | Op::Transpose { .. }
                | Op::Meet
                | Op::Shuffle { .. }
                | Op::Vote { .. }
                | Op::Match { .. }
                | Op::Reduce { .. }
                | Op::WarpBarrier { .. }
        )
    }

    /// Whether it reads what others may write.
    pub(crate) fn reads_memory(&self) -> bool {
        matches!(self, Op::Load(_) | Op::Atomic(_) | Op::CopyAsync { .. } | Op::LoadMatrix { .. })
    }

    /// A function of registers, as this processor runs it.
    pub(crate) fn lanes(function: LaneFn, operands: Operands) -> Self {
        Op::Lanes { run: function.pick(), signature: function.signature, operands }
    }
}

/// The arguments of `__assertfail`, as offsets in local memory: addresses of three texts, and a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AssertFail {
    pub(crate) message: u32,
    pub(crate) file: u32,
    pub(crate) line: u32,
    pub(crate) function: u32,
}

/// A special register that does not change while a warp runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    Thread(usize),
    ThreadCount(usize),
    Block(usize),
    BlockCount(usize),
    Lane,
    Warp,
    WarpCount,
    Multiprocessor,
    MultiprocessorCount,
    GridId,
    LaneMaskEqual,
    LaneMaskLess,
    LaneMaskLessEqual,
    LaneMaskGreater,
    LaneMaskGreaterEqual,
    DynamicSharedBytes,
    TotalSharedBytes,
    /// Where the shared memory asked for at launch begins.
    DynamicSharedStart,
    /// `%envreg`: what the driver tells a kernel.
    Environment(u32),
    Zero,
}

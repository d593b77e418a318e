//! Which checks run.

use crate::report::Kind;

/// A set of checks. All of them cost time only; none changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Out of bounds, freed memory, misalignment, double and wrong frees, operands that an instruction does not take, calls of what is no function, traps. Always faults as the hardware would; this decides whether it is reported.
    pub memcheck: bool,
    /// Reads of bytes that were never written.
    pub initcheck: bool,
    /// Races between threads of a block in shared memory, and between blocks in global memory.
    pub racecheck: bool,
    /// Barriers that not all threads reach, `mbarrier` objects that are used as the manual does not allow, and kernels that never end:
    /// those are stopped in any case; this decides whether it is reported.
    pub synccheck: bool,
    /// Memory that is still allocated at the end.
    pub leak: bool,
    /// Work on one stream that uses what another stream does without an order between them.
    pub stream: bool,
    /// Sums of products that ptxas may fuse, so that the emulator's bits are one of several.
    pub contraction: bool,
}

impl Check {
    /// Every check of what is wrong. [`Check::contraction`] is none: what it notes is in nearly everything that nvcc compiles.
    pub const fn all() -> Self {
        Check {
            memcheck: true,
            initcheck: true,
            racecheck: true,
            synccheck: true,
            leak: true,
            stream: true,
            contraction: false,
        }
    }

    /// No check: kernels only run.
    pub const fn none() -> Self {
        Check {
            memcheck: false,
            initcheck: false,
            racecheck: false,
            synccheck: false,
            leak: false,
            stream: false,
            contraction: false,
        }
    }

    /// Whether findings of a kind are looked for.
    pub(crate) const fn finds(&self, kind: Kind) -> bool {
        match kind {
            Kind::OutOfBounds
            | Kind::UseAfterFree
            | Kind::Misaligned
            | Kind::DoubleFree
            | Kind::InvalidFree
            | Kind::InvalidOperand
            | Kind::InvalidCall
            | Kind::Trap => self.memcheck,
            Kind::Uninitialized => self.initcheck,
            Kind::SharedRace | Kind::EqualStores | Kind::GlobalRace => self.racecheck,
            Kind::BarrierDivergence
            | Kind::WarpDivergence
            | Kind::InactiveLane
            | Kind::Endless
            | Kind::MbarrierMisuse => self.synccheck,
            Kind::StreamRace | Kind::SourceChanged => self.stream,
            Kind::Leak => self.leak,
            Kind::Contraction => self.contraction,
        }
    }

    /// The checks of a list as `memcheck,leak` has it.
    ///
    /// # Errors
    /// The first name that is none.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut checks = Check::none();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "all" => checks = Check::all(),
                "none" => checks = Check::none(),
                "memcheck" => checks.memcheck = true,
                "initcheck" => checks.initcheck = true,
                "racecheck" => checks.racecheck = true,
                "synccheck" => checks.synccheck = true,
                "leak" => checks.leak = true,
                "stream" => checks.stream = true,
                "contraction" => checks.contraction = true,
                other => return Err(other.to_owned()),
            }
        }
        Ok(checks)
    }
}

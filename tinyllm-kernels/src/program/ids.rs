//! Ids of a program's parts. An id contains its program's id, so that ids of another program are refused.

use std::sync::atomic::{AtomicU64, Ordering};

/// The id of a program and of its builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProgramId(u64);

impl ProgramId {
    /// An id for tests that build no program.
    #[cfg(test)]
    pub(crate) const TEST: Self = ProgramId(u64::MAX);

    /// An id that no other program of this process has.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        ProgramId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $list:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            program: ProgramId,
            index: usize,
        }

        impl $name {
            pub(crate) fn new(program: ProgramId, index: usize) -> Self {
                $name { program, index }
            }

            #[doc = concat!("The index into [`crate::Program::", $list, "`].")]
            pub fn index(self) -> usize {
                self.index
            }

            /// Whether it is an id of this program.
            pub(crate) fn is_of(self, program: ProgramId) -> bool {
                self.program == program
            }
        }
    };
}

id! {
    /// A weight matrix of a program.
    WeightId, "weights"
}
id! {
    /// A vector of a program: a norm's weight or a bias.
    VectorId, "vectors"
}
id! {
    /// A region of a program's activation arena.
    RegionId, "regions"
}

//! Optional features of a backend.

/// Optional features of a backend, which decide how a model can be loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether it reads int8 weights in a mapped file in place ([`crate::Placement::Mapped`]).
    pub mapped_weights: bool,
}

impl Capabilities {
    /// The same with or without weights in mapped files.
    pub fn with_mapped_weights(self, mapped_weights: bool) -> Self {
        Capabilities { mapped_weights }
    }
}

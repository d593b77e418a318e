//! The instruction sets with kernels: which of them this processor has, and which one to use.

use std::fmt;

/// An instruction set with kernels. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, any processor.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
}

/// The environment variable that forces an instruction set.
pub const ISA_VARIABLE: &str = "TINYLLM_CPU";

impl Isa {
    /// From widest to plainest.
    pub const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// The name that [`ISA_VARIABLE`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// Whether this processor can run these kernels.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The widest set this processor has.
    pub fn best() -> Isa {
        Isa::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// The instruction set that [`ISA_VARIABLE`] names, or else the best one.
    ///
    /// # Errors
    /// [`UnknownIsa`] for another name, or a set that this processor lacks; its message names those that it has.
    pub fn from_environment() -> Result<Isa, UnknownIsa> {
        match std::env::var(ISA_VARIABLE) {
            Ok(name) if !name.is_empty() => Isa::ALL
                .into_iter()
                .find(|isa| isa.name() == name && isa.is_available())
                .ok_or(UnknownIsa { name }),
            _ => Ok(Isa::best()),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// [`ISA_VARIABLE`] is not the name of an instruction set of this processor.
#[derive(Debug, thiserror::Error)]
#[error("TINYLLM_CPU={name}: not an instruction set of this processor; it has {}", available())]
pub struct UnknownIsa {
    name: String,
}

fn available() -> String {
    Isa::ALL.iter().filter(|isa| isa.is_available()).map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
}

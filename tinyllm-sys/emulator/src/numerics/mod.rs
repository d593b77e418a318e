//! Scalar functions with the exact semantics of PTX instructions (sm_80, PTX ISA 8.0).
//!
//! Everything here is a pure function on one lane's values. Decoding of instructions, registers, predicates and
//! packed pairs (`.f16x2`) live elsewhere.
//!
//! | file | instructions |
//! |------|--------------|
//! | `single` | `add sub mul div fma sqrt rcp min max abs neg copysign` on `.f32` |
//! | `double` | the same on `.f64` |
//! | `half` | `add sub mul fma min max abs neg tanh ex2` on `.f16` and `.bf16`, and their conversions |
//! | `approx` | the `.approx` and `.full` forms |
//! | `convert` | `cvt` between floats, integers and `.tf32` |
//! | `integer` | integer arithmetic: `mul.hi mul24 mad sad div rem dp4a dp2a`, saturating sums |
//! | `bits` | shifts, bit fields, `lop3`, `prmt`, counts |
//! | `property` | `testp` |
//! | `video` | `vadd vsub vabsdiff vmin vmax vavrg vshl vshr vset vmad`, and those of two or four parts |

mod approx;
mod bits;
mod convert;
mod double;
mod half;
mod integer;
mod mode;
mod odd;
mod property;
mod rounding;
mod single;
mod video;

#[cfg(test)]
mod tests;

pub use self::approx::*;
pub use self::bits::*;
pub use self::convert::*;
pub use self::double::*;
pub use self::half::*;
pub use self::integer::*;
pub use self::mode::{Mode, Rounding};
pub use self::property::*;
pub use self::single::*;
pub use self::video::*;

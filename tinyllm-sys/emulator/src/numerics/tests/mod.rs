//! Tests of the numerics against exact rationals, the manual's bit-by-bit definitions and double precision.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod approx;
mod arithmetic;
mod bits;
mod convert;
mod half;
mod integer;
mod oracle;
mod selection;

//! The `tinyllm` program.
fn main() {}

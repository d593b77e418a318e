//! The library's name and the version of its symbols.

include!("../soname.rs");

fn main() {
    versioned("libcudart.so.12");
}

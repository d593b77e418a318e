//! Names as people wrote them: C++'s and Rust's without their mangling.

use cpp_demangle::{DemangleOptions, Symbol};

/// A symbol of PTX as its source has it, parameters included; itself, where it is not mangled.
pub(crate) fn readable(symbol: &str) -> String {
    // Rust's older symbols are C++ ones with a hash at the end, so that they come first.
    if let Ok(name) = rustc_demangle::try_demangle(symbol) {
        return format!("{name:#}");
    }
    // Whatever begins otherwise is no mangled name, though C++ has types of one letter.
    let mangled = symbol.starts_with("_Z").then(|| Symbol::new(symbol).ok()).flatten();
    let options = DemangleOptions::new().no_return_type().hide_expression_literal_types();
    mangled.and_then(|name| name.demangle_with_options(&options).ok()).unwrap_or_else(|| symbol.to_owned())
}

/// A variable's name for the findings of a kernel, by the kernel's [`readable`] name: `tile`, not `kernel(float*)::tile`.
pub(crate) fn within(kernel: &str, symbol: &str) -> String {
    let name = readable(symbol);
    match name.strip_prefix(kernel).and_then(|rest| rest.strip_prefix("::")) {
        Some(inner) => inner.to_owned(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symbols as nvcc 13.0 and rustc write them, with the declarations that they were made from.
    #[test]
    fn symbols_of_compilers() {
        assert_eq!(readable("_Z5innerPfi"), "inner(float*, int)");
        let kernel = "_Z5scaleIfEvPN2ns1SIT_EEPf";
        assert_eq!(readable(kernel), "scale<float>(ns::S<float>*, float*)");
        assert_eq!(within(&readable(kernel), "_ZZ5scaleIfEvPN2ns1SIT_EEPfE4tile"), "tile");
        assert_eq!(within("k", "_ZZ1kE4tile"), "tile");
        assert_eq!(within("other", "_ZZ1kE4tile"), "k::tile");
        assert_eq!(readable("_ZN2ns4coefE"), "ns::coef");
        assert_eq!(readable("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(readable("_RNvC6_123foo3bar"), "123foo::bar");
    }

    #[test]
    fn what_is_not_mangled_stays() {
        for name in ["k", "_Z", "_Zebra", "f", "$L__BB0_1", "_ZN"] {
            assert_eq!(readable(name), name);
        }
    }
}

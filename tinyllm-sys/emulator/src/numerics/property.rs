//! `testp`: which kind of floating-point number a value is.

/// The properties that `testp` tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TestProperty {
    /// Neither infinite nor NaN.
    Finite,
    /// An infinity.
    Infinite,
    /// Not NaN.
    Number,
    /// NaN.
    NotANumber,
    /// A normal number; a zero counts as normal.
    Normal,
    /// A subnormal number.
    Subnormal,
}

/// `testp.f32`.
#[inline(always)]
#[must_use]
pub fn testp_f32(a: f32, property: TestProperty) -> bool {
    match property {
        TestProperty::Finite => a.is_finite(),
        TestProperty::Infinite => a.is_infinite(),
        TestProperty::Number => !a.is_nan(),
        TestProperty::NotANumber => a.is_nan(),
        TestProperty::Normal => a.is_normal() || a == 0.0,
        TestProperty::Subnormal => a.is_subnormal(),
    }
}

/// `testp.f64`.
#[inline(always)]
#[must_use]
pub fn testp_f64(a: f64, property: TestProperty) -> bool {
    match property {
        TestProperty::Finite => a.is_finite(),
        TestProperty::Infinite => a.is_infinite(),
        TestProperty::Number => !a.is_nan(),
        TestProperty::NotANumber => a.is_nan(),
        TestProperty::Normal => a.is_normal() || a == 0.0,
        TestProperty::Subnormal => a.is_subnormal(),
    }
}

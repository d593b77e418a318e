//! AVX-512 multiply-adds on several rows of sums: a shared register operand times each row's input, which is broadcast
//! from four bytes of memory. Inline assembly, because the code that LLVM generates for intrinsics depends on the
//! surrounding code:
//! - An input that two instructions use is broadcast to a register first, which takes an execution slot of the
//!   multipliers; as a memory operand it takes none.
//! - Some `vpdpwssd` are split into a multiplication and an addition, which use the same units.
//! - A pointer is kept for each row, most of them spilled to the stack. Here one pointer and the stride (scaled by 1 or
//!   2) address three rows.

use std::arch::{
    asm,
    x86_64::{__m512, __m512i},
};

macro_rules! apply {
    ($instruction:literal, $sum:expr, $operand:expr, $address:literal, $($register:tt)*) => {
        asm!(
            concat!($instruction, " {sum}, {operand}, dword ptr [", $address, "]{{1to16}}"),
            sum = inout(zmm_reg) $sum,
            operand = in(zmm_reg) $operand,
            $($register)*,
            options(pure, readonly, nostack, preserves_flags),
        )
    };
}

macro_rules! on_rows {
    ($name:ident, $instruction:literal, $vector:ty) => {
        /// # Safety
        /// The processor has AVX-512 F and VNNI; `inputs` is readable for four bytes in each row, at any alignment.
        #[inline]
        #[target_feature(enable = "avx512f,avx512vnni")]
        pub(super) unsafe fn $name<const R: usize>(
            sums: &mut [$vector; R],
            operand: $vector,
            inputs: *const u8,
            stride_bytes: usize,
        ) {
            for first in (0..R).step_by(3) {
                let row = inputs.wrapping_add(first * stride_bytes);
                // SAFETY: four bytes of each row are readable (this function's contract).
                unsafe {
                    apply!($instruction, sums[first], operand, "{row}", row = in(reg) row);
                    if first + 1 < R {
                        apply!($instruction, sums[first + 1], operand, "{row} + {stride}",
                            row = in(reg) row, stride = in(reg) stride_bytes);
                    }
                    if first + 2 < R {
                        apply!($instruction, sums[first + 2], operand, "{row} + 2*{stride}",
                            row = in(reg) row, stride = in(reg) stride_bytes);
                    }
                }
            }
        }
    };
}

on_rows!(dot, "vpdpwssd", __m512i);
on_rows!(fma, "vfmadd231ps", __m512);

//! Words that stand in the same place of many forms, under one name.

/// Name and members of each set.
pub(super) const SETS: [(&str, &[&str]); 24] = [
    ("INT", &["u16", "s16", "u32", "s32", "u64", "s64"]),
    ("SIGNED", &["s16", "s32", "s64"]),
    ("WORD", &["u32", "s32", "u64", "s64"]),
    ("VIDEO", &["u32", "s32"]),
    ("BITS", &["b16", "b32", "b64"]),
    ("ANYINT", &["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"]),
    (
        "ELEMENT",
        &["b8", "b16", "b32", "b64", "u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"],
    ),
    ("SHORT", &["b8", "b16", "b32", "u8", "s8", "u16", "s16", "u32", "s32", "f32"]),
    ("HALF", &["f16", "f16x2"]),
    ("BHALF", &["bf16", "bf16x2"]),
    ("RND", &["rn", "rz", "rm", "rp"]),
    ("IRND", &["rni", "rzi", "rmi", "rpi"]),
    ("CMP", &["eq", "ne", "lt", "le", "gt", "ge"]),
    ("CMPU", &["lo", "ls", "hi", "hs"]),
    ("CMPF", &["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"]),
    ("JOIN", &["and", "or", "xor"]),
    ("SCOPE", &["cta", "gpu", "sys"]),
    ("ORDER", &["relaxed", "acquire", "release", "acq_rel"]),
    ("SHARED", &["shared", "shared::cta"]),
    ("CACHE", &["ca", "cg", "cs", "lu", "cv"]),
    (
        "EVICT",
        &["L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate"],
    ),
    ("TILE", &["m16n16k16", "m8n32k16", "m32n8k16"]),
    ("PRIORITY", &["L2::evict_last", "L2::evict_normal", "L2::evict_first", "L2::evict_unchanged"]),
    ("PREFETCH", &["L2::64B", "L2::128B", "L2::256B"]),
];

//! Scopes: an operation is strong towards a thread only if its scope has that thread. Blocks are not in each other's `.cta`.

use super::{Litmus, check, litmus};

const TESTS: &[Litmus] = &[
    // The fence's scope has not the reader: the first operation of the release is not morally strong with the acquire.
    litmus(
        "the writer's fence of the block",
        &[
            "st.global.u32 [%x],7; membar.cta; st.relaxed.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    litmus(
        "the writer's fence of the block, acq_rel",
        // As before: fence.acq_rel.cta is for the own block.
        &[
            "st.global.u32 [%x],7; fence.acq_rel.cta; atom.global.add.u32 %v,[%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // The acquire's fence has not the writer.
    litmus(
        "the reader's fence of the block",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; fence.acq_rel.cta; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // A store of block scope is not strong towards the other's read: the flag itself races.
    litmus(
        "a flag set in the block's scope",
        &["st.release.cta.global.u32 [%l],1;", "poll ld.acquire.gpu.global.u32 [%l],1;"],
        Some("l"),
    ),
    // Nor is a read of block scope.
    litmus(
        "a flag read in the block's scope",
        &["st.release.gpu.global.u32 [%l],1;", "poll ld.acquire.cta.global.u32 [%l],1;"],
        Some("l"),
    ),
    // Atomics of block scope by two blocks: not morally strong.
    litmus(
        "atomics of the block's scope",
        &["atom.cta.global.add.u32 %v,[%l],1;", "atom.cta.global.add.u32 %v,[%l],1;"],
        Some("l"),
    ),
    // It takes both: one of them of device scope is not enough.
    litmus(
        "atomics of the block's scope and the device's",
        &["atom.cta.global.add.u32 %v,[%l],1;", "atom.gpu.global.add.u32 %v,[%l],1;"],
        Some("l"),
    ),
    // Device and system both have the two blocks.
    litmus(
        "atomics of the device's and the system's scope",
        &["atom.sys.global.add.u32 %v,[%l],1;", "atom.gpu.global.add.u32 %v,[%l],1;"],
        None,
    ),
    // System scope on one side, device scope on the other.
    litmus(
        "released to the system, acquired of the device",
        &[
            "st.global.u32 [%x],7; fence.sc.sys; st.relaxed.sys.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; fence.acq_rel.gpu; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // A wide fence after the narrow one counts.
    litmus(
        "a fence of the block, then one of the device",
        &[
            "st.global.u32 [%x],7; membar.cta; membar.gl; st.relaxed.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // The wide fence is before the data; after them there is only the narrow one.
    litmus(
        "a fence of the device, data, a fence of the block",
        &[
            "membar.gl; st.global.u32 [%x],7; membar.cta; st.relaxed.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // A release of block scope on another word between changes nothing.
    litmus(
        "block scope for the own block's flag",
        &[
            "st.release.cta.global.u32 [%m],1; st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
];

#[test]
fn scopes() {
    check(TESTS);
}

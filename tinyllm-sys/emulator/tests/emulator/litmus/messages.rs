//! Message passing: one thread writes `x` and sets `l`, another waits for `l` and reads `x`. Every way to release with every way
//! to acquire.

use super::{Litmus, check, judge, litmus};

/// Ways to set `l` to 1, and whether they release what was done before.
const RELEASES: &[(&str, bool)] = &[
    // "A release operation on M."
    ("st.release.gpu.global.u32 [%l],1", true),
    ("st.release.sys.global.u32 [%l],1", true),
    ("red.release.gpu.global.add.u32 [%l],1", true),
    ("atom.release.gpu.global.exch.b32 %v,[%l],1", true),
    ("atom.acq_rel.gpu.global.add.u32 %v,[%l],1", true),
    ("atom.release.gpu.global.cas.b32 %v,[%l],0,1", true),
    // "A release or acquire-release fence followed by a strong write on M in program order."
    ("fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [%l],1", true),
    ("fence.sc.gpu; red.relaxed.gpu.global.add.u32 [%l],1", true),
    ("membar.gl; atom.global.add.u32 %v,[%l],1", true),
    ("membar.sys; st.volatile.global.u32 [%l],1", true),
    // No release operation and no fence: no release pattern.
    ("st.relaxed.gpu.global.u32 [%l],1", false),
    ("st.volatile.global.u32 [%l],1", false),
    ("red.relaxed.gpu.global.add.u32 [%l],1", false),
    ("atom.global.exch.b32 %v,[%l],1", false),
    ("atom.acquire.gpu.global.exch.b32 %v,[%l],1", false),
];

/// Ways to wait for `l` to be 1, and whether they acquire what was released.
const ACQUIRES: &[(&str, bool)] = &[
    // "An acquire operation on M."
    ("poll ld.acquire.gpu.global.u32 [%l],1", true),
    ("poll ld.acquire.sys.global.u32 [%l],1", true),
    ("poll atom.acquire.gpu.global.add.u32 [%l],0,1", true),
    ("poll atom.acq_rel.gpu.global.or.b32 [%l],0,1", true),
    // "A strong read on M followed by an acquire fence in program order."
    ("poll ld.relaxed.gpu.global.u32 [%l],1; fence.acq_rel.gpu", true),
    ("poll ld.volatile.global.u32 [%l],1; membar.gl", true),
    ("poll atom.global.add.u32 [%l],0,1; fence.sc.gpu", true),
    // Neither: no acquire pattern.
    ("poll ld.relaxed.gpu.global.u32 [%l],1", false),
    ("poll ld.volatile.global.u32 [%l],1", false),
    ("poll atom.global.add.u32 [%l],0,1", false),
    ("poll atom.release.gpu.global.add.u32 [%l],0,1", false),
];

/// A release pattern that an acquire pattern observes synchronizes with it ("Memory synchronization"): the write of `x` is then
/// before its read in base causality order. Where one of the two is missing nothing orders them, and both are weak: a race.
#[test]
fn every_release_with_every_acquire() {
    let mut wrong = Vec::new();
    for (release, releases) in RELEASES {
        for (acquire, acquires) in ACQUIRES {
            let writer = format!("st.global.u32 [%x],7; {release};");
            let reader = format!("{acquire}; ld.global.u32 %w,[%x];");
            let race = (!(*releases && *acquires)).then_some("x");
            wrong.extend(judge(&format!("{release} / {acquire}"), &[&writer, &reader], race));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), RELEASES.len() * ACQUIRES.len(), wrong.concat());
}

const TESTS: &[Litmus] = &[
    // The acquire reads `m`, which the release did not write: no write of the release pattern is observed.
    litmus(
        "an atomic on another word hears nothing",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; atom.acq_rel.gpu.global.add.u32 %v,[%m],1; ld.global.u32 %w,[%x];",
        ],
        // An acquire operation on another location is no acquire pattern on `l`.
        Some("x"),
    ),
    // A fence after the acquire of another word is a fence after the read of `l` too: strong read, then fence.
    litmus(
        "a fence acquires for every read before it",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; ld.relaxed.gpu.global.u32 %v,[%m]; fence.acq_rel.gpu; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // The write of `x` is after the fence, and the pattern begins with the fence: it is not before the release.
    litmus(
        "written between the fence and the flag",
        &[
            "membar.gl; st.global.u32 [%x],7; st.relaxed.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // The write is after the release operation in program order.
    litmus(
        "written after the release",
        &[
            "st.release.gpu.global.u32 [%l],1; st.global.u32 [%x],7;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // The read is before the acquire operation in program order.
    litmus(
        "read before the acquire",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "ld.global.u32 %w,[%x]; poll ld.acquire.gpu.global.u32 [%l],1;",
        ],
        Some("x"),
    ),
    // The read is between the strong read and the fence: before the last operation of the acquire pattern.
    litmus(
        "read between the flag and the fence",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "poll ld.relaxed.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x]; fence.acq_rel.gpu;",
        ],
        Some("x"),
    ),
    // The fence is before the strong read, not after it: no acquire pattern.
    litmus(
        "the reader's fence before its flag",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "fence.acq_rel.gpu; poll ld.relaxed.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
    // One fence and two strong writes after it: each is a release pattern with that fence.
    litmus(
        "two flags after one fence",
        &[
            "st.global.u32 [%x],7; membar.gl; st.relaxed.gpu.global.u32 [%m],1; st.relaxed.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // "A release operation on M followed by a strong write on M in program order" is a release pattern too.
    litmus(
        "a relaxed store after the release of the same flag",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1; st.relaxed.gpu.global.u32 [%l],2;",
            "poll ld.acquire.gpu.global.u32 [%l],2; ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // The flag is weak on the writer's side: it races with the poll, and nothing synchronizes, so `x` races too.
    litmus(
        "a weak flag",
        &[
            "st.release.gpu.global.u32 [%m],1; st.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1;",
        ],
        Some("l"),
    ),
    // A weak poll races with the strong store.
    litmus(
        "a weak poll",
        &["st.release.gpu.global.u32 [%l],1;", "ld.global.u32 %w,[%l]; ld.relaxed.gpu.global.u32 %v,[%m];"],
        Some("l"),
    ),
    // A reader that writes what was read before: the release orders reads as well as writes.
    litmus(
        "read, released, and then written by the other",
        &[
            "ld.global.u32 %w,[%x]; st.release.gpu.global.u32 [%l],1;",
            "poll ld.acquire.gpu.global.u32 [%l],1; st.global.u32 [%x],7;",
        ],
        None,
    ),
    // The same with the read after the release: not before it.
    litmus(
        "read after the release, written by the other",
        &[
            "st.release.gpu.global.u32 [%l],1; ld.global.u32 %w,[%x];",
            "poll ld.acquire.gpu.global.u32 [%l],1; st.global.u32 [%x],7;",
        ],
        Some("x"),
    ),
    // The reader's acquire may read 0: then it does not read x, and there is nothing to race.
    litmus(
        "a flag that is asked once",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "ld.acquire.gpu.global.u32 %s,[%l]; setp.eq.u32 %q,%s,1; @%q ld.global.u32 %w,[%x];",
        ],
        None,
    ),
    // Nothing is observed: the acquire reads another word than the release writes.
    litmus(
        "a flag that is not looked at",
        &[
            "st.global.u32 [%x],7; st.release.gpu.global.u32 [%l],1;",
            "ld.acquire.gpu.global.u32 %s,[%m]; ld.global.u32 %w,[%x];",
        ],
        Some("x"),
    ),
];

#[test]
fn message_passing() {
    check(TESTS);
}

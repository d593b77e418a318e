//! Every form of `mbarrier`: two warps of a block meet at an object, and leave words that only the right way through leaves.

use tinyllm_emulator::Emulator;

use super::{harness::HEADER, names};
use crate::program::on_each;

const THREADS: u32 = 64;

/// Runs two warps around an object for all of them; `%object` is its address, and `wait` waits for the phase of `%state`. Gives what
/// each thread left of `%d`, on each device.
fn run(body: &str, generic: bool) -> Vec<Vec<u32>> {
    let mut body = body.to_owned();
    for number in 0.. {
        let wait = format!(
            "again{number}: mbarrier.test_wait.shared.b64 %p2, [%plain], %state; @!%p2 bra again{number};"
        );
        match body.contains("wait;") {
            true => body = body.replacen(" wait;", &format!(" {wait}"), 1),
            false => break,
        }
    }
    let address = if generic { "cvta.shared.u64 %object, %wide;" } else { "mov.u64 %object, %wide;" };
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 pout) {{\n\
         .reg .b64 %out, %object, %wide, %state, %other; .reg .b32 %t, %d, %plain, %r<8>; .reg .pred %p<4>, %zero;\n\
         .shared .align 8 .b64 barrier; .shared .align 16 .b32 tile[64];\n\
         ld.param.u64 %out, [pout]; mov.u32 %t, %tid.x; mad.wide.u32 %out, %t, 4, %out; mov.u32 %d, 0; setp.eq.u32 %zero, %t, 0;\n\
         mov.u32 %plain, barrier; cvt.u64.u32 %wide, %plain; {address}\n\
         mov.u32 %r7, tile; mad.lo.u32 %r6, %t, 4, %r7; xor.b32 %r5, %t, 63; mad.lo.u32 %r5, %r5, 4, %r7;\n\
         {body}\nst.global.u32 [%out], %d; ret;\n}}"
    );
    on_each(Emulator::builder(), |program| {
        let kernel = program.kernel(&text, "k");
        let out = program.upload(&[7u32; THREADS as usize]);
        program.launch(kernel, 1, THREADS, &mut [out.0]);
        program.download(out, THREADS as usize)
    })
}

const INIT: &str = "@%zero mbarrier.init.shared.b64 [%plain], 64; bar.sync 0;";

/// What threads do by a form, and what thread 5 is left with.
fn case(name: &str) -> (String, u32) {
    let words: Vec<&str> = name.split('.').collect();
    let has = |word: &str| words.contains(&word);
    let exchange = |arrive: String, wait: String| {
        (format!("{INIT} st.shared.u32 [%r6], %t; {arrive} {wait} ld.shared.u32 %d, [%r5];"), 58)
    };
    let plain = "mbarrier.arrive.shared.b64 %state, [%plain];".to_owned();
    match words[1] {
        "init" => {
            let init = format!("@%zero {name} [%object], 64; bar.sync 0;");
            (format!("{init} st.shared.u32 [%r6], %t; {plain} wait; ld.shared.u32 %d, [%r5];"), 58)
        }
        // The memory is an object again.
        "inval" => (
            format!(
                "{INIT} bar.sync 0; @%zero {name} [%object]; bar.sync 0; {INIT} {plain} wait; mov.u32 %d, 3;"
            ),
            3,
        ),
        // A warp that arrives and leaves one arrival to its last lane.
        "arrive" | "arrive_drop" if has("noComplete") => {
            let init = "@%zero mbarrier.init.shared.b64 [%plain], 192; bar.sync 0;";
            let drop = if has("arrive_drop") {
                "mbarrier.pending_count.b64 %d, %state;"
            } else {
                "mov.u32 %d, 192;"
            };
            // All but one of each thread's three, then the last ones complete the phase.
            let body = format!(
                "{init} {name} %state, [%object], 2; bar.sync 0; {plain} wait; bar.sync 0; {plain} {drop} bar.sync 0;"
            );
            // Of the second phase the dropped ones are gone: at most 64 are pending, and of that no more is known.
            (
                body + " setp.le.u32 %p1, %d, 64; selp.u32 %d, 64, %d, %p1;",
                if has("arrive_drop") { 64 } else { 192 },
            )
        }
        "arrive" => exchange(format!("{name} %state, [%object];"), " wait;".into()),
        // Two phases of 64, the second of 63.
        "arrive_drop" => (
            format!(
                "{INIT} @%zero {name} %state, [%object]; @!%zero {plain} wait; @%zero bra past; {plain} wait; mov.u32 %d, 9; past:"
            ),
            9,
        ),
        "pending_count" => (
            format!(
                "{INIT} @%zero mbarrier.arrive.shared.b64 %state, [%plain]; @!%zero mov.u64 %state, 0;\n\
                     @%zero {name} %d, %state; @%zero st.shared.u32 [tile], %d; bar.sync 0; ld.shared.u32 %d, [tile];"
            ),
            64,
        ),
        _ => {
            let test = match has("parity") {
                true => format!("test: {name} %p1, [%object], 0; @!%p1 bra test;"),
                false => format!("test: {name} %p1, [%object], %state; @!%p1 bra test;"),
            };
            exchange(plain, test)
        }
    }
}

#[test]
fn every_form_of_an_mbarrier_meets() {
    let names = names("Barriers in memory");
    assert!(names.len() > 50, "{}", names.len());
    for name in &names {
        let (body, left) = case(name);
        for all in run(&body, !name.contains("shared")) {
            assert_eq!(all[5], left, "{name}: {body}");
        }
    }
}

/// The object waits for the copies too: without `.noinc` the arrival is one more that is waited for.
#[test]
fn copies_arrive_when_they_have_landed() {
    for name in names("Memory").iter().filter(|name| name.starts_with("cp.async.mbarrier")) {
        let (count, own) = match name.contains("noinc") {
            true => (64, "mov.u64 %state, 0;"),
            false => (64, "mbarrier.arrive.shared.b64 %state, [%plain];"),
        };
        let wait = match name.contains("noinc") {
            true => "test: mbarrier.test_wait.parity.shared.b64 %p1, [%plain], 0; @!%p1 bra test;",
            false => " wait;",
        };
        let body = format!(
            "@%zero mbarrier.init.shared.b64 [%plain], {count}; bar.sync 0; st.global.u32 [%out], %t;\n\
             cp.async.ca.shared.global [%r6], [%out], 4; {name} [%object]; {own} {wait} ld.shared.u32 %d, [%r5];"
        );
        for all in run(&body, !name.contains("shared")) {
            assert_eq!(all, (0..THREADS).map(|thread| thread ^ 63).collect::<Vec<_>>(), "{name}");
        }
    }
}

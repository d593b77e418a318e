//! Shuffles, votes, matches and reductions, as the manual's programs say.

use tinyllm_emulator::Emulator;

use super::{
    harness::{HEADER, Random},
    names,
};
use crate::program::same_on_each;

const LANES: usize = 32;

/// Runs one warp with a word, a second and a third for each lane, and gives the word and the predicate it left.
fn run(instruction: &str, inputs: &[[u32; LANES]; 3]) -> (Vec<u32>, Vec<u32>) {
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 pin, .param .u64 pout) {{\n\
         .reg .b64 %in, %out, %rd1; .reg .b32 %t, %a, %b, %c, %d, %e; .reg .pred %p, %q;\n\
         ld.param.u64 %in, [pin]; ld.param.u64 %out, [pout]; mov.u32 %t, %tid.x; mad.wide.u32 %in, %t, 4, %in; mad.wide.u32 %out, %t, 4, %out;\n\
         ld.global.u32 %a, [%in]; ld.global.u32 %b, [%in+128]; ld.global.u32 %c, [%in+256]; setp.ne.u32 %q, %a, 0; setp.eq.u32 %p, %t, 99;\n\
         mov.u32 %d, 0;\n{instruction}\nselp.u32 %e, 1, 0, %p; st.global.u32 [%out], %d; st.global.u32 [%out+128], %e; ret;\n}}"
    );
    let left: Vec<u32> = same_on_each(Emulator::builder(), instruction, |program| {
        let kernel = program.kernel(&text, "k");
        let (source, out) = (program.upload(inputs), program.upload(&[0u32; 2 * LANES]));
        program.launch(kernel, 1, 32, &mut [source.0, out.0]);
        program.download(out, 2 * LANES)
    });
    (left[..LANES].to_vec(), left[LANES..].to_vec())
}

fn words(random: &mut Random, mask: u32) -> [u32; LANES] {
    std::array::from_fn(|_| random.next() as u32 & mask)
}

#[test]
fn shuffles() {
    let mut random = Random(3);
    for mode in ["up", "down", "bfly", "idx"] {
        for _ in 0..32 {
            let clamp = if mode == "up" { 0 } else { 0x1f };
            // Segments of a power of two.
            let segment = 32 - (1u32 << (random.next() % 6));
            let c = [segment << 8 | clamp; LANES];
            let inputs = [words(&mut random, u32::MAX), words(&mut random, 31), c];
            let (d, p) = run(&format!("shfl.sync.{mode}.b32 %d|%p, %a, %b, %c, -1;"), &inputs);
            for lane in 0..LANES {
                let (number, bval) = (lane as i32, inputs[1][lane] as i32);
                let (mask, cval) = (segment as i32, clamp as i32);
                let max_lane = number & mask | cval & !mask;
                let min_lane = number & mask;
                let (from, valid) = match mode {
                    "up" => (number - bval, number - bval >= max_lane),
                    "down" => (number + bval, number + bval <= max_lane),
                    "bfly" => (number ^ bval, number ^ bval <= max_lane),
                    _ => (min_lane | bval & !mask, (min_lane | bval & !mask) <= max_lane),
                };
                let valid = if mode == "bfly" { (number ^ bval) <= max_lane } else { valid };
                let from = if valid { from as usize } else { lane };
                assert_eq!((d[lane], p[lane]), (inputs[0][from], u32::from(valid)), "{mode} lane {lane}");
            }
        }
    }
}

#[test]
fn votes_matches_and_reductions() {
    let mut random = Random(5);
    for round in 0..24 {
        // Few different values, and now and then all the same.
        let a = if round % 4 == 0 { [round; LANES] } else { words(&mut random, 3) };
        let inputs = [a, [0; LANES], [0; LANES]];
        let set = (0..LANES).filter(|lane| a[*lane] != 0).fold(0u32, |mask, lane| mask | 1 << lane);
        let answer = |yes: bool| vec![u32::from(yes); LANES];
        assert_eq!(run("vote.sync.ballot.b32 %d, %q, -1;", &inputs).0, vec![set; LANES]);
        assert_eq!(run("vote.sync.all.pred %p, %q, -1;", &inputs).1, answer(set == u32::MAX));
        assert_eq!(run("vote.sync.any.pred %p, %q, -1;", &inputs).1, answer(set != 0));
        assert_eq!(run("vote.sync.uni.pred %p, %q, -1;", &inputs).1, answer(set == 0 || set == u32::MAX));
        assert_eq!(run("vote.sync.any.pred %p, !%q, -1;", &inputs).1, answer(set != u32::MAX));
        let same = |value: u32| {
            (0..LANES).filter(|lane| a[*lane] == value).fold(0u32, |mask, lane| mask | 1 << lane)
        };
        let any: Vec<u32> = a.iter().map(|value| same(*value)).collect();
        assert_eq!(run("match.any.sync.b32 %d, %a, -1;", &inputs).0, any);
        let wide = "cvt.u64.u32 %rd1, %a; shl.b64 %rd1, %rd1, 32;";
        assert_eq!(run(&format!("{wide} match.any.sync.b64 %d, %rd1, -1;"), &inputs).0, any);
        let all = if same(a[0]) == u32::MAX { u32::MAX } else { 0 };
        let (d, p) = run("match.all.sync.b32 %d|%p, %a, -1;", &inputs);
        assert_eq!((d, p), (vec![all; LANES], answer(all != 0)));
        let (d, p) = run(&format!("{wide} match.all.sync.b64 %d|%p, %rd1, -1;"), &inputs);
        assert_eq!((d, p), (vec![all; LANES], answer(all != 0)));
        let wide = words(&mut random, u32::MAX);
        let inputs = [wide, [0; LANES], [0; LANES]];
        let signed = || wide.iter().map(|value| *value as i32);
        for (name, expected) in [
            ("add.u32", wide.iter().fold(0u32, |sum, value| sum.wrapping_add(*value))),
            ("add.s32", wide.iter().fold(0u32, |sum, value| sum.wrapping_add(*value))),
            ("min.u32", wide.iter().copied().min().unwrap()),
            ("max.u32", wide.iter().copied().max().unwrap()),
            ("min.s32", signed().min().unwrap() as u32),
            ("max.s32", signed().max().unwrap() as u32),
            ("and.b32", wide.iter().fold(u32::MAX, |all, value| all & value)),
            ("or.b32", wide.iter().fold(0, |any, value| any | value)),
            ("xor.b32", wide.iter().fold(0, |odd, value| odd ^ value)),
        ] {
            assert_eq!(
                run(&format!("redux.sync.{name} %d, %a, -1;"), &inputs).0,
                vec![expected; LANES],
                "{name}"
            );
        }
    }
    assert_eq!(run("activemask.b32 %d;", &[[0; LANES]; 3]).0, vec![u32::MAX; LANES]);
}

/// The tests above have these by name.
#[test]
fn every_form_within_a_warp_is_tested() {
    let tested = "shfl.sync.up.b32 shfl.sync.down.b32 shfl.sync.bfly.b32 shfl.sync.idx.b32 vote.sync.all.pred vote.sync.any.pred \
                  vote.sync.uni.pred vote.sync.ballot.b32 match.any.sync.b32 match.any.sync.b64 match.all.sync.b32 \
                  match.all.sync.b64 redux.sync.add.u32 redux.sync.add.s32 redux.sync.min.u32 redux.sync.min.s32 \
                  redux.sync.max.u32 redux.sync.max.s32 redux.sync.and.b32 redux.sync.or.b32 redux.sync.xor.b32 activemask.b32";
    assert_eq!(names("Within a warp"), tested.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn reductions_at_a_barrier() {
    let mut random = Random(7);
    for _ in 0..8 {
        let inputs = [words(&mut random, 1), [0; LANES], [0; LANES]];
        let set: u32 = inputs[0].iter().sum();
        assert_eq!(run("bar.red.popc.u32 %d, 0, %q;", &inputs).0, vec![set; LANES]);
        assert_eq!(run("bar.red.popc.u32 %d, 0, !%q;", &inputs).0, vec![32 - set; LANES]);
        assert_eq!(run("bar.red.and.pred %p, 0, %q;", &inputs).1, vec![u32::from(set == 32); LANES]);
        assert_eq!(run("bar.red.or.pred %p, 0, %q;", &inputs).1, vec![u32::from(set > 0); LANES]);
    }
}

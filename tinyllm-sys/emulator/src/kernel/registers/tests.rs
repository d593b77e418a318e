//! Kernels compute with fewer registers what they compute with all of them, and no value is lost that is still needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::HashMap, fmt::Write};

use super::{Access, allocate};
use crate::{
    kernel::{Element, Instr, Kernel, Op, Special, decode},
    lanes::{Class, LANES, Registers, Slot},
    ptx,
};

/// Kernels of a module as they are decoded, and with new slots.
fn both(text: &str) -> Vec<(Kernel, Kernel)> {
    let module = ptx::parse(text).unwrap();
    let kernels = module.functions.iter().filter(|function| function.kernel);
    let kernels = kernels.map(|function| decode::kernel(&module, function).unwrap());
    let fewer = |kernel: Kernel| {
        let mut allocated = kernel.clone();
        allocate(&mut allocated);
        (kernel, allocated)
    };
    kernels.map(fewer).collect()
}

/// A module with one kernel, after what else is in it.
fn module(functions: &str, body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n{functions}
        .visible .entry k(.param .u64 out) {{
            .reg .pred %p<20>; .reg .b16 %h<4>; .reg .b32 %r<100>; .reg .b64 %rd<100>;
            {body} ret; }}"
    )
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// Runs a warp, one instruction of one lane at a time in an order of chance. Gives what each lane stores, in order.
fn run(kernel: &Kernel, chance: &mut Chance) -> [Vec<u64>; LANES] {
    let mut registers = kernel.registers();
    for (slot, special) in &kernel.specials {
        assert_eq!(*special, Special::Thread(0));
        registers.row_mut(*slot).copy_from_slice(&std::array::from_fn::<u32, LANES, _>(|lane| lane as u32));
    }
    let mut places = [Some(0); LANES];
    let mut stored = [const { Vec::new() }; LANES];
    while places.iter().any(Option::is_some) {
        let lane = chance.below(LANES);
        let Some(pc) = places[lane] else { continue };
        places[lane] = step(&kernel.code[pc as usize], &mut registers, lane, pc, &mut stored[lane]);
    }
    stored
}

/// Where a lane goes on.
fn step(
    instruction: &Instr,
    registers: &mut Registers,
    lane: usize,
    pc: u32,
    stored: &mut Vec<u64>,
) -> Option<u32> {
    if let Some(guard) = instruction.guard
        && (registers.predicate(guard.predicate) >> lane & 1 == 1) == guard.negated
    {
        return Some(pc + 1);
    }
    match &instruction.op {
        Op::Lanes { run, operands, .. } => run(registers, operands, 1 << lane),
        Op::Store(store) => {
            let Element { register_bits, .. } = store.element;
            stored.extend(store.registers.iter().flatten().map(|slot| match register_bits {
                64 => registers.wide(*slot)[lane],
                _ => u64::from(registers.row(*slot)[lane]),
            }));
        }
        Op::Branch { target } => return Some(*target),
        Op::BranchIndexed { index, targets } => return Some(targets[registers.row(*index)[lane] as usize]),
        Op::Exit => return None,
        Op::Nop => {}
        other => panic!("{other:?} is in no program here"),
    }
    Some(pc + 1)
}

/// Each slot of an instruction.
fn slots(instruction: &Instr) -> Vec<(Slot, Class, Access)> {
    let mut slots = Vec::new();
    instruction.clone().visit_slots(&mut |slot, class, access| slots.push((*slot, class, access)));
    slots
}

/// The rows or the predicate of a slot.
fn parts(slot: Slot, class: Class) -> impl Iterator<Item = (bool, u32)> {
    let count = if class == Class::Pair { 2 } else { 1 };
    (slot.0..slot.0 + count).map(move |row| (class == Class::Predicate, row))
}

/// Nothing is set in a place where an old register has a value that is read later: by what is live after each instruction, from
/// the textbook's equations over single instructions until nothing changes.
fn check_no_value_is_lost(before: &Kernel, after: &Kernel) {
    let mut places = HashMap::new();
    let mut place = |old: (Slot, Class), new: (Slot, Class)| {
        assert_eq!(old.1, new.1);
        for (old, new) in parts(old.0, old.1).zip(parts(new.0, new.1)) {
            assert_eq!(*places.entry(old).or_insert(new), new, "{}: two places of one", before.name);
            let end = if new.0 { after.predicates } else { after.rows };
            assert!(new.1 < end);
        }
    };
    assert_eq!(before.code.len(), after.code.len());
    for (old, new) in before.code.iter().zip(&after.code) {
        let (old, new) = (slots(old), slots(new));
        assert_eq!(old.len(), new.len());
        for (old, new) in old.into_iter().zip(new) {
            place((old.0, old.1), (new.0, new.1));
        }
    }
    let numbers: HashMap<_, _> =
        places.keys().copied().enumerate().map(|(number, part)| (part, number)).collect();
    let places: Vec<_> = numbers.keys().map(|part| (numbers[part], places[part])).collect();
    let places: HashMap<usize, (bool, u32)> = places.into_iter().collect();
    let words = numbers.len().div_ceil(64);
    let code = &before.code;
    let mut live = vec![vec![0u64; words]; code.len() + 1];
    let after_of = |pc: usize, live: &[Vec<u64>]| {
        let (targets, falls): (Vec<u32>, bool) = match &code[pc].op {
            Op::Branch { target } => (vec![*target], code[pc].guard.is_some()),
            Op::BranchIndexed { targets, .. } => (targets.clone(), code[pc].guard.is_some()),
            Op::Exit | Op::Trap | Op::AssertFail(_) => (Vec::new(), code[pc].guard.is_some()),
            _ => (Vec::new(), true),
        };
        let mut out = vec![0; words];
        for next in targets.into_iter().chain(falls.then_some(pc as u32 + 1)) {
            out.iter_mut().zip(&live[next as usize]).for_each(|(out, live)| *out |= live);
        }
        out
    };
    loop {
        let mut changed = false;
        for pc in (0..code.len()).rev() {
            let mut now = after_of(pc, &live);
            for access in [Access::Write, Access::Read] {
                for (slot, class, _) in slots(&code[pc]).into_iter().filter(|slot| slot.2 == access) {
                    for part in parts(slot, class) {
                        let number = numbers[&part];
                        if access == Access::Read {
                            now[number / 64] |= 1 << (number % 64);
                        } else if code[pc].guard.is_none() {
                            now[number / 64] &= !(1 << (number % 64));
                        }
                    }
                }
            }
            changed |= now != live[pc];
            live[pc] = now;
        }
        if !changed {
            break;
        }
    }
    let fixed = after.constants.iter().map(|(slot, constant)| match constant {
        crate::kernel::Constant::Narrow(_) => (*slot, Class::Row),
        _ => (*slot, Class::Pair),
    });
    let fixed = fixed.chain(after.specials.iter().map(|(slot, _)| (*slot, Class::Row)));
    let fixed: Vec<_> = fixed.flat_map(|(slot, class)| parts(slot, class)).collect();
    // Those that may be read before they are set find a 0: no constant, and no other is there.
    let is_live = |live: &[u64], number: usize| live[number / 64] >> (number % 64) & 1 == 1;
    for (pc, instruction) in code.iter().enumerate() {
        let out = after_of(pc, &live);
        let written = slots(instruction).into_iter().filter(|slot| slot.2 == Access::Write);
        let written: Vec<_> = written.flat_map(|(slot, class, _)| parts(slot, class)).collect();
        for part in &written {
            let place = places[&numbers[part]];
            assert!(!fixed.contains(&place), "{}: {pc} sets a constant", before.name);
            for (number, other) in &places {
                let same = *other == place && *number != numbers[part];
                assert!(!same || !is_live(&out, *number), "{}: {pc} loses a value", before.name);
                // Nor do two results of one instruction share.
                assert!(!same || !written.iter().any(|part| numbers[part] == *number));
            }
        }
    }
    let mut at_entry: Vec<_> =
        places.iter().filter(|(number, _)| is_live(&live[0], **number)).map(|(_, place)| *place).collect();
    let count = at_entry.len();
    at_entry.sort_unstable();
    at_entry.dedup();
    assert_eq!(at_entry.len(), count, "{}: two that begin with 0 or a constant share", before.name);
}

/// What a kernel stores, with all registers and with fewer, and what each lane should have stored.
fn check(name: &str, text: &str, stores: impl Fn(u64) -> Vec<u64>) {
    for (before, after) in both(text) {
        check_no_value_is_lost(&before, &after);
        for (kernel, which) in [(before, "all"), (after, "fewer")] {
            for seed in 1..4 {
                let stored = run(&kernel, &mut Chance(seed));
                for (lane, stored) in (0u64..).zip(&stored) {
                    assert_eq!(*stored, stores(lane), "{name}, lane {lane}, {which} registers");
                }
            }
        }
    }
}

/// Instructions that take every place that is free: values of their own, all there at once, and stored nowhere.
const OTHERS: &str = "mov.u32 %r90, 901; mov.u32 %r91, 902; mov.u32 %r92, 903; mov.u64 %rd90, 904; mov.u64 %rd91, 905;
    setp.ne.u32 %p18, %r90, 0; setp.ne.u32 %p19, %r91, 0;
    add.u32 %r93, %r90, %r91; add.u32 %r93, %r93, %r92; add.u64 %rd92, %rd90, %rd91; and.pred %p17, %p18, %p19;";

#[test]
fn values_carried_around_a_loop() {
    let body = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r2, 1; mov.u64 %rd1, 7; mov.u32 %r4, 0; mov.u32 %r5, 3; mov.u32 %r6, 0;
        again: add.u32 %r6, %r6, %r5; {OTHERS} mov.u32 %r3, %r1; mov.u32 %r1, %r2; add.u32 %r2, %r3, %r2; add.u64 %rd1, %rd1, %rd1;
        {OTHERS} add.u32 %r4, %r4, 1; setp.lt.u32 %p1, %r4, 5; {OTHERS} @%p1 bra again;
        st.global.u32 [%rd0], %r1; st.global.u32 [%rd0], %r2; st.global.u64 [%rd0], %rd1;
        st.global.u32 [%rd0], %r6;"
    );
    // Fibonacci's numbers from `lane` and 1 on: the sixth and seventh. The last is five times what is set before the loop alone.
    check("a loop", &module("", &body), |lane| vec![3 * lane + 5, 5 * lane + 8, 7 << 5, 15]);
}

#[test]
fn a_value_set_in_one_iteration_and_read_in_a_later_one() {
    let body = format!(
        "mov.u32 %r4, 0; mov.u32 %r6, %tid.x;
        again: setp.ne.u32 %p1, %r4, 2; @%p1 bra other; add.u32 %r5, %r6, 40; setp.eq.u32 %p3, %r4, 2;
        other: {OTHERS} setp.ne.u32 %p1, %r4, 4; @%p1 bra next; st.global.u32 [%rd0], %r5; selp.u32 %r7, 1, 2, %p3;
        st.global.u32 [%rd0], %r7;
        next: {OTHERS} add.u32 %r4, %r4, 1; setp.lt.u32 %p1, %r4, 6; @%p1 bra again;"
    );
    check("a later iteration", &module("", &body), |lane| vec![lane + 40, 1]);
}

#[test]
fn guarded_writes_leave_other_lanes_alone() {
    let body = format!(
        "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 0; mov.u32 %r3, 10; {OTHERS}
        @%p1 add.u32 %r3, %r1, 100; {OTHERS} @!%p1 mov.u32 %r4, 5; {OTHERS}
        st.global.u32 [%rd0], %r3; st.global.u32 [%rd0], %r4;"
    );
    check("guards", &module("", &body), |lane| if lane % 2 == 0 { vec![lane + 100, 0] } else { vec![10, 5] });
}

#[test]
fn what_is_read_before_it_is_set_is_0() {
    let body = format!(
        "{OTHERS} mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 9; {OTHERS} @%p1 bra reads; mov.u32 %r5, 77;
        reads: {OTHERS} st.global.u32 [%rd0], %r5; st.global.u64 [%rd0], %rd5; selp.u32 %r6, 1, 2, %p5;
        st.global.u32 [%rd0], %r6; mov.u32 %r5, 3; {OTHERS} st.global.u32 [%rd0], %r5;"
    );
    check("before it is set", &module("", &body), |lane| vec![if lane < 9 { 0 } else { 77 }, 0, 2, 3]);
}

#[test]
fn the_carry_lasts_until_it_is_taken() {
    let body = format!(
        "mov.u32 %r1, %tid.x; sub.u32 %r1, %r1, 16; add.cc.u32 %r2, %r1, 8; {OTHERS} addc.u32 %r3, 0, 0;
        st.global.u32 [%rd0], %r3;"
    );
    // -16 + lane + 8 goes over 2^32 for lanes 8 to 15; from 16 on both are small.
    check("a carry", &module("", &body), |lane| vec![u64::from((8..16).contains(&lane))]);
}

#[test]
fn functions_put_in_where_they_are_called() {
    let function = format!(
        ".func (.reg .b32 %out) twice(.reg .b32 %in) {{ .reg .pred %p<20>; .reg .b32 %r<100>; .reg .b64 %rd<100>;
        add.u32 %r1, %in, %in; {OTHERS} setp.gt.u32 %p1, %r1, 30; @%p1 bra large; mov.u32 %out, %r1; ret;
        large: {OTHERS} mov.u32 %out, 30; ret; }}"
    );
    let body = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r2, 1000; call (%r3), twice, (%r1); {OTHERS} call (%r4), twice, (%r3); {OTHERS}
        add.u32 %r5, %r3, %r2; st.global.u32 [%rd0], %r4; st.global.u32 [%rd0], %r5;"
    );
    check("calls", &module(&function, &body), |lane| {
        let twice = |value: u64| (2 * value).min(30);
        vec![twice(twice(lane)), twice(lane) + 1000]
    });
}

#[test]
fn branches_by_number() {
    let body = format!(
        "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 3; mov.u32 %r3, 11; add.u32 %r4, %r1, 22; mov.u64 %rd1, 33; {OTHERS}
        labels: .branchtargets first, second, third, second;
        brx.idx %r2, labels;
        first: {OTHERS} st.global.u32 [%rd0], %r3; bra end;
        second: {OTHERS} st.global.u32 [%rd0], %r4; bra end;
        third: {OTHERS} st.global.u64 [%rd0], %rd1;
        end: st.global.u32 [%rd0], %r1;"
    );
    check("brx.idx", &module("", &body), |lane| {
        vec![[11, lane + 22, 33, lane + 22][lane as usize % 4], lane]
    });
}

#[test]
fn values_needed_one_after_the_other_share_a_row() {
    let mut body = "mov.u32 %r0, %tid.x;".to_owned();
    (1..99).for_each(|r| write!(body, "add.u32 %r{r}, %r{}, 1;", r - 1).unwrap());
    body += "st.global.u32 [%rd0], %r98;";
    for (before, after) in both(&module("", &body)) {
        assert!(before.rows > 300, "{}", before.rows);
        // The value, `%tid.x`, the constant and the address.
        assert_eq!(after.rows, 5);
    }
}

/// A program of chance: values that are mostly read soon, branches back and forth, stores.
fn program(chance: &mut Chance) -> String {
    const LABELS: usize = 6;
    let mut body = "mov.u32 %r99, 40; mov.u32 %r0, %tid.x; cvt.u64.u32 %rd0, %r0;".to_owned();
    let (mut r, mut rd, mut p) = (0, 0, 0);
    for label in 0..LABELS {
        write!(body, "\nl{label}: ").unwrap();
        for _ in 0..chance.below(14) {
            let old = |now: usize, count: usize, chance: &mut Chance| match chance.below(12) {
                0 => chance.below(count),
                _ => (now + count - chance.below(4).min(count - 1)) % count,
            };
            let (a, b) = (old(r, 90, chance), old(r, 90, chance));
            let (wide_a, wide_b) = (old(rd, 90, chance), old(rd, 90, chance));
            let guard = match chance.below(5) {
                0 => format!("@%p{} ", old(p, 16, chance)),
                1 => format!("@!%p{} ", old(p, 16, chance)),
                _ => String::new(),
            };
            let (next_r, next_rd, next_p) = ((r + 1) % 90, (rd + 1) % 90, (p + 1) % 16);
            let text = match chance.below(9) {
                0 => format!("mov.u32 %r{next_r}, {};", chance.below(9)),
                1 | 2 => format!("add.u32 %r{next_r}, %r{a}, %r{b};"),
                3 => format!("mul.wide.u32 %rd{next_rd}, %r{a}, %r{b};"),
                4 => format!("sub.u64 %rd{next_rd}, %rd{wide_a}, %rd{wide_b};"),
                5 => format!("setp.lt.s32 %p{next_p}, %r{a}, %r{b};"),
                6 => format!("mov.b64 {{%r{next_r}, %r{}}}, %rd{wide_a};", chance.below(90)),
                7 => format!("st.global.u32 [%rd0], %r{a};"),
                _ => format!("st.global.u64 [%rd0], %rd{wide_a};"),
            };
            match &text[..4] {
                "mov." | "add." => r = next_r,
                "mul." | "sub." => rd = next_rd,
                "setp" => p = next_p,
                _ => {}
            }
            write!(body, "{guard}{text} ").unwrap();
        }
        // Back, as long as there is something left of what a lane may do; or forth.
        let other = chance.below(LABELS);
        match chance.below(3) {
            0 => write!(
                body,
                "setp.ne.u32 %p16, %r99, 0; @!%p16 bra end; sub.u32 %r99, %r99, 1; @%p{p} bra l{other};"
            ),
            1 => write!(
                body,
                "setp.gt.u32 %p16, %r99, %r{r}; @!%p16 bra l{label}e; sub.u32 %r99, %r99, 1; bra l{other}; l{label}e:"
            ),
            _ => Ok(()),
        }
        .unwrap();
    }
    module("", &(body + "end: st.global.u32 [%rd0], %r0;"))
}

#[test]
fn programs_of_chance_compute_the_same() {
    let (mut rows, mut fewer, mut stores) = (0, 0, 0);
    for seed in 1..400 {
        let text = program(&mut Chance(seed * 0x9e37_79b9));
        for (before, after) in both(&text) {
            check_no_value_is_lost(&before, &after);
            let expected = run(&before, &mut Chance(seed));
            assert_eq!(run(&after, &mut Chance(seed + 1)), expected, "{text}");
            (rows, fewer) = (rows + before.rows, fewer + after.rows);
            stores += expected.iter().map(Vec::len).sum::<usize>();
        }
    }
    // There is something to lose: most registers share, and lanes store hundreds of values.
    assert!(fewer < rows / 4, "{fewer} rows of {rows}");
    assert!(stores > 400 * LANES, "{stores}");
}

#[test]
fn shipped_kernels_need_few_rows() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tinyllm-kernels/ptx");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}.ptx")).unwrap();
    for (name, bound) in
        [("w8a16_gemm", 340), ("w8a16_gemv", 150), ("attention_decode", 260), ("rms_norm", 50)]
    {
        for (before, after) in both(&read(name)) {
            check_no_value_is_lost(&before, &after);
            assert!(after.rows <= bound, "{}: {} rows of {}", before.name, after.rows, before.rows);
        }
    }
}

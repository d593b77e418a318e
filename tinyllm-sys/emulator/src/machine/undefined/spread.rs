//! What of an instruction's results depends on undefined bits of its operands, found by trying: it runs again with other values for
//! these bits, and what comes out otherwise is undefined. So `and` with a mask, a shift, a conversion or `x xor x` need no rules
//! of their own.
//!
//! A comparison may depend on one value alone, which no trial would hit: its result is undefined if an operand is.

use super::{Origin, Undefined};
use crate::{
    lanes::{Class, LANES, LaneLoop, Operands, Registers, Signature, Slot},
    machine::transfer::lanes_of,
};

/// Values that undefined bits are tried with: none set, all set, and some that look like chance; each combination of three
/// predicates.
const TRIALS: usize = 8;

/// A register that an instruction reads or sets, and its place in [`Undefined::scratch`].
#[derive(Clone, Copy)]
struct Tried {
    slot: Slot,
    class: Class,
    scratch: Slot,
    /// Numbers from 0 for the inputs; those that are one register have one number.
    number: usize,
}

/// Operands of an instruction: three inputs, two results.
const OPERANDS: usize = 5;

/// Registers for [`OPERANDS`] operands, whatever their class.
pub(super) fn scratch() -> Registers {
    Registers::new(2 * OPERANDS, OPERANDS)
}

/// What undefined bits are in a trial of an input.
fn trial_bits(trial: usize, input: usize, class: Class) -> u64 {
    match (class, trial) {
        (Class::Predicate, _) => (trial >> input & 1) as u64,
        (_, 0) => 0,
        (_, 1) => u64::MAX,
        _ => ((trial * 3 + input) as u64 + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9),
    }
}

impl Undefined {
    /// The results of a lane instruction that is about to run in the lanes of `mask`. In lanes of `unsure` it is undefined whether it
    /// runs: `(lane, origin)`.
    pub(super) fn spread(
        &mut self,
        registers: &Registers,
        run: LaneLoop,
        signature: &Signature,
        operands: &Operands,
        mask: u32,
        unsure: &[(usize, Origin)],
    ) {
        let (inputs, outputs, tried) = places(signature, operands);
        let base = self.trial(registers, run, &inputs, &outputs, &tried, mask, None);
        let mut differs = [[0u64; LANES]; 2];
        for trial in 0..TRIALS {
            let other = self.trial(registers, run, &inputs, &outputs, &tried, mask, Some(trial));
            for (differs, (base, other)) in differs.iter_mut().zip(base.iter().zip(&other)) {
                for (differs, (base, other)) in differs.iter_mut().zip(base.iter().zip(other)) {
                    *differs |= base ^ other;
                }
            }
        }
        // Everything is known before anything is set: a result may be an operand too.
        let mut origins = [0; LANES];
        let mut compared = 0;
        for input in inputs.iter().rev() {
            let lanes = self.lanes(input.slot, input.class) & mask;
            for lane in lanes_of(lanes) {
                origins[lane] = self.origin_of(input.slot, input.class, lane);
            }
            compared |= if input.class == Class::Predicate { 0 } else { lanes };
        }
        for (output, differs) in outputs.iter().zip(&differs) {
            for lane in lanes_of(mask) {
                let by_rule = output.class == Class::Predicate && compared >> lane & 1 == 1;
                let bits = if by_rule { 1 } else { differs[lane] };
                self.set(output.slot, output.class, lane, bits, origins[lane]);
            }
            for (lane, origin) in unsure {
                self.set(output.slot, output.class, *lane, u64::MAX, *origin);
            }
        }
    }

    /// Runs an instruction with its own operands, or with others for their undefined bits. Gives each result's lanes.
    #[allow(clippy::too_many_arguments, reason = "a trial is a call with all its operands")]
    fn trial(
        &mut self,
        registers: &Registers,
        run: LaneLoop,
        inputs: &[Tried],
        outputs: &[Tried],
        operands: &Operands,
        mask: u32,
        trial: Option<usize>,
    ) -> [[u64; LANES]; 2] {
        for input in inputs {
            for lane in 0..LANES {
                let undefined = trial.map_or(0, |_| self.bits(input.slot, input.class, lane));
                let other = trial.map_or(0, |trial| trial_bits(trial, input.number, input.class));
                let value = read(registers, input.slot, input.class, lane);
                write(
                    &mut self.scratch,
                    input.scratch,
                    input.class,
                    lane,
                    value & !undefined | other & undefined,
                );
            }
        }
        run(&mut self.scratch, operands, mask);
        let mut results = [[0; LANES]; 2];
        for (result, output) in results.iter_mut().zip(outputs) {
            for lane in lanes_of(mask) {
                result[lane] = read(&self.scratch, output.scratch, output.class, lane);
            }
        }
        results
    }
}

/// The inputs and results of an instruction, and its operands in the scratch registers.
fn places(signature: &Signature, operands: &Operands) -> (Vec<Tried>, Vec<Tried>, Operands) {
    let place =
        |number: usize, class| Slot((if class == Class::Predicate { number } else { 2 * number }) as u32);
    let all = [
        (operands.a, signature.a),
        (operands.b, signature.b),
        (operands.c, signature.c),
        (operands.d, signature.d),
        (operands.e, signature.e),
    ];
    let mut slots = [Slot::default(); OPERANDS];
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for (number, (slot, class)) in all.into_iter().enumerate() {
        let Some(class) = class else { continue };
        let scratch = place(number, class);
        slots[number] = scratch;
        let list: &mut Vec<Tried> = if number < 3 { &mut inputs } else { &mut outputs };
        let same = list.iter().find(|other| other.slot == slot && other.class == class);
        let number = same.map_or(number, |other| other.number);
        list.push(Tried { slot, class, scratch, number });
    }
    let [a, b, c, d, e] = slots;
    (inputs, outputs, Operands { a, b, c, d, e, imm: operands.imm })
}

fn read(registers: &Registers, slot: Slot, class: Class, lane: usize) -> u64 {
    match class {
        Class::Row => u64::from(registers.row(slot)[lane]),
        Class::Pair => registers.wide(slot)[lane],
        Class::Predicate => u64::from(registers.predicate(slot) >> lane & 1),
    }
}

fn write(registers: &mut Registers, slot: Slot, class: Class, lane: usize, value: u64) {
    match class {
        Class::Row => registers.row_mut(slot)[lane] = value as u32,
        Class::Pair => registers.wide_mut(slot)[lane] = value,
        Class::Predicate => {
            registers.set_predicate(slot, if value & 1 == 1 { u32::MAX } else { 0 }, 1 << lane);
        }
    }
}

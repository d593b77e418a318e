//! Inserts checks between the instructions of a compiled template.
//!
//! A check is a call of a function that no template can name. It takes what an instruction is about to take from the
//! stack and puts it back (as a list, which is unpacked), or takes what one has left there and puts it back
//! materialized.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use minijinja::{
    Environment, Error, ErrorKind, State, Value,
    machinery::{Instruction, Instructions},
    value::{Object, ObjectRepr, ValueKind},
};

use super::{
    super::marks::Marks,
    BYTES_PER_FUEL,
    size::{Charge, charge, charge_length, materialize, may_be_kept_in_a_namespace},
};

/// A check: what it does to values, and how it puts them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Makes one value whole.
    Materialize,
    /// Whether a namespace may hold the value.
    Keep,
    /// Charges for going through the values once.
    Length,
    /// Charges for all values in them.
    Values,
    /// Charges for their printed form.
    Printed,
    /// As `Printed`, but for the first, whose method is called.
    Arguments,
    /// Charges for a comparison.
    Compare,
    /// Charges for looking the first up in the second.
    Contains,
    /// Charges for looking the second up in the first.
    Item,
    /// Whether the value can be gone through; a text's characters, for which the engine knows no last one.
    Iterable,
    /// Shows the true texts of what may hold marks, and remembers whether it did.
    Shown,
    /// As `Shown`, but for the first, which is looked into.
    ShownKey,
    /// Marks what was made of texts with marks.
    Marked,
}

const CHECKS: [(Check, [&str; 3]); 13] = [
    (Check::Iterable, ["\u{1}iterable", "\u{1}iterable these", "\u{1}iterable all"]),
    (Check::Shown, ["\u{1}shown", "\u{1}shown these", "\u{1}shown all"]),
    (Check::ShownKey, ["\u{1}shown key", "\u{1}shown key these", "\u{1}shown key all"]),
    (Check::Marked, ["\u{1}marked", "\u{1}marked these", "\u{1}marked all"]),
    (Check::Materialize, ["\u{1}materialize", "\u{1}materialize these", "\u{1}materialize all"]),
    (Check::Keep, ["\u{1}keep", "\u{1}keep these", "\u{1}keep all"]),
    (Check::Length, ["\u{1}length", "\u{1}length these", "\u{1}length all"]),
    (Check::Values, ["\u{1}values", "\u{1}values these", "\u{1}values all"]),
    (Check::Printed, ["\u{1}printed", "\u{1}printed these", "\u{1}printed all"]),
    (Check::Arguments, ["\u{1}arguments", "\u{1}arguments these", "\u{1}arguments all"]),
    (Check::Compare, ["\u{1}compare", "\u{1}compare these", "\u{1}compare all"]),
    (Check::Contains, ["\u{1}contains", "\u{1}contains these", "\u{1}contains all"]),
    (Check::Item, ["\u{1}item", "\u{1}item these", "\u{1}item all"]),
];

/// How a check's values go back onto the stack.
#[derive(Clone, Copy, Debug)]
enum Back {
    /// The only one, itself.
    One,
    /// As many as the instruction says, in a list that `UnpackList` turns around.
    These,
    /// As many as the stack says, in a list that `UnpackLists` unpacks with their count.
    All,
}

struct Checker {
    check: Check,
    back: Back,
    marks: Arc<Marks>,
    /// Whether the last `Shown` showed a text other than it found.
    shown: Arc<AtomicBool>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.check)
    }
}

impl Object for Checker {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, values: &[Value]) -> Result<Value, Error> {
        self.check.run(state, values)?;
        let shown = match self.check {
            Check::Shown => Some(self.shown(values)),
            Check::ShownKey => values
                .split_first()
                .map(|(container, key)| [container.clone()].into_iter().chain(self.shown(key)).collect()),
            _ => None,
        };
        let values = shown.as_deref().unwrap_or(values);
        Ok(match (self.back, values) {
            (Back::One, [value]) if self.check == Check::Materialize => materialize(state, value)?,
            (Back::One, [value]) if self.check == Check::Marked && self.shown.swap(false, Relaxed) => {
                self.marks.marked_value(value.clone())
            }
            (Back::One, [value]) if self.check == Check::Iterable => characters(state, value)?,
            (Back::One, [value]) => value.clone(),
            (Back::These, _) => values.iter().rev().cloned().collect(),
            _ => values.iter().cloned().collect(),
        })
    }
}

impl Checker {
    fn shown(&self, values: &[Value]) -> Vec<Value> {
        let shown: Vec<Option<Value>> = values.iter().map(|value| self.marks.true_value(value)).collect();
        self.shown.store(shown.iter().any(Option::is_some), Relaxed);
        shown.into_iter().zip(values).map(|(shown, value)| shown.unwrap_or_else(|| value.clone())).collect()
    }
}

impl Check {
    fn run(self, state: &State<'_, '_>, values: &[Value]) -> Result<(), Error> {
        match (self, values) {
            (Check::Materialize | Check::Shown | Check::ShownKey | Check::Marked, _) => Ok(()),
            (Check::Iterable, [value]) => iterable(value),
            (Check::Keep, _) => values.iter().try_for_each(may_be_kept_in_a_namespace),
            (Check::Length, _) => values.iter().try_for_each(|value| charge_length(state, value)),
            (Check::Values, _) => values.iter().try_for_each(|value| charge(state, value, Charge::Values)),
            (Check::Arguments, [_, arguments @ ..]) => {
                arguments.iter().try_for_each(|value| charge(state, value, Charge::Printed))
            }
            (Check::Compare, [left, right]) => match (left.as_object(), right.as_object()) {
                (Some(_), Some(_)) => {
                    charge(state, left, Charge::Printed)?;
                    charge(state, right, Charge::Printed)
                }
                (None, None) if left.as_bytes().map(<[u8]>::len) < right.as_bytes().map(<[u8]>::len) => {
                    charge_length(state, left)
                }
                (None, None) => charge_length(state, right),
                // Values of different kinds differ at the first look.
                _ => Ok(()),
            },
            (Check::Contains, [value, container]) => contains(state, value, container),
            (Check::Item, [container, key]) => {
                if container.kind() == ValueKind::String {
                    charge_length(state, container)?;
                }
                charge(state, key, Charge::Printed)
            }
            _ => values.iter().try_for_each(|value| charge(state, value, Charge::Printed)),
        }
    }

    /// The name of the function that does it.
    fn name(self, back: Back) -> &'static str {
        let names = CHECKS.iter().find(|(check, _)| *check == self).map_or(&CHECKS[0].1, |(_, names)| names);
        names[back as usize]
    }

    fn one<'s>(self) -> Instruction<'s> {
        Instruction::CallFunction(self.name(Back::One), Some(1))
    }

    /// The check of the `count` values on top of the stack, or of as many as the stack says.
    fn several<'s>(self, count: Option<u16>) -> Vec<Instruction<'s>> {
        match count {
            Some(0) => vec![],
            Some(1) => vec![self.one()],
            Some(count) => vec![
                Instruction::CallFunction(self.name(Back::These), Some(count)),
                Instruction::UnpackList(usize::from(count)),
            ],
            None => vec![Instruction::CallFunction(self.name(Back::All), None), Instruction::UnpackLists(1)],
        }
    }
}

/// The engine charges for a string that is searched, and for each value of a list; comparing them is charged for here.
fn contains(state: &State<'_, '_>, value: &Value, container: &Value) -> Result<(), Error> {
    charge(state, value, Charge::Printed)?;
    if !matches!(container.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Ok(());
    }
    match value.as_bytes() {
        Some(bytes) => {
            let values = container.len().unwrap_or(0) as u64;
            state.consume_fuel(values.saturating_mul(bytes.len() as u64) / BYTES_PER_FUEL)
        }
        None if value.as_object().is_some() => charge(state, container, Charge::Printed),
        None => Ok(()),
    }
}

/// The engine goes through nothing as it does through an empty list.
fn iterable(value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => Err(Error::new(ErrorKind::InvalidOperation, "'NoneType' object is not iterable")),
        _ => Ok(()),
    }
}

/// A text as a list of its characters; anything else as it is.
fn characters(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    let Some(text) = value.as_str() else { return Ok(value.clone()) };
    state.consume_fuel(text.len() as u64 / 2)?;
    Ok(text.chars().map(|c| Value::from(c.to_string())).collect())
}

/// Makes the checks known to the engine.
pub(super) fn add_checks(environment: &mut Environment<'_>, marks: &Arc<Marks>) {
    let shown = Arc::new(AtomicBool::new(false));
    for (check, names) in CHECKS {
        for (back, name) in [Back::One, Back::These, Back::All].into_iter().zip(names) {
            let (marks, shown) = (marks.clone(), shown.clone());
            environment.add_global(name, Value::from_object(Checker { check, back, marks, shown }));
        }
    }
}

/// A template's instructions with checks between them; with `marks`, those of texts that may hold marks too.
pub(in crate::chat) fn checked<'s>(plain: &Instructions<'s>, marks: bool) -> Instructions<'s> {
    let groups: Vec<Vec<Instruction<'s>>> = (0..)
        .map_while(|at: u32| Some((at, plain.get(at)?)))
        .map(|(at, instruction)| {
            let before = at.checked_sub(1).and_then(|before| plain.get(before));
            let group = group(instruction, before);
            if marks { shown(instruction, group) } else { group }
        })
        .collect();
    // Where each instruction's group begins: jumps lead there.
    let mut starts: Vec<u32> = vec![0];
    for group in &groups {
        starts.push(starts.last().copied().unwrap_or(0) + group.len() as u32);
    }
    let moved = |target: u32| starts.get(target as usize).copied().unwrap_or(target);
    let mut out = Instructions::new(plain.name(), plain.source());
    for (at, group) in (0..).zip(groups) {
        for mut instruction in group {
            use Instruction::*;
            match &mut instruction {
                Iterate(target)
                | Jump(target)
                | JumpIfFalse(target)
                | JumpIfFalseOrPop(target)
                | JumpIfTrueOrPop(target)
                | BuildMacro(_, target, _) => *target = moved(*target),
                _ => (),
            }
            match (plain.get_span(at), plain.get_line(at)) {
                (Some(span), _) => out.add_with_span(instruction, span),
                (None, Some(line)) => out.add_with_line(instruction, u16::try_from(line).unwrap_or(u16::MAX)),
                (None, None) => out.add(instruction),
            };
        }
    }
    out
}

/// Filters that look at how long a value is, or at one value in it.
const GLANCES: [&str; 6] = ["length", "count", "first", "last", "default", "d"];

/// Filters that walk over a list and leave what is in it alone.
const WALKS: [&str; 12] = [
    "items",
    "list",
    "reverse",
    "select",
    "reject",
    "selectattr",
    "rejectattr",
    "batch",
    "slice",
    "chain",
    "zip",
    "attr",
];

/// Tests that look at a value's kind.
const KINDS: [&str; 15] = [
    "defined",
    "undefined",
    "none",
    "boolean",
    "true",
    "false",
    "number",
    "integer",
    "float",
    "string",
    "sequence",
    "iterable",
    "mapping",
    "filter",
    "test",
];

/// An instruction with its checks.
fn group<'s>(instruction: &Instruction<'s>, before: Option<&Instruction<'s>>) -> Vec<Instruction<'s>> {
    use Instruction::*;
    let (mut group, materializes) = match instruction {
        BuildList(_) | BuildTuple(_) | Add | Mul | CallObject(_) => (vec![], true),
        LoadConst(value) => (vec![], value.kind() == ValueKind::Iterable),
        BuildMap(pairs) => (keys(*pairs), true),
        Slice => (Check::Length.several(Some(4)), true),
        GetItem if !is_name(before) => (Check::Item.several(Some(2)), false),
        StringConcat => (Check::Printed.several(Some(2)), false),
        Eq | Ne | Lt | Lte | Gt | Gte if !is_short(before) => (Check::Compare.several(Some(2)), false),
        In => (Check::Contains.several(Some(2)), false),
        CompareAndPreserve(_) => (Check::Printed.several(Some(2)), false),
        PushLoop(_) | FastRecurse => (vec![Check::Iterable.one(), Check::Length.one()], false),
        SetAttr(_) => (vec![Swap, Check::Keep.one(), Swap], false),
        ApplyFilter(name, ..) if GLANCES.contains(name) => (vec![], false),
        ApplyFilter(name, count, _) if WALKS.contains(name) => (Check::Values.several(*count), true),
        ApplyFilter(_, count, _) => (Check::Printed.several(*count), true),
        PerformTest(name, ..) if KINDS.contains(name) => (vec![], false),
        PerformTest(_, count, _) => (Check::Printed.several(*count), false),
        CallMethod(name, count) if ["count", "index"].contains(name) => {
            (Check::Printed.several(*count), true)
        }
        CallMethod(_, count) => (Check::Arguments.several(*count), true),
        CallFunction("\u{1}<" | "\u{1}<=" | "\u{1}>" | "\u{1}>=" | "\u{1}==" | "\u{1}!=", count) => {
            if is_short(before) {
                (vec![], false)
            } else {
                (Check::Compare.several(*count), false)
            }
        }
        CallFunction("\u{1}in" | "\u{1}not in", count) => (Check::Contains.several(*count), false),
        CallFunction("\u{1}~" | "\u{1}str", count) => (Check::Printed.several(*count), false),
        CallFunction(_, count) => (Check::Length.several(*count), true),
        _ => (vec![], false),
    };
    group.push(instruction.clone());
    if materializes {
        group.push(Check::Materialize.one());
    }
    group
}

/// Filters to which a text is as good as another: they copy, join or count what they are given.
const TRANSPARENT: [&str; 16] = [
    "length", "count", "first", "last", "default", "d", "items", "list", "reverse", "batch", "slice",
    "chain", "zip", "string", "join", "tojson",
];

/// An instruction's group with what shows it the true texts of those with marks.
fn shown<'s>(instruction: &Instruction<'s>, mut group: Vec<Instruction<'s>>) -> Vec<Instruction<'s>> {
    use Instruction::*;
    match instruction {
        ApplyFilter(name, count, _) if !TRANSPARENT.contains(name) => {
            group.splice(0..0, Check::Shown.several(*count));
            group.push(Check::Marked.one());
        }
        PerformTest(name, count, _) if !KINDS.contains(name) => {
            group.splice(0..0, Check::Shown.several(*count));
        }
        CompareAndPreserve(_) => {
            group.splice(0..0, Check::Shown.several(Some(2)));
        }
        GetItem => {
            group.splice(0..0, Check::ShownKey.several(Some(2)));
        }
        _ => (),
    }
    group
}

/// The check of a map's keys, which are hashed, and its values.
fn keys<'s>(pairs: usize) -> Vec<Instruction<'s>> {
    match u16::try_from(2 * pairs) {
        Ok(count) => Check::Values.several(Some(count)),
        // No tag has so many tokens.
        Err(_) => vec![],
    }
}

/// Whether the value that is on top of the stack is a constant name.
fn is_name(before: Option<&Instruction<'_>>) -> bool {
    matches!(before, Some(Instruction::LoadConst(value)) if value.kind() == ValueKind::String)
}

/// Whether the value that is on top of the stack is a constant that is compared at once.
fn is_short(before: Option<&Instruction<'_>>) -> bool {
    matches!(before, Some(Instruction::LoadConst(value))
        if value.as_object().is_none() && value.as_bytes().is_none_or(|bytes| bytes.len() < 64))
}

//! The size of a value when it is printed, iterated or compared; and lazy values materialized.

use std::borrow::Cow;

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Tuple, ValueKind},
};

use super::{BYTES_PER_FUEL, MAX_NESTING};

/// What is charged for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    /// Each value in it once: it is walked over.
    Values,
    /// Its printed form: it is printed, compared or hashed.
    Printed,
}

/// A walk over a value and all that it holds, as often as it holds it.
pub(super) struct Walk {
    values: u64,
    printed: u64,
    limit: u64,
}

fn refuse(problem: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

fn fuel_left(state: &State<'_, '_>) -> u64 {
    state.fuel_levels().map_or(u64::MAX, |(_, left)| left)
}

/// Charges for walking over or printing `value`; nothing for what holds no values.
pub(super) fn charge(state: &State<'_, '_>, value: &Value, charge: Charge) -> Result<(), Error> {
    if value.as_object().is_none() {
        return match (charge, value.as_bytes()) {
            (Charge::Printed, Some(bytes)) => state.consume_fuel(bytes.len() as u64 / BYTES_PER_FUEL),
            _ => Ok(()),
        };
    }
    let mut walk = Walk::new(state);
    walk.over(value, 0)?;
    walk.pay(state, charge)
}

/// Charges for going through `value` once, without what it holds.
pub(super) fn charge_length(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let fuel = match value.as_object() {
        Some(object) => object.enumerator_len().unwrap_or(0) as u64 / 4,
        None => value.as_bytes().map_or(0, |bytes| bytes.len() as u64 / BYTES_PER_FUEL),
    };
    if fuel > 0 { state.consume_fuel(fuel) } else { Ok(()) }
}

/// `value` as it may be kept: lazy lists and maps made whole, everything within the bounds.
pub(super) fn materialize(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.as_object().is_none() {
        return Ok(value.clone());
    }
    let mut walk = Walk::new(state);
    let materialized = walk.materialize(value, 0)?;
    walk.pay(state, Charge::Values)?;
    Ok(materialized.unwrap_or_else(|| value.clone()))
}

/// Whether a namespace may hold `value`. One that holds a namespace could hold itself; loops hold what they go through,
/// functions what they were made with.
pub(super) fn may_be_kept_in_a_namespace(value: &Value) -> Result<(), Error> {
    if value.kind() == ValueKind::Plain || is_opaque(value) {
        return Err(refuse(
            "a namespace can hold text, numbers, lists and maps, but no namespace, loop or function",
        ));
    }
    Ok(())
}

/// Whether `value` is an object of the engine's type of this name, which it keeps to itself.
fn is_a(value: &Value, name: &str) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with(name))
}

/// A namespace, a loop or a module: what it holds can change, or cannot be seen.
fn is_opaque(value: &Value) -> bool {
    ["::Namespace", "::Loop", "::Module"].into_iter().any(|name| is_a(value, name))
}

/// Maps that hold their entries themselves.
fn is_whole_map(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        let name = object.type_name();
        name.starts_with("indexmap::")
            || name.starts_with("alloc::collections::")
            || name.ends_with("::KwargsValues")
    })
}

impl Walk {
    fn new(state: &State<'_, '_>) -> Self {
        Walk { values: 0, printed: 0, limit: fuel_left(state).saturating_mul(BYTES_PER_FUEL) }
    }

    fn pay(&self, state: &State<'_, '_>, charge: Charge) -> Result<(), Error> {
        let printed = if charge == Charge::Printed { self.printed / BYTES_PER_FUEL } else { 0 };
        state.consume_fuel(self.values / 2 + printed)
    }

    /// One more value, `bytes` long, `depth` lists below the first.
    fn count(&mut self, bytes: usize, depth: usize) -> Result<(), Error> {
        if depth > MAX_NESTING {
            return Err(refuse(format!("values nested more than {MAX_NESTING} deep")));
        }
        self.values += 1;
        // A place in a list, perhaps half empty; where it is printed in lines, the indentation.
        self.printed += (bytes + 48 + 4 * depth) as u64;
        if self.printed > self.limit {
            return Err(refuse("a value is larger than the fuel that is left pays for"));
        }
        Ok(())
    }

    /// Counts `value` and all in it.
    fn over(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.count(value.as_bytes().map_or(0, <[u8]>::len), depth)?;
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                for item in value.try_iter()? {
                    self.over(&item, depth + 1)?;
                }
            }
            ValueKind::Map if !is_a(value, "::Loop") => {
                for (key, item) in pairs(value) {
                    self.over(&key, depth + 1)?;
                    self.over(&item, depth + 1)?;
                }
            }
            _ => (),
        }
        Ok(())
    }

    /// Counts `value` and all in it; what to put in its place, if it is not whole.
    fn materialize(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        if is_opaque(value) {
            return self.opaque(value, depth).map(|()| None);
        }
        // A macro's map says what arguments it takes.
        if is_a(value, "::Macro") {
            return self.count(0, depth).map(|()| None);
        }
        if is_a(value, "::GroupTuple") {
            return self.over(value, depth).map(|()| None);
        }
        self.count(value.as_bytes().map_or(0, <[u8]>::len), depth)?;
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                let mut whole = value.is_tuple() || value.downcast_object_ref::<Vec<Value>>().is_some();
                let mut items = Vec::new();
                for item in value.try_iter()? {
                    let materialized = self.materialize(&item, depth + 1)?;
                    whole &= materialized.is_none();
                    items.push(materialized.unwrap_or(item));
                }
                Ok((!whole).then(|| match value.is_tuple() {
                    true => Value::from(Tuple::from(items)),
                    false => Value::from(items),
                }))
            }
            ValueKind::Map => {
                let mut whole = is_whole_map(value);
                let mut entries = Vec::new();
                for (key, item) in pairs(value) {
                    self.materialize(&key, depth + 1)?;
                    let materialized = self.materialize(&item, depth + 1)?;
                    whole &= materialized.is_none();
                    entries.push((key, materialized.unwrap_or(item)));
                }
                Ok((!whole).then(|| Value::from_pairs(entries)))
            }
            _ => Ok(None),
        }
    }

    /// A namespace or a loop, which may be named and nothing else.
    fn opaque(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.count(0, depth)?;
        if depth > 0 {
            return Err(refuse("a list or map cannot hold a namespace or a loop"));
        }
        if is_a(value, "::Namespace") {
            for (_, item) in pairs(value) {
                may_be_kept_in_a_namespace(&item)?;
                self.over(&item, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// The entries of a map.
fn pairs(value: &Value) -> impl Iterator<Item = (Value, Value)> {
    value.as_object().and_then(|object| object.try_iter_pairs()).into_iter().flatten()
}

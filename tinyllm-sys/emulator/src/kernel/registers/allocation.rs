//! New slots for a kernel's registers: those that are needed at different times share one.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{
    Access,
    liveness::{Event, Flow, Interval},
};
use crate::{
    kernel::{Constant, Kernel},
    lanes::{Class, Slot},
};

/// Rows that stay side by side, or a predicate.
#[derive(Clone, Debug)]
struct Register {
    /// Its first old slot.
    first: u32,
    /// Rows of it.
    width: u32,
    predicate: bool,
    /// Holds its value from the start of a warp to its end.
    fixed: bool,
    events: Vec<Event>,
    /// Its first new slot, once it has one.
    place: Option<u32>,
}

/// The registers of a kernel by their old slots.
#[derive(Debug)]
struct Registers {
    list: Vec<Register>,
    /// Numbers into the list.
    of_row: Vec<u32>,
    of_predicate: Vec<u32>,
}

impl Registers {
    /// Rows that are used as a pair anywhere are one register.
    fn new(kernel: &mut Kernel) -> Self {
        let rows = kernel.rows as usize;
        let mut joined = vec![false; rows + 1];
        for instruction in &mut kernel.code {
            instruction.visit_slots(&mut |slot, class, _| {
                joined[slot.0 as usize] |= class == Class::Pair;
            });
        }
        for (slot, constant) in &kernel.constants {
            joined[slot.0 as usize] |= class_of(constant) == Class::Pair;
        }
        let mut list: Vec<Register> = Vec::new();
        let mut of_row = Vec::with_capacity(rows);
        for row in 0..rows {
            match list.last_mut() {
                Some(register) if row > 0 && joined[row - 1] => register.width += 1,
                _ => list.push(Register::new(row as u32, false)),
            }
            of_row.push(list.len() as u32 - 1);
        }
        let mut of_predicate = Vec::with_capacity(kernel.predicates as usize);
        for predicate in 0..kernel.predicates {
            of_predicate.push(list.len() as u32);
            list.push(Register::new(predicate, true));
        }
        Registers { list, of_row, of_predicate }
    }

    fn of(&mut self, slot: Slot, class: Class) -> &mut Register {
        let numbers = if class == Class::Predicate { &self.of_predicate } else { &self.of_row };
        &mut self.list[numbers[slot.0 as usize] as usize]
    }

    /// A slot's new number.
    fn renumber(&mut self, slot: &mut Slot, class: Class) {
        let register = self.of(*slot, class);
        if let Some(place) = register.place {
            slot.0 = place + (slot.0 - register.first);
        }
    }
}

impl Register {
    fn new(first: u32, predicate: bool) -> Self {
        Register { first, width: 1, predicate, fixed: false, events: Vec::new(), place: None }
    }
}

fn class_of(constant: &Constant) -> Class {
    match constant {
        Constant::Narrow(_) => Class::Row,
        Constant::Wide(_) | Constant::Symbol(..) => Class::Pair,
    }
}

/// Places that were used and are free, by what fits them; and how many there are of each kind.
#[derive(Debug, Default)]
struct Places {
    free: HashMap<(bool, u32), Vec<u32>>,
    rows: u32,
    predicates: u32,
}

impl Places {
    /// The place that was used last, because it is in the cache; or a new one.
    fn take(&mut self, register: &Register) -> u32 {
        let free = self.free.get_mut(&(register.predicate, register.width)).and_then(Vec::pop);
        free.unwrap_or_else(|| {
            let end = if register.predicate { &mut self.predicates } else { &mut self.rows };
            *end += register.width;
            *end - register.width
        })
    }

    fn give_back(&mut self, register: &Register) {
        if let Some(place) = register.place {
            self.free.entry((register.predicate, register.width)).or_default().push(place);
        }
    }
}

/// Gives a kernel's registers new slots, as few as the times allow at which they are needed.
pub(crate) fn allocate(kernel: &mut Kernel) {
    let mut registers = Registers::new(kernel);
    for (slot, constant) in &kernel.constants {
        registers.of(*slot, class_of(constant)).fixed = true;
    }
    for (slot, _) in &kernel.specials {
        registers.of(*slot, Class::Row).fixed = true;
    }
    for (pc, instruction) in (0u32..).zip(&mut kernel.code) {
        let guarded = instruction.guard.is_some();
        instruction.visit_slots(&mut |slot, class, access| {
            let register = registers.of(*slot, class);
            let writes = access == Access::Write;
            let whole = register.width == if class == Class::Pair { 2 } else { 1 };
            register.events.push(Event { pc, writes, kills: writes && whole && !guarded });
        });
    }
    let places = place(&mut registers.list, &mut Flow::new(&kernel.code));
    for instruction in &mut kernel.code {
        instruction.visit_slots(&mut |slot, class, _| registers.renumber(slot, class));
    }
    for (slot, constant) in &mut kernel.constants {
        registers.renumber(slot, class_of(constant));
    }
    for (slot, _) in &mut kernel.specials {
        registers.renumber(slot, Class::Row);
    }
    (kernel.rows, kernel.predicates) = (places.rows, places.predicates);
}

/// Goes over the registers in the order in which they are first needed, and gives each a place that none has any more.
fn place(registers: &mut [Register], flow: &mut Flow) -> Places {
    let mut places = Places::default();
    let mut waiting: Vec<(Interval, usize)> = Vec::new();
    for (number, register) in registers.iter_mut().enumerate() {
        if register.fixed {
            register.place = Some(places.take(register));
        } else if let Some(interval) = flow.interval(&register.events) {
            waiting.push((interval, number));
        }
    }
    // Those that may be read before they are set begin together at 0, so each has a place that nobody has used.
    waiting.sort_unstable_by_key(|(interval, number)| (interval.start, *number));
    let mut ends: BinaryHeap<Reverse<(u32, usize)>> = BinaryHeap::new();
    for (interval, number) in waiting {
        while let Some(Reverse((end, ended))) = ends.peek().copied()
            && end < interval.start
        {
            ends.pop();
            places.give_back(&registers[ended]);
        }
        registers[number].place = Some(places.take(&registers[number]));
        ends.push(Reverse((interval.end, number)));
    }
    places
}

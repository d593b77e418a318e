//! What lies where in a device's address space at one moment: regions that may be touched, and what is left of freed ones.

use std::{fmt, sync::Arc};

use super::Bytes;
use crate::report::{Place, Relation};

/// Bytes that may be touched: an allocation, or the mapped part of a reservation.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    /// The first address.
    pub(crate) start: u64,
    /// The address after the last.
    pub(crate) end: u64,
    /// What lies there.
    pub(crate) bytes: Arc<Bytes>,
    /// Where `start` is in `bytes`.
    pub(crate) offset: u64,
    /// Whether it is a module's constant memory.
    pub(crate) constant: bool,
    /// Its name until the program gives one.
    pub(crate) label: Arc<str>,
}

/// Addresses that were a region's.
#[derive(Clone, Debug)]
pub(crate) struct Freed {
    /// The first address.
    pub(crate) start: u64,
    /// The address after the last.
    pub(crate) end: u64,
    /// What it was called.
    pub(crate) label: Arc<str>,
}

/// A name that the program gave to a range: a whole allocation or a part of it.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    /// The first address.
    pub(crate) start: u64,
    /// The address after the last.
    pub(crate) end: u64,
    /// The name.
    pub(crate) name: Arc<str>,
}

/// An address space as a piece of work finds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    /// In order, disjoint.
    pub(crate) regions: Vec<Region>,
    /// The latest last.
    pub(crate) freed: Vec<Freed>,
    /// The latest last; a freed region's stay, for findings about it.
    pub(crate) names: Vec<Name>,
}

impl Space {
    /// The region of a whole range.
    pub(crate) fn find(&self, address: u64, bytes: u64) -> Option<&Region> {
        let region = self.regions.get(self.index(address)?)?;
        (address.checked_add(bytes)? <= region.end).then_some(region)
    }

    /// The number of the region that an address lies in.
    pub(crate) fn index(&self, address: u64) -> Option<usize> {
        let after = self.regions.partition_point(|region| region.start <= address);
        let index = after.checked_sub(1)?;
        (address < self.regions[index].end).then_some(index)
    }

    /// The place of an address: in what, how far from its start, or beside what.
    pub(crate) fn place(&self, address: u64) -> Option<Place> {
        if let Some(index) = self.index(address) {
            let region = &self.regions[index];
            return Some(self.named(region.start, region.end, &region.label, address, Relation::Inside));
        }
        let freed = self.freed.iter().rev().find(|freed| (freed.start..freed.end).contains(&address));
        if let Some(freed) = freed {
            return Some(self.named(freed.start, freed.end, &freed.label, address, Relation::Freed));
        }
        let distance = |region: &&Region| match address < region.start {
            true => region.start - address,
            false => address - (region.end - 1),
        };
        let nearest = self.regions.iter().min_by_key(distance)?;
        let relation = if address < nearest.start { Relation::Before } else { Relation::After };
        Some(self.named(nearest.start, nearest.end, &nearest.label, address, relation))
    }

    fn named(&self, start: u64, end: u64, label: &str, address: u64, relation: Relation) -> Place {
        // The smallest name that has the address, else one of the whole; beside a region, the part at that end.
        let near = match relation {
            Relation::Before => start,
            Relation::After => end - 1,
            Relation::Inside | Relation::Freed => address,
        };
        let covers =
            |name: &&Name| (name.start..name.end).contains(&near) && name.start >= start && name.end <= end;
        let name = self.names.iter().rev().filter(covers).min_by_key(|name| name.end - name.start);
        let (start, end, name) = name.map_or((start, end, label), |name| (name.start, name.end, &*name.name));
        Place {
            name: name.to_owned(),
            bytes: end - start,
            offset: match relation {
                Relation::Before => start - address,
                Relation::After => address - end,
                Relation::Inside | Relation::Freed => address - start,
            },
            relation,
        }
    }
}

impl Region {
    /// Whether it is page-locked memory, which the host writes without a call. It has the host's address.
    pub(crate) fn is_of_host(&self) -> bool {
        self.bytes.as_ptr().addr() as u64 + self.offset == self.start
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at {:#x}, {} bytes", self.label, self.start, self.end - self.start)
    }
}

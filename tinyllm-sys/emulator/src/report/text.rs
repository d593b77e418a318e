//! Findings as text: what, where, in which allocation.

use std::fmt;

use super::{Access, Call, Finding, Kind, MemorySpace, Other, Place, Relation, Site, Thread};

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::OutOfBounds => "out of bounds",
            Kind::UseAfterFree => "use after free",
            Kind::Misaligned => "misaligned address",
            Kind::DoubleFree => "double free",
            Kind::InvalidFree => "invalid free",
            Kind::InvalidOperand => "invalid operand",
            Kind::InvalidCall => "call of no function",
            Kind::Trap => "trap",
            Kind::Uninitialized => "uninitialized read",
            Kind::SharedRace => "race in shared memory",
            Kind::EqualStores => "note: equal values stored to shared memory",
            Kind::GlobalRace => "race between blocks",
            Kind::BarrierDivergence => "barrier divergence",
            Kind::WarpDivergence => "warp divergence",
            Kind::InactiveLane => "shuffle from an inactive lane",
            Kind::Endless => "kernel that never ends",
            Kind::MbarrierMisuse => "wrong use of an mbarrier",
            Kind::StreamRace => "race between streams",
            Kind::SourceChanged => "source changed before its copy was done",
            Kind::Leak => "leak",
            Kind::Contraction => "note: sums of products that may be fused",
        })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Atomic => "atomic",
            Access::Lifetime => "allocation or free",
        })
    }
}

impl fmt::Display for MemorySpace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            MemorySpace::Global => "global",
            MemorySpace::Shared => "shared",
            MemorySpace::Local => "local",
            MemorySpace::Param => "parameter",
        })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name)?;
        if let Some(module) = self.module {
            write!(formatter, " of module {module}")?;
        }
        if let Some((file, line)) = &self.source {
            write!(formatter, " {file}:{line}")?;
        }
        for Call { function, called_at } in &self.calls {
            write!(formatter, " in {function}")?;
            if let Some((file, line)) = called_at {
                write!(formatter, ", called at {file}:{line}")?;
            }
        }
        write!(formatter, " (PTX line {}: {})", self.ptx_line, self.instruction)
    }
}

impl fmt::Display for Thread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [x, y, z]) = (self.block, self.thread);
        write!(formatter, "block ({bx}, {by}, {bz}) thread ({x}, {y}, {z})")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { name, bytes, offset, relation } = self;
        match relation {
            Relation::Inside => write!(formatter, "byte {offset} of {name} ({bytes} bytes)"),
            Relation::Freed => write!(formatter, "byte {offset} of {name} ({bytes} bytes), which was freed"),
            Relation::Before => write!(formatter, "{offset} bytes before {name} ({bytes} bytes)"),
            Relation::After => write!(formatter, "{offset} bytes after the end of {name} ({bytes} bytes)"),
        }
    }
}

impl fmt::Display for Other {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.access)?;
        if let Some(work) = &self.work {
            write!(formatter, " in {work}")?;
        }
        if let Some(thread) = &self.thread {
            write!(formatter, " by {thread}")?;
        }
        if let Some(site) = &self.site {
            write!(formatter, " at {site}")?;
        }
        if let Some(address) = self.address {
            write!(formatter, ", {} bytes at {address:#x}", self.bytes)?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.kind)?;
        if let (Kind::Leak, Some(place)) = (self.kind, &self.place) {
            write!(formatter, "{}", place.name)?;
            if let Some(address) = self.address {
                write!(formatter, ", {} bytes at {address:#x}", place.bytes)?;
            }
            return write!(formatter, ": {}", self.note);
        }
        match (self.access, self.space) {
            (Some(access), Some(space)) => {
                write!(formatter, "{access} of {} bytes of {space} memory", self.bytes)?
            }
            (Some(access), None) => write!(formatter, "{access} of {} bytes", self.bytes)?,
            (None, _) => write!(formatter, "{}", self.work)?,
        }
        if let Some(address) = self.address {
            write!(formatter, " at {address:#x}")?;
        }
        if let Some(place) = &self.place {
            write!(formatter, ", {place}")?;
        }
        if !self.note.is_empty() {
            write!(formatter, ": {}", self.note)?;
        }
        match &self.site {
            Some(site) => write!(formatter, "\n    at {site}")?,
            None if self.access.is_some() => write!(formatter, "\n    in {}", self.work)?,
            None => {}
        }
        if let Some(thread) = &self.thread {
            write!(formatter, "\n    by {thread}")?;
        }
        if let Some(other) = &self.other {
            write!(formatter, "\n    against {other}")?;
        }
        if let Some(used) = &self.used {
            write!(formatter, "\n    {}", used.how)?;
            if let Some(site) = &used.site {
                write!(formatter, " at {site}")?;
            }
            if let Some(thread) = used.thread.as_ref().filter(|_| used.thread != self.thread) {
                write!(formatter, " by {thread}")?;
            }
        }
        if self.count > 1 {
            write!(formatter, "\n    seen {} times", self.count)?;
        }
        Ok(())
    }
}

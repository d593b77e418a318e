//! Groups of a warp's lanes with the same program counter, and what some of them wait for.

/// What lanes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wait {
    /// For these lanes of the warp to reach the same instruction.
    Lanes(u32),
    /// At a barrier of the block.
    Barrier(u32),
}

/// Lanes at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) pc: u32,
    pub(super) mask: u32,
    pub(super) wait: Option<Wait>,
}

impl Group {
    #[inline(always)]
    fn is_runnable(&self, live: u32) -> bool {
        match self.wait {
            None => true,
            Some(Wait::Lanes(members)) => members & live & !self.mask == 0,
            Some(Wait::Barrier(_)) => false,
        }
    }
}

/// All groups of a warp but the one that runs.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Groups {
    list: Vec<Group>,
}

impl Groups {
    /// One group of all lanes at the start.
    pub(super) fn start(&mut self, mask: u32) {
        self.list.clear();
        self.list.push(Group { pc: 0, mask, wait: None });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Puts lanes back. They join those with the same program counter that do not wait for the block.
    #[inline(always)]
    pub(super) fn put(&mut self, group: Group) {
        let barrier = |wait: Option<Wait>| matches!(wait, Some(Wait::Barrier(_)));
        let same = self
            .list
            .iter_mut()
            .find(|other| other.pc == group.pc && barrier(other.wait) == barrier(group.wait));
        match same {
            Some(other) => {
                other.mask |= group.mask;
                // Who waits for lanes may have got those: it is looked at again.
                other.wait = other.wait.filter(|wait| matches!(wait, Wait::Barrier(_)));
            }
            None => self.list.push(group),
        }
    }

    /// Takes the runnable group with the lowest program counter. A group that waits for lanes runs when they have arrived or ended.
    #[inline(always)]
    pub(super) fn take(&mut self, live: u32) -> Option<Group> {
        let numbered = self.list.iter().enumerate().filter(|(_, group)| group.is_runnable(live));
        let (index, _) = numbered.min_by_key(|(_, group)| group.pc)?;
        Some(self.list.swap_remove(index))
    }

    /// The next program counter after `pc` with lanes that this group could join.
    #[inline(always)]
    pub(super) fn reconvergence(&self, pc: u32) -> u32 {
        let joinable =
            self.list.iter().filter(|group| group.pc > pc && !matches!(group.wait, Some(Wait::Barrier(_))));
        joinable.map(|group| group.pc).min().unwrap_or(u32::MAX)
    }

    /// Releases the lanes that wait at a barrier; they continue after it.
    pub(super) fn release(&mut self, id: u32) {
        let mut kept = Vec::with_capacity(self.list.len());
        for mut group in self.list.drain(..) {
            if group.wait == Some(Wait::Barrier(id)) {
                group.wait = None;
                group.pc += 1;
            }
            kept.push(group);
        }
        for group in kept {
            self.put(group);
        }
    }

    /// Releases the lowest group that waits for lanes, which will not arrive. False where none waits.
    pub(super) fn give_up_lanes(&mut self) -> bool {
        let waiting = self.list.iter_mut().filter(|group| matches!(group.wait, Some(Wait::Lanes(_))));
        match waiting.min_by_key(|group| group.pc) {
            Some(group) => {
                group.wait = None;
                true
            }
            None => false,
        }
    }

    /// Takes the runnable group of the highest position, so that no lanes starve the others.
    pub(super) fn take_last(&mut self, live: u32) -> Option<Group> {
        let numbered = self.list.iter().enumerate().filter(|(_, group)| group.is_runnable(live));
        let (index, _) = numbered.max_by_key(|(_, group)| group.pc)?;
        Some(self.list.swap_remove(index))
    }

    /// Whether some can run.
    pub(super) fn can_run(&self, live: u32) -> bool {
        self.list.iter().any(|group| group.is_runnable(live))
    }

    /// Those who wait at a barrier.
    pub(super) fn waiting_at(&self, id: u32) -> impl Iterator<Item = Group> {
        self.list.iter().filter(move |group| group.wait == Some(Wait::Barrier(id))).copied()
    }

    /// Groups that wait, for a report.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Group> {
        self.list.iter().filter(|group| group.wait.is_some())
    }
}

//! Lanes of a warp that stand at the same instruction, and why some of them wait.

/// Why lanes do not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// For these lanes of the warp to come to the same instruction.
    Lanes(u32),
    /// At a barrier of the block.
    Barrier(u32),
}

/// Lanes at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default)]
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

    /// Puts lanes back. They join those that stand at the same place and do not wait for the block.
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
                other.wait = other.wait.or(group.wait);
            }
            None => self.list.push(group),
        }
    }

    /// Takes the runnable group of the lowest position. A group that waits for lanes runs when they have come, or are gone.
    #[inline(always)]
    pub(super) fn take(&mut self, live: u32) -> Option<Group> {
        let numbered = self.list.iter().enumerate().filter(|(_, group)| group.is_runnable(live));
        let (index, _) = numbered.min_by_key(|(_, group)| group.pc)?;
        Some(self.list.swap_remove(index))
    }

    /// The next position after `pc` where lanes stand that could be joined.
    #[inline(always)]
    pub(super) fn meeting(&self, pc: u32) -> u32 {
        let joinable =
            self.list.iter().filter(|group| group.pc > pc && !matches!(group.wait, Some(Wait::Barrier(_))));
        joinable.map(|group| group.pc).min().unwrap_or(u32::MAX)
    }

    /// Lets go those who wait at a barrier; they go on after it.
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

    /// Lets the lowest group go on that waits for lanes: those it waits for will not come. False where none does.
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

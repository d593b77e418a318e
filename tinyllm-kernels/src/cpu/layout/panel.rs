//! The layout of values and scales in a panel of int8 weights.

use super::PANEL;
use crate::{GroupSize, ScaleType};

/// A panel: sixteen outputs of a W8A16 weight. For each group its scales, `[16]`, then its values, `[pairs of
/// inputs][16][2]`: a matmul reads a panel sequentially.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PanelLayout {
    pub(crate) k: usize,
    pub(crate) group_size: GroupSize,
    pub(crate) scale_type: ScaleType,
}

impl PanelLayout {
    /// Values of one pair of inputs.
    const PAIR_BYTES: usize = 2 * PANEL;

    pub(crate) fn groups(self) -> usize {
        self.group_size.groups(self.k)
    }

    /// Pairs of inputs of a group; the last group may have fewer.
    pub(crate) fn group_pairs(self) -> usize {
        // A group is odd only if it is the whole row.
        self.group_size.elements(self.k).div_ceil(2)
    }

    /// Size of a group's scales.
    pub(crate) fn scales_bytes(self) -> usize {
        PANEL * self.scale_type.size_bytes()
    }

    /// Bytes from one group to the next.
    pub(crate) fn group_bytes(self) -> usize {
        self.scales_bytes() + self.group_pairs() * Self::PAIR_BYTES
    }

    /// Offset of the values of pair `pair`, which is in `group`.
    pub(crate) fn values_offset(self, group: usize, pair: usize) -> usize {
        (group + 1) * self.scales_bytes() + pair * Self::PAIR_BYTES
    }

    /// Size of a panel: a multiple of 32.
    pub(crate) fn bytes(self) -> usize {
        self.groups() * self.scales_bytes() + self.k.div_ceil(2) * Self::PAIR_BYTES
    }
}

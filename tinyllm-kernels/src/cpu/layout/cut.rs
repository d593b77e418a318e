//! How a range of panels is cut into streams, which are read in an interleaved loop.

use std::ops::Range;

/// Streams at most: with few rows two panels are multiplied in one loop, because one accumulator's latency would limit
/// it.
pub(crate) const MAX_STREAMS: usize = 2;

/// A range of panels cut into streams of consecutive panels. Column i is panel i of each stream; the last column may
/// have fewer panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    panels_start: usize,
    panels: usize,
    count: usize,
}

impl Streams {
    /// Cuts `panels` into `count` streams.
    pub(crate) fn cut(panels: Range<usize>, count: usize) -> Self {
        Streams { panels_start: panels.start, panels: panels.len(), count }
    }

    /// The panels of a stream.
    pub(crate) fn extent(self, extent: usize) -> Range<usize> {
        self.panel(extent, 0)..self.panel(extent + 1, 0)
    }

    /// Number of columns.
    pub(crate) fn columns(self) -> usize {
        self.panels.div_ceil(self.count)
    }

    /// Number of panels in a column.
    pub(crate) fn width(self, column: usize) -> usize {
        if column < self.panels / self.count { self.count } else { self.panels % self.count }
    }

    /// A stream's panel in a column.
    pub(crate) fn panel(self, extent: usize, column: usize) -> usize {
        let (len, longer) = (self.panels / self.count, self.panels % self.count);
        self.panels_start + extent * len + extent.min(longer) + column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_cover_every_panel_once() {
        for (start, panels, count) in [(0, 36, 4), (5, 30, 4), (7, 3, 4), (0, 1, 2), (11, 97, 2), (3, 8, 1)] {
            let streams = Streams { panels_start: start, panels, count };
            let mut found: Vec<usize> = (0..streams.columns())
                .flat_map(|column| (0..streams.width(column)).map(move |s| streams.panel(s, column)))
                .collect();
            // The panels of a stream are consecutive.
            assert!(streams.columns() < 3 || streams.panel(count - 1, 1) == streams.panel(count - 1, 0) + 1);
            found.sort_unstable();
            assert_eq!(found, (start..start + panels).collect::<Vec<_>>());
        }
    }
}

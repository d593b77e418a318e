//! Where each named region lies in one arena, by the steps during which it lives.

use crate::{Category, MemError, Part};

/// A region to place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The name reports show.
    pub name: String,
    /// What it counts as.
    pub category: Category,
    /// Size in bytes.
    pub bytes: usize,
    /// Alignment in bytes, a power of two.
    pub align_bytes: usize,
    /// First and last step in which it holds something.
    pub lifetime: (usize, usize),
}

/// What a region is sorted by: larger is placed first.
type Order = fn(&Region) -> (usize, usize);

/// Offsets of regions in one arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    regions: Vec<Region>,
    offsets: Vec<usize>,
    total_bytes: usize,
}

impl Plan {
    /// Packs regions: those that never live at once may share bytes.
    ///
    /// # Errors
    /// [`MemError::BadSize`] where sizes overflow.
    pub fn pack(regions: Vec<Region>) -> Result<Self, MemError> {
        let orders: [Order; 3] = [
            |region| (region.bytes, region.lifetime.1 - region.lifetime.0),
            |region| (region.bytes.saturating_mul(region.lifetime.1 - region.lifetime.0 + 1), region.bytes),
            |region| (usize::MAX - region.lifetime.0, region.bytes),
        ];
        let overflow = |region: Option<&Region>| MemError::BadSize {
            name: region.map_or_else(String::new, |region| region.name.clone()),
            bytes: region.map_or(0, |region| region.bytes),
        };
        let best = orders
            .into_iter()
            .filter_map(|key| place(&regions, key))
            .min_by_key(|(_, total_bytes)| *total_bytes);
        match best {
            Some((offsets, total_bytes)) => Ok(Plan { regions, offsets, total_bytes }),
            None => Err(overflow(regions.iter().max_by_key(|region| region.bytes))),
        }
    }

    /// The regions, as given.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Where each region begins, in the order given.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Size of the arena.
    pub fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// The largest sum of bytes that live at once: no arena can be smaller.
    pub fn lower_bound_bytes(&self) -> usize {
        self.busiest().1
    }

    /// The arena by category. Regions share bytes, so the bytes are those of the busiest step; what is over is padding.
    pub fn parts(&self) -> Vec<Part> {
        let (step, live_bytes) = self.busiest();
        let live = self.regions.iter().filter(|region| lives(region, step));
        let mut parts: Vec<Part> =
            live.map(|region| Part::new(region.category, region.name.clone(), region.bytes)).collect();
        if self.total_bytes > live_bytes {
            parts.push(Part::new(Category::Padding, "arena.padding", self.total_bytes - live_bytes));
        }
        parts
    }

    /// The step with the most live bytes, and those bytes.
    fn busiest(&self) -> (usize, usize) {
        let steps = self.regions.iter().map(|region| region.lifetime.0);
        let live_at =
            |step| self.regions.iter().filter(|region| lives(region, step)).map(|region| region.bytes).sum();
        steps
            .map(|step| (step, live_at(step)))
            .fold((0, 0), |best, next| if next.1 > best.1 { next } else { best })
    }
}

fn lives(region: &Region, step: usize) -> bool {
    region.lifetime.0 <= step && step <= region.lifetime.1
}

/// Places regions, largest key first, each at the lowest offset that no living neighbour covers.
fn place(regions: &[Region], key: Order) -> Option<(Vec<usize>, usize)> {
    let mut order: Vec<usize> = (0..regions.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(key(&regions[index])));
    let mut offsets = vec![0usize; regions.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(regions.len());
    let mut total = 0usize;
    for index in order {
        let region = &regions[index];
        let mut offset = 0usize;
        // `placed` is sorted by offset, so one pass finds the first gap that fits.
        for &other in &placed {
            let neighbour = &regions[other];
            let apart = neighbour.lifetime.1 < region.lifetime.0 || region.lifetime.1 < neighbour.lifetime.0;
            if apart || offset.checked_add(region.bytes)? <= offsets[other] {
                continue;
            }
            offset =
                offset.max((offsets[other] + neighbour.bytes).checked_next_multiple_of(region.align_bytes)?);
        }
        offsets[index] = offset;
        total = total.max(offset.checked_add(region.bytes)?);
        let at = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(at, index);
    }
    Some((offsets, total))
}

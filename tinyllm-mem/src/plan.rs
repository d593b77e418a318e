//! Where each named region lies in one arena, by the steps during which it lives.

use crate::{Category, MAX_ALIGN_BYTES, MemError, Part};

/// A region to place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// The name reports show.
    pub name: String,
    /// What it counts as.
    pub category: Category,
    /// Size in bytes.
    pub bytes: usize,
    /// Alignment in bytes: a power of two, at most [`MAX_ALIGN_BYTES`].
    pub align_bytes: usize,
    /// First and last step in which it holds something.
    pub lifetime: (usize, usize),
}

impl Region {
    /// A region that holds something from the first step of `lifetime` to the last, both included.
    pub fn new(
        name: impl Into<String>,
        category: Category,
        bytes: usize,
        align_bytes: usize,
        lifetime: (usize, usize),
    ) -> Self {
        Region { name: name.into(), category, bytes, align_bytes, lifetime }
    }
}

/// What a region is sorted by: larger is placed first.
type Order<'a> = &'a dyn Fn(&Region) -> (usize, usize);

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
    /// [`MemError::BadSize`] where sizes overflow; [`MemError::BadAlignment`]; [`MemError::BadLifetime`].
    pub fn pack(regions: Vec<Region>) -> Result<Self, MemError> {
        regions.iter().try_for_each(check)?;
        let steps = |region: &Region| region.lifetime.1 - region.lifetime.0;
        let loads = loads(&regions);
        let busiest = |region: &Region| {
            let during = loads.iter().filter(|(step, _)| lives(region, *step));
            during.map(|(_, bytes)| *bytes).max().unwrap_or(0)
        };
        // The orders of the literature (greedy by size and by breadth: Pisarchyk and Lee 2020); the best one wins.
        let orders: [Order<'_>; 5] = [
            &|region| (region.bytes, steps(region)),
            &|region| (busiest(region), region.bytes),
            &|region| (steps(region), region.bytes),
            &|region| (region.bytes.saturating_mul(steps(region).saturating_add(1)), region.bytes),
            &|region| (usize::MAX - region.lifetime.0, region.bytes),
        ];
        let overflow = |region: Option<&Region>| MemError::BadSize {
            name: region.map_or_else(String::new, |region| region.name.clone()),
            bytes: region.map_or(0, |region| region.bytes),
        };
        let sorted = orders.into_iter().map(|key| {
            let mut order: Vec<usize> = (0..regions.len()).collect();
            order.sort_by_cached_key(|&index| std::cmp::Reverse(key(&regions[index])));
            order
        });
        let placed = sorted.filter_map(|order| Some((place(&regions, &order)?, order)));
        let best = placed.min_by_key(|((_, total_bytes), _)| *total_bytes);
        let bound = loads.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        let best = best.map(|(placed, order)| improve(&regions, bound, placed, order));
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
        let larger = |best: (usize, usize), next: (usize, usize)| if next.1 > best.1 { next } else { best };
        loads(&self.regions).into_iter().fold((0, 0), larger)
    }
}

fn check(region: &Region) -> Result<(), MemError> {
    let Region { align_bytes, lifetime: (first, last), .. } = *region;
    let name = || region.name.clone();
    if !align_bytes.is_power_of_two() || align_bytes > MAX_ALIGN_BYTES {
        return Err(MemError::BadAlignment { name: name(), align_bytes });
    }
    if last < first {
        return Err(MemError::BadLifetime { name: name(), first, last });
    }
    Ok(())
}

fn lives(region: &Region, step: usize) -> bool {
    region.lifetime.0 <= step && step <= region.lifetime.1
}

/// Live bytes at each step where a region begins: they are largest at one of these.
fn loads(regions: &[Region]) -> Vec<(usize, usize)> {
    let mut steps: Vec<usize> = regions.iter().map(|region| region.lifetime.0).collect();
    steps.sort_unstable();
    steps.dedup();
    let live = |step| regions.iter().filter(move |region| lives(region, step)).map(|region| region.bytes);
    steps.into_iter().map(|step| (step, live(step).fold(0, usize::saturating_add))).collect()
}

/// Work that [`improve`] may do, in pairs of regions compared: milliseconds.
const IMPROVEMENT_BUDGET: usize = 4 << 20;

/// Where no order reached the bound: moves single regions to other places of the best order, keeps what is no worse, and
/// stops at the bound. The moves come from a fixed sequence, so that equal regions always get equal plans.
fn improve(
    regions: &[Region],
    bound: usize,
    mut best: (Vec<usize>, usize),
    mut order: Vec<usize>,
) -> (Vec<usize>, usize) {
    let count = regions.len();
    let mut state = 1u64;
    // Knuth's MMIX generator.
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..IMPROVEMENT_BUDGET / (count * count).max(1) {
        if best.1 <= bound || count < 2 {
            break;
        }
        let mut moved = order.clone();
        let index = moved.remove(random(count));
        moved.insert(random(count), index);
        if let Some(placed) = place(regions, &moved)
            && placed.1 <= best.1
        {
            (best, order) = (placed, moved);
        }
    }
    best
}

/// Places regions in this order, each at the lowest offset that no living neighbour covers.
fn place(regions: &[Region], order: &[usize]) -> Option<(Vec<usize>, usize)> {
    let mut offsets = vec![0usize; regions.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(regions.len());
    let mut total = 0usize;
    for &index in order {
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

//! Fixed-size blocks with reference counts. Only numbers are kept here; the bytes are in a slab of the caller's.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::MemError;

/// A block's number in its slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// Allocates block numbers, the lowest free one first, and counts references to them.
///
/// ```
/// use tinyllm_mem::BlockPool;
/// let mut pool = BlockPool::new(2);
/// let block = pool.allocate()?;
/// pool.retain(block);
/// assert!(!pool.release(block), "one reference is left");
/// assert!(pool.release(block));
/// assert_eq!(pool.free_blocks(), 2);
/// # Ok::<(), tinyllm_mem::MemError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BlockPool {
    counts: Vec<u32>,
    /// Free blocks, the lowest on top: those of a sequence then lie one after another, also when they were used before.
    free: BinaryHeap<Reverse<u32>>,
}

impl BlockPool {
    /// A pool of `blocks` free blocks.
    pub fn new(blocks: u32) -> Self {
        BlockPool { counts: vec![0; blocks as usize], free: (0..blocks).map(Reverse).collect() }
    }

    /// Blocks in all.
    pub fn blocks(&self) -> usize {
        self.counts.len()
    }

    /// Blocks without a reference.
    pub fn free_blocks(&self) -> usize {
        self.free.len()
    }

    /// Blocks with a reference.
    pub fn used_blocks(&self) -> usize {
        self.counts.len() - self.free.len()
    }

    /// References to a block.
    pub fn references(&self, block: BlockId) -> u32 {
        self.counts.get(block.0 as usize).copied().unwrap_or(0)
    }

    /// A free block, with one reference.
    ///
    /// # Errors
    /// [`MemError::PoolExhausted`].
    pub fn allocate(&mut self) -> Result<BlockId, MemError> {
        let Reverse(block) = self.free.pop().ok_or(MemError::PoolExhausted { blocks: self.counts.len() })?;
        self.counts[block as usize] = 1;
        Ok(BlockId(block))
    }

    /// Adds a reference. A free block stays free, and one with [`u32::MAX`] references is never freed again.
    pub fn retain(&mut self, block: BlockId) {
        if let Some(count) = self.counts.get_mut(block.0 as usize).filter(|count| **count > 0) {
            *count = count.saturating_add(1);
        }
    }

    /// Removes a reference; whether the block is free now. Releasing a free block does nothing.
    pub fn release(&mut self, block: BlockId) -> bool {
        // A saturated count is no longer known.
        let known = 1..u32::MAX;
        let count = self.counts.get_mut(block.0 as usize).filter(|count| known.contains(count));
        let Some(count) = count else { return false };
        *count -= 1;
        let is_free = *count == 0;
        if is_free {
            self.free.push(Reverse(block.0));
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_list_of_holders(calls in prop::collection::vec((0u8..4, any::<u32>()), 0..200)) {
            let mut pool = BlockPool::new(8);
            let mut holders: HashMap<BlockId, u32> = HashMap::new();
            for (call, which) in calls {
                let held: Vec<BlockId> = holders.keys().copied().collect();
                let some = held.get(which as usize % held.len().max(1)).copied();
                match (call, some) {
                    (0 | 1, _) => match pool.allocate() {
                        Ok(block) => prop_assert!(holders.insert(block, 1).is_none(), "handed out twice"),
                        Err(_) => prop_assert_eq!(holders.len(), 8),
                    },
                    (2, Some(block)) => {
                        pool.retain(block);
                        *holders.entry(block).or_default() += 1;
                    }
                    (_, Some(block)) => {
                        let left = holders[&block] - 1;
                        prop_assert_eq!(pool.release(block), left == 0);
                        if left == 0 { holders.remove(&block); } else { holders.insert(block, left); }
                    }
                    _ => {}
                }
                prop_assert_eq!(pool.used_blocks(), holders.len());
                prop_assert_eq!(pool.free_blocks() + pool.used_blocks(), pool.blocks());
            }
            for (block, count) in holders {
                prop_assert_eq!(pool.references(block), count);
            }
        }
    }

    #[test]
    fn what_was_given_back_is_handed_out_from_the_lowest_on() {
        let mut pool = BlockPool::new(6);
        let blocks: Vec<BlockId> = (0..5).map(|_| pool.allocate().unwrap()).collect();
        for index in [1, 3, 4, 2] {
            assert!(pool.release(blocks[index]));
        }
        let again: Vec<u32> = (0..5).map(|_| pool.allocate().unwrap().0).collect();
        assert_eq!(again, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_block_of_too_many_is_kept() {
        let mut pool = BlockPool::new(1);
        let block = pool.allocate().unwrap();
        pool.counts[0] = u32::MAX - 1;
        pool.retain(block);
        pool.retain(block);
        assert!(!pool.release(block) && !pool.release(block));
        assert_eq!((pool.references(block), pool.free_blocks()), (u32::MAX, 0));
    }

    #[test]
    fn what_is_not_held_is_neither_shared_nor_freed() {
        let mut pool = BlockPool::new(1);
        pool.retain(BlockId(0));
        pool.retain(BlockId(9));
        assert!(!pool.release(BlockId(0)) && !pool.release(BlockId(9)));
        assert_eq!((pool.free_blocks(), pool.references(BlockId(0))), (1, 0));
        assert!(pool.allocate().is_ok() && pool.allocate().is_err());
    }
}

//! What happens before a block's next access: a vector clock of blocks, and of each location whose writes were observed.
//!
//! Thousands of blocks hand such clocks on to each other, each with one entry more. So a clock is a tree that shares what it has in
//! common with others, and joining two looks only at where they differ.

use std::sync::Arc;

/// Children of a node.
const FAN: u64 = 16;

/// A value that only grows.
pub(super) trait Join: Clone + Default {
    /// Takes what the other has more; whether there was any.
    fn join(&mut self, other: &Self) -> bool;

    /// Whether the two are known to be the same without a look at all of them.
    fn is_same(&self, other: &Self) -> bool;
}

impl Join for u32 {
    fn join(&mut self, other: &u32) -> bool {
        let more = other > self;
        *self = (*self).max(*other);
        more
    }

    fn is_same(&self, other: &u32) -> bool {
        self == other
    }
}

#[derive(Clone, Debug)]
enum Node<V> {
    Leaf([V; FAN as usize]),
    Branch([Child<V>; FAN as usize]),
}

type Child<V> = Option<Arc<Node<V>>>;

/// Values by number; where nothing was put it has the default.
#[derive(Clone, Debug)]
pub(super) struct Tree<V> {
    root: Child<V>,
    /// Branches above a leaf.
    height: u32,
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Tree { root: None, height: 0 }
    }
}

impl<V: Join> Tree<V> {
    pub(super) fn get(&self, key: u64) -> Option<&V> {
        if key >= FAN.saturating_pow(self.height + 1) {
            return None;
        }
        let mut node = self.root.as_deref()?;
        let mut height = self.height;
        loop {
            match node {
                Node::Leaf(values) => return values.get((key % FAN) as usize),
                Node::Branch(children) => {
                    node = children.get((key / FAN.pow(height) % FAN) as usize)?.as_deref()?;
                    height -= 1;
                }
            }
        }
    }

    /// Joins a value to what is there; whether that has grown.
    pub(super) fn add(&mut self, key: u64, value: &V) -> bool {
        while key >= FAN.saturating_pow(self.height + 1) {
            self.raise();
        }
        add(&mut self.root, self.height, key, value)
    }

    /// One more branch above the root.
    fn raise(&mut self) {
        if let Some(root) = self.root.take() {
            let mut children: [Child<V>; FAN as usize] = Default::default();
            children[0] = Some(root);
            self.root = Some(Arc::new(Node::Branch(children)));
        }
        self.height += 1;
    }
}

impl<V: Join> Join for Tree<V> {
    fn join(&mut self, other: &Self) -> bool {
        if other.root.is_none() {
            return false;
        }
        if self.root.is_none() {
            *self = other.clone();
            return true;
        }
        if self.height == other.height {
            return join(&mut self.root, &other.root);
        }
        let mut other = other.clone();
        while self.height < other.height {
            self.raise();
        }
        while other.height < self.height {
            other.raise();
        }
        join(&mut self.root, &other.root)
    }

    fn is_same(&self, other: &Self) -> bool {
        same(&self.root, &other.root)
    }
}

fn same<V>(one: &Child<V>, other: &Child<V>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

fn add<V: Join>(child: &mut Child<V>, height: u32, key: u64, value: &V) -> bool {
    let empty = || match height {
        0 => Node::Leaf(Default::default()),
        _ => Node::Branch(Default::default()),
    };
    let node = Arc::make_mut(child.get_or_insert_with(|| Arc::new(empty())));
    match node {
        Node::Leaf(values) => values[(key % FAN) as usize].join(value),
        Node::Branch(children) => {
            add(&mut children[(key / FAN.pow(height) % FAN) as usize], height - 1, key, value)
        }
    }
}

/// Joins nodes of one height. What has become as the other is from then on shared with it.
fn join<V: Join>(mine: &mut Child<V>, theirs: &Child<V>) -> bool {
    let Some(their_node) = theirs else { return false };
    if same(mine, theirs) {
        return false;
    }
    let Some(my_node) = mine else {
        *mine = theirs.clone();
        return true;
    };
    let (mut grown, mut all_same) = (false, true);
    let joined = match (&**my_node, &**their_node) {
        (Node::Leaf(values), Node::Leaf(others)) => {
            let mut values = values.clone();
            for (value, other) in values.iter_mut().zip(others) {
                grown |= value.join(other);
                all_same &= value.is_same(other);
            }
            Node::Leaf(values)
        }
        (Node::Branch(children), Node::Branch(others)) => {
            let mut children = children.clone();
            for (child, other) in children.iter_mut().zip(others) {
                grown |= join(child, other);
                all_same &= same(child, other);
            }
            Node::Branch(children)
        }
        // Nodes of one height are of one kind.
        _ => return false,
    };
    if all_same {
        *mine = theirs.clone();
    } else if grown {
        *mine = Some(Arc::new(joined));
    }
    grown
}

/// What happens before.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    /// By block: all of its intervals until this one, in base causality order.
    pub(super) intervals: Tree<u32>,
    /// By location, by block: the block's strong writes there until this one, in causality order by observation.
    pub(super) observed: Tree<Tree<u32>>,
}

impl Join for Knowledge {
    fn join(&mut self, other: &Self) -> bool {
        self.intervals.join(&other.intervals) | self.observed.join(&other.observed)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.intervals.is_same(&other.intervals) && self.observed.is_same(&other.observed)
    }
}

impl Knowledge {
    pub(super) fn is_empty(&self) -> bool {
        self.intervals.root.is_none() && self.observed.root.is_none()
    }

    /// Whether all of a block's intervals until this one are before.
    pub(super) fn has_interval(&self, block: u64, number: u32) -> bool {
        self.intervals.get(block).is_some_and(|last| *last >= number)
    }

    /// Whether a block's strong write of a location was observed before.
    pub(super) fn has_observed(&self, location: u64, block: u64, write: u32) -> bool {
        let writes = self.observed.get(location).and_then(|blocks| blocks.get(block));
        writes.is_some_and(|last| *last >= write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_tree_is_what_a_map_is() {
        let mut state = 7u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut trees = vec![Tree::<u32>::default(); 6];
        let mut maps = vec![BTreeMap::<u64, u32>::new(); 6];
        for _ in 0..5000 {
            let (one, other) = (next(6) as usize, next(6) as usize);
            if next(3) > 0 {
                let (key, value) =
                    ([next(20), next(300), next(70_000)][next(3) as usize], next(50) as u32 + 1);
                let known = maps[one].entry(key).or_default();
                assert_eq!(trees[one].add(key, &value), value > *known);
                *known = (*known).max(value);
            } else {
                let (tree, map) = (trees[other].clone(), maps[other].clone());
                let mut grown = false;
                for (key, value) in map {
                    let known = maps[one].entry(key).or_default();
                    grown |= value > *known;
                    *known = (*known).max(value);
                }
                assert_eq!(trees[one].join(&tree), grown);
            }
            let key = next(70_000);
            for (tree, map) in trees.iter().zip(&maps) {
                assert_eq!(tree.get(key).copied().unwrap_or(0), map.get(&key).copied().unwrap_or(0));
                assert!(map.iter().take(20).all(|(key, value)| tree.get(*key) == Some(value)));
            }
        }
    }
}

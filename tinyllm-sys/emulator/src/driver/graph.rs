//! Graphs: work with its order, launched as often as wanted.

use std::collections::HashMap;

use super::{
    clock::Lane,
    handles::Handles,
    schedule::{Issued, Schedule},
    work::Work,
};

/// A piece of a graph's work.
#[derive(Clone, Debug)]
pub(super) struct GraphNode {
    pub(super) work: Work,
    /// Numbers of the nodes that are before it.
    pub(super) after: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) device: usize,
    pub(super) nodes: Vec<GraphNode>,
}

/// A graph that can be launched: its branches are lanes of their own.
#[derive(Debug)]
pub(super) struct GraphExec {
    graph: Graph,
    /// The lane of each node.
    lanes: Vec<Lane>,
    /// The end of the last launch.
    last: Option<Issued>,
}

impl Graph {
    /// A lane for each chain of nodes.
    pub(super) fn instantiate(&self, handles: &mut Handles) -> GraphExec {
        let mut of_chain: HashMap<usize, Lane> = HashMap::new();
        let lane = |chain| *of_chain.entry(chain).or_insert_with(|| handles.next());
        let lanes = chains(&self.nodes).into_iter().map(lane).collect();
        GraphExec { graph: self.clone(), lanes, last: None }
    }
}

impl GraphExec {
    /// Takes another graph's arguments; false, and nothing taken, where the two differ in more.
    pub(super) fn update(&mut self, graph: &Graph) -> bool {
        let (old, new) = (&self.graph.nodes, &graph.nodes);
        let same = old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.has_shape_of(new));
        if same {
            self.graph.nodes.clone_from(new);
        }
        same
    }

    /// Schedules a launch after `before` and after the last launch of this graph. Its end, which is returned, is of `lane`, a
    /// stream's, which findings call `stream`.
    pub(super) fn launch(
        &mut self,
        schedule: &mut Schedule,
        mut before: Vec<Issued>,
        lane: Lane,
        stream: &str,
    ) -> Issued {
        let Graph { device, nodes } = &self.graph;
        before.extend(self.last.take());
        let mut issued: Vec<Issued> = Vec::with_capacity(nodes.len());
        let mut is_followed = vec![false; nodes.len()];
        for (node, lane) in nodes.iter().zip(&self.lanes) {
            let after: Vec<Issued> = match node.after.is_empty() {
                true => before.clone(),
                false => node.after.iter().map(|before| issued[*before].clone()).collect(),
            };
            node.after.iter().for_each(|before| is_followed[*before] = true);
            let name = format!("{} of a graph on {stream}", node.work.name());
            issued.push(schedule.add(*device, *lane, node.work.clone(), name, &after));
        }
        let ends = issued.iter().zip(&is_followed).filter(|(_, is_followed)| !**is_followed);
        let mut ends: Vec<Issued> = ends.map(|(issued, _)| issued.clone()).collect();
        if ends.is_empty() {
            ends = before;
        }
        let name = format!("end of a graph on {stream}");
        let end = schedule.add(*device, lane, Work::Nothing, name, &ends);
        self.last = Some(end.clone());
        end
    }
}

impl GraphNode {
    /// Whether two nodes differ in nothing but their arguments.
    fn has_shape_of(&self, other: &GraphNode) -> bool {
        self.work.has_shape_of(&other.work) && self.after == other.after
    }
}

/// The chain of each node: nodes that follow one another alone are of one chain.
fn chains(nodes: &[GraphNode]) -> Vec<usize> {
    let mut chains: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut tail: Vec<usize> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let follows =
            node.after.iter().map(|before| chains[*before]).find(|chain| node.after.contains(&tail[*chain]));
        let chain = follows.unwrap_or_else(|| {
            tail.push(index);
            tail.len() - 1
        });
        tail[chain] = index;
        chains.push(chain);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node without work, and one that fills a byte.
    fn node(after: &[usize], fills: Option<u64>) -> GraphNode {
        let work = fills.map_or(Work::Nothing, |dst| Work::Fill { dst, value: 0, width: 1, count: 1 });
        GraphNode { work, after: after.into() }
    }

    /// A fork and a join.
    fn diamond() -> Graph {
        let after: [&[usize]; 4] = [&[], &[0], &[0], &[1, 2]];
        Graph { device: 0, nodes: after.map(|after| node(after, None)).into() }
    }

    #[test]
    fn each_branch_is_a_lane() {
        assert_eq!(chains(&diamond().nodes), [0, 0, 1, 0]);
        let exec = diamond().instantiate(&mut Handles::default());
        assert_eq!(exec.lanes[0], exec.lanes[1]);
        assert_ne!(exec.lanes[1], exec.lanes[2]);
        assert_eq!(exec.lanes[0], exec.lanes[3]);
    }

    #[test]
    fn launches_run_in_their_order_whatever_the_seed() {
        for seed in 0..16 {
            let mut schedule = Schedule::new(seed);
            let mut exec = diamond().instantiate(&mut Handles::default());
            let ends = [(); 2].map(|()| exec.launch(&mut schedule, Vec::new(), 1, "a stream"));
            let mut order = Vec::new();
            while let Some(waiting) = schedule.take() {
                order.push(waiting.issued.id);
                schedule.done(&waiting);
            }
            let place = |id| order.iter().position(|other| *other == id);
            assert_eq!(order.len(), 10, "two launches and their ends");
            assert!(place(ends[0].id) == Some(4) && place(ends[1].id) == Some(9), "{seed}: {order:?}");
        }
    }

    #[test]
    fn an_update_takes_arguments_and_refuses_another_shape() {
        let graph = |dst| Graph { device: 0, nodes: vec![node(&[], Some(dst)), node(&[0], None)] };
        let mut exec = graph(1).instantiate(&mut Handles::default());
        assert!(exec.update(&graph(2)));
        assert!(matches!(exec.graph.nodes[0].work, Work::Fill { dst: 2, .. }));
        let mut other = graph(3);
        other.nodes[1].after.clear();
        assert!(!exec.update(&other));
        other.nodes.truncate(1);
        assert!(!exec.update(&other));
        assert!(!exec.update(&Graph { device: 0, nodes: vec![node(&[], None), node(&[0], None)] }));
        assert!(matches!(exec.graph.nodes[0].work, Work::Fill { dst: 2, .. }));
    }
}

//! A directed graph over the numbers `0..n`: order, cycles and optional edges, all in time linear in nodes and edges.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// An edge: the first number comes before the second.
pub type Pair = (u32, u32);

/// A directed graph over the numbers `0..n`, with the successors of each node in one block of memory.
#[derive(Debug, Clone)]
pub struct Graph {
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Graph {
    /// Builds the graph of `nodes` nodes; an edge with a number out of range is left out.
    pub fn new(nodes: usize, edges: &[Pair]) -> Self {
        let inside = |&&(from, to): &&Pair| (from as usize) < nodes && (to as usize) < nodes;
        let mut starts = vec![0_u32; nodes + 1];
        for &(from, _) in edges.iter().filter(inside) {
            starts[from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut targets = vec![0_u32; starts[nodes] as usize];
        for &(from, to) in edges.iter().filter(inside) {
            let slot = &mut next[from as usize];
            targets[*slot as usize] = to;
            *slot += 1;
        }
        Self { starts, targets }
    }

    /// Returns the number of nodes.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Tells whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the nodes that come right after `node`.
    pub fn successors(&self, node: u32) -> &[u32] {
        &self.targets[self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize]
    }

    /// Orders all nodes so that every edge is satisfied; of the nodes that are free at one time the smallest number comes first.
    ///
    /// `None` when there is a cycle.
    pub fn order(&self) -> Option<Vec<u32>> {
        let mut waiting = vec![0_u32; self.len()];
        for &target in &self.targets {
            waiting[target as usize] += 1;
        }
        let mut free: BinaryHeap<Reverse<u32>> =
            (0..).zip(&waiting).filter(|(_, count)| **count == 0).map(|(node, _)| Reverse(node)).collect();
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse(node)) = free.pop() {
            order.push(node);
            for &target in self.successors(node) {
                let count = &mut waiting[target as usize];
                *count -= 1;
                if *count == 0 {
                    free.push(Reverse(target));
                }
            }
        }
        (order.len() == self.len()).then_some(order)
    }

    /// Finds a shortest cycle: its nodes in the order of the edges, the smallest number first. `None` when there is none.
    pub fn shortest_cycle(&self) -> Option<Vec<u32>> {
        let component = self.components();
        let mut shortest: Option<Vec<u32>> = None;
        let mut from = vec![u32::MAX; self.len()];
        for start in 0..u32::try_from(self.len()).unwrap_or(u32::MAX) {
            let limit = shortest.as_ref().map_or(usize::MAX, Vec::len);
            if let Some(cycle) = self.cycle_through(start, limit, &component, &mut from) {
                shortest = Some(cycle);
            }
        }
        shortest
    }

    /// Searches, breadth first and only inside the component, a cycle through `start` that has fewer than `limit` nodes.
    ///
    /// `from` is scratch space: all `u32::MAX` before and after.
    fn cycle_through(&self, start: u32, limit: usize, component: &[u32], from: &mut [u32]) -> Option<Vec<u32>> {
        let mut queue = VecDeque::from([(start, 1_usize)]);
        let mut touched = Vec::new();
        let mut last = None;
        'search: while let Some((node, length)) = queue.pop_front() {
            if length >= limit {
                break;
            }
            for &target in self.successors(node) {
                if target == start {
                    last = Some(node);
                    break 'search;
                }
                if component[target as usize] == component[start as usize] && from[target as usize] == u32::MAX {
                    from[target as usize] = node;
                    touched.push(target);
                    queue.push_back((target, length + 1));
                }
            }
        }
        let cycle = last.map(|last| {
            let mut cycle: Vec<u32> = std::iter::successors(Some(last), |&node| (node != start).then(|| from[node as usize])).collect();
            cycle.reverse();
            cycle
        });
        for node in touched {
            from[node as usize] = u32::MAX;
        }
        cycle
    }

    /// Numbers the strongly connected components: two nodes have the same number when each reaches the other (Tarjan, without recursion).
    pub fn components(&self) -> Vec<u32> {
        let mut search = Tarjan {
            graph: self,
            index: vec![u32::MAX; self.len()],
            low: vec![0; self.len()],
            component: vec![u32::MAX; self.len()],
            stack: Vec::new(),
            visited: 0,
            found: 0,
        };
        for node in 0..u32::try_from(self.len()).unwrap_or(u32::MAX) {
            if search.index[node as usize] == u32::MAX {
                search.visit(node);
            }
        }
        search.component
    }

    fn reaches(&self, from: u32, to: u32, extra: &[Vec<u32>]) -> bool {
        let mut seen = vec![false; self.len()];
        let mut stack = vec![from];
        seen[from as usize] = true;
        while let Some(node) = stack.pop() {
            if node == to {
                return true;
            }
            for &target in self.successors(node).iter().chain(&extra[node as usize]) {
                if !std::mem::replace(&mut seen[target as usize], true) {
                    stack.push(target);
                }
            }
        }
        false
    }
}

struct Tarjan<'g> {
    graph: &'g Graph,
    index: Vec<u32>,
    low: Vec<u32>,
    component: Vec<u32>,
    stack: Vec<u32>,
    visited: u32,
    found: u32,
}

impl Tarjan<'_> {
    fn visit(&mut self, root: u32) {
        let mut work = vec![(root, 0_usize)];
        self.enter(root);
        while let Some((node, edge)) = work.pop() {
            match self.graph.successors(node).get(edge) {
                Some(&target) => {
                    work.push((node, edge + 1));
                    if self.index[target as usize] == u32::MAX {
                        self.enter(target);
                        work.push((target, 0));
                    } else if self.component[target as usize] == u32::MAX {
                        self.low[node as usize] = self.low[node as usize].min(self.index[target as usize]);
                    }
                }
                None => {
                    if let Some(&(parent, _)) = work.last() {
                        self.low[parent as usize] = self.low[parent as usize].min(self.low[node as usize]);
                    }
                    self.leave(node);
                }
            }
        }
    }

    fn enter(&mut self, node: u32) {
        self.index[node as usize] = self.visited;
        self.low[node as usize] = self.visited;
        self.visited += 1;
        self.stack.push(node);
    }

    fn leave(&mut self, node: u32) {
        if self.low[node as usize] != self.index[node as usize] {
            return;
        }
        while let Some(member) = self.stack.pop() {
            self.component[member as usize] = self.found;
            if member == node {
                break;
            }
        }
        self.found += 1;
    }
}

/// Which optional edges can be kept without closing a cycle, by place in `optional`; earlier ones win.
///
/// `mandatory` is taken as it is. Only edges inside a strongly connected component of everything can close a cycle, so only they are
/// tried one by one; a set without cycles costs one pass.
pub fn keepable(nodes: usize, mandatory: &[Pair], optional: &[Pair]) -> Vec<bool> {
    let all: Vec<Pair> = mandatory.iter().chain(optional).copied().collect();
    let component = Graph::new(nodes, &all).components();
    let across = |&(from, to): &Pair| component[from as usize] != component[to as usize];
    let mut keep: Vec<bool> = optional.iter().map(across).collect();
    if keep.iter().all(|kept| *kept) {
        return keep;
    }
    let inside: Vec<Pair> = mandatory.iter().filter(|pair| !across(pair)).copied().collect();
    let fixed = Graph::new(nodes, &inside);
    let mut added = vec![Vec::new(); nodes];
    for (place, &(from, to)) in optional.iter().enumerate() {
        if !keep[place] && !fixed.reaches(to, from, &added) {
            keep[place] = true;
            added[from as usize].push(to);
        }
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_smallest_free_number_comes_first() {
        assert_eq!(Graph::new(4, &[(3, 1), (1, 0)]).order(), Some(vec![2, 3, 1, 0]));
        assert_eq!(Graph::new(0, &[]).order(), Some(vec![]));
        assert_eq!(Graph::new(2, &[(0, 1), (1, 0)]).order(), None);
    }

    #[test]
    fn the_shortest_cycle_is_found_behind_longer_ones() {
        let edges = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 4), (3, 4)];
        assert_eq!(Graph::new(6, &edges).shortest_cycle(), Some(vec![4, 5]));
        assert_eq!(Graph::new(2, &[(1, 1)]).shortest_cycle(), Some(vec![1]));
        assert_eq!(Graph::new(3, &[(0, 1), (1, 2), (0, 2)]).shortest_cycle(), None);
    }

    #[test]
    fn an_optional_edge_yields_to_mandatory_and_earlier_ones() {
        assert_eq!(keepable(3, &[(0, 1), (1, 2)], &[(2, 0), (0, 2)]), [false, true]);
        assert_eq!(keepable(2, &[], &[(0, 1), (1, 0)]), [true, false]);
    }

    fn pairs(nodes: u32, most: usize) -> impl Strategy<Value = Vec<Pair>> {
        proptest::collection::vec((0..nodes, 0..nodes), 0..most)
    }

    proptest! {
        #[test]
        fn an_order_satisfies_every_edge_or_there_is_a_cycle(edges in pairs(20, 40)) {
            let graph = Graph::new(20, &edges);
            match graph.order() {
                Some(order) => {
                    let mut place = [0; 20];
                    for (index, node) in order.iter().enumerate() { place[*node as usize] = index; }
                    prop_assert!(edges.iter().all(|(from, to)| place[*from as usize] < place[*to as usize]));
                    prop_assert_eq!(graph.shortest_cycle(), None);
                }
                None => {
                    let cycle = graph.shortest_cycle().unwrap();
                    for (place, node) in cycle.iter().enumerate() {
                        let next = cycle[(place + 1) % cycle.len()];
                        prop_assert!(edges.contains(&(*node, next)));
                    }
                }
            }
        }

        #[test]
        fn kept_edges_close_no_cycle_and_dropped_ones_would(base in pairs(12, 12), optional in pairs(12, 20)) {
            prop_assume!(Graph::new(12, &base).order().is_some());
            let keep = keepable(12, &base, &optional);
            let mut kept = base;
            kept.extend(optional.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(pair, _)| *pair));
            prop_assert!(Graph::new(12, &kept).order().is_some());
            for (pair, _) in optional.iter().zip(&keep).filter(|(_, keep)| !**keep) {
                let mut with = kept.clone();
                with.push(*pair);
                prop_assert!(Graph::new(12, &with).order().is_none());
            }
        }
    }
}

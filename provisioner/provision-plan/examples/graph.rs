//! Orders a synthetic graph of 100,000 nodes and 1,000,000 edges and prints how long it takes:
//! `cargo run --release -p provision-plan --example graph`.
#![expect(clippy::print_stdout, reason = "printing the figures is all it does")]

use std::time::Instant;

use provision_plan::graph::{Graph, Pair, keepable};

const NODES: u32 = 100_000;
const EDGES: usize = 1_000_000;

/// Draws edges from smaller to larger places of a fixed shuffle, so that the graph has no cycle and no helpful numbering.
fn edges(nodes: u32, count: usize) -> Vec<Pair> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |below: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state % u64::from(below)).unwrap_or(0)
    };
    let mut label: Vec<u32> = (0..nodes).collect();
    for place in (1..nodes).rev() {
        label.swap(place as usize, draw(place + 1) as usize);
    }
    (0..count)
        .map(|_| {
            let (a, b) = (draw(nodes), draw(nodes - 1));
            let b = if b >= a { b + 1 } else { b };
            (label[a.min(b) as usize], label[a.max(b) as usize])
        })
        .collect()
}

fn main() {
    let edges = edges(NODES, EDGES);
    for run in 1..=5 {
        let start = Instant::now();
        let order = Graph::new(NODES as usize, &edges).order();
        let ordered = start.elapsed();
        let start = Instant::now();
        let (mandatory, optional) = edges.split_at(EDGES / 10 * 9);
        let kept = keepable(NODES as usize, mandatory, optional).into_iter().filter(|kept| *kept).count();
        println!(
            "run {run}: {NODES} nodes, {EDGES} edges: ordered {} nodes in {:.1} ms; optional edges: kept {kept} in {:.1} ms",
            order.map_or(0, |order| order.len()),
            ordered.as_secs_f64() * 1e3,
            start.elapsed().as_secs_f64() * 1e3,
        );
    }
}

//! Measures the platform on this machine: start to first feature, a start with the database there, an `up` with nothing to do, memory and idle CPU.
//!
//! `cargo run --release -p machine --example figures`, after `cargo build --release --bins`; prints one line for each figure, and ends with 1 if a
//! goal is missed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use machine::Machine;

/// Features that go through the platform before its memory is taken.
const FEATURES: usize = 50;
const IDLE: Duration = Duration::from_secs(60);

/// Figures and whether all of them keep their goals.
struct Table {
    kept: bool,
}

impl Table {
    #[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
    fn row(&mut self, figure: &str, (value, goal): (f64, f64), unit: &str) {
        let kept = value <= goal;
        self.kept &= kept;
        println!("{figure:<66} {value:>8.2} {unit:<4} goal {goal} {}", if kept { "" } else { "MISSED" });
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut table = Table { kept: true };
    let machine = Machine::empty();
    table.row("empty state folder: `up` until the first feature is COMPLETED", (first_feature(&machine, "empty").await, 20.0), "s");

    let started = Instant::now();
    up(&machine);
    table.row("`up` with nothing to do", (started.elapsed().as_secs_f64(), 1.0), "s");

    table.row("memory (PSS of all processes) after the first feature", (mebibytes(machine.memory()), 400.0), "MiB");
    table.row(&format!("idle CPU over {} s, of one core", IDLE.as_secs()), (idle_cpu(&machine).await, 2.0), "%");

    let (gateway, repository) = (machine.endpoint("gateway"), format!("{}/demo.git", machine.endpoint("git")));
    let started = Instant::now();
    let mut ids = Vec::new();
    for number in 0..FEATURES {
        ids.push(machine.send(&gateway, &repository, &format!("figures-{number}")).await);
    }
    let ended = machine.ended(&gateway, &ids, Duration::from_secs(300)).await;
    assert!(ended.iter().all(|feature| feature.state == "COMPLETED"), "{ended:?}");
    table.row(&format!("{FEATURES} features at once, until the last is COMPLETED"), (started.elapsed().as_secs_f64(), f64::INFINITY), "s");
    table.row(&format!("memory (PSS of all processes) after {FEATURES} features"), (mebibytes(machine.memory()), 400.0), "MiB");

    let figure = format!("the minute after {FEATURES} features: CPU over {} s, of one core", IDLE.as_secs());
    table.row(&figure, (idle_cpu(&machine).await, f64::INFINITY), "%");

    let ended = machine.provision(&["down", "--yes"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    table.row("database there: `up` until the first feature is COMPLETED", (first_feature(&machine, "again").await, 8.0), "s");
    if table.kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn up(machine: &Machine) {
    let ended = machine.provision(&["up", "--yes"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Returns the seconds from the start of `up` until a feature that was sent at once is COMPLETED.
async fn first_feature(machine: &Machine, key: &str) -> f64 {
    let started = Instant::now();
    up(machine);
    let (gateway, repository) = (machine.endpoint("gateway"), format!("{}/demo.git", machine.endpoint("git")));
    let id = machine.send(&gateway, &repository, key).await;
    let ended = machine.ended(&gateway, &[id], Duration::from_secs(60)).await;
    assert_eq!(ended[0].state, "COMPLETED", "{ended:?}");
    started.elapsed().as_secs_f64()
}

/// Returns how much of one core all processes use while nobody asks for anything, in percent.
async fn idle_cpu(machine: &Machine) -> f64 {
    let before = machine.cpu_time();
    tokio::time::sleep(IDLE).await;
    100.0 * machine.cpu_time().saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64()
}

fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}

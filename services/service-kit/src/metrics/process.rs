//! What the process uses, asked of the system at each scrape, under the names that Prometheus' own clients use.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Returns the lines of all that could be read; what could not is left out.
pub(crate) fn render() -> String {
    let rows = [
        ("process_cpu_seconds_total", "counter", cpu_seconds()),
        ("process_resident_memory_bytes", "gauge", number("/proc/self/status", "VmRSS:").map(|kilobytes| kilobytes * 1024.0)),
        ("process_threads", "gauge", number("/proc/self/status", "Threads:")),
        ("process_open_fds", "gauge", open_files()),
        ("process_max_fds", "gauge", number("/proc/self/limits", "Max open files")),
    ];
    let line = |(name, kind, value): (&str, &str, Option<f64>)| value.map(|value| format!("# TYPE {name} {kind}\n{name} {value}\n"));
    rows.into_iter().filter_map(line).collect()
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let milliseconds = usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds();
    u32::try_from(milliseconds).ok().map(|milliseconds| f64::from(milliseconds) / 1000.0)
}

/// Returns the first number after `key` in a file of the system.
fn number(file: &str, key: &str) -> Option<f64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // The folder that is being read is open too.
    u32::try_from(open).ok().map(|open| f64::from(open.saturating_sub(1)))
}

//! Logs and metrics.

use std::panic::PanicHookInfo;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use metrics::{gauge, set_global_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

/// Upper bounds of the buckets of request durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Least severe level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(Level);

impl LogLevel {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let known = ["trace", "debug", "info", "warn", "error"].contains(&text);
        known.then(|| text.parse().ok()).flatten().map(Self)
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self(Level::INFO)
    }
}

/// Form of the log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Plain lines, for people.
    Text,
}

impl LogFormat {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// Sends log events to standard output and panics into the log.
pub(crate) fn start_logs(level: LogLevel, format: LogFormat) {
    let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::from_level(level.0)).with_ansi(false);
    // A second start in one process keeps the first one's settings, which is right for tests.
    drop(match format {
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
        LogFormat::Text => builder.try_init(),
    });
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, reason = info.payload_as_str().unwrap_or("unknown"), "panicked");
}

/// The process's metrics in Prometheus' text form.
#[derive(Clone)]
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    started: Instant,
}

impl Metrics {
    /// Starts to record; once a process.
    pub(crate) fn start(service: &'static str, version: &'static str) -> Self {
        let builder = PrometheusBuilder::new();
        let durations = Matcher::Suffix("_duration_seconds".to_owned());
        // Refused only for an empty list; the summaries it would leave are still correct.
        let builder = builder.set_buckets_for_metric(durations, &SECONDS).unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Refused only if something else already records in this process; then that one is read elsewhere.
        drop(set_global_recorder(recorder));
        gauge!("service_build_info", "service" => service, "version" => version).set(1.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!("process_start_time_seconds").set(now.as_secs_f64());
        Self { handle, started: Instant::now() }
    }

    /// Returns everything recorded so far.
    pub(crate) fn render(&self) -> String {
        gauge!("process_uptime_seconds").set(self.started.elapsed().as_secs_f64());
        self.handle.render()
    }

    /// Folds what was recorded into its buckets, so that memory stays bounded when nobody reads.
    pub(crate) fn tidy(&self) {
        self.handle.run_upkeep();
    }
}

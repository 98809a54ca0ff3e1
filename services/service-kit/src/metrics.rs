//! The process's metrics in Prometheus' text form.

mod process;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use metrics::{gauge, set_global_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the buckets of a request's duration, in seconds.
const REQUEST: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Upper bounds of the buckets of all other durations, in seconds.
///
/// They hold every threshold of the operations guide (10, 60, 300, 600, 1800), and go past each: a quantile beyond the last bound can't be told.
const WORK: [f64; 19] =
    [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0];

/// What was recorded; clones share it.
#[derive(Clone)]
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    started: Instant,
}

impl Metrics {
    /// Starts to record; once a process.
    pub(crate) fn start(service: &'static str, version: &'static str) -> Self {
        let recorder = builder().build_recorder();
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
        format!("{}\n{}", self.handle.render().trim_end(), process::render())
    }

    /// Folds what was recorded into its buckets, so that memory stays bounded when nobody reads.
    pub(crate) fn tidy(&self) {
        self.handle.run_upkeep();
    }
}

fn builder() -> PrometheusBuilder {
    let requests = Matcher::Full("http_request_duration_seconds".to_owned());
    let durations = Matcher::Suffix("_duration_seconds".to_owned());
    // Refused only for an empty list; the summaries it would leave are still correct.
    let builder = PrometheusBuilder::new().set_buckets_for_metric(requests, &REQUEST).unwrap_or_default();
    builder.set_buckets_for_metric(durations, &WORK).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_buckets_at_the_thresholds_of_the_guide_and_beyond() {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("llm_request_duration_seconds").record(61.0);
            metrics::histogram!("http_request_duration_seconds").record(0.002);
        });
        let text = handle.render();
        for (line, there) in [
            ("llm_request_duration_seconds_bucket{le=\"60\"} 0\n", true),
            ("llm_request_duration_seconds_bucket{le=\"120\"} 1\n", true),
            ("llm_request_duration_seconds_bucket{le=\"300\"} 1\n", true),
            ("llm_request_duration_seconds_bucket{le=\"600\"} 1\n", true),
            ("llm_request_duration_seconds_bucket{le=\"1800\"} 1\n", true),
            ("llm_request_duration_seconds_bucket{le=\"3600\"} 1\n", true),
            ("http_request_duration_seconds_bucket{le=\"0.005\"} 1\n", true),
            ("http_request_duration_seconds_bucket{le=\"1800\"}", false),
        ] {
            assert_eq!(text.contains(line), there, "{line:?} in\n{text}");
        }
    }
}

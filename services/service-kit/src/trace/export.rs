//! Spans on their way to a collector.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::counter;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};

use crate::upstream::Upstream;

/// Longest time in which a collector takes a batch; also how long the last one may hold up a service's end.
const LIMIT: Duration = Duration::from_secs(3);
/// Most spans that wait for the collector, some kilobytes each; what comes on top is dropped.
const QUEUE: usize = 8192;

/// The source of spans of a process.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    name: &'static str,
}

impl Traces {
    /// Starts to make spans, and to send them if there is a `collector`; must run inside of the runtime, which carries the connection.
    ///
    /// # Errors
    /// If the collector's address can't be used.
    pub(crate) fn start(name: &'static str, version: &'static str, collector: Option<&Upstream>) -> Result<Self, ExporterBuildError> {
        let resource = Resource::builder_empty()
            .with_service_name(name)
            .with_attributes([KeyValue::new("service.version", version)])
            .with_attributes(std::env::var("POD_NAME").ok().map(|pod| KeyValue::new("service.instance.id", pod)))
            .build();
        // All of ours; who sends a request with an unsampled context is believed.
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        // The log has all lines, with the ids of their spans; a span shows its first.
        let builder = SdkTracerProvider::builder().with_sampler(sampler).with_resource(resource).with_max_events_per_span(16);
        let builder = match collector {
            None => builder,
            Some(collector) => {
                let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
                builder.with_span_processor(BatchSpanProcessor::builder(Watched::new(collector)?).with_batch_config(config).build())
            }
        };
        Ok(Self { provider: builder.build(), name })
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer(self.name)
    }

    /// Sends what is left, for at most `limit`, and ends.
    pub(crate) async fn finish(self, limit: Duration) {
        let limit = limit.min(LIMIT);
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(limit));
        // A collector that is away was told of in the log already.
        drop(tokio::time::timeout(limit, ended).await);
    }
}

/// The exporter, with its failures counted, and the first of a row logged.
#[derive(Debug)]
struct Watched {
    exporter: opentelemetry_otlp::SpanExporter,
    failing: AtomicBool,
}

impl Watched {
    fn new(collector: &Upstream) -> Result<Self, ExporterBuildError> {
        let exporter =
            opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(collector.to_string()).with_timeout(LIMIT).build()?;
        Ok(Self { exporter, failing: AtomicBool::new(false) })
    }
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let result = self.exporter.export(batch).await;
        counter!("trace_spans_total", "outcome" => if result.is_ok() { "sent" } else { "dropped" }).increment(spans);
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => tracing::warn!(%error, "the collector takes no traces; they are dropped until it does"),
            Ok(()) if failed_before => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

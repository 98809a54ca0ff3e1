//! Logs, each line with the ids of the trace that it belongs to.

use std::fmt;
use std::panic::PanicHookInfo;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

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

/// Sends log events to standard output, spans to `tracer` and panics into the log.
pub(crate) fn start_logs(level: LogLevel, format: LogFormat, tracer: Option<SdkTracer>) {
    let traces = |tracer| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_threads(false).with_location(false);
        layer.with_tracked_inactivity(false)
    };
    let registry = tracing_subscriber::registry().with(logged(level)).with(tracer.map(traces));
    // A second start in one process keeps the first one's settings, which is right for tests.
    drop(match format {
        LogFormat::Json => {
            let lines = WithTrace(tracing_subscriber::fmt::format().json().flatten_event(true).with_span_list(false));
            registry.with(layer().event_format(lines).fmt_fields(JsonFields::new())).try_init()
        }
        LogFormat::Text => registry.with(layer().with_ansi(false)).try_init(),
    });
    std::panic::set_hook(Box::new(log_panic));
}

/// Lets events through from `level` on, and spans whatever it is: a warning must name its request.
///
/// One filter for all layers: filters of single layers lose spans after a library has asked whether something is logged and then logged
/// nothing, as database drivers do.
fn logged(level: LogLevel) -> FilterFn<impl Fn(&tracing::Metadata<'_>) -> bool> {
    let filter = filter_fn(move |metadata| *metadata.level() <= if metadata.is_span() { Level::INFO } else { level.0 });
    filter.with_max_level_hint(LevelFilter::from_level(level.0.max(Level::INFO)))
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, reason = info.payload_as_str().unwrap_or("unknown"), "panicked");
}

/// JSON lines that end with `trace_id` and `span_id` where there is a trace.
struct WithTrace(Format<Json>);

impl<S, N> FormatEvent<S, N> for WithTrace
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // The layer of traces keeps the context of the span that is entered.
        let (trace, span) = Context::map_current(|context| {
            let span = context.span();
            (span.span_context().trace_id(), span.span_context().span_id())
        });
        if trace == opentelemetry::TraceId::INVALID {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::with_capacity(512);
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let object = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(writer, "{object},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}")
    }
}

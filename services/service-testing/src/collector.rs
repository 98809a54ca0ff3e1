//! A collector of traces that keeps what services send it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A span that a service sent; ids in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Name of the service.
    pub service: String,
    /// Name of the span.
    pub name: String,
    /// Id of the trace.
    pub trace_id: String,
    /// Id of the span.
    pub span_id: String,
    /// Id of the span that caused it; empty if there is none.
    pub parent_id: String,
}

/// An OTLP server; it ends when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: Spans,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Collector {
    /// Starts it on a free port of the loopback.
    ///
    /// # Errors
    /// If no port can be opened.
    pub fn start() -> io::Result<Self> {
        Self::start_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
    }

    /// Starts it on a port that is open already.
    ///
    /// # Errors
    /// If the port can't be used.
    pub fn start_on(listener: TcpListener) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let spans = Spans::default();
        let server = Server::builder().add_service(TraceServiceServer::new(spans.clone()));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Self { address, spans, runtime: Some(runtime) })
    }

    /// Returns its address, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns everything that came so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Not waited for: a test may end it in a place that may not block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(request.into_inner().resource_spans.into_iter().flat_map(spans_of));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans_of(sent: ResourceSpans) -> Vec<Span> {
    let attributes = sent.resource.into_iter().flat_map(|resource| resource.attributes);
    let service = attributes.filter(|attribute| attribute.key == "service.name").find_map(|attribute| match attribute.value?.value? {
        Value::StringValue(name) => Some(name),
        _ => None,
    });
    let service = service.unwrap_or_default();
    let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
    let kept = |span: opentelemetry_proto::tonic::trace::v1::Span| Span {
        service: service.clone(),
        name: span.name,
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
    };
    spans.map(kept).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

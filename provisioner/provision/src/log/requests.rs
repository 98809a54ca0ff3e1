use std::fmt::Debug;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Tells each request to the API server in one event: method, path, status, milliseconds until the answer began.
///
/// Reads the span that the Kubernetes client opens for a request; neither headers nor bodies are in it.
pub(super) struct Requests;

/// Where the client opens that span.
const MODULE: &str = "kube_client::client::builder";

/// Tells whether it is the span of a request.
pub(super) fn is_request(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == MODULE && metadata.name() == "HTTP"
}

/// A request without an answer so far.
struct Asked {
    method: String,
    path: String,
    since: Instant,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Requests {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut asked = Asked { method: String::new(), path: String::new(), since: Instant::now() };
        attributes.record(&mut asked);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(asked);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut answer = Answer::default();
        values.record(&mut answer);
        // The first word is the answer; later ones repeat it or speak of the end of a stream.
        let Some(asked) = context.span(id).and_then(|span| span.extensions_mut().remove::<Asked>()) else { return };
        let (Asked { method, path, .. }, ms) = (&asked, asked.since.elapsed().as_millis());
        match answer.status {
            Some(status) => tracing::debug!(target: "provision::request", "{method} {path} {status} in {ms} ms"),
            None => tracing::debug!(target: "provision::request", "{method} {path} no answer after {ms} ms"),
        }
    }
}

impl Visit for Asked {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "http.method" => self.method = format!("{value:?}"),
            "http.url" => path_of(&format!("{value:?}")).clone_into(&mut self.path),
            _ => {}
        }
    }
}

/// The address without server and user, which may hold a password.
fn path_of(url: &str) -> &str {
    let behind_scheme = url.find("://").map_or(0, |place| place + 3);
    url[behind_scheme..].find('/').map_or("/", |place| &url[behind_scheme + place..])
}

#[derive(Default)]
struct Answer {
    status: Option<u64>,
}

impl Visit for Answer {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "http.status_code" {
            self.status = Some(value);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn server_and_user_are_left_out() {
        for (url, path) in [
            ("https://10.0.0.1:6443/api/v1/pods?limit=500", "/api/v1/pods?limit=500"),
            ("https://user:password@host/version", "/version"),
            ("https://user:password@host", "/"),
            ("/api", "/api"),
        ] {
            assert_eq!(path_of(url), path);
        }
    }
}

//! Bodies that nobody wanted to read to their end.
//!
//! A server that closes while its client still sends makes the system throw its answer away together with what was sent: the client sees a
//! broken connection instead of "too large". So what is left of a body is read, and dropped, before the answer goes out.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt, stream};

/// Most bytes that are read for the sake of the answer, and the longest time for it; who sends more loses the answer.
const MOST: usize = 64 * 1024 * 1024;
const LIMIT: Duration = Duration::from_secs(5);

/// A body that its handler and this layer both hold.
#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

struct State {
    parts: BodyDataStream,
    ended: bool,
}

impl Shared {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return Poll::Ready(None);
        }
        let polled = state.parts.poll_next_unpin(context);
        state.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn parts(self) -> impl Stream<Item = Result<Bytes, axum::Error>> {
        stream::poll_fn(move |context| self.poll(context))
    }

    async fn drain(self) {
        let mut parts = self.parts();
        let mut read = 0;
        while let Some(Ok(part)) = parts.next().await {
            read += part.len();
            if read > MOST {
                return;
            }
        }
    }
}

/// Reads what a handler left of its request's body before its answer goes out.
pub(crate) async fn linger(request: Request, next: Next) -> Response {
    // Who waits to be asked for the body is simply not asked.
    if request.body().is_end_stream() || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let shared = Shared(Arc::new(Mutex::new(State { parts: body.into_data_stream(), ended: false })));
    let body = Body::from_stream(shared.clone().parts());
    let response = next.run(Request::from_parts(head, body)).await;
    // Late or too much: then the connection just ends.
    drop(tokio::time::timeout(LIMIT, shared.drain()).await);
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::post;

    use super::*;

    async fn status(routes: Router, size: usize) -> Result<u16, reqwest::Error> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        reqwest::Client::new().post(url).body("x".repeat(size)).send().await.map(|answer| answer.status().as_u16())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_before_the_end_of_the_body_reaches_the_client() {
        for size in [0, 1, 1 << 20, 20 << 20] {
            let routes = Router::new().route("/", post(|| async { StatusCode::PAYLOAD_TOO_LARGE })).layer(from_fn(linger));
            assert_eq!(status(routes, size).await.unwrap(), 413, "{size}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_handler_gets_the_whole_body() {
        let length = |body: Bytes| async move { if body.len() == 1 << 20 { StatusCode::OK } else { StatusCode::IM_A_TEAPOT } };
        assert_eq!(status(Router::new().route("/", post(length)).layer(from_fn(linger)), 1 << 20).await.unwrap(), 200);
    }
}

//! A provider in the test's own process: it answers as it is told, over real HTTP, and keeps what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use service_kit::variables::UPSTREAM;
use service_kit::{Secret, Upstream};
use tokio::sync::Notify;

use super::by_name;
use crate::client::{Client, Endpoint};

/// The key that the double is asked with; it must be found nowhere.
pub(crate) const KEY: &str = "canary-key-7fd1";

/// One answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A message of the model, and why it ended.
    Says(&'static str, &'static str),
    /// A failure, as the API has it.
    Fails(u16, &'static str),
    /// A failure that asks to wait.
    Limits(&'static str),
    /// Any other answer.
    Sends(u16, String),
    /// None at all.
    Hangs,
}

/// One request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    asked: Vec<Asked>,
    open: usize,
}

/// The double; it stops with the test's runtime.
#[derive(Clone, Default)]
pub(crate) struct Double {
    script: Arc<Mutex<Script>>,
    changed: Arc<Notify>,
}

/// Counts a request as open until it is answered or broken off.
struct Open(Double);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.script.lock().unwrap().open -= 1;
        self.0.changed.notify_waiters();
    }
}

impl Double {
    /// Starts a double that gives these answers, one after the other.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> (Self, Upstream) {
        let double = Self::default();
        double.script.lock().unwrap().replies.extend(replies);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = (UPSTREAM.parse)(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let routes = Router::new().route("/v1/messages", post(reply)).with_state(double.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (double, upstream)
    }

    /// Makes a client of a provider there.
    pub(crate) fn client(url: Upstream, limit: Duration) -> Client {
        let key = Some(Secret::new(KEY.to_owned()));
        Client::new(Endpoint { provider: by_name("anthropic").unwrap(), url: Some(url), key, limit }).unwrap()
    }

    /// Returns the requests that came so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    /// Waits until so many requests are open.
    pub(crate) async fn wait_for_open(&self, count: usize) {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.script.lock().unwrap().open == count {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("the requests come and go");
    }
}

async fn reply(State(double): State<Double>, headers: HeaderMap, axum::Json(body): axum::Json<Value>) -> Response {
    let reply = {
        let mut script = double.script.lock().unwrap();
        script.asked.push(Asked { headers, body });
        script.open += 1;
        script.replies.pop_front().unwrap_or(Reply::Fails(500, "script_ended"))
    };
    double.changed.notify_waiters();
    let _open = Open(double);
    let error =
        |kind: &str| json!({"type": "error", "error": {"type": kind, "message": format!("the double says {kind} to {KEY}")}}).to_string();
    let send = |status: u16, body: String| (StatusCode::from_u16(status).unwrap(), body).into_response();
    match reply {
        Reply::Says(text, stop) => {
            let usage = json!({"input_tokens": 100, "output_tokens": 7});
            let content = json!([{"type": "text", "text": text}]);
            send(200, json!({"model": "m-dated", "content": content, "stop_reason": stop, "usage": usage}).to_string())
        }
        // Where a redirect would lead to: here again, where it would be counted.
        Reply::Fails(status, kind) => ([("location", "/v1/messages")], send(status, error(kind))).into_response(),
        Reply::Limits(wait) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", wait)], error("rate_limit_error")).into_response(),
        Reply::Sends(status, body) => send(status, body),
        Reply::Hangs => std::future::pending().await,
    }
}

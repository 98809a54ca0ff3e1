//! The dashboard: its files inside the program, and the readiness of the services for it.

mod services;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

pub(crate) use services::{Peer, Services};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: [(&str, &str, &str); 9] = [
    ("/", "text/html; charset=utf-8", include_str!("dashboard/index.html")),
    ("/favicon.svg", "image/svg+xml", include_str!("dashboard/favicon.svg")),
    ("/dashboard/style.css", "text/css; charset=utf-8", include_str!("dashboard/style.css")),
    ("/dashboard/app.js", SCRIPT, include_str!("dashboard/app.js")),
    ("/dashboard/api.js", SCRIPT, include_str!("dashboard/api.js")),
    ("/dashboard/detail.js", SCRIPT, include_str!("dashboard/detail.js")),
    ("/dashboard/list.js", SCRIPT, include_str!("dashboard/list.js")),
    ("/dashboard/side.js", SCRIPT, include_str!("dashboard/side.js")),
    ("/dashboard/words.js", SCRIPT, include_str!("dashboard/words.js")),
];

/// Makes the routes of the page; anyone may load it, its questions go through the guard like everybody's.
pub(crate) fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |routes, (path, kind, text)| {
        // Small, and of one version with the program: always asked for anew.
        routes.route(path, get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text).into_response() }))
    })
}

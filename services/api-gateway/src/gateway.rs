//! The gateway's routes, and what every request goes through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics::counter;
use service_kit::rpc::{Code, RpcError};
use service_kit::{BoxError, Lifecycle, Task, Upstream};

use crate::client::Origin;
use crate::config::Config;
use crate::dashboard::{self, Services};
use crate::limit::{Client, Limiter};
use crate::methods::{METHODS, Method, Target};
use crate::oidc::{Authenticator, Refusal};
use crate::pages;
use crate::proxy::Proxy;

/// What all requests share.
pub(crate) struct Gateway {
    /// None if nobody is asked who they are.
    authenticator: Option<Authenticator>,
    limiter: Limiter,
    proxy: Proxy,
    feature_service: Option<Upstream>,
    repository_service: Option<Upstream>,
    services: Services,
    hops: usize,
    hosts: Vec<String>,
}

impl Gateway {
    pub(crate) fn new(config: Config, lifecycle: Lifecycle) -> Result<Arc<Self>, BoxError> {
        if config.issuer.is_none() {
            tracing::warn!("OIDC_MODE is off: anyone who reaches this address may call the platform");
        }
        Ok(Arc::new(Self {
            authenticator: config.issuer.map(Authenticator::new).transpose()?,
            limiter: Limiter::new(config.rate, Instant::now()),
            proxy: Proxy::new(config.timeout, config.body_limit, lifecycle)?,
            feature_service: config.feature_service,
            repository_service: config.repository_service,
            services: Services::new(config.peers)?,
            hops: config.hops,
            hosts: config.hosts,
        }))
    }

    /// Returns the work of keeping the issuer's keys, until the service stops; none without an issuer.
    pub(crate) fn keys_task(&self, stopping: impl Future<Output = ()> + Send + 'static) -> Option<Task> {
        let keys = self.authenticator.as_ref()?.keys();
        Some(Task::new("oidc-keys", async move {
            tokio::select! {
                () = keys.keep_fresh() => {}
                () = stopping => {}
            }
            Ok(())
        }))
    }

    /// Makes the routes: the methods and the dashboard's questions behind the guard, the dashboard's page before it.
    pub(crate) fn routes(self: &Arc<Self>) -> Router {
        let mut guarded = Router::new().route("/dashboard/services", get(services));
        for method in METHODS {
            let call = move |gateway, origin, request| forward(gateway, *method, origin, request);
            guarded = guarded.route(method.path, post(call));
        }
        guarded
            .route_layer(from_fn_with_state(Arc::clone(self), guard))
            .merge(dashboard::pages())
            .method_not_allowed_fallback(not_allowed)
            // The proxy has its own limit, which counts what passes.
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(Arc::clone(self), surround))
            .with_state(Arc::clone(self))
    }

    fn upstream(&self, target: Target) -> Option<&Upstream> {
        match target {
            Target::Features => self.feature_service.as_ref(),
            Target::Repositories => self.repository_service.as_ref(),
        }
    }

    /// Finds out who a client is, and whether it may ask now.
    async fn admit(&self, headers: &HeaderMap, origin: &Origin) -> Result<(), Response> {
        let known = match &self.authenticator {
            None => Ok(Client::at(origin.address)),
            Some(authenticator) => authenticator.subject(headers).await.map(Client::Subject),
        };
        // Who guesses tokens is slowed by address.
        let client = known.as_ref().map_or_else(|_| Client::at(origin.address), Clone::clone);
        if let Err(wait) = self.limiter.take(&client, Instant::now()) {
            return Err(too_many(wait));
        }
        known.map(drop).map_err(refuse)
    }
}

async fn not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, axum::Json(RpcError::new(Code::Unimplemented, "this path has no such method"))).into_response()
}

/// Finds the origin of every request, and adds to every answer what browsers are to keep.
async fn surround(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let origin = Origin::of(request.uri(), request.headers(), peer.ip(), gateway.hops);
    let secure = origin.secure;
    let own_names = gateway.authenticator.is_none().then_some(gateway.hosts.as_slice());
    let mut response = match pages::refused(request.headers(), &origin, own_names) {
        Some(why) => {
            counter!("gateway_requests_refused_total", "reason" => "origin").increment(1);
            RpcError::new(Code::PermissionDenied, why).into_response()
        }
        None => {
            request.extensions_mut().insert(origin);
            next.run(request).await
        }
    };
    pages::protect(response.headers_mut(), secure);
    response
}

/// Lets those through who may ask.
async fn guard(
    State(gateway): State<Arc<Gateway>>,
    axum::Extension(origin): axum::Extension<Origin>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(refusal) = gateway.admit(request.headers(), &origin).await {
        return refusal;
    }
    if gateway.proxy.is_too_large(request.headers()) {
        return gateway.proxy.too_large();
    }
    next.run(request).await
}

async fn forward(
    State(gateway): State<Arc<Gateway>>,
    method: Method,
    axum::Extension(origin): axum::Extension<Origin>,
    request: Request,
) -> Response {
    match gateway.upstream(method.target) {
        Some(upstream) => gateway.proxy.forward(upstream, method, &origin, request).await,
        None => RpcError::new(Code::Unimplemented, format!("this gateway has no {}", method.target.name())).into_response(),
    }
}

async fn services(State(gateway): State<Arc<Gateway>>) -> Response {
    axum::Json(gateway.services.report().await).into_response()
}

fn too_many(wait: Duration) -> Response {
    counter!("gateway_requests_refused_total", "reason" => "rate").increment(1);
    // Rounded up: who comes back too early is refused again.
    let retry_after = Some(Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
    RpcError { retry_after, ..RpcError::new(Code::ResourceExhausted, "too many requests; a client may send only so many a second") }
        .into_response()
}

fn refuse(refusal: Refusal) -> Response {
    let (reason, challenge, words) = match refusal {
        Refusal::Missing => ("token", r#"Bearer realm="feature-platform""#.to_owned(), "a bearer token is needed".to_owned()),
        Refusal::Invalid(why) => (
            "token",
            format!(r#"Bearer realm="feature-platform", error="invalid_token", error_description="{why}""#),
            format!("the bearer token is refused: {why}"),
        ),
        Refusal::Unknown(why) => {
            counter!("gateway_requests_refused_total", "reason" => "issuer").increment(1);
            let told = RpcError::new(Code::Unavailable, format!("tokens can't be checked at the moment: {why}"));
            return RpcError { retry_after: Some(Duration::from_secs(5)), ..told }.into_response();
        }
    };
    counter!("gateway_requests_refused_total", "reason" => reason).increment(1);
    let mut response = RpcError::new(Code::Unauthenticated, words).into_response();
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

use std::sync::{Arc, PoisonError, RwLock};

use http::Request;
use http::request::Builder;
use http_body_util::BodyExt;
use kube::client::Body;
use provision_apply::{Access, Cluster, ClusterError, Deletion, Listing, LogLines, RequestCounts, ServiceAnswer, Watching, WriteMode};
use provision_model::{ApiResource, ApiSurface, ClusterIdentity, FIELD_MANAGER, Manifest, ResourceId};
use serde_json::{Value, json};

use crate::connect::{ConnectError, Connection, client};
use crate::error::{Subject, from_kube};
use crate::list::{list, typed};
use crate::logs::follow;
use crate::rights;
use crate::send::{Counters, Patience, Purpose, Sender};
use crate::surface::{discover, path};
use crate::watch::watch;

/// The cluster behind one Kubernetes API server.
pub struct KubeCluster {
    sender: Sender,
    surface: RwLock<Option<Arc<ApiSurface>>>,
}

impl KubeCluster {
    /// Sets up a client; sends nothing yet.
    ///
    /// # Errors
    /// [`ConnectError`] when the kubeconfig or its credentials can't be used.
    pub async fn connect(connection: &Connection, patience: Patience) -> Result<Self, ConnectError> {
        let (client, server) = client(connection).await?;
        Ok(Self { sender: Sender { client, server, patience, counters: Counters::default() }, surface: RwLock::new(None) })
    }

    /// Returns the address of the API server.
    pub fn server(&self) -> &str {
        &self.sender.server
    }

    fn known(&self) -> Option<Arc<ApiSurface>> {
        self.surface.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn refresh(&self) -> Result<Arc<ApiSurface>, ClusterError> {
        let surface = Arc::new(discover(&self.sender).await?);
        *self.surface.write().unwrap_or_else(PoisonError::into_inner) = Some(surface.clone());
        Ok(surface)
    }

    /// Finds how a kind is served; asks the server again for kinds it did not know before (a definition may be new).
    async fn resource(&self, id: &ResourceId, version: Option<&str>) -> Result<ApiResource, ClusterError> {
        if let Some(found) = self.known().and_then(|surface| surface.find(&id.kind, version).cloned()) {
            return Ok(found);
        }
        let found = self.refresh().await?.find(&id.kind, version).cloned();
        found.ok_or_else(|| ClusterError::NotFound { subject: format!("the kind {} that {id} needs", id.kind) })
    }

    async fn write(
        &self,
        manifest: &Manifest,
        verb: &'static str,
        build: impl FnOnce(String, String) -> Builder,
    ) -> Result<Manifest, ClusterError> {
        let id = manifest.id();
        let resource = self.resource(&id, Some(manifest.version())).await?;
        let collection = path(&resource, id.namespace.as_deref(), None);
        let object = path(&resource, id.namespace.as_deref(), Some(&id.name));
        let subject = subject(verb, &id);
        let request = build(collection, object).body(manifest.value().to_string().into_bytes()).map_err(|source| subject.failed(source))?;
        let purpose = if request.uri().query().is_some_and(|query| query.contains("dryRun")) { Purpose::DryRun } else { Purpose::Write };
        let answer = self.sender.patiently(&request, purpose, &subject).await?;
        typed(answer, &resource).map_err(|source| subject.failed(source))
    }
}

fn subject(verb: &'static str, id: &ResourceId) -> Subject {
    Subject { verb, name: id.to_string(), secret: id.kind.group.is_empty() && id.kind.kind == "Secret" }
}

fn json_body(builder: Builder) -> Builder {
    builder.header(http::header::CONTENT_TYPE, "application/json")
}

impl Cluster for KubeCluster {
    async fn identity(&self) -> Result<ClusterIdentity, ClusterError> {
        let subject = Subject { verb: "get", name: "the namespace kube-system".to_owned(), secret: false };
        let read = |uri: &str| Request::get(uri).body(Vec::new()).map_err(|source| subject.failed(source));
        // Not patiently: whoever starts a run wants to know at once that the cluster is away.
        let version = self.sender.once(&read("/version")?, Purpose::Other, &subject).await?;
        let namespace = self.sender.once(&read("/api/v1/namespaces/kube-system")?, Purpose::Get, &subject).await?;
        // Without both, two clusters could be taken for one.
        let text = |value: &Value, pointer: &str| {
            let message = format!("{} does not answer like a Kubernetes API server: no `{pointer}`", self.sender.server);
            value.pointer(pointer).and_then(Value::as_str).map(str::to_owned).ok_or(ClusterError::Other { message, source: None })
        };
        Ok(ClusterIdentity { uid: text(&namespace, "/metadata/uid")?, version: text(&version, "/gitVersion")? })
    }

    async fn api(&self) -> Result<ApiSurface, ClusterError> {
        self.refresh().await.map(|surface| (*surface).clone())
    }

    async fn list(&self, resource: &ApiResource, namespace: Option<&str>) -> Result<Listing, ClusterError> {
        list(&self.sender, resource, namespace).await
    }

    async fn get(&self, id: &ResourceId) -> Result<Option<Manifest>, ClusterError> {
        let subject = subject("get", id);
        let resource = match self.resource(id, None).await {
            Err(ClusterError::NotFound { .. }) => return Ok(None),
            result => result?,
        };
        let uri = path(&resource, id.namespace.as_deref(), Some(&id.name));
        let request = Request::get(uri).body(Vec::new()).map_err(|source| subject.failed(source))?;
        match self.sender.patiently(&request, Purpose::Get, &subject).await {
            Ok(value) => typed(value, &resource).map(Some).map_err(|source| subject.failed(source)),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn apply(&self, manifest: &Manifest, mode: WriteMode) -> Result<Manifest, ClusterError> {
        let dry_run = if mode == WriteMode::DryRun { "&dryRun=All" } else { "" };
        self.write(manifest, "apply", |_, object| {
            Request::patch(format!("{object}?fieldManager={FIELD_MANAGER}&force=true&fieldValidation=Strict{dry_run}"))
                .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        })
        .await
    }

    async fn create(&self, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        let query = format!("fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
        self.write(manifest, "create", |collection, _| json_body(Request::post(format!("{collection}?{query}")))).await
    }

    async fn update(&self, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        let query = format!("fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
        self.write(manifest, "update", |_, object| json_body(Request::put(format!("{object}?{query}")))).await
    }

    async fn delete(&self, id: &ResourceId, uid: Option<&str>) -> Result<Deletion, ClusterError> {
        let subject = subject("delete", id);
        let resource = match self.resource(id, None).await {
            Err(ClusterError::NotFound { .. }) => return Ok(Deletion::Absent),
            result => result?,
        };
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
        if let Some(uid) = uid {
            options["preconditions"] = json!({ "uid": uid });
        }
        let builder = json_body(Request::delete(path(&resource, id.namespace.as_deref(), Some(&id.name))));
        let request = builder.body(options.to_string().into_bytes()).map_err(|source| subject.failed(source))?;
        match self.sender.patiently(&request, Purpose::Write, &subject).await {
            Ok(_) => Ok(Deletion::Accepted),
            Err(ClusterError::NotFound { .. }) => Ok(Deletion::Absent),
            Err(error) => Err(error),
        }
    }

    fn watch(&self, resource: &ApiResource, namespace: Option<&str>) -> Watching {
        watch(&self.sender, resource, namespace)
    }

    async fn logs(&self, pod: &ResourceId, container: &str, previous: bool, lines: u32) -> Result<Vec<String>, ClusterError> {
        let subject = subject("read the log of", pod);
        let namespace = pod.namespace.as_deref().unwrap_or("default");
        let uri = format!(
            "/api/v1/namespaces/{namespace}/pods/{}/log?container={container}&previous={previous}&tailLines={lines}&limitBytes=65536",
            pod.name
        );
        let request = Request::get(uri).body(Vec::new()).map_err(|source| subject.failed(source))?;
        let text = self.sender.text(&request, Purpose::Other, &subject).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn follow(&self, pod: &ResourceId, container: &str, lines: u32) -> LogLines {
        follow(&self.sender, pod, container, lines)
    }

    async fn get_through_service(&self, service: &ResourceId, port: &str, target: &str) -> Result<ServiceAnswer, ClusterError> {
        let subject = subject("send a request through", service);
        let namespace = service.namespace.as_deref().unwrap_or("default");
        let uri = format!("/api/v1/namespaces/{namespace}/services/{}:{port}/proxy/{}", service.name, target.trim_start_matches('/'));
        let request = Request::get(uri).body(Body::empty()).map_err(|source| subject.failed(source))?;
        self.sender.counters.count(Purpose::Other);
        through_service(&self.sender, request, &subject).await
    }

    async fn missing_rights(&self, wanted: &[Access]) -> Result<Vec<Access>, ClusterError> {
        rights::missing(&self.sender, wanted).await
    }

    fn requests(&self) -> RequestCounts {
        self.sender.counters.read()
    }
}

/// Longest part of a body that is kept.
const BODY: usize = 512;

async fn through_service(sender: &Sender, request: Request<Body>, subject: &Subject) -> Result<ServiceAnswer, ClusterError> {
    let exchange = async {
        let (head, body) = sender.client.send(request).await?.into_parts();
        let body = beginning(body).await?;
        Ok(ServiceAnswer { status: head.status.as_u16(), body: String::from_utf8_lossy(&body).into_owned() })
    };
    match tokio::time::timeout(sender.patience.request, exchange).await {
        Ok(result) => result.map_err(|error| from_kube(error, subject, &sender.server)),
        Err(elapsed) => Err(ClusterError::Unreachable { server: sender.server.clone(), source: Box::new(elapsed) }),
    }
}

/// Reads what is kept of a body and drops the rest: it comes from a service that may never stop sending.
async fn beginning(mut body: Body) -> Result<Vec<u8>, kube::Error> {
    let mut kept = Vec::new();
    while kept.len() < BODY
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            kept.extend_from_slice(&data[..data.len().min(BODY - kept.len())]);
        }
    }
    Ok(kept)
}

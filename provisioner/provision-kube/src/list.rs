use http::Request;
use provision_apply::{ClusterError, Listing};
use provision_model::{ApiResource, Manifest};
use serde_json::Value;

use crate::error::Subject;
use crate::send::{Purpose, Sender};
use crate::surface::path;

/// Objects a page; one LIST request each.
const PAGE: usize = 500;

/// Lists the objects of a kind, page by page; a list that expires between pages is begun again once.
pub(crate) async fn list(sender: &Sender, resource: &ApiResource, namespace: Option<&str>) -> Result<Listing, ClusterError> {
    match pages(sender, resource, namespace).await {
        Err(ClusterError::Other { message, .. }) if message.contains("unexpected answer 410") => pages(sender, resource, namespace).await,
        result => result,
    }
}

async fn pages(sender: &Sender, resource: &ApiResource, namespace: Option<&str>) -> Result<Listing, ClusterError> {
    let subject = Subject { verb: "list", name: subject_name(resource, namespace), secret: false };
    let mut items = Vec::new();
    let mut next = String::new();
    loop {
        let uri = format!("{}?limit={PAGE}{next}", path(resource, namespace, None));
        let request = Request::get(uri).body(Vec::new()).map_err(|source| other(&subject, source))?;
        let mut page = sender.patiently(&request, Purpose::List, &subject).await?;
        let found = page.get_mut("items").map(Value::take).unwrap_or_default();
        if let Value::Array(found) = found {
            items.reserve(found.len());
            for item in found {
                items.push(typed(item, resource).map_err(|source| other(&subject, source))?);
            }
        }
        match page.pointer("/metadata/continue").and_then(Value::as_str) {
            Some(token) if !token.is_empty() => next = format!("&continue={}", percent(token)),
            _ => {
                let version = page.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
                return Ok(Listing { items, resource_version: version.parse().unwrap_or_default() });
            }
        }
    }
}

pub(crate) fn subject_name(resource: &ApiResource, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{} in namespace {namespace}", resource.plural),
        None => resource.plural.clone(),
    }
}

/// Items of a list lack `apiVersion` and `kind`.
pub(crate) fn typed(mut item: Value, resource: &ApiResource) -> Result<Manifest, provision_model::ManifestError> {
    if let Some(map) = item.as_object_mut() {
        map.insert("apiVersion".to_owned(), Value::from(resource.api_version()));
        map.insert("kind".to_owned(), Value::from(resource.kind.kind.as_str()));
    }
    Manifest::try_from(item)
}

fn percent(token: &str) -> String {
    token.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn other(subject: &Subject, source: impl std::error::Error + Send + Sync + 'static) -> ClusterError {
    ClusterError::Other { message: format!("failed to {} {}", subject.verb, subject.name), source: Some(Box::new(source)) }
}

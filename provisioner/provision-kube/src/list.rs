use http::Request;
use provision_apply::{ClusterError, Listing};
use provision_model::{ApiResource, Manifest};
use serde_json::Value;

use crate::error::Subject;
use crate::send::{Failure, Purpose, Sender};
use crate::surface::path;

/// Objects a page; one LIST request each.
const PAGE: usize = 500;

/// Lists the objects of a kind, page by page; a list that expires between pages is begun again once.
pub(crate) async fn list(sender: &Sender, resource: &ApiResource, namespace: Option<&str>) -> Result<Listing, ClusterError> {
    let listed = match pages(sender, resource, namespace).await {
        Err(failure) if failure.is_expired() => pages(sender, resource, namespace).await,
        listed => listed,
    };
    listed.map_err(|failure| failure.error)
}

async fn pages(sender: &Sender, resource: &ApiResource, namespace: Option<&str>) -> Result<Listing, Failure> {
    let subject = Subject { verb: "list", name: subject_name(resource, namespace), secret: false };
    let mut items = Vec::new();
    let mut next = String::new();
    loop {
        let uri = format!("{}?limit={PAGE}{next}", path(resource, namespace, None));
        let request = Request::get(uri).body(Vec::new()).map_err(|source| subject.failed(source))?;
        let mut page = sender.try_patiently(&request, Purpose::List, &subject).await?;
        match page.get_mut("items").map(Value::take) {
            Some(Value::Array(found)) => {
                items.reserve(found.len());
                for item in found {
                    items.push(typed(item, resource).map_err(|source| subject.failed(source))?);
                }
            }
            // How some servers write an empty list.
            Some(Value::Null) => {}
            // Not taken for an empty list: the plan would make everything anew.
            _ => {
                let message = format!("the API server's answer on {} is no list", subject.name);
                return Err(ClusterError::Other { message, source: None }.into());
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

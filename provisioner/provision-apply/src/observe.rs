//! Reads everything that planning needs, without a write: one LIST for each kind and namespace, no request per object.

mod contents;
mod listing;
mod predict;

use std::collections::{BTreeMap, BTreeSet};

use provision_model::{
    ApiSurface, DesiredObject, FIELD_MANAGER, FieldPath, FieldSegment, Manifest, Observed, RecordedObject, ResourceId, Scope, SecretRef,
    annotations, ownership, secret_references,
};
use serde_json::Value;

pub use contents::contents;
pub(crate) use listing::{Wish, list_live};
pub use predict::predict;

use crate::record::{Generation, GenerationState, Head, Inventory, RecordStore, StoredObject, Wanted, known, written};
use crate::{ApplyError, Clock, Cluster, Fingerprints, RunContext, SecretStore, secrets};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Observes what is wanted or recorded of a release, and what its objects depend on. Secret values become fingerprints before they are kept.
///
/// After an unfinished generation, an object that carries the mark of its write counts as recorded by it; of the others the record
/// before it stands, or that they are registered only.
///
/// # Errors
/// [`ApplyError`] when the cluster, the record or the secret store can't be read.
pub async fn observe<C: Cluster, S: SecretStore, K: Clock>(
    cx: &RunContext<C, S, K>,
    scope: &Scope,
    wanted: &[DesiredObject],
) -> Result<Observed, ApplyError> {
    let store = RecordStore::new(cx.cluster.clone(), scope, PATIENCE);
    let (cluster, api, head) = tokio::join!(cx.cluster.identity(), cx.cluster.api(), store.head());
    let cluster = cluster.map_err(ApplyError::cluster_failed("ask which cluster this is"))?;
    let api = api.map_err(ApplyError::cluster_failed("ask what the cluster serves"))?;
    let head = head?.map(|state| state.head);
    let newest = head.as_ref().and_then(Head::newest);
    let inventory = match newest {
        Some(generation) => store.inventory(generation).await?,
        None => Inventory::new(),
    };
    let salt = salt_of(head.as_ref(), &cluster.uid, scope);
    let fingerprints = Fingerprints::new(salt.clone());
    let mut live = list_live(cx, &api, &wishes(wanted, &inventory)).await?;
    for object in live.values_mut() {
        *object = fingerprints.mask(object, &cx.redactor);
    }
    let recorded = match newest {
        Some(generation) => recorded(generation, &inventory, &live, scope),
        None => BTreeMap::new(),
    };
    Ok(Observed {
        generation: newest.map(|generation| generation.number),
        secrets: fingerprints_of(cx, &fingerprints, wanted).await?,
        fingerprint_salt: salt,
        predicted: BTreeMap::new(),
        cluster,
        api,
        live,
        recorded,
    })
}

/// Returns the salt of a release: the recorded one, else the one that its first record will have.
pub(crate) fn salt_of(head: Option<&Head>, cluster: &str, scope: &Scope) -> String {
    head.map_or_else(|| Fingerprints::first_salt(cluster, scope.release.as_str()), |head| head.salt.clone())
}

fn wishes(wanted: &[DesiredObject], inventory: &Inventory) -> Vec<Wish> {
    let mut wishes: BTreeMap<ResourceId, Option<String>> = BTreeMap::new();
    for (id, stored) in inventory {
        let written = stored.recorded.as_ref().map(|recorded| &recorded.rendered);
        let manifest = written.or(stored.wanted.as_ref().map(|wanted| &wanted.manifest));
        wishes.insert(id.clone(), manifest.map(|manifest| manifest.version().to_owned()));
    }
    for object in wanted {
        wishes.insert(object.id(), Some(object.manifest.version().to_owned()));
    }
    let namespaces: BTreeSet<String> = wishes.keys().filter_map(|id| id.namespace.clone()).collect();
    for name in namespaces {
        wishes.entry(ResourceId::cluster("", "Namespace", &name)).or_insert(None);
    }
    for target in dependencies(wanted) {
        wishes.entry(target.clone()).or_insert(None);
    }
    wishes.into_iter().map(|(id, version)| Wish { id, version }).collect()
}

/// Returns what the objects declare as dependencies; what of it the set does not hold must be in the cluster already.
pub(crate) fn dependencies(wanted: &[DesiredObject]) -> BTreeSet<&ResourceId> {
    wanted.iter().flat_map(|object| &object.depends_on).map(|dependency| &dependency.target).collect()
}

fn recorded(
    generation: &Generation,
    inventory: &Inventory,
    live: &BTreeMap<ResourceId, Manifest>,
    scope: &Scope,
) -> BTreeMap<ResourceId, RecordedObject> {
    let settled = generation.state == GenerationState::Done;
    inventory
        .iter()
        .filter_map(|(id, stored)| {
            let recorded = if settled { known(generation, id, stored) } else { unsettled(generation, id, stored, live.get(id), scope) };
            Some((id.clone(), recorded?))
        })
        .collect()
}

/// What is recorded of an object of an unfinished generation, with what the live object itself shows.
fn unsettled(
    generation: &Generation,
    id: &ResourceId,
    stored: &StoredObject,
    live: Option<&Manifest>,
    scope: &Scope,
) -> Option<RecordedObject> {
    let recorded = known(generation, id, stored)?;
    let shown = stored.wanted.as_ref().zip(live).filter(|(wanted, live)| carries_our_write(live, wanted, scope));
    Some(match shown {
        Some((wanted, live)) => RecordedObject { completed: recorded.completed, ..written(wanted, live) },
        None => recorded,
    })
}

/// Tells whether the live object is what our write of the wanted one left: it carries the mark, and nobody wrote to it since.
fn carries_our_write(live: &Manifest, wanted: &Wanted, scope: &Scope) -> bool {
    live.annotation(annotations::RELEASE) == Some(scope.release.as_str())
        && live.annotation(annotations::DIGEST) == Some(wanted.manifest.digest().as_str())
        && !live.is_terminating()
        && !written_by_others_since(live, &wanted.manifest)
}

/// Tells whether another manager wrote one of the wanted fields at the time of our write or later (times have seconds).
fn written_by_others_since(live: &Manifest, wanted: &Manifest) -> bool {
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ours = |entry: &&Value| text(entry, "manager") == FIELD_MANAGER && text(entry, "operation") == "Apply";
    let Some(written) = live.managed_fields().iter().find(ours).map(|entry| text(entry, "time")) else { return true };
    live.managed_fields()
        .iter()
        .filter(|entry| !ours(entry) && text(entry, "time") >= written)
        .filter_map(|entry| entry.get("fieldsV1"))
        .flat_map(ownership::leaf_paths)
        .any(|path| is_wanted(&path, wanted))
}

/// Tells whether the rendered object says something about a field. Lists count as wholes: their keys may be defaults.
fn is_wanted(path: &FieldPath, wanted: &Manifest) -> bool {
    let plain = path.0.iter().take_while(|segment| matches!(segment, FieldSegment::Key(_)));
    FieldPath(plain.cloned().collect()).lookup(wanted.value()).is_some()
}

async fn fingerprints_of<C, S: SecretStore, K>(
    cx: &RunContext<C, S, K>,
    fingerprints: &Fingerprints,
    wanted: &[DesiredObject],
) -> Result<BTreeMap<String, String>, ApplyError> {
    let references: BTreeSet<SecretRef> =
        wanted.iter().flat_map(|object| secret_references(object.manifest.value())).map(|(_, reference)| reference).collect();
    let mut found = BTreeMap::new();
    for reference in references {
        let value = match secrets::read(cx.secrets.as_ref(), &reference, &cx.redactor).await {
            Ok(value) => value,
            Err(crate::SecretError::Missing { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        found.insert(format!("{}#{}", reference.path, reference.property), fingerprints.of(value.expose().as_bytes()));
    }
    Ok(found)
}

/// Returns the surface's entry for a kind, under the given version if it is served.
pub(crate) fn served<'a>(api: &'a ApiSurface, id: &ResourceId, version: Option<&str>) -> Option<&'a provision_model::ApiResource> {
    version.and_then(|version| api.find(&id.kind, Some(version))).or_else(|| api.find(&id.kind, None))
}

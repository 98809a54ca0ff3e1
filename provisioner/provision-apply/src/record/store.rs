//! Reads and writes a record through the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{StreamExt, TryStreamExt, iter};
use provision_model::{Digest, EnvironmentName, GroupKind, Manifest, RegionName, ReleaseName, ResourceId, Scope, annotations, labels};
use serde_json::{Value, json};
use thiserror::Error;

use super::{Blob, FORMAT, Generation, Head, Inventory, Shard, shard};
use crate::retry::retry;
use crate::{Cluster, ClusterError};

const PARALLEL: usize = 16;
const HEAD_KEY: &str = "head.json";
const BLOB_KEY: &str = "shard";

/// Why a record can't be read or written.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The cluster refused.
    #[error("failed to {action} the record of release `{release}`")]
    Cluster {
        /// `read` or `write`.
        action: &'static str,
        /// Release.
        release: ReleaseName,
        /// Why.
        #[source]
        source: ClusterError,
    },
    /// What is stored can't be understood.
    #[error("the record of release `{release}` is damaged: {part}: {message}")]
    Damaged {
        /// Release.
        release: ReleaseName,
        /// Which ConfigMap.
        part: String,
        /// What is wrong.
        message: String,
    },
    /// A newer program wrote it.
    #[error("the record of release `{release}` has format {found}; this program reads up to {FORMAT}: use a newer one")]
    Newer {
        /// Release.
        release: ReleaseName,
        /// Its format.
        found: u32,
    },
    /// Another environment has a release of that name: `prod` in `us-east` and `prod-us` in `east` are both `prod-us-east`.
    #[error("release `{release}` of this cluster is that of {theirs}; {ours} can't have one of the same name beside it")]
    OtherEnvironment {
        /// Release.
        release: ReleaseName,
        /// Environment and region of the recorded one.
        theirs: String,
        /// Environment and region that were asked for.
        ours: String,
    },
    /// Someone else wrote the head meanwhile.
    #[error("another run wrote the record of release `{release}` meanwhile")]
    Taken {
        /// Release.
        release: ReleaseName,
    },
    /// It can't be packed.
    #[error("failed to pack the record of release `{release}`")]
    Pack {
        /// Release.
        release: ReleaseName,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl RecordError {
    /// Returns what the cluster said, if it was the cluster.
    pub fn cluster(&self) -> Option<&ClusterError> {
        match self {
            Self::Cluster { source, .. } => Some(source),
            Self::Damaged { .. } | Self::Newer { .. } | Self::OtherEnvironment { .. } | Self::Taken { .. } | Self::Pack { .. } => None,
        }
    }
}

/// A head with the version under which it is stored.
#[derive(Debug, Clone)]
pub(crate) struct HeadState {
    pub(crate) head: Head,
    /// `None` while it is not stored yet.
    pub(crate) version: Option<String>,
}

/// The place of one release's record.
#[derive(Debug)]
pub(crate) struct RecordStore<C> {
    cluster: Arc<C>,
    release: ReleaseName,
    environment: EnvironmentName,
    region: Option<RegionName>,
    namespace: String,
    /// How long a request is tried again.
    patience: Duration,
}

impl<C> Clone for RecordStore<C> {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            release: self.release.clone(),
            environment: self.environment.clone(),
            region: self.region.clone(),
            namespace: self.namespace.clone(),
            patience: self.patience,
        }
    }
}

impl<C: Cluster> RecordStore<C> {
    pub(crate) fn new(cluster: Arc<C>, scope: &Scope, patience: Duration) -> Self {
        Self {
            cluster,
            release: scope.release.clone(),
            environment: scope.environment.clone(),
            region: scope.region.clone(),
            namespace: scope.policy.state_namespace.clone(),
            patience,
        }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(ClusterError) -> RecordError + use<C> {
        let release = self.release.clone();
        move |source| RecordError::Cluster { action, release, source }
    }

    fn damaged(&self, part: &str, message: impl Into<String>) -> RecordError {
        RecordError::Damaged { release: self.release.clone(), part: part.to_owned(), message: message.into() }
    }

    fn config_map(&self, name: &str) -> ResourceId {
        ResourceId::namespaced("", "ConfigMap", &self.namespace, name)
    }

    fn head_name(&self) -> String {
        format!("{}.head", self.release)
    }

    fn blob_name(&self, digest: &Digest) -> String {
        format!("{}{}", self.blob_prefix(), digest.short(40))
    }

    fn blob_prefix(&self) -> String {
        format!("{}.blob-", self.release)
    }

    /// Refuses the record of another environment or region.
    fn is_of_ours(&self, head: &Head) -> Result<(), RecordError> {
        let Some(newest) = head.newest() else { return Ok(()) };
        if newest.environment == self.environment && newest.region == self.region {
            return Ok(());
        }
        let ours = place(&self.environment, self.region.as_ref());
        let theirs = place(&newest.environment, newest.region.as_ref());
        Err(RecordError::OtherEnvironment { release: self.release.clone(), theirs, ours })
    }

    /// Reads the head; `None` when the release was never recorded.
    pub(crate) async fn head(&self) -> Result<Option<HeadState>, RecordError> {
        let name = self.head_name();
        let Some(stored) = self.cluster.get(&self.config_map(&name)).await.map_err(self.failed("read"))? else { return Ok(None) };
        let text = stored.value().get("data").and_then(|data| data.get(HEAD_KEY)).and_then(Value::as_str);
        let text = text.ok_or_else(|| self.damaged(&name, format!("`{HEAD_KEY}` is missing")))?;
        let value: Value = serde_json::from_str(text).map_err(|error| self.damaged(&name, error.to_string()))?;
        let format = value.get("format").and_then(Value::as_u64).and_then(|format| u32::try_from(format).ok());
        if let Some(found) = format.filter(|format| *format > FORMAT) {
            return Err(RecordError::Newer { release: self.release.clone(), found });
        }
        let head: Head = serde_json::from_value(value).map_err(|error| self.damaged(&name, error.to_string()))?;
        self.is_of_ours(&head)?;
        Ok(Some(HeadState { head, version: stored.text("/metadata/resourceVersion").map(str::to_owned) }))
    }

    /// Reads the whole inventory of a generation.
    pub(crate) async fn inventory(&self, generation: &Generation) -> Result<Inventory, RecordError> {
        let shards: Vec<Inventory> = iter(generation.shards.clone())
            .map(|shard| {
                let store = self.clone();
                async move { store.shard(&shard).await }
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(shards.into_iter().flatten().collect())
    }

    async fn shard(&self, shard: &Shard) -> Result<Inventory, RecordError> {
        let mut joined = Vec::new();
        for digest in &shard.blobs {
            let name = self.blob_name(digest);
            let stored = self.cluster.get(&self.config_map(&name)).await.map_err(self.failed("read"))?;
            let stored = stored.ok_or_else(|| self.damaged(&name, "it is not there"))?;
            let text = stored.value().get("binaryData").and_then(|data| data.get(BLOB_KEY)).and_then(Value::as_str);
            let text = text.ok_or_else(|| self.damaged(&name, format!("`{BLOB_KEY}` is missing")))?;
            joined.extend(STANDARD.decode(text).map_err(|error| self.damaged(&name, error.to_string()))?);
        }
        shard::decode(shard, &joined).map_err(|message| self.damaged(shard.digest.short(40), message))
    }

    /// Packs an inventory and stores the pieces that `known` generations do not have yet.
    pub(crate) async fn store(&self, inventory: &Inventory, known: &[Generation]) -> Result<Vec<Shard>, RecordError> {
        let (shards, blobs) = super::encode(inventory).map_err(|source| RecordError::Pack { release: self.release.clone(), source })?;
        let known = blobs_of(known);
        iter(blobs.into_iter().filter(|blob| !known.contains(&blob.digest)))
            .map(|blob| {
                let store = self.clone();
                async move { store.store_blob(blob).await }
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        Ok(shards)
    }

    async fn store_blob(&self, blob: Blob) -> Result<(), RecordError> {
        let content = json!({"immutable": true, "binaryData": {BLOB_KEY: STANDARD.encode(&blob.bytes)}});
        let manifest = self.manifest(&self.blob_name(&blob.digest), content, None)?;
        match retry(self.patience, || self.cluster.create(&manifest)).await {
            Ok(_) | Err(ClusterError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(self.failed("write")(error)),
        }
    }

    /// Writes the head if it still is the version that was read.
    pub(crate) async fn write_head(&self, state: &mut HeadState) -> Result<(), RecordError> {
        let text = serde_json::to_string(&state.head).map_err(|error| self.damaged(&self.head_name(), error.to_string()))?;
        let manifest = self.manifest(&self.head_name(), json!({"data": {HEAD_KEY: text}}), state.version.as_deref())?;
        let written = match state.version {
            Some(_) => retry(self.patience, || self.cluster.update(&manifest)).await,
            None => retry(self.patience, || self.cluster.create(&manifest)).await,
        };
        let stored = match written {
            Ok(stored) => stored,
            // An answer that was lost: the write may have been ours.
            Err(ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. }) => self.stored_as_ours(&manifest).await?,
            Err(error) => return Err(self.failed("write")(error)),
        };
        state.version = stored.text("/metadata/resourceVersion").map(str::to_owned);
        Ok(())
    }

    async fn stored_as_ours(&self, ours: &Manifest) -> Result<Manifest, RecordError> {
        let stored = self.cluster.get(&ours.id()).await.map_err(self.failed("read"))?;
        stored
            .filter(|stored| stored.value().get("data") == ours.value().get("data"))
            .ok_or_else(|| RecordError::Taken { release: self.release.clone() })
    }

    /// Deletes the pieces that no generation of the head refers to.
    pub(crate) async fn collect_garbage(&self, head: &Head) -> Result<(), RecordError> {
        let used: BTreeSet<String> = blobs_of(&head.generations).iter().map(|digest| self.blob_name(digest)).collect();
        let api = provision_model::ApiResource {
            kind: GroupKind::new("", "ConfigMap"),
            version: "v1".to_owned(),
            plural: "configmaps".to_owned(),
            namespaced: true,
            preferred: true,
            listable: true,
        };
        let listed = self.cluster.list(&api, Some(&self.namespace)).await.map_err(self.failed("read"))?;
        let prefix = self.blob_prefix();
        let unused = listed.items.iter().map(Manifest::name).filter(|name| name.starts_with(&prefix) && !used.contains(*name));
        let unused: Vec<ResourceId> = unused.map(|name| self.config_map(name)).collect();
        iter(unused)
            .map(|id| {
                let store = self.clone();
                async move { store.cluster.delete(&id, None).await.map(drop).map_err(store.failed("write")) }
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await
    }

    /// Makes the state namespace if it is not there.
    pub(crate) async fn ensure_namespace(&self) -> Result<(), RecordError> {
        let id = ResourceId::cluster("", "Namespace", &self.namespace);
        if retry(self.patience, || self.cluster.get(&id)).await.map_err(self.failed("read"))?.is_some() {
            return Ok(());
        }
        let metadata = json!({"name": self.namespace, "labels": {labels::MANAGED_BY: "provision"}});
        let manifest = self.checked(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))?;
        match retry(self.patience, || self.cluster.create(&manifest)).await {
            Ok(_) | Err(ClusterError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(self.failed("write")(error)),
        }
    }

    fn manifest(&self, name: &str, content: Value, version: Option<&str>) -> Result<Manifest, RecordError> {
        let mut metadata = json!({
            "name": name, "namespace": self.namespace,
            "labels": {labels::MANAGED_BY: "provision"}, "annotations": {annotations::RELEASE: self.release.as_str()},
        });
        if let Some(version) = version {
            metadata["resourceVersion"] = Value::from(version);
        }
        let mut value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        for (key, part) in content.as_object().into_iter().flatten() {
            value[key.as_str()] = part.clone();
        }
        self.checked(value)
    }

    fn checked(&self, value: Value) -> Result<Manifest, RecordError> {
        Manifest::try_from(value).map_err(|error| self.damaged(&self.namespace, error.to_string()))
    }
}

fn place(environment: &EnvironmentName, region: Option<&RegionName>) -> String {
    let region = region.map_or_else(|| " without a region".to_owned(), |region| format!(" in region `{region}`"));
    format!("environment `{environment}`{region}")
}

fn blobs_of(generations: &[Generation]) -> BTreeSet<Digest> {
    let shards: BTreeMap<&Digest, &Shard> =
        generations.iter().flat_map(|generation| &generation.shards).map(|shard| (&shard.digest, shard)).collect();
    shards.values().flat_map(|shard| shard.blobs.iter().cloned()).collect()
}

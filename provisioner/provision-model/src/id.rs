use std::fmt;

use serde::{Deserialize, Serialize};

/// An API group and a kind, without the version: `apps` + `Deployment`; the core group is the empty string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, as in the manifest.
    pub kind: String,
}

impl GroupKind {
    /// Builds a group and kind from its two parts.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { write!(f, "{}", self.kind) } else { write!(f, "{}.{}", self.kind, self.group) }
    }
}

/// The identity of one object in a cluster: group, kind, namespace and name.
///
/// The API version is left out on purpose: the same object may be written and read under several versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// API group and kind.
    pub kind: GroupKind,
    /// Namespace; `None` for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ResourceId {
    /// Builds the identity of a namespaced object.
    pub fn namespaced(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: GroupKind::new(group, kind), namespace: Some(namespace.to_owned()), name: name.to_owned() }
    }

    /// Builds the identity of a cluster-scoped object.
    pub fn cluster(group: &str, kind: &str, name: &str) -> Self {
        Self { kind: GroupKind::new(group, kind), namespace: None, name: name.to_owned() }
    }

    /// Tells whether the cluster makes an object of this identity in every namespace by itself.
    pub fn is_in_every_namespace(&self) -> bool {
        self.kind.group.is_empty()
            && matches!((self.kind.kind.as_str(), self.name.as_str()), ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt"))
    }

    /// Returns the storage key `group/Kind/namespace/name`; empty parts stay empty. Inverse of [`ResourceId::from_key`].
    pub fn key(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or("");
        format!("{}/{}/{}/{}", self.kind.group, self.kind.kind, namespace, self.name)
    }

    /// Parses a storage key; `None` when it does not have four parts or lacks kind or name.
    pub fn from_key(key: &str) -> Option<Self> {
        let mut parts = key.splitn(4, '/');
        let (group, kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if kind.is_empty() || name.is_empty() {
            return None;
        }
        Some(Self {
            kind: GroupKind::new(group, kind),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            name: name.to_owned(),
        })
    }
}

/// `Deployment/feature-system/api-gateway`, or `Namespace/feature-system` for cluster-scoped objects.
impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{}/{}", self.kind.kind, namespace, self.name),
            None => write!(f, "{}/{}", self.kind.kind, self.name),
        }
    }
}

impl Serialize for ResourceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.key())
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        Self::from_key(&key).ok_or_else(|| serde::de::Error::custom(format!("`{key}` is no resource key (group/Kind/namespace/name)")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_round_trip() {
        for id in [
            ResourceId::namespaced("apps", "Deployment", "feature-system", "api-gateway"),
            ResourceId::namespaced("", "ConfigMap", "a", "b"),
            ResourceId::cluster("", "Namespace", "feature-system"),
            ResourceId::cluster("rbac.authorization.k8s.io", "ClusterRole", "system:node"),
        ] {
            assert_eq!(ResourceId::from_key(&id.key()), Some(id));
        }
        assert_eq!(ResourceId::from_key("apps/Deployment/x"), None);
        assert_eq!(ResourceId::from_key("apps//ns/x"), None);
    }
}

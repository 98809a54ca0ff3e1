//! CRDs and namespaces.

use provision_model::{GroupKind, ResourceId};
use serde_json::json;

use super::{conditions, is_true};
use crate::objects::{Objects, Stored};
use crate::surface;

impl Objects {
    /// Moves one CRD on: its names are taken or refused, and then its kind is served.
    pub(crate) fn run_crd(&mut self, id: &ResourceId, stored: &Stored) {
        let plural = &stored.value["spec"]["names"]["plural"];
        let kind = &stored.value["spec"]["names"]["kind"];
        let group = stored.text("/spec/group").unwrap_or_default();
        let taken = self.kinds.iter().any(|served| {
            let same = served.resource.kind.kind == kind.as_str().unwrap_or_default();
            let overlaps = served.resource.plural == plural.as_str().unwrap_or_default() || same;
            served.resource.kind.group == group && overlaps && !is_true(&stored.value, "Established")
        });
        let now = self.stamp();
        let message = format!("{plural} is already in use");
        let list: &[(&str, &str, &str, &str)] = if taken {
            &[("NamesAccepted", "False", "PluralConflict", &message), ("Established", "False", "NotAccepted", "not all names are accepted")]
        } else {
            &[
                ("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
                ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
            ]
        };
        self.control(id, Some("status"), |crd| {
            let names = if taken { json!({}) } else { crd["spec"]["names"].clone() };
            let storage = crd["spec"]["versions"].as_array().into_iter().flatten().find(|version| version["storage"] == true);
            let stored_versions = storage.map(|version| json!([version["name"]]));
            crd["status"] = json!({"conditions": conditions(crd, &now, list), "acceptedNames": names, "storedVersions": stored_versions});
        });
        self.serve_crds();
    }

    /// Serves the built-in kinds and those of established CRDs; objects of other kinds go.
    pub(crate) fn serve_crds(&mut self) {
        let crds = GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition");
        let established = self.range(&crds, None).filter(|(_, crd)| is_true(&crd.value, "Established"));
        let custom: Vec<_> = established.flat_map(|(_, crd)| surface::of_crd(&crd.value)).collect();
        self.kinds = surface::built_in();
        self.kinds.extend(custom);
        let served: Vec<ResourceId> = self.objects.keys().filter(|id| self.kind(&id.kind, None).is_none()).cloned().collect();
        for id in served {
            self.remove(&id);
        }
    }

    /// Gives a namespace what every one has.
    pub(crate) fn run_namespace(&mut self, id: &ResourceId) {
        let namespace = id.name.as_str();
        let account = ResourceId::namespaced("", "ServiceAccount", namespace, "default");
        let bundle = ResourceId::namespaced("", "ConfigMap", namespace, "kube-root-ca.crt");
        for (made, data) in [(account, None), (bundle, Some(json!({"ca.crt": "certificate of the cluster"})))] {
            if !self.objects.contains_key(&made) {
                let mut value =
                    json!({"apiVersion": "v1", "kind": made.kind.kind, "metadata": {"name": made.name, "namespace": namespace}});
                if let Some(data) = data {
                    value["data"] = data;
                }
                // The namespace is there and not going away.
                let _ = self.make(&made, &value);
            }
        }
    }

    /// Deletes what is in a namespace, and then the namespace.
    pub(crate) fn drain(&mut self, id: &ResourceId) {
        let inside = |state: &Self| -> Vec<ResourceId> {
            state.objects.keys().filter(|held| held.namespace.as_deref() == Some(id.name.as_str())).cloned().collect()
        };
        for held in inside(self) {
            // What finalizers hold stays, and is told below.
            let _ = self.delete(&held, None);
        }
        let rest = inside(self);
        if rest.is_empty() && !self.objects.get(id).is_some_and(|namespace| namespace.has_finalizers()) {
            self.remove(id);
            return;
        }
        let now = self.stamp();
        let held = rest.iter().filter(|id| self.objects.get(id).is_some_and(|held| held.has_finalizers()));
        let names: Vec<String> = held.map(ToString::to_string).collect();
        let content = format!("{} objects are still ending", rest.len());
        let finalizers = format!("Some content in the namespace has finalizers remaining: {}", names.join(", "));
        let list: &[(&str, &str, &str, &str)] = if names.is_empty() {
            &[("NamespaceContentRemaining", "True", "SomeResourcesRemain", &content)]
        } else {
            &[("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", &finalizers)]
        };
        self.control(id, Some("status"), |namespace| {
            namespace["status"] = json!({"phase": "Terminating", "conditions": conditions(namespace, &now, list)});
        });
    }
}

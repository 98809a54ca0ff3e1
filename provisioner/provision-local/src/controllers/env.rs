//! Variables of containers, with everything that they refer to.

use base64::Engine as _;
use provision_model::ResourceId;
use provision_objects::{Objects, Stored};
use serde_json::Value;

use super::addresses::Book;
use super::spec::{list, quantity};
use crate::network::rewrite;

/// Where variables and files of one pod come from.
pub(super) struct Sources<'o> {
    pub(super) objects: &'o Objects,
    pub(super) book: &'o Book,
    pub(super) namespace: &'o str,
    pub(super) pod: &'o Stored,
}

impl Sources<'_> {
    /// Lists the variables of a container in their order; later ones win.
    ///
    /// What is missing is left out: a pod is only placed when everything is there, and what goes later is not missed.
    pub(super) fn variables(&self, container: &Value) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        for source in list(container, "envFrom") {
            let prefix = source["prefix"].as_str().unwrap_or_default();
            for (field, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
                let Some(name) = source[field]["name"].as_str() else { continue };
                let data = self.data(kind, name);
                found.extend(data.into_iter().filter_map(|(key, value)| {
                    let name = format!("{prefix}{key}");
                    let text = self.text(&name, value)?;
                    Some((name, text))
                }));
            }
        }
        for variable in list(container, "env") {
            let Some(name) = variable["name"].as_str() else { continue };
            let value = match variable["value"].as_str() {
                Some(text) => Some(self.resolve(&expand(text, &found), Some(name))),
                None if variable.get("valueFrom").is_some() => self.value_from(name, container, &variable["valueFrom"]),
                None => Some(String::new()),
            };
            found.extend(value.map(|value| (name.to_owned(), value)));
        }
        found
    }

    fn value_from(&self, variable: &str, container: &Value, from: &Value) -> Option<String> {
        for (field, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
            if let (Some(name), Some(key)) = (from[field]["name"].as_str(), from[field]["key"].as_str()) {
                let found = self.data(kind, name).into_iter().find(|(known, _)| known == key);
                return found.and_then(|(_, value)| self.text(variable, value));
            }
        }
        if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
            return Some(self.field(path));
        }
        let resource = from["resourceFieldRef"]["resource"].as_str()?;
        let (group, name) = resource.split_once('.')?;
        let amount = quantity(container["resources"][group][name].as_str()?)?;
        let divisor = from["resourceFieldRef"]["divisor"].as_str().and_then(quantity).filter(|divisor| *divisor > 0).unwrap_or(1000);
        Some(amount.div_ceil(divisor).to_string())
    }

    /// Reads a field of the pod that variables and files may refer to.
    pub(super) fn field(&self, path: &str) -> String {
        let pod = self.pod;
        if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
            let pointer = format!("/{}", map.replace('.', "/"));
            return pod.value().pointer(&pointer).and_then(|map| map[key].as_str()).unwrap_or_default().to_owned();
        }
        let pointer = match path {
            "status.podIPs" => "/status/podIP".to_owned(),
            "status.hostIP" | "status.hostIPs" => return "127.0.0.1".to_owned(),
            path => format!("/{}", path.replace('.', "/")),
        };
        pod.text(&pointer).unwrap_or_default().to_owned()
    }

    /// Returns the entries of a ConfigMap or Secret.
    pub(super) fn data(&self, kind: &str, name: &str) -> Vec<(String, Vec<u8>)> {
        let Some(object) = self.objects.get(&ResourceId::namespaced("", kind, self.namespace, name)) else { return Vec::new() };
        let entries = |field: &str| object.value()[field].as_object().into_iter().flatten();
        let decode = |value: &Value| base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok();
        let plain = |value: &Value| value.as_str().map(|text| text.as_bytes().to_vec());
        let encoded = entries(if kind == "Secret" { "data" } else { "binaryData" }).map(|(key, value)| (key, decode(value)));
        let texts = entries(if kind == "Secret" { "stringData" } else { "data" }).map(|(key, value)| (key, plain(value)));
        encoded.chain(texts).filter_map(|(key, value)| Some((key.clone(), value?))).collect()
    }

    fn text(&self, variable: &str, value: Vec<u8>) -> Option<String> {
        let text = String::from_utf8(value).ok()?;
        (!text.contains('\0')).then(|| self.resolve(&text, Some(variable)))
    }

    /// Puts addresses in the place of the names of Services and pods.
    pub(super) fn resolve(&self, text: &str, variable: Option<&str>) -> String {
        let is_service = |namespace: &str, name: &str| self.objects.get(&ResourceId::namespaced("", "Service", namespace, name)).is_some();
        rewrite(text, variable, self.namespace, &|host| self.book.resolve(host, &is_service))
    }
}

/// Fills in `$(NAME)`; `$$(NAME)` stands for itself, and so does a name that is not known.
pub(super) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = tail;
            continue;
        }
        let named = rest.strip_prefix("$(").and_then(|tail| tail.split_once(')'));
        let value = named.and_then(|(name, _)| variables.iter().rev().find(|(known, _)| known == name));
        match (named, value) {
            (Some((_, tail)), Some((_, value))) => {
                expanded.push_str(value);
                rest = tail;
            }
            _ => {
                expanded.push('$');
                rest = &rest[1..];
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

//! Volumes: which there are, and the files of those that are made of objects.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::env::Sources;
use super::spec::{list, quantity};
use crate::kubelet::{File, Volume, VolumeSource};

impl Sources<'_> {
    /// Lists the volumes of the pod.
    pub(super) fn volumes(&self, spec: &Value) -> Vec<Volume> {
        let volume = |volume: &Value| {
            let name = volume["name"].as_str()?.to_owned();
            let source = match kind_of(volume) {
                "persistentVolumeClaim" => VolumeSource::Claim { name: volume["persistentVolumeClaim"]["claimName"].as_str()?.to_owned() },
                "hostPath" => VolumeSource::Host { path: PathBuf::from(volume["hostPath"]["path"].as_str()?) },
                "configMap" | "secret" | "downwardAPI" | "projected" => VolumeSource::Files(self.files(volume)),
                _ => {
                    let limit = volume["emptyDir"]["sizeLimit"].as_str().and_then(quantity).map(|thousandths| thousandths / 1000);
                    VolumeSource::Empty { limit }
                }
            };
            Some(Volume { name, source })
        };
        list(spec, "volumes").filter_map(volume).collect()
    }

    fn files(&self, volume: &Value) -> Vec<File> {
        let mut files = Vec::new();
        let kind = kind_of(volume);
        let mode = volume[kind]["defaultMode"].as_u64();
        if kind == "projected" {
            for source in list(&volume["projected"], "sources") {
                self.add(&mut files, source, mode);
            }
        } else {
            self.add(&mut files, volume, mode);
        }
        files
    }

    fn add(&self, files: &mut Vec<File>, source: &Value, mode: Option<u64>) {
        let mode_of = |item: &Value| item["mode"].as_u64().or(mode).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644) & 0o777;
        for (field, kind, key) in [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")] {
            let Some(name) = source[field][key].as_str().or_else(|| source[field]["name"].as_str()) else { continue };
            let items: Vec<&Value> = list(&source[field], "items").collect();
            for (entry, content) in self.data(kind, name) {
                let item = items.iter().find(|item| item["key"] == entry.as_str());
                if item.is_none() && !items.is_empty() {
                    continue;
                }
                let path = item.and_then(|item| item["path"].as_str()).unwrap_or(&entry);
                let Some(path) = inside(path) else { continue };
                files.push(File { path, content: self.resolved(content), mode: mode_of(item.copied().unwrap_or(&Value::Null)) });
            }
        }
        for item in list(&source["downwardAPI"], "items") {
            let path = item["path"].as_str().and_then(inside);
            if let (Some(path), Some(field)) = (path, item["fieldRef"]["fieldPath"].as_str()) {
                files.push(File { path, content: self.field(field).into_bytes(), mode: mode_of(item) });
            }
        }
    }

    fn resolved(&self, content: Vec<u8>) -> Vec<u8> {
        match String::from_utf8(content) {
            Ok(text) => self.resolve(&text, None).into_bytes(),
            Err(binary) => binary.into_bytes(),
        }
    }
}

fn kind_of(volume: &Value) -> &str {
    let fields = volume.as_object().into_iter().flatten();
    fields.map(|(name, _)| name.as_str()).find(|name| *name != "name").unwrap_or("emptyDir")
}

/// Returns a path that stays inside its volume.
pub(super) fn inside(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (stays && path.file_name().is_some()).then(|| path.components().filter(|part| *part != Component::CurDir).collect())
}

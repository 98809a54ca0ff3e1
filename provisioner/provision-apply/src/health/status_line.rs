use jiff::Timestamp;
use provision_model::{Cause, Health, Manifest, ManifestError, ResourceId, Verdict};
use serde::Serialize;
use serde_json::Value;

use super::judge;

/// One line of `status`, as contract.md fixes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusLine {
    /// The object: `Deployment/feature-system/api-gateway`.
    pub resource: String,
    /// Its state.
    pub status: Health,
    /// Cause; none for what is well or only on its way.
    pub reason: Option<Cause>,
    /// One sentence.
    pub message: String,
}

impl StatusLine {
    /// Builds the line of one object.
    pub fn of(id: &ResourceId, verdict: &Verdict) -> Self {
        Self { resource: id.to_string(), status: verdict.health, reason: verdict.cause, message: verdict.message.clone() }
    }

    /// Judges the first document of a stream; the others are its context.
    ///
    /// A document without a name is read all the same, as hand-made examples have none. Without any document the answer is `None`.
    ///
    /// # Errors
    /// [`ManifestError`] when a document is no object of Kubernetes.
    pub fn of_stream(documents: &[Value], now: Timestamp) -> Result<Option<Self>, ManifestError> {
        let objects = documents.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let Some((subject, context)) = objects.split_first() else {
            return Ok(None);
        };
        let context: Vec<&Manifest> = context.iter().collect();
        Ok(Some(Self::of(&subject.id(), &judge(subject, &context, now))))
    }
}

fn read(document: &Value) -> Result<Manifest, ManifestError> {
    let mut document = document.clone();
    if let Some(root) = document.as_object_mut() {
        let metadata = root.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.entry("name").or_insert_with(|| Value::from("(without name)"));
        }
    }
    Manifest::try_from(document)
}

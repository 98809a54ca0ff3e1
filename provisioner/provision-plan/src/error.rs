use provision_model::{Edge, EdgeReason, Origin, ResourceId};

/// Why there is no plan: the input itself can't be carried out, on any cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Objects depend on each other in a circle; the edges of a shortest one.
    #[error("these objects wait for each other:{}", cycle_text(.0))]
    Cycle(Vec<Edge>),
    /// Objects are rendered more than once: each with both places.
    #[error("rendered twice:{}", duplicate_text(.0))]
    Duplicate(Vec<(ResourceId, Origin, Origin)>),
    /// The answers of the API server that [`needs_prediction`](crate::needs_prediction) asks for are missing.
    #[error("the API server was not asked about {}", names(.0))]
    NotPredicted(Vec<ResourceId>),
}

fn names(ids: &[ResourceId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn duplicate_text(duplicates: &[(ResourceId, Origin, Origin)]) -> String {
    duplicates.iter().map(|(id, first, second)| format!("\n  {id} at {first} and at {second}")).collect()
}

fn cycle_text(edges: &[Edge]) -> String {
    let line = |edge: &Edge| {
        let at = edge.origin.as_ref().map(|origin| format!(" at {origin}")).unwrap_or_default();
        format!("\n  {} waits for {}: {}{at}", edge.after, edge.before, reason_text(&edge.reason))
    };
    edges.iter().map(line).collect()
}

/// Says an edge's reason in a few words.
pub(crate) fn reason_text(reason: &EdgeReason) -> String {
    match reason {
        EdgeReason::Declared => "declared".to_owned(),
        EdgeReason::Namespace => "its namespace".to_owned(),
        EdgeReason::Definition => "its kind".to_owned(),
        EdgeReason::Reference { field } => field.clone(),
        EdgeReason::KindOrder => "order of kinds".to_owned(),
    }
}

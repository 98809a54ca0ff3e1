use jiff::Timestamp;
use provision_model::Manifest;
use serde_json::Value;

/// Reads a whole number; also one that was written as text, which some controllers do with `observedGeneration`.
pub(super) fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Returns the whole number at a pointer.
pub(super) fn number(object: &Manifest, pointer: &str) -> Option<i64> {
    object.value().pointer(pointer).and_then(whole)
}

/// Returns the count at a pointer; absent means none, as API servers leave zeros out.
pub(super) fn count(object: &Manifest, pointer: &str) -> i64 {
    number(object, pointer).unwrap_or(0)
}

/// Tells whether the flag at a pointer is set.
pub(super) fn flag(object: &Manifest, pointer: &str) -> bool {
    object.value().pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// Returns the entries of the list at a pointer.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the text of a field.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Reads the time at a pointer.
pub(super) fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    text(value, pointer)?.parse().ok()
}

/// Returns when the object was made.
pub(super) fn created(object: &Manifest) -> Option<Timestamp> {
    time(object.value(), "/metadata/creationTimestamp")
}

/// One entry of `status.conditions`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'a> {
    pub(super) kind: &'a str,
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    pub(super) since: Option<Timestamp>,
    generation: Option<i64>,
}

impl Condition<'_> {
    pub(super) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(super) fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// Tells whether the condition speaks of an older generation than the object has now.
    pub(super) fn is_stale(&self, object: &Manifest) -> bool {
        matches!((self.generation, object.generation()), (Some(seen), Some(now)) if seen < now)
    }

    /// Returns message, or reason, or the type itself: what says most.
    pub(super) fn says(&self) -> &str {
        [self.message, self.reason, self.kind].into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }
}

/// Returns the conditions in the order of the list.
pub(super) fn conditions(object: &Manifest) -> impl Iterator<Item = Condition<'_>> {
    list(object.value(), "/status/conditions").iter().map(|entry| Condition {
        kind: text(entry, "/type").unwrap_or_default(),
        status: text(entry, "/status").unwrap_or_default(),
        reason: text(entry, "/reason").unwrap_or_default(),
        message: text(entry, "/message").unwrap_or_default(),
        since: time(entry, "/lastTransitionTime"),
        generation: entry.pointer("/observedGeneration").and_then(whole),
    })
}

/// Returns the condition of a type.
pub(super) fn condition<'a>(object: &'a Manifest, kind: &str) -> Option<Condition<'a>> {
    conditions(object).find(|condition| condition.kind == kind)
}

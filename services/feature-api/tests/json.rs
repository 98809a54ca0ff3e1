//! The JSON form of the messages is the one that people type.
#![cfg(test)]

use feature_api::feature::{CancelRequest, CreateRequest, CreateResponse, Event, Feature, GetRequest, ListRequest, State, WatchRequest};
use feature_api::{git, llm, repository};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

#[test]
fn names_and_states_are_written_as_in_the_files() {
    let response = CreateResponse { id: "x".to_owned(), state: State::Pending.into() };
    assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"id":"x","state":"PENDING"}"#);
    let feature = serde_json::to_value(Feature { id: "x".to_owned(), ..Feature::default() }).unwrap();
    assert_eq!(feature["artifacts"], serde_json::json!([]), "an empty list is a list");
    assert_eq!(feature.get("error"), None, "what is not known is not there");
}

#[test]
fn unknown_names_and_wrong_types_are_refused() {
    let read = serde_json::from_str::<CreateRequest>;
    assert_eq!(read(r#"{"repository_url": "u", "instruction": "i"}"#).unwrap().instruction, "i");
    for (text, words) in [
        (r#"{"repository": "u"}"#, "unknown field `repository`"),
        (r#"{"repository_url": 3}"#, "invalid type"),
        (r#"{"repository_url": "u", "repository_url": "v"}"#, "duplicate field"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

/// Reads a text as a message; what is read is the same when it is written and read again.
fn check_read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(text: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = serde_json::from_slice::<T>(text) {
        let written = serde_json::to_vec(&message).unwrap();
        prop_assert_eq!(serde_json::from_slice::<T>(&written).unwrap(), message);
    }
    Ok(())
}

/// Reads a text as everything that comes in from outside: requests of all services, and the records of the event bus.
fn check_all(text: &[u8]) -> Result<(), TestCaseError> {
    check_read::<CreateRequest>(text)?;
    check_read::<GetRequest>(text)?;
    check_read::<ListRequest>(text)?;
    check_read::<CancelRequest>(text)?;
    check_read::<WatchRequest>(text)?;
    check_read::<Event>(text)?;
    check_read::<repository::ResolveRequest>(text)?;
    check_read::<repository::RecordHeadRequest>(text)?;
    check_read::<git::LookRequest>(text)?;
    check_read::<git::ReadRequest>(text)?;
    check_read::<git::ApplyRequest>(text)?;
    check_read::<git::ArchiveRequest>(text)?;
    check_read::<llm::PlanRequest>(text)?;
    check_read::<llm::PatchRequest>(text)
}

/// JSON with the names that messages have, and values of the right and of wrong types.
fn nearly_a_message() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop_oneof![Just("PENDING"), Just("LOST"), Just("7"), Just("-1"), Just("2026-01-01T00:00:00Z")].prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "id",
        "repository_url",
        "repositoryUrl",
        "instruction",
        "idempotency_key",
        "states",
        "limit",
        "after",
        "state",
        "previous_state",
        "sequence",
        "event_type",
        "feature_execution_id",
        "created_at",
        "remote",
        "url",
        "credential",
        "branch",
        "commit",
        "paths",
        "patch",
        "files",
        "tree",
        "step_id",
        "message",
        "",
        "unknown",
    ]);
    leaf.prop_recursive(4, 40, 8, move |inner| {
        let object = prop::collection::vec((names.clone(), inner.clone()), 0..8);
        prop_oneof![
            3 => object.prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::from),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_a_message_that_stays_the_same_or_is_refused(value in nearly_a_message()) {
        check_all(value.to_string().as_bytes())?;
    }

    #[test]
    fn any_bytes_are_a_message_or_are_refused(bytes in prop_oneof![any::<Vec<u8>>(), "[\\[\\]{}:,\"0-9a-z_ -]{0,60}".prop_map(String::into_bytes)]) {
        check_all(&bytes)?;
    }
}

#[test]
fn json_that_is_nested_without_end_is_refused() {
    for (open, depth) in [("[", 1_000_000), (r#"{"remote":"#, 200_000), (r#"{"unknown":["#, 200_000)] {
        let text = open.repeat(depth);
        assert!(serde_json::from_str::<git::LookRequest>(&text).is_err());
        assert!(serde_json::from_str::<CreateRequest>(&text).is_err());
    }
}

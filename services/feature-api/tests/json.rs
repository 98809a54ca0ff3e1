//! The JSON form of the messages is the one that people type.
#![cfg(test)]

use feature_api::feature::{CreateRequest, CreateResponse, Feature, State};

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

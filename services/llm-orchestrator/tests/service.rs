//! The orchestrator as a process.

#![cfg(test)]

use std::net::TcpListener;

use service_testing::{Service, check_refused, config_table_is_current, get, post};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llm-orchestrator");

fn start(variables: &[(&str, &str)]) -> Service {
    Service::start(PROGRAM, &[], &[&[("BAML_CLIENT_MODEL", "m"), ("BAML_CLIENT_API_KEY", "canary-key")], variables].concat()).unwrap()
}

#[test]
fn it_starts_ready_and_ends_in_order() {
    let mut service = start(&[]);
    service.wait_for_readiness(200).unwrap();
    service.end_in_order().unwrap();
}

#[test]
fn its_configuration_is_refused_and_its_key_never_shown() {
    let wrong = [
        ("BAML_CLIENT_API_KEY", "canary key"),
        ("BAML_MAX_TOKENS", "0"),
        ("BAML_CLIENT_PROVIDER", "other"),
        ("LLM_PROVIDER_URL", "file:///x"),
    ];
    let log = check_refused(PROGRAM, &[], &wrong).unwrap();
    for words in [
        "BAML_CLIENT_API_KEY is set but malformed",
        "BAML_CLIENT_MODEL is not set",
        "BAML_MAX_TOKENS",
        "BAML_CLIENT_PROVIDER is \\\"other\\\": expected anthropic or openai",
        "LLM_PROVIDER_URL",
    ] {
        assert!(log.contains(words), "{words}\n{log}");
    }
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn prompts_that_name_another_function_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plan.md"), "Plan.\n").unwrap();
    let mut service = start(&[("LLM_PROMPTS_PATH", &folder.path().to_string_lossy())]);
    assert_eq!(service.wait().unwrap().code(), Some(1));
    assert!(service.log().contains("plan.md is not `function: plan`"), "{}", service.log());
}

/// Returns the URL of a port that nobody listens on.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn requests_are_refused_with_what_is_wrong() {
    let service = start(&[("LLM_PROVIDER_URL", &nobody()), ("LLM_TRIES", "1"), ("LLM_MAX_INPUT_TOKENS", "2000")]);
    let port = service.port("http").unwrap();
    let long = format!(r#"{{"instruction": "x", "tree": ["{}"]}}"#, "a/".repeat(20_000));
    for (method, request, status, words) in [
        ("Plan", "{", 400, "the request is not understood"),
        ("Plan", r#"{"instructions": "x"}"#, 400, "unknown field `instructions`"),
        ("Plan", "{}", 400, "`instruction` is empty"),
        ("Plan", r#"{"instruction": "x", "step_id": "a b"}"#, 400, "`step_id` is not a UUID"),
        ("Plan", &long, 400, "tree 13"),
        ("Patch", r#"{"instruction": "x", "files": [{"path": "a\nb", "content": ""}]}"#, 400, "has control characters"),
        ("Patch", r#"{"instruction": "x"}"#, 503, "no answer after 1 of 1 tries: the provider can't be reached"),
    ] {
        let answer = post(port, &format!("/feature.llm.v1.LlmService/{method}"), request).unwrap();
        assert_eq!(answer.status, status, "{request}: {}", answer.body);
        assert!(answer.body.contains(words), "{request}: {}", answer.body);
    }
    let metrics = get(service.port("metrics").unwrap(), "/metrics").unwrap().body;
    assert!(metrics.contains("llm_requests_total{function=\"patch\",outcome=\"error\"} 1\n"), "{metrics}");
    assert!(!service.log().contains("canary"), "{}", service.log());
}

#[test]
fn its_page_has_its_configuration() {
    config_table_is_current(PROGRAM, "docs/services/llm-orchestrator.md").unwrap();
}

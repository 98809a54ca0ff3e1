//! The provider over HTTP, as its clients see it.

#![cfg(test)]

use std::fs;
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use service_testing::{Service, check_refused, check_starts_ready_and_ends_in_order, eventually, get};

const PROGRAM: &str = env!("CARGO_BIN_EXE_local-models");
const KEY: &str = "canary-33aa";

struct Lab {
    service: Service,
    url: String,
    client: Client,
}

struct Heard {
    status: u16,
    retry_after: Option<String>,
    request_id: String,
    body: Value,
}

impl Lab {
    fn start(variables: &[(&str, &str)]) -> Self {
        let service = Service::start(PROGRAM, &[], variables).unwrap();
        let url = format!("http://127.0.0.1:{}/v1/messages", service.port("http").unwrap());
        Self { service, url, client: Client::new() }
    }

    fn send(&self, key: &str, body: &Value) -> Heard {
        let request = self.client.post(&self.url).header("x-api-key", key).header("anthropic-version", "2023-06-01");
        hear(request.json(body).send().unwrap())
    }

    fn ask(&self, function: &str, instruction: &str) -> Heard {
        self.send(KEY, &question(function, instruction))
    }
}

fn hear(answer: Response) -> Heard {
    let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, retry_after, request_id) = (answer.status().as_u16(), header("retry-after"), header("request-id").unwrap_or_default());
    Heard { status, retry_after, request_id, body: answer.json().unwrap() }
}

impl Heard {
    fn text(&self) -> &str {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body["content"][0]["text"].as_str().unwrap()
    }

    fn refusal(&self) -> (u16, &str) {
        assert_eq!(self.body["type"], "error", "{}", self.body);
        assert_eq!(self.body["request_id"], json!(self.request_id));
        (self.status, self.body["error"]["type"].as_str().unwrap())
    }
}

fn question(function: &str, instruction: &str) -> Value {
    let user = format!("<instruction>\n{instruction}\n</instruction>\n<tree>\nREADME.md\n</tree>\n");
    json!({"model": "m-1", "max_tokens": 1000, "system": format!("function: {function}\nMore."), "messages": [{"role": "user", "content": user}]})
}

#[test]
fn it_starts_ready_and_ends_in_order() {
    check_starts_ready_and_ends_in_order(PROGRAM).unwrap();
}

#[test]
fn an_answer_has_the_form_of_the_providers() {
    let lab = Lab::start(&[]);
    let heard = lab.ask("plan", "Add a page");
    let plan: Value = serde_json::from_str(heard.text()).unwrap();
    assert_eq!(plan["verify"], json!(["sh", "-c", "test -s features/add-a-page.md"]));
    let Value::Object(mut body) = heard.body else { panic!("no object") };
    let (id, content) = (body.remove("id").unwrap(), body.remove("content").unwrap());
    assert!(id.as_str().unwrap().starts_with("msg_") && heard.request_id.starts_with("req_"));
    assert_eq!(content[0]["type"], "text");
    let usage = body.remove("usage").unwrap();
    assert_eq!(usage["input_tokens"], json!(22));
    assert_eq!(usage["output_tokens"], json!(content[0]["text"].as_str().unwrap().len().div_ceil(4)));
    let rest = json!({"type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn", "stop_sequence": null});
    assert_eq!(Value::Object(body), rest);
    assert!(lab.ask("patch", "Add a page").text().starts_with("```diff\ndiff --git a/features/add-a-page.md"));
}

#[test]
fn a_text_may_come_in_blocks_and_after_others() {
    let lab = Lab::start(&[]);
    let mut asked = question("plan", "Add it");
    asked["system"] = json!([{"type": "text", "text": "function: plan\n"}]);
    asked["messages"][0]["content"] =
        json!([{"type": "image", "source": {}}, {"type": "text", "text": "<instruction>Add it</instruction>"}]);
    let messages = asked["messages"].as_array_mut().unwrap();
    messages.extend([json!({"role": "assistant", "content": "no"}), json!({"role": "user", "content": "Try again."})]);
    assert!(lab.send(KEY, &asked).text().contains("features/add-it.md"));
}

#[test]
fn an_answer_is_no_longer_than_asked_for() {
    let lab = Lab::start(&[]);
    let mut asked = question("plan", "Add it");
    asked["max_tokens"] = json!(3);
    let heard = lab.send(KEY, &asked);
    assert_eq!((heard.text().len(), heard.body["stop_reason"].as_str()), (12, Some("max_tokens")));
    assert_eq!(heard.body["usage"]["output_tokens"], 3);
}

#[test]
fn requests_that_the_provider_would_refuse_are_refused() {
    let lab = Lab::start(&[]);
    let with = |field: &str, value: Value| {
        let mut asked = question("plan", "Add it");
        asked[field] = value;
        lab.send(KEY, &asked)
    };
    assert_eq!(with("max_tokens", json!(0)).refusal(), (400, "invalid_request_error"));
    assert_eq!(with("model", json!("")).refusal(), (400, "invalid_request_error"));
    assert_eq!(with("messages", json!([])).refusal(), (400, "invalid_request_error"));
    assert_eq!(with("messages", json!([{"role": "assistant", "content": "x"}])).refusal(), (400, "invalid_request_error"));
    assert_eq!(with("messages", json!([{"role": "user"}])).refusal(), (400, "invalid_request_error"));
    assert_eq!(with("stream", json!(true)).refusal(), (400, "invalid_request_error"));
    assert_eq!(lab.send("", &question("plan", "x")).refusal(), (401, "authentication_error"));
    let post =
        |body: Vec<u8>| lab.client.post(&lab.url).header("x-api-key", KEY).header("anthropic-version", "2023-06-01").body(body).send();
    assert_eq!(hear(post(b"{\"model\":".to_vec()).unwrap()).refusal(), (400, "invalid_request_error"));
    assert_eq!(hear(post(vec![b' '; 32 * 1024 * 1024 + 1]).unwrap()).refusal(), (413, "request_too_large"));
    let unversioned = lab.client.post(&lab.url).header("x-api-key", KEY).json(&question("plan", "x")).send().unwrap();
    assert_eq!(hear(unversioned).refusal(), (400, "invalid_request_error"));
}

#[test]
fn with_a_key_set_no_other_one_is_taken_and_it_is_not_shown() {
    let mut lab = Lab::start(&[("MODELS_API_KEY", KEY)]);
    assert_eq!(lab.send("canary-other", &question("plan", "x")).refusal(), (401, "authentication_error"));
    assert_eq!(lab.ask("plan", "x").status, 200);
    lab.service.end_in_order().unwrap();
    assert!(!lab.service.log().contains("canary"), "{}", lab.service.log());
}

#[test]
fn a_conversation_is_refused_as_often_as_it_asks_for() {
    let lab = Lab::start(&[]);
    for _ in 0..2 {
        for _ in 0..2 {
            let heard = lab.ask("plan", "Add it [rate-limit:2]");
            assert_eq!(heard.refusal(), (429, "rate_limit_error"));
            assert_eq!(heard.retry_after.as_deref(), Some("1"));
        }
        assert_eq!(lab.ask("plan", "Add it [rate-limit:2]").status, 200);
    }
    assert_eq!(lab.ask("patch", "Add it [overloaded:1]").refusal(), (529, "overloaded_error"));
    assert_eq!(lab.ask("patch", "Add it [overloaded:1]").status, 200);
    let metrics = get(lab.service.port("metrics").unwrap(), "/metrics").unwrap().body;
    assert!(metrics.contains("models_requests_total{rule=\"plan\",status=\"429\"} 4\n"), "{metrics}");
    assert!(metrics.contains("models_tokens_total{direction=\"output\"}"), "{metrics}");
}

#[test]
fn an_answer_takes_the_time_that_is_asked_for() {
    let lab = Lab::start(&[]);
    let started = Instant::now();
    assert_eq!(lab.ask("plan", "Add it [slow:400]").status, 200);
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[test]
fn a_slow_answer_does_not_hold_up_its_end() {
    let mut lab = Lab::start(&[]);
    let (client, url) = (lab.client.clone(), lab.url.clone());
    let asked = std::thread::spawn(move || {
        let request = client.post(url).header("x-api-key", KEY).header("anthropic-version", "2023-06-01");
        hear(request.json(&question("plan", "[slow:60000]")).send().unwrap())
    });
    let metrics = lab.service.port("metrics").unwrap();
    let running = || get(metrics, "/metrics").unwrap().body.contains("http_requests_in_flight 1").then_some(());
    eventually("the request is taken", running).unwrap();
    lab.service.end_in_order().unwrap();
    assert_eq!(asked.join().unwrap().refusal(), (529, "overloaded_error"));
}

#[test]
fn a_script_of_ones_own_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.yaml");
    let script =
        "rules:\n- {name: hello, user: 'I am (\\w+)', answer: 'Hello ${1}', refuse: {times: 1, status: 500, retry_after_seconds: 7}}\n";
    fs::write(&path, script).unwrap();
    let lab = Lab::start(&[("MODELS_SCRIPT", path.to_str().unwrap())]);
    let asked = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "I am Ada"}]});
    let heard = lab.send(KEY, &asked);
    assert_eq!((heard.refusal(), heard.retry_after.as_deref()), ((500, "api_error"), Some("7")));
    assert_eq!(lab.send(KEY, &asked).text(), "Hello Ada");
    assert_eq!(lab.ask("plan", "x").refusal(), (400, "invalid_request_error"));
}

#[test]
fn a_script_that_is_wrong_or_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.yaml");
    let log = |path: &str| {
        let mut service = Service::start(PROGRAM, &[], &[("MODELS_SCRIPT", path)]).unwrap();
        assert_eq!(service.wait().unwrap().code(), Some(1));
        service.log()
    };
    assert!(log(path.to_str().unwrap()).contains("failed to read the script"));
    fs::write(&path, "rules: [{contains: x}]").unwrap();
    assert!(log(path.to_str().unwrap()).contains("rule 1 of the script: it needs either `answer` or `builtin`"));
    check_refused(PROGRAM, &[], &[("MODELS_SCRIPT", "relative")]).unwrap();
}

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use service_kit::Upstream;

use super::*;
use crate::answer;
use crate::provider::double::{Double, KEY, Reply};

const DIFF: &str = "```diff\n--- a/a.txt\n+++ b/a.txt\n@@ -1,1 +1,1 @@\n-a\n+b\n```";
const CHATTER: &str = "Certainly! I changed the file.";

fn patience() -> Patience {
    let ms = Duration::from_millis;
    Patience { total: ms(5000), tries: 3, backoff: ms(1), concurrency: 4, queue: 4 }
}

fn question() -> Question {
    let turns = vec![Turn { speaker: Speaker::User, text: "<instruction>\nx\n</instruction>\n".to_owned() }];
    Question { model: "m".to_owned(), max_tokens: 50, temperature: Some(0.1), system: "function: patch".to_owned(), turns }
}

fn asker(url: Upstream, patience: Patience) -> Asker {
    Asker::new(Double::client(url, Duration::from_millis(300)), patience)
}

async fn ask(asker: &Asker) -> Result<Answered<String>, AskError> {
    let step_id = "6c1f0a0e-0000-5000-8000-000000000000".to_owned();
    asker.ask(Purpose { function: Function::Patch, step_id }, question(), answer::patch).await
}

/// Asks a double that gives `replies`, and returns the words of the outcome, the number of requests and the metrics.
async fn outcome(replies: &[Reply], patience: Patience) -> (String, usize, String) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let (double, url) = Double::start(replies.iter().cloned()).await;
    let asker = asker(url, patience);
    let recording = metrics::set_default_local_recorder(&recorder);
    let words = match ask(&asker).await {
        Ok(answered) => format!("{} for {}+{}", answered.model, answered.usage.input_tokens, answered.usage.output_tokens),
        Err(error) => service_kit::words(&error),
    };
    drop(recording);
    (words, double.asked().len(), recorder.handle().render())
}

#[tokio::test]
async fn failures_that_pass_are_tried_again_and_others_are_not() {
    use Reply::{Fails, Limits, Says, Sends};
    let good = Says(DIFF, "end_turn");
    let useless = Says(CHATTER, "end_turn");
    for (replies, words, requests) in [
        (vec![good.clone()], "m-dated for 100+7", 1),
        (vec![Fails(500, "api_error"), Fails(529, "overloaded_error"), good.clone()], "m-dated for 100+7", 3),
        (vec![Limits("0"), good.clone()], "m-dated for 100+7", 2),
        (
            vec![Limits("0"), Limits("0"), Limits("0"), good.clone()],
            "no answer after 3 of 3 tries: rate limit: the provider takes no more",
            3,
        ),
        (vec![Limits("60")], "no answer after 1 of 3 tries: rate limit", 1),
        (vec![Limits("never"), good.clone()], "m-dated for 100+7", 2),
        (
            vec![Fails(503, "x"), Fails(502, "x"), Fails(504, "gone_error")],
            "no answer after 3 of 3 tries: the provider failed with status 504: gone_error",
            3,
        ),
        (vec![Fails(401, "authentication_error")], "no answer after 1 of 3 tries: the provider does not accept the key (status 401)", 1),
        (vec![Fails(403, "permission_error")], "the provider does not accept the key (status 403)", 1),
        (
            vec![Fails(400, "invalid_request_error")],
            "refuses the request with status 400: invalid_request_error: the double says invalid_request_error to (hidden)",
            1,
        ),
        (vec![Fails(307, "x")], "refuses the request with status 307", 1),
        (vec![Sends(200, "<html>".to_owned())], "the provider's answer is not understood: expected value", 1),
        (vec![Sends(200, " ".repeat(9 << 20))], "the provider's answer is longer than 8388608 bytes", 1),
        (vec![useless.clone(), good.clone()], "m-dated for 200+14", 2),
        (
            vec![useless.clone(), Fails(500, "x"), useless.clone(), good.clone()],
            "can't be used, and neither could the one before: there is no fence",
            3,
        ),
        (vec![Says(DIFF, "max_tokens"), good.clone()], "the answer reached max_tokens, 50, and was cut off", 1),
        (vec![Says("", "refusal"), good.clone()], "the model declined to answer", 1),
        (vec![Says("", "tool_use"), good.clone()], "stopped for another reason: \"tool_use\"", 1),
    ] {
        let (found, asked, _) = outcome(&replies, patience()).await;
        assert!(found.contains(words), "{replies:?}\n{found}");
        assert!(!found.contains(KEY), "{found}");
        assert_eq!(asked, requests, "{replies:?}");
    }
}

#[tokio::test]
async fn every_request_is_counted_once() {
    use Reply::{Fails, Limits, Says};
    let replies = [Limits("0"), Fails(500, "x"), Says(CHATTER, "end_turn"), Says(DIFF, "end_turn")];
    let (_, _, metrics) = outcome(&replies, patience()).await;
    for line in [
        "llm_requests_total{function=\"patch\",outcome=\"error\"} 3\n",
        "llm_requests_total{function=\"patch\",outcome=\"success\"} 1\n",
        "llm_tokens_total{function=\"patch\",direction=\"input\"} 200\n",
        "llm_tokens_total{function=\"patch\",direction=\"output\"} 14\n",
        "llm_rate_limit_hits_total{function=\"patch\"} 1\n",
        "llm_request_duration_seconds_count{function=\"patch\"} 4\n",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_mistake_is_named_when_it_is_asked_once_more() {
    let (double, url) = Double::start([Reply::Says(CHATTER, "end_turn"), Reply::Says(DIFF, "end_turn")]).await;
    ask(&asker(url, patience())).await.unwrap();
    let asked = double.asked();
    let first = json!({"role": "user", "content": "<instruction>\nx\n</instruction>\n"});
    assert_eq!(asked[0].body["messages"], json!([first]));
    let words = "Your answer can't be used: there is no fence that begins with ```diff. Answer again, the whole of it, in exactly the form that was asked for.";
    let expected = json!([first, {"role": "assistant", "content": CHATTER}, {"role": "user", "content": words}]);
    assert_eq!(asked[1].body["messages"], expected);
    let headers = &asked[0].headers;
    assert_eq!((&headers["x-api-key"], &headers["anthropic-version"]), (&KEY.parse().unwrap(), &"2023-06-01".parse().unwrap()));
    assert_eq!(headers["x-client-request-id"], "6c1f0a0e-0000-5000-8000-000000000000");
}

#[tokio::test]
async fn silence_and_absence_are_failures_that_pass() {
    let (found, asked, _) = outcome(&[Reply::Hangs, Reply::Says(DIFF, "end_turn")], patience()).await;
    assert_eq!((found.as_str(), asked), ("m-dated for 100+7", 2));
    let (found, asked, metrics) = outcome(&[Reply::Hangs], Patience { total: Duration::from_millis(100), ..patience() }).await;
    assert!(asked == 1 && found.contains("no answer after 1 of 3 tries: the call's 0.1 s ended (LLM_TIMEOUT_SECONDS)"), "{found}");
    assert!(metrics.contains("llm_requests_total{function=\"patch\",outcome=\"error\"} 1\n"), "{metrics}");
    let nobody = (service_kit::variables::UPSTREAM.parse)("http://127.0.0.1:1").unwrap();
    let found = service_kit::words(&ask(&asker(nobody, patience())).await.unwrap_err());
    assert!(found.starts_with("no answer after 3 of 3 tries: the provider can't be reached"), "{found}");
}

#[tokio::test]
async fn calls_wait_for_their_turn_and_too_many_are_refused() {
    let (double, url) = Double::start(vec![Reply::Hangs; 9]).await;
    let client = Double::client(url, Duration::from_secs(60));
    let limits = Patience { total: Duration::from_secs(60), concurrency: 2, queue: 1, ..patience() };
    let asker = Arc::new(Asker::new(client, limits));
    let call = || {
        let asker = Arc::clone(&asker);
        tokio::spawn(async move { ask(&asker).await })
    };
    let (first, _second, _third) = (call(), call(), call());
    double.wait_for_open(2).await;
    // The third has its place, though not its turn.
    tokio::time::timeout(Duration::from_secs(20), async {
        while asker.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(matches!(ask(&asker).await, Err(AskError::Full(1))));
    assert_eq!(double.asked().len(), 2);
    first.abort();
    // What is dropped breaks its request off, and its turn goes to the one that waits.
    tokio::time::timeout(Duration::from_secs(20), async {
        while double.asked().len() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    double.wait_for_open(2).await;
}

#[tokio::test]
async fn a_turn_that_does_not_come_in_time_is_an_error() {
    let (double, url) = Double::start([]).await;
    let asker = asker(url, Patience { total: Duration::from_millis(50), concurrency: 1, ..patience() });
    let _held = asker.turns.acquire().await.unwrap();
    let outcome = ask(&asker).await;
    assert!(matches!(outcome, Err(AskError::NoTurn(_))), "{outcome:?}");
    assert_eq!(double.asked().len(), 0);
}

#[test]
fn waits_grow_with_each_try_and_keep_what_was_asked() {
    let patience = Patience { backoff: Duration::from_secs(1), ..patience() };
    for (tries, asked, chance, seconds) in [
        (1, None, 0.0, 0.5),
        (1, None, 1.0, 1.0),
        (2, None, 1.0, 2.0),
        (4, None, 0.5, 6.0),
        (99, None, 1.0, 60.0),
        (1, Some(30), 0.0, 30.5),
        (3, Some(30), 1.0, 34.0),
    ] {
        let wait = backoff(&patience, tries, asked.map(Duration::from_secs), chance);
        assert_eq!(wait, Duration::from_secs_f64(seconds), "{tries} {asked:?} {chance}");
    }
}

//! Who is let in.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use service_testing::{Service, eventually, get};

use crate::calls::{CREATE, check_error, instruction};
use crate::double::Double;
use crate::issuer::{AUDIENCE, Issuer, Key, seconds};
use crate::started;

async fn ask(url: &str, token: &str) -> Response {
    Client::new().post(format!("{url}{CREATE}")).bearer_auth(token).body(instruction("x")).send().await.unwrap()
}

fn gateway(issuer: &Issuer, double: &Double, more: &[(&str, &str)]) -> (Service, String) {
    let common = [("OIDC_ISSUER", issuer.url.as_str()), ("OIDC_CLIENT_ID", AUDIENCE), ("FEATURE_SERVICE_URL", double.url.as_str())];
    let variables: Vec<_> = common.into_iter().chain(more.iter().copied()).collect();
    started(&variables)
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_issuer_are_let_in_whatever_it_signs_with() {
    let keys = [("r", Algorithm::RS256), ("e", Algorithm::ES256), ("d", Algorithm::EdDSA)].map(|(id, algorithm)| Key::new(id, algorithm));
    let issuer = Issuer::start(&keys.iter().collect::<Vec<_>>()).await;
    let double = Double::start().await;
    let (_gateway, url) = gateway(&issuer, &double, &[]);
    let claims = issuer.claims("ada");
    for key in &keys {
        assert_eq!(ask(&url, &key.sign(&claims)).await.status().as_u16(), 200, "{}", key.id);
    }
    let several = with(&claims, "aud", json!(["other", AUDIENCE]));
    let late = with(&with(&claims, "exp", json!(seconds() - 30)), "nbf", json!(seconds() + 30));
    for claims in [several, late, without(&claims, "iat")] {
        assert_eq!(ask(&url, &keys[1].sign(&claims)).await.status().as_u16(), 200, "{claims}");
    }
    let nameless = keys[1].sign_with(&Header::new(Algorithm::ES256), &claims);
    assert_eq!(ask(&url, &nameless).await.status().as_u16(), 200, "a token without a key's name is good for the only key of its kind");
    assert!(double.seen().iter().all(|seen| !seen.headers.contains_key("authorization")), "tokens go no further than here");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_refused_with_the_reason() {
    let (key, other) = (Key::new("k", Algorithm::ES256), Key::new("k", Algorithm::ES256));
    let issuer = Issuer::start(&[&key]).await;
    let double = Double::start().await;
    let (gateway, url) = gateway(&issuer, &double, &[]);
    let good = issuer.claims("ada");
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(&good));
    let by_secret = |id: &str, secret: &[u8]| {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(secret)).unwrap()
    };
    // One that is published among the keys, and the public key as a secret: what a checker falls for that believes the token's algorithm.
    let public = key.public();
    let half = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(public[name].as_str().unwrap()).unwrap();
    let (shared, confused) = (by_secret("shared", b"secret"), by_secret("k", &[vec![4], half("x"), half("y")].concat()));
    let signed = key.sign(&good);
    let (head, signature) = (signed.split('.').next().unwrap(), signed.rsplit('.').next().unwrap());
    let altered = format!("{head}.{}.{signature}", part(&issuer.claims("root")));
    let header = |more: Header| Header { kid: Some("k".to_owned()), ..more };
    let typed = key.sign_with(&header(Header { typ: Some("logout+jwt".to_owned()), ..Header::new(Algorithm::ES256) }), &good);
    let critical = header(Header { crit: Some(vec!["exp".to_owned()]), ..Header::new(Algorithm::ES256) });
    for (token, words) in [
        ("x".to_owned(), "no JWT"),
        (unsigned, "no JWT, or its algorithm is not known"),
        (shared, "algorithm is not allowed"),
        (confused, "algorithm is not allowed"),
        (altered, "signature is wrong"),
        (other.sign(&good), "signature is wrong"),
        (typed, "another type"),
        (key.sign_with(&critical, &good), "an extension that is not known"),
        (key.sign(&with(&good, "exp", json!(seconds() - 61))), "has expired"),
        (key.sign(&with(&good, "nbf", json!(seconds() + 120))), "not valid yet"),
        (key.sign(&with(&good, "iat", json!(seconds() + 120))), "issued in the future"),
        (key.sign(&with(&good, "iss", json!("https://evil.example"))), "issued by somebody else"),
        (key.sign(&with(&good, "iss", json!([issuer.url]))), "a claim is missing or has a wrong form"),
        (key.sign(&with(&good, "aud", json!("other"))), "for somebody else"),
        (key.sign(&with(&good, "sub", json!("x".repeat(300)))), "subject"),
        (key.sign(&with(&good, "exp", json!("tomorrow"))), "a claim is missing or has a wrong form"),
        (key.sign(&without(&good, "exp")), "a claim is missing"),
        (key.sign(&without(&good, "aud")), "a claim is missing"),
        (key.sign(&without(&good, "sub")), ""),
        (format!("{signed}{}", "x".repeat(9000)), "too long"),
    ] {
        let answer = ask(&url, &token).await;
        let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        let challenge = challenge.unwrap_or_else(|| panic!("{words}: {answer:?}"));
        assert!(challenge.starts_with("Bearer realm=") && challenge.contains("invalid_token"), "{challenge}");
        check_error(answer, 401, "unauthenticated", words).await;
    }
    let nobody = Client::new().post(format!("{url}{CREATE}")).body("{}").send().await.unwrap();
    assert_eq!(nobody.headers()["www-authenticate"], r#"Bearer realm="feature-platform""#);
    check_error(nobody, 401, "unauthenticated", "a bearer token is needed").await;
    assert!(double.seen().is_empty(), "nothing passed");
    assert!(!gateway.log().contains(signature), "no token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_fetched_when_it_is_needed_but_not_for_everyone_who_asks() {
    let (old, new) = (Key::new("old", Algorithm::ES256), Key::new("new", Algorithm::ES256));
    let issuer = Issuer::start(&[&old]).await;
    let double = Double::start().await;
    // Never fetched but for a token's sake, in this test's time.
    let (_gateway, url) = gateway(&issuer, &double, &[("OIDC_KEYS_SECONDS", "3600")]);
    let claims = issuer.claims("ada");
    assert_eq!(ask(&url, &old.sign(&claims)).await.status().as_u16(), 200);
    let stranger = Key::new("stranger", Algorithm::ES256);
    for _ in 0..20 {
        check_error(ask(&url, &stranger.sign(&claims)).await, 401, "unauthenticated", "not the issuer's").await;
    }
    assert!(issuer.fetches() <= 2, "twenty strangers cost {} fetches", issuer.fetches());
    issuer.publish(&[&old, &new]);
    let token = new.sign(&claims);
    let mut status = 0;
    let started = std::time::Instant::now();
    while status != 200 && started.elapsed().as_secs() < 30 {
        status = ask(&url, &token).await.status().as_u16();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_known_outlast_the_issuers_absence_and_others_are_waited_for() {
    let (key, next) = (Key::new("k", Algorithm::EdDSA), Key::new("n", Algorithm::EdDSA));
    let issuer = Issuer::start(&[&key]).await;
    let double = Double::start().await;
    issuer.go_away(true);
    let (gateway, url) = gateway(&issuer, &double, &[("OIDC_KEYS_SECONDS", "1")]);
    let token = key.sign(&issuer.claims("ada"));
    let early = ask(&url, &token).await;
    assert_eq!(early.headers()["retry-after"], "5");
    check_error(early, 503, "unavailable", "keys are not known yet").await;
    assert_eq!(gateway.wait_for_readiness(200).map(|_| ()).ok(), Some(()), "the gateway itself is there");
    issuer.go_away(false);
    let metrics = gateway.port("metrics").unwrap();
    let known = || get(metrics, "/metrics").unwrap().body.contains("oidc_keys 1\n").then_some(());
    tokio::task::block_in_place(|| eventually("the keys are known", known)).unwrap();
    assert_eq!(ask(&url, &token).await.status().as_u16(), 200);
    issuer.go_away(true);
    let fetched = |times: usize| {
        let before = issuer.fetches();
        tokio::task::block_in_place(|| eventually("it is asked again", || (issuer.fetches() >= before + times).then_some(()))).unwrap();
    };
    // The second question is asked once the first was answered.
    fetched(2);
    assert_eq!(ask(&url, &token).await.status().as_u16(), 200, "the last good keys stay");
    let text = get(metrics, "/metrics").unwrap().body;
    assert!(text.contains("oidc_key_fetches_total{outcome=\"failed\"}"), "{text}");
    issuer.publish(&[&next]);
    issuer.go_away(false);
    fetched(2);
    check_error(ask(&url, &token).await, 401, "unauthenticated", "not the issuer's").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_be_used_again_unless_the_issuer_makes_them_for_one_use() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let double = Double::start().await;
    let once = with(&issuer.claims("ada"), "jti", json!("token-1"));
    let token = key.sign(&once);
    let (_many, url) = gateway(&issuer, &double, &[]);
    for _ in 0..2 {
        assert_eq!(ask(&url, &token).await.status().as_u16(), 200, "a bearer token is good until it expires");
    }
    let (_one, url) = gateway(&issuer, &double, &[("OIDC_ONE_TIME_TOKENS", "true")]);
    assert_eq!(ask(&url, &token).await.status().as_u16(), 200);
    check_error(ask(&url, &token).await, 401, "unauthenticated", "used before").await;
    check_error(ask(&url, &key.sign(&issuer.claims("ada"))).await, 401, "unauthenticated", "has no id").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_tokens_is_slowed_by_address_and_who_has_one_by_name() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let double = Double::start().await;
    let (_gateway, url) = gateway(&issuer, &double, &[("RATE_LIMIT_PER_SECOND", "0.01"), ("RATE_LIMIT_BURST", "2")]);
    for expected in [401, 401, 429, 429] {
        assert_eq!(ask(&url, "guess").await.status().as_u16(), expected);
    }
    for (subject, expected) in [("ada", 200), ("ada", 200), ("ada", 429), ("bob", 200)] {
        assert_eq!(ask(&url, &key.sign(&issuer.claims(subject))).await.status().as_u16(), expected, "{subject}");
    }
}

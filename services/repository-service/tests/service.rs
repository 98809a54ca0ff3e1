//! The repository service against a real PostgreSQL.
#![cfg(test)]

use serde_json::{Value, json};
use service_testing::{Answer, PASSWORD, Postgres, Service, check_refused, config_table_is_current, eventually, post};

const PROGRAM: &str = env!("CARGO_BIN_EXE_repository-service");
const MIGRATION: &str = include_str!("../../feature-service/migrations/0100_repositories.sql");
const HEADS: [&str; 2] = ["1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"];

struct Running {
    postgres: Postgres,
    service: Service,
    port: u16,
}

fn start() -> Running {
    let postgres = Postgres::start().unwrap();
    postgres.query(MIGRATION).unwrap();
    let service = Service::start(PROGRAM, &[], &[("DATABASE_URL", &postgres.url())]).unwrap();
    service.wait_for_readiness(200).unwrap();
    let port = service.port("http").unwrap();
    Running { postgres, service, port }
}

impl Running {
    fn ask(&self, method: &str, request: &str) -> Answer {
        post(self.port, &format!("/feature.repository.v1.RepositoryService/{method}"), request).unwrap()
    }

    fn call(&self, method: &str, request: &Value) -> Value {
        let answer = self.ask(method, &request.to_string());
        assert_eq!(answer.status, 200, "{method} {request}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }
}

/// Returns a repository without what differs from run to run.
fn known(mut repository: Value) -> Value {
    let fields = repository.as_object_mut().unwrap();
    for (field, length) in [("id", 36), ("created_at", 27)] {
        let value = fields.remove(field).unwrap();
        assert_eq!(value.as_str().unwrap().len(), length, "{field} {value}");
    }
    fields.remove("head_seen_at");
    repository
}

#[test]
fn it_is_ready_while_its_table_is_there() {
    let mut postgres = Postgres::start().unwrap();
    let mut service = Service::start(PROGRAM, &[], &[("DATABASE_URL", &postgres.url())]).unwrap();
    let unready = service.wait_for_readiness(503).unwrap();
    assert!(unready.contains("table `repositories` is not there; run feature-service --migrate"), "{unready}");
    postgres.query(MIGRATION).unwrap();
    service.wait_for_readiness(200).unwrap();
    postgres.stop().unwrap();
    let unready = service.wait_for_readiness(503).unwrap();
    assert!(unready.contains(r#""name":"postgresql","ok":false"#), "{unready}");
    let port = service.port("http").unwrap();
    let away = post(port, "/feature.repository.v1.RepositoryService/List", "{}").unwrap();
    assert_eq!(away.status, 503, "{}", away.body);
    assert!(away.body.contains(r#""code":"unavailable""#), "a repeat may succeed: {}", away.body);
    postgres.resume().unwrap();
    service.wait_for_readiness(200).unwrap();
    service.end_in_order().unwrap();
    assert!(!service.log().contains(PASSWORD), "{}", service.log());
}

#[test]
fn without_a_database_it_does_not_start() {
    let log = check_refused(PROGRAM, &[], &[("ALLOWED_URL_SCHEMES", "file")]).unwrap();
    assert!(log.contains("DATABASE_URL is not set") && log.contains("ALLOWED_URL_SCHEMES"), "{log}");
}

#[test]
fn what_is_registered_is_known_until_it_is_removed() {
    let running = start();
    let url = "https://git.example.com/team/shop";
    let steps = [
        ("Resolve", json!({"url": "HTTPS://Git.Example.com/team/shop/"}), json!({"url": url})),
        ("Register", json!({"url": url, "credential": "team"}), json!({"url": url, "credential": "team"})),
        ("Register", json!({"url": url, "credential": "team"}), json!({"url": url, "credential": "team"})),
        ("Register", json!({"url": url, "default_branch": "main"}), json!({"url": url, "credential": "team", "default_branch": "main"})),
        ("Register", json!({"url": url}), json!({"url": url, "credential": "team", "default_branch": "main"})),
        ("Register", json!({"url": url, "credential": ""}), json!({"url": url, "default_branch": "main"})),
        ("Resolve", json!({"url": url}), json!({"url": url, "default_branch": "main"})),
    ];
    for (method, request, expected) in steps {
        assert_eq!(known(running.call(method, &request)), expected, "{method} {request}");
    }
    assert_eq!(running.postgres.query("SELECT count(*) FROM repositories").unwrap(), "1");
    for _ in 0..2 {
        assert_eq!(running.call("Remove", &json!({"url": url})), json!({}));
    }
    assert_eq!(running.postgres.query("SELECT count(*) FROM repositories").unwrap(), "0");
}

#[test]
fn a_head_is_that_of_the_default_branch() {
    let running = start();
    let url = "https://git.example.com/a";
    let unknown = running.ask("RecordHead", &json!({"url": url, "branch": "main", "head": HEADS[0]}).to_string());
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    running.call("Resolve", &json!({"url": url}));
    let at = |branch: &str, head: &str| json!({"url": url, "default_branch": branch, "head": head});
    for (method, request, expected) in [
        ("RecordHead", at("main", HEADS[0]), at("main", HEADS[0])),
        ("RecordHead", at("main", HEADS[1]), at("main", HEADS[1])),
        ("RecordHead", at("other", HEADS[0]), at("main", HEADS[1])),
        ("Register", json!({"url": url, "default_branch": "main"}), at("main", HEADS[1])),
        ("Register", json!({"url": url, "default_branch": "other"}), json!({"url": url, "default_branch": "other"})),
        ("RecordHead", at("other", HEADS[0]), at("other", HEADS[0])),
        ("Register", json!({"url": url, "default_branch": ""}), json!({"url": url})),
    ] {
        let mut request = request;
        if method == "RecordHead" {
            let fields = request.as_object_mut().unwrap();
            let branch = fields.remove("default_branch").unwrap();
            fields.insert("branch".to_owned(), branch);
        }
        assert_eq!(known(running.call(method, &request)), expected, "{method} {request}");
    }
}

#[test]
fn a_record_that_comes_late_does_not_replace_what_was_seen_later() {
    let running = start();
    let url = "https://git.example.com/a";
    running.call("Resolve", &json!({"url": url}));
    let first = json!({"url": url, "branch": "main", "head": HEADS[0]});
    let second = json!({"url": url, "branch": "main", "head": HEADS[1]});
    // The row is held while the first record waits for it; then it is given back as one that was seen later.
    let holder = format!(
        "BEGIN; SELECT 1 FROM repositories WHERE url = '{url}' FOR UPDATE; SELECT pg_advisory_lock(7); \
             UPDATE repositories SET default_branch = 'main', head = '{}', head_seen_at = clock_timestamp(); COMMIT",
        HEADS[1]
    );
    std::thread::scope(|scope| {
        let gate = scope.spawn(|| running.postgres.query("SELECT pg_advisory_lock(7), pg_sleep(120)"));
        let count = |condition: &str| running.postgres.query(&format!("SELECT count(*) FROM pg_locks WHERE {condition}")).unwrap();
        eventually("the gate is closed", || (count("locktype = 'advisory' AND granted") == "1").then_some(())).unwrap();
        scope.spawn(|| running.postgres.query(&holder).unwrap());
        eventually("the row is held", || (count("locktype = 'advisory' AND NOT granted") == "1").then_some(())).unwrap();
        let late = scope.spawn(|| running.call("RecordHead", &first));
        eventually("the record waits", || (count("locktype = 'transactionid' AND NOT granted") == "1").then_some(())).unwrap();
        let open = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted";
        running.postgres.query(open).unwrap();
        assert!(gate.join().unwrap().is_err(), "it was ended");
        assert_eq!(late.join().unwrap()["head"], HEADS[1]);
    });
    assert_eq!(running.call("RecordHead", &second)["head"], HEADS[1]);
    assert_eq!(running.call("RecordHead", &first)["head"], HEADS[0], "what is seen now is later");
}

#[test]
fn fifty_at_once_make_one_row() {
    let running = start();
    let ids: Vec<Value> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| running.call("Resolve", &json!({"url": "ssh://git@git.example.com/a"}))["id"].clone()))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(ids.len() == 50 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(running.postgres.query("SELECT count(*) FROM repositories").unwrap(), "1");
}

#[test]
fn pages_go_through_all_in_the_order_of_bytes() {
    let running = start();
    let urls = ["https://a.example/A", "https://a.example/Z", "https://a.example/_", "https://a.example/a", "https://b.example/a"];
    for url in urls.iter().rev() {
        running.call("Resolve", &json!({"url": url}));
    }
    let mut seen = Vec::new();
    let mut request = json!({"limit": 2});
    loop {
        let page = running.call("List", &request);
        let rows = page["repositories"].as_array().unwrap();
        assert!(rows.len() <= 2 && !rows.is_empty(), "{page}");
        seen.extend(rows.iter().map(|row| row["url"].as_str().unwrap().to_owned()));
        let Some(next) = page.get("next") else { break };
        // What was removed meanwhile leaves no hole.
        running.call("Remove", &json!({"url": next}));
        request["after"] = next.clone();
    }
    assert_eq!(seen, urls);
    assert_eq!(running.call("List", &json!({}))["repositories"].as_array().unwrap().len(), 3);
}

#[test]
fn bad_requests_are_refused_with_what_is_wrong() {
    let running = start();
    let url = "https://git.example.com/a";
    for (method, request, words) in [
        ("Register", "[]".to_owned(), "the request is not understood"),
        ("Register", r#"{"uri": "x"}"#.to_owned(), "unknown field `uri`"),
        ("Register", "{}".to_owned(), "`url`"),
        ("Register", json!({"url": "https://user:canary-7@git.example.com/a"}).to_string(), "may not hold a user or a password"),
        ("Register", json!({"url": url, "credential": "ghp_canary-7"}).to_string(), "`credential` is not a name"),
        ("Register", json!({"url": url, "default_branch": "--upload-pack=x"}).to_string(), "`default_branch` is not the name of a branch"),
        ("Resolve", json!({"url": "file:///etc/passwd"}).to_string(), "the scheme of the repository's URL is not allowed"),
        ("Resolve", json!({"url": "ext::sh -c id"}).to_string(), "`url`"),
        ("Resolve", json!({"url": "http://git.example.com/a"}).to_string(), "the scheme of the repository's URL is not allowed"),
        ("Resolve", json!({"url": "https://127.0.0.1/a"}).to_string(), "may not be reached"),
        ("Resolve", json!({"url": format!("https://git.example.com/{}", "a".repeat(3000))}).to_string(), "longer than"),
        ("RecordHead", json!({"url": url, "branch": "a..b", "head": HEADS[0]}).to_string(), "`branch` is not the name of a branch"),
        ("RecordHead", json!({"url": url, "branch": "main", "head": "HEAD"}).to_string(), "`head` is not a commit"),
        ("List", json!({"limit": 0}).to_string(), "`limit` is not from 1 to 200"),
        ("List", json!({"limit": 201}).to_string(), "`limit` is not from 1 to 200"),
        ("List", json!({"after": "a\u{0}"}).to_string(), "`after` is not"),
        ("Remove", json!({"url": "../x"}).to_string(), "`url`"),
    ] {
        let answer = running.ask(method, &request);
        assert_eq!(answer.status, 400, "{method} {request}: {}", answer.body);
        assert!(answer.body.contains(words) && answer.body.contains("invalid_argument"), "{method} {request}: {}", answer.body);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
    }
    assert_eq!(running.postgres.query("SELECT count(*) FROM repositories").unwrap(), "0");
    assert!(!running.service.log().contains("canary-7\""), "{}", running.service.log());
}

#[test]
fn its_page_has_its_configuration() {
    config_table_is_current(PROGRAM, "docs/services/repository-service.md").unwrap();
}

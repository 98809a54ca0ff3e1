//! Readiness, migrations, and that the database's password is never shown.

use service_testing::{Answer, PASSWORD, Postgres, Service, check_refused, eventually, get};

use crate::world::{PROGRAM, TOKENS, migrate, start};

/// Counts the migrations that there are.
fn migrations() -> usize {
    std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count()
}

fn wait_for_status(port: u16, status: u16) -> Answer {
    let asked = || Some(get(port, "/readyz").unwrap()).filter(|answer| answer.status == status);
    eventually(&format!("/readyz answers {status}"), asked).unwrap()
}

/// The forms in which a secret could slip through: as it is, in a URL, in base64 and in hexadecimal.
fn forms_of_the_password() -> [String; 4] {
    assert_eq!(PASSWORD, "canary-7fd1/secret");
    [PASSWORD.to_owned(), PASSWORD.replace('/', "%2F"), "Y2FuYXJ5LTdmZDEvc2VjcmV0".to_owned(), hex::encode(PASSWORD)]
}

fn check_no_secret(text: &str) {
    for form in forms_of_the_password() {
        assert!(!text.contains(&form), "the password is in\n{text}");
    }
}

#[test]
fn readiness_follows_the_schema_and_the_database() {
    let mut postgres = Postgres::start().unwrap();
    let service = start(&[], &postgres.url());
    let (http, metrics) = (service.port("http").unwrap(), service.port("metrics").unwrap());
    let empty = wait_for_status(http, 503);
    assert!(empty.body.contains(r#"{"name":"postgresql","ok":true}"#), "{}", empty.body);
    assert!(empty.body.contains("no migration is applied; run --migrate"), "{}", empty.body);
    assert_eq!(get(http, "/healthz").unwrap().status, 200);

    assert_eq!(migrate(&postgres.url()).0, Some(0));
    wait_for_status(http, 200);

    postgres.stop().unwrap();
    let down = wait_for_status(metrics, 503);
    assert!(down.body.contains(r#""name":"postgresql","ok":false"#), "{}", down.body);
    assert_eq!(get(http, "/healthz").unwrap().status, 200, "a restart would not bring the database back");
    let text = get(metrics, "/metrics").unwrap().body;
    assert!(text.contains("service_ready 0\n") && text.contains("service_ready_check{check=\"postgresql\"} 0\n"), "{text}");

    postgres.resume().unwrap();
    wait_for_status(http, 200);
    for text in [service.log(), empty.body, down.body, text] {
        check_no_secret(&text);
    }
}

#[test]
fn migrating_twice_is_once() {
    let postgres = Postgres::start().unwrap();
    let (code, log) = migrate(&postgres.url());
    assert_eq!(code, Some(0), "{log}");
    let history = postgres.query("SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY 1").unwrap();
    assert_eq!(history.lines().count(), migrations(), "{history}");

    let (code, log) = migrate(&postgres.url());
    assert!(code == Some(0) && log.contains("\"applied\":0"), "{log}");
    assert_eq!(postgres.query("SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY 1").unwrap(), history);

    let tables = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'";
    let expected =
        "execution_events execution_steps feature_executions feature_executions_archive outbox_offsets repositories schema_migrations";
    assert_eq!(postgres.query(tables).unwrap(), expected);
    let indexes = "SELECT count(*) FROM pg_indexes WHERE indexname IN ('idx_feature_created', 'idx_event_feature_seq')";
    assert_eq!(postgres.query(indexes).unwrap(), "2");
    let archive = "INSERT INTO feature_executions_archive SELECT * FROM feature_executions WHERE state IN (6, 7, 8)";
    postgres.query(archive).unwrap();
}

#[test]
fn migrations_at_the_same_time_apply_everything_once() {
    let postgres = Postgres::start().unwrap();
    let mut runs: Vec<Service> = (0..5).map(|_| start(&["--migrate"], &postgres.url())).collect();
    let codes: Vec<Option<i32>> = runs.iter_mut().map(|run| run.wait().unwrap().code()).collect();
    let logs: String = runs.iter().map(Service::log).collect();
    assert_eq!(codes, [Some(0); 5], "{logs}");
    assert_eq!(logs.matches("migration applied").count(), migrations(), "{logs}");
    assert_eq!(postgres.query("SELECT count(*) FROM schema_migrations").unwrap(), migrations().to_string());
}

#[test]
fn a_lock_is_waited_for_within_the_limit() {
    let postgres = Postgres::start().unwrap();
    let key = i64::from_be_bytes(*b"featmigr");
    let holder = format!("SELECT pg_advisory_lock({key}), pg_sleep(120)");
    std::thread::scope(|scope| {
        scope.spawn(|| postgres.query(&holder));
        let held = || (postgres.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").unwrap() == "1").then_some(());
        eventually("the lock is held", held).unwrap();
        let mut patient = start(&["--migrate"], &postgres.url());
        eventually("it waits", || (!patient.events("waiting for another migration to end").is_empty()).then_some(())).unwrap();
        let mut run =
            Service::start(PROGRAM, &["--migrate"], &[("DATABASE_URL", &postgres.url()), ("MIGRATE_LOCK_TIMEOUT_SECONDS", "1")]).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(1));
        assert!(run.log().contains("another migration holds the lock since more than 1 s"), "{}", run.log());
        postgres.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'").unwrap();
        assert_eq!(patient.wait().unwrap().code(), Some(0), "{}", patient.log());
    });
}

#[test]
fn a_failing_migration_leaves_nothing_behind() {
    let postgres = Postgres::start().unwrap();
    postgres.query("CREATE TABLE execution_events (id int)").unwrap();
    let (code, log) = migrate(&postgres.url());
    assert!(code == Some(1) && log.contains("migration 2 (steps_and_events) failed and left nothing behind"), "{log}");
    assert!(log.contains("already exists"), "the database's own words are there: {log}");
    assert_eq!(postgres.query("SELECT max(version) FROM schema_migrations").unwrap(), "1");
    assert_eq!(postgres.query("SELECT to_regclass('execution_steps') IS NULL").unwrap(), "t");
    postgres.query("DROP TABLE execution_events").unwrap();
    assert_eq!(migrate(&postgres.url()).0, Some(0), "a repeat goes on where it failed");
}

#[test]
fn a_changed_migration_is_refused_and_a_newer_schema_is_not() {
    let postgres = Postgres::start().unwrap();
    assert_eq!(migrate(&postgres.url()).0, Some(0));
    postgres.query("INSERT INTO schema_migrations VALUES (99, 'newer', 'x')").unwrap();
    assert_eq!(migrate(&postgres.url()).0, Some(0), "an undone release runs an older program");
    postgres.query("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1").unwrap();
    let (code, log) = migrate(&postgres.url());
    assert!(code == Some(1) && log.contains("was applied with other content"), "{log}");
}

#[test]
fn migrating_waits_for_a_database_that_is_starting() {
    let mut postgres = Postgres::start().unwrap();
    postgres.stop().unwrap();
    let mut run = start(&["--migrate"], &postgres.url());
    eventually("it waits", || (!run.events("waiting for the database").is_empty()).then_some(())).unwrap();
    postgres.resume().unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", run.log());
    check_no_secret(&run.log());
}

#[test]
fn a_wrong_password_fails_at_once_and_is_not_shown() {
    let postgres = Postgres::start().unwrap();
    let wrong = postgres.url().replace("canary-7fd1", "canary-wrong");
    let (code, log) = migrate(&wrong);
    assert!(code == Some(1) && log.contains("password authentication failed") && log.contains("waited 0 s"), "{log}");
    assert!(!log.contains("canary-wrong"), "{log}");
    let service = start(&[], &wrong);
    let unready = wait_for_status(service.port("http").unwrap(), 503);
    assert!(unready.body.contains("password authentication failed") && !unready.body.contains("canary"), "{}", unready.body);
    assert!(!service.log().contains("canary-wrong"), "{}", service.log());
}

#[test]
fn a_missing_or_malformed_url_is_named_and_not_shown() {
    for (url, expected) in [("", "DATABASE_URL is not set"), ("mysql://u:canary-7fd1@db/x", "DATABASE_URL is set but malformed")] {
        for arguments in [&[][..], &["--migrate"]] {
            let log = check_refused(PROGRAM, arguments, &[("DATABASE_URL", url)]).unwrap();
            assert!(log.contains(expected) && !log.contains("canary"), "{log}");
        }
    }
}

#[test]
fn keys_that_are_none_are_named_and_not_shown() {
    let url = "postgres://u@127.0.0.1:1/x";
    for (variable, token) in [(TOKENS[0].0, "canary-7fd1!"), (TOKENS[1].0, "Y2FuYXJ5LTdmZDEvc2VjcmV0")] {
        let log = check_refused(PROGRAM, &[], &[("DATABASE_URL", url), (variable, token)]).unwrap();
        assert!(log.contains(&format!("{variable} is set but malformed: expected 32 bytes in base64")), "{log}");
        assert!(!log.contains(token), "{log}");
    }
    let mut service = Service::start(PROGRAM, &[], &[("DATABASE_URL", url), TOKENS[0]]).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(1));
    assert!(service.log().contains("DEK_LOOKUP_TOKEN is not"), "{}", service.log());
}

use super::*;
use crate::variables::{DATABASE_URL, HTTP_PORT, LOG_FORMAT, POD_NAME, SHUTDOWN_GRACE};

fn read_all(settings: &mut Settings) {
    settings.required(&DATABASE_URL);
    settings.required(&HTTP_PORT);
    settings.required(&LOG_FORMAT);
    settings.required(&SHUTDOWN_GRACE);
}

fn problems(environment: &[(&str, &str)]) -> Vec<String> {
    let mut settings = Settings::new(environment.iter().copied());
    read_all(&mut settings);
    settings.finish(()).err().map_or_else(Vec::new, |error| error.problems.iter().map(ToString::to_string).collect())
}

#[test]
fn every_problem_is_reported_with_its_variable_and_what_was_expected() {
    let found = problems(&[("HTTP_PORT", "eighty"), ("LOG_FORMAT", "xml"), ("SHUTDOWN_GRACE_SECONDS", "-1")]);
    assert_eq!(
        found,
        [
            "DATABASE_URL is not set: expected a URL like postgres://user:password@host:5432/database",
            "HTTP_PORT is \"eighty\": expected a port number from 0 to 65535 (0 takes a free one)",
            "LOG_FORMAT is \"xml\": expected json or text",
            "SHUTDOWN_GRACE_SECONDS is \"-1\": expected a number of seconds from 0 to 86400",
        ]
    );
}

#[test]
fn a_complete_environment_has_no_problem() {
    assert_eq!(problems(&[("DATABASE_URL", "postgres://u:p@db:5432/feature")]), [""; 0]);
    assert_eq!(problems(&[("DATABASE_URL", "postgresql:///feature?host=/run/postgresql"), ("HTTP_PORT", "0")]), [""; 0]);
}

#[test]
fn the_empty_text_counts_as_unset() {
    assert_eq!(problems(&[("DATABASE_URL", ""), ("HTTP_PORT", "")]).len(), 1);
}

#[test]
fn a_malformed_secret_is_never_shown() {
    for url in ["mysql://u:canary-7fd1@db/feature", "postgres://u:canary-7fd1@db:port/feature", "canary-7fd1"] {
        let mut settings = Settings::new([("DATABASE_URL", url)]);
        read_all(&mut settings);
        let rows: String = settings.rows().iter().map(|row| format!("{} {}", row.effective(), row.markdown())).collect();
        let error = settings.finish(()).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{url}");
        for text in [error.to_string(), format!("{error:?}"), error.problems[0].to_string(), rows] {
            assert!(!text.contains("canary"), "{text}");
        }
    }
}

#[test]
fn a_value_that_is_no_text_is_not_repaired() {
    use std::os::unix::ffi::OsStringExt;
    let broken = |text: &str| OsString::from_vec([text.as_bytes(), b"\xff"].concat());
    let mut settings = Settings::new([("DATABASE_URL", broken("postgres://u:canary@h/d")), ("POD_NAME", broken("pod"))]);
    settings.required(&DATABASE_URL);
    settings.optional(&POD_NAME);
    let error = settings.finish(()).unwrap_err();
    let texts: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
    assert!(texts.len() == 2 && texts[0].starts_with("DATABASE_URL is set but malformed"), "{texts:?}");
    assert!(texts[1].starts_with("POD_NAME is \"pod"), "{texts:?}");
}

#[test]
fn a_long_wrong_value_is_shortened() {
    let found = problems(&[("DATABASE_URL", "postgres://h/d"), ("HTTP_PORT", &"9".repeat(5000))]);
    assert!(found[0].len() < 200, "{}", found[0]);
}

#[test]
fn the_table_names_default_and_obligation() {
    let mut settings = Settings::default();
    read_all(&mut settings);
    let rows: Vec<String> = settings.rows().iter().map(Row::markdown).collect();
    assert!(rows[0].contains("(secret) | **required** |"), "{}", rows[0]);
    assert!(rows[1].starts_with("| `HTTP_PORT` |") && rows[1].contains("| `8080` |"), "{}", rows[1]);
}

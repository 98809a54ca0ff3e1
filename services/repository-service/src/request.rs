//! What a request may say: each value checked by its text, before the database sees it.

use feature_api::{RepositoryUrl, UrlRules};
use service_kit::rpc::RpcError;

/// Longest name of a branch, in bytes: git keeps them as names of files.
const LONGEST_BRANCH: usize = 250;
/// Rows of a page, if nothing is said, and the most.
const ROWS: u32 = 50;
const MOST_ROWS: u32 = 200;

/// What to do with a value that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It stays as it is.
    Keep,
    /// It becomes this, or is forgotten.
    Set(Option<String>),
}

/// Returns a URL in the one form under which repositories are known.
///
/// # Errors
/// If it is not allowed; without the URL, which may hold a password.
pub(crate) fn url(text: &str, rules: &UrlRules) -> Result<String, RpcError> {
    let url = RepositoryUrl::parse(text, rules).map_err(|error| RpcError::invalid(format!("`url`: {error}")))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Returns what a request wants done with a credential's name.
///
/// # Errors
/// If it can't be a name; without its text, which may be the secret itself.
pub(crate) fn credential(name: Option<String>) -> Result<Change, RpcError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    change(name, |name| {
        let good = name.len() <= 63 && name.bytes().all(plain);
        if good { Ok(()) } else { Err(RpcError::invalid("`credential` is not a name of 1 to 63 characters of a-z, 0-9 and -")) }
    })
}

/// Returns what a request wants done with the default branch.
///
/// # Errors
/// As [`branch`].
pub(crate) fn default_branch(name: Option<String>) -> Result<Change, RpcError> {
    change(name, |name| branch("default_branch", name))
}

fn change(value: Option<String>, check: impl Fn(&str) -> Result<(), RpcError>) -> Result<Change, RpcError> {
    match value {
        None => Ok(Change::Keep),
        Some(value) if value.is_empty() => Ok(Change::Set(None)),
        Some(value) => check(&value).map(|()| Change::Set(Some(value))),
    }
}

/// Checks that git takes a text as a branch's name (`git check-ref-format --branch`), as far as its bytes say.
///
/// # Errors
/// Names `field`, if not.
pub(crate) fn branch(field: &str, name: &str) -> Result<(), RpcError> {
    let good = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let bad = |character: char| character.is_control() || " ~^:?*[\\".contains(character);
    let is_branch = name.len() <= LONGEST_BRANCH
        && name.split('/').all(good)
        && !name.contains(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !matches!(name, "@" | "HEAD");
    if is_branch { Ok(()) } else { Err(RpcError::invalid(format!("`{field}` is not the name of a branch"))) }
}

/// Checks that a text is the id of a commit.
///
/// # Errors
/// If not.
pub(crate) fn head(text: &str) -> Result<(), RpcError> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(digit);
    if is_id { Ok(()) } else { Err(RpcError::invalid("`head` is not a commit: 40 or 64 hexadecimal digits in lower case")) }
}

/// Returns the rows of a page.
///
/// # Errors
/// If a request wants too many, or none.
pub(crate) fn limit(limit: Option<u32>) -> Result<u32, RpcError> {
    match limit.unwrap_or(ROWS) {
        limit @ 1..=MOST_ROWS => Ok(limit),
        _ => Err(RpcError::invalid(format!("`limit` is not from 1 to {MOST_ROWS}"))),
    }
}

/// Returns the place that a page begins after.
///
/// # Errors
/// If it can't be the `next` of a page.
pub(crate) fn after(after: Option<String>) -> Result<String, RpcError> {
    let after = after.unwrap_or_default();
    // PostgreSQL has no text with this character.
    if after.contains('\0') { Err(RpcError::invalid("`after` is not the `next` of a page")) } else { Ok(after) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_credentials_are_short_and_plain() {
        for (name, expected) in [
            (None, Some(Change::Keep)),
            (Some(""), Some(Change::Set(None))),
            (Some("team-7"), Some(Change::Set(Some("team-7".to_owned())))),
            (Some("Team"), None),
            (Some("a b"), None),
            (Some("ghp_token"), None),
            (Some("a\n"), None),
        ] {
            assert_eq!(credential(name.map(str::to_owned)).ok(), expected, "{name:?}");
        }
        assert!(credential(Some("a".repeat(63))).is_ok() && credential(Some("a".repeat(64))).is_err());
    }

    #[test]
    fn a_credential_that_is_a_secret_is_not_repeated() {
        let error = credential(Some("canary_7fd1".to_owned())).unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn heads_are_whole_ids() {
        for (head_text, expected) in
            [("a".repeat(40), true), ("0".repeat(64), true), ("a".repeat(39), false), ("A".repeat(40), false), ("g".repeat(40), false)]
        {
            assert_eq!(head(&head_text).is_ok(), expected, "{head_text}");
        }
    }

    #[test]
    fn pages_have_one_to_two_hundred_rows() {
        assert_eq!([None, Some(1), Some(200), Some(0), Some(201)].map(|rows| limit(rows).ok()), [Some(50), Some(1), Some(200), None, None]);
    }

    fn git_takes(name: &str) -> bool {
        Command::new("git").args(["check-ref-format", "--branch", name]).output().unwrap().status.success()
    }

    #[test]
    fn branches_are_those_that_git_takes() {
        for name in [
            "main",
            "a/b.c",
            "\u{e4}/\u{fc}",
            "x@y",
            "-x",
            "a..b",
            "a.lock",
            "a.lock/b",
            ".a",
            "a/.b",
            "a//b",
            "/a",
            "a/",
            "a.",
            "HEAD",
            "a@{b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "a\nb",
            "",
        ] {
            assert_eq!(branch("b", name).is_ok(), git_takes(name), "{name:?}");
        }
        assert!(branch("b", &"a".repeat(251)).is_err());
        assert!(branch("b", "@").is_err(), "git reads it as HEAD");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_branch_is_taken_that_git_refuses(name in "[-a@.{}/~ lock\\\\]{1,8}") {
            prop_assert!(branch("b", &name).is_err() || git_takes(&name));
        }
    }
}

//! What requests say, checked: commits, branches, step ids, times.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use crate::failure::{Failure, Reason};

/// Longest name of a branch, in bytes.
const LONGEST_BRANCH: usize = 200;
/// Longest commit message, in bytes.
const LONGEST_MESSAGE: usize = 64 << 10;
/// Branches that are made begin with this: nobody's own branch is ever pushed to.
const OURS: &str = "feature/";

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Reason::Invalid, message)
}

/// The id of a commit: 40 or 64 digits, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitId(String);

impl CommitId {
    /// Reads an id.
    ///
    /// # Errors
    /// [`Reason::Invalid`] if it is no full id.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let full = digits && [40, 64].contains(&text.len());
        full.then(|| Self(text.to_owned())).ok_or_else(|| invalid("a commit is 40 hexadecimal digits in lower case"))
    }

    /// Returns the digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a branch, without `refs/heads/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BranchName(String);

impl BranchName {
    /// Reads a name; refuses what `git check-ref-format` refuses, and more.
    ///
    /// # Errors
    /// [`Reason::Invalid`] if it is no name of a branch.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"~^:?*[\\\"'<>|;&$`".contains(c);
        let segment = |segment: &str| {
            !segment.is_empty() && !segment.starts_with(['.', '-']) && !segment.ends_with('.') && !segment.ends_with(".lock")
        };
        let good = (1..=LONGEST_BRANCH).contains(&text.len())
            && text.chars().all(plain)
            && text.split('/').all(segment)
            && !text.contains("..")
            && !text.contains("@{")
            && text != "@"
            && text != "HEAD";
        good.then(|| Self(text.to_owned())).ok_or_else(|| invalid("the branch's name is not one that git takes"))
    }

    /// Reads the name of a branch that is made.
    ///
    /// # Errors
    /// [`Reason::Invalid`] if it is not `feature/...`.
    pub(crate) fn parse_ours(text: &str) -> Result<Self, Failure> {
        let name = Self::parse(text)?;
        if name.0.starts_with(OURS) { Ok(name) } else { Err(invalid(format!("the branch must begin with {OURS}"))) }
    }

    /// Returns the name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as the remote has it.
    pub(crate) fn full(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

/// What a commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitWords {
    /// Message with the trailer.
    pub(crate) message: String,
    /// Time, as git takes it.
    pub(crate) time: String,
}

impl CommitWords {
    /// Reads message, time and step id.
    ///
    /// # Errors
    /// [`Reason::Invalid`] naming the one that is wrong.
    pub(crate) fn parse(message: &str, committed_at: &str, step: &str) -> Result<Self, Failure> {
        let step: Uuid = step.parse().map_err(|_| invalid("step_id is not a UUID"))?;
        let time: Timestamp = committed_at.parse().map_err(|_| invalid("committed_at is not a time as in RFC 3339"))?;
        if time.as_second() < 0 {
            return Err(invalid("committed_at is before 1970"));
        }
        let plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
        let message = message.trim();
        if message.is_empty() || message.len() > LONGEST_MESSAGE || !message.chars().all(plain) {
            return Err(invalid(format!("the commit message must be a text of at most {LONGEST_MESSAGE} bytes")));
        }
        // A paragraph of its own, the last one: what the message itself says is no trailer.
        Ok(Self { message: format!("{message}\n\nFeature-Step: {step}\n"), time: format!("@{} +0000", time.as_second()) })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_branches_that_git_or_a_shell_may_read_otherwise_are_refused() {
        for name in ["main", "feature/0190", "release-1.2", "ä"] {
            assert!(BranchName::parse(name).is_ok(), "{name}");
        }
        for name in [
            "", "-x", "a/-x", "a..b", "a b", "a~1", "a^", "a:b", "HEAD", "@", "@{u}", "a@{1}", "/a", "a/", "a//b", ".a", "a.lock", "a.",
            "a\nb", "*",
        ] {
            assert!(BranchName::parse(name).is_err(), "{name}");
        }
        assert!(BranchName::parse_ours("main").is_err());
        assert!(BranchName::parse_ours("feature/x").is_ok());
    }

    #[test]
    fn the_words_of_a_commit_end_with_the_step() {
        let step = "01900000-0000-7000-8000-000000000000";
        let words = CommitWords::parse(" Add a file\n", "2026-01-02T03:04:05.678+01:00", step).unwrap();
        assert_eq!(words.message, format!("Add a file\n\nFeature-Step: {step}\n"));
        assert_eq!(words.time, "@1767319445 +0000");
        for (message, time, step) in [
            ("", "2026-01-02T03:04:05Z", step),
            ("a\0", "2026-01-02T03:04:05Z", step),
            ("a", "now", step),
            ("a", "2026-01-02T03:04:05Z", "1"),
        ] {
            assert_eq!(CommitWords::parse(message, time, step).unwrap_err().reason, Reason::Invalid);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn git_takes_every_name_that_is_taken_here(name in "[-a-zA-Z0-9_./@{}~^:ü ]{1,20}") {
            if BranchName::parse(&name).is_ok() {
                let checked = Command::new("git").args(["check-ref-format", "--branch", &name]).output().unwrap();
                prop_assert!(checked.status.success(), "{name}");
            }
        }
    }
}

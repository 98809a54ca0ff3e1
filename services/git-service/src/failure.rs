//! Why git did not do what was asked: a closed set of reasons, found in what git wrote.

use service_kit::rpc::{Code, RpcError};
use thiserror::Error;

/// Longest text of git's that is repeated, in characters.
const SHOWN: usize = 300;

/// Kinds of failures; the label of `git_operations_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Not done within its time.
    Timeout,
    /// The credential, or its absence, was refused.
    Authentication,
    /// The ssh host's key or the certificate is not trusted.
    Trust,
    /// No such repository; servers say so as well if one may not see it.
    NotFound,
    /// The repository has no such branch or commit.
    MissingCommit,
    /// The remote can't be reached or broke off.
    Network,
    /// The remote refuses: a hook, a protected branch, a redirect, an object that is malformed.
    Rejected,
    /// The branch is there with another commit.
    Conflict,
    /// The patch does not apply.
    Patch,
    /// More than a limit allows.
    TooLarge,
    /// No space left.
    Disk,
    /// The cached copy is damaged.
    Corrupt,
    /// Others hold the repository for too long.
    Busy,
    /// The branch moved between two looks at it.
    Moved,
    /// The request is wrong.
    Invalid,
    /// Something else that git said.
    Other,
    /// A failure of our own.
    Internal,
}

impl Reason {
    /// Returns the label's value.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Authentication => "authentication",
            Self::Trust => "trust",
            Self::NotFound => "not_found",
            Self::MissingCommit => "missing_commit",
            Self::Network => "network",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Patch => "patch",
            Self::TooLarge => "too_large",
            Self::Disk => "disk",
            Self::Corrupt => "corrupt",
            Self::Busy => "busy",
            Self::Moved => "moved",
            Self::Invalid => "invalid",
            Self::Other => "other",
            Self::Internal => "internal",
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Timeout => Code::DeadlineExceeded,
            Self::Authentication => Code::PermissionDenied,
            Self::NotFound | Self::MissingCommit => Code::NotFound,
            Self::Network | Self::Corrupt | Self::Busy | Self::Other => Code::Unavailable,
            Self::Trust | Self::Rejected | Self::Patch | Self::TooLarge => Code::FailedPrecondition,
            Self::Conflict => Code::AlreadyExists,
            Self::Disk => Code::ResourceExhausted,
            Self::Moved => Code::Aborted,
            Self::Invalid => Code::InvalidArgument,
            Self::Internal => Code::Internal,
        }
    }
}

/// A failure; the text is for people, holds no secret and no control characters.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub(crate) struct Failure {
    /// Its kind.
    pub(crate) reason: Reason,
    /// What failed, on what.
    pub(crate) message: String,
}

impl Failure {
    /// Makes a failure.
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Logs a failure of our own and makes the one that the caller sees, which tells nothing of it.
    pub(crate) fn internal(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let reason = if is_disk_full(error) { Reason::Disk } else { Reason::Internal };
        let seen = RpcError::internal(what, error);
        Self::new(reason, if reason == Reason::Disk { "no space is left for the repositories".to_owned() } else { seen.message })
    }

    /// Finds out from git's words what failed; `what` completes "failed to".
    pub(crate) fn of_git(what: &str, said: &str, secrets: &[&str]) -> Self {
        let reason = reason_of(said);
        Self::new(reason, format!("failed to {what}: {}", clean(said, secrets)))
    }
}

impl From<Failure> for RpcError {
    fn from(failure: Failure) -> Self {
        Self::new(failure.reason.code(), failure.message)
    }
}

fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let error: Option<&std::io::Error> = error.downcast_ref();
    error.is_some_and(|error| matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded))
}

/// What git, curl and ssh say, in lower case; the first reason with a match counts, so that the more certain ones come first.
const WORDS: &[(Reason, &[&str])] = &[
    (Reason::Disk, &["no space left on device", "disk quota exceeded"]),
    (Reason::TooLarge, &["died of signal 25", "file too large"]),
    (Reason::Trust, &["host key verification failed", "certificate problem", "certificate verification failed", "no user exists for uid"]),
    (
        Reason::Authentication,
        &[
            "authentication failed",
            "could not read username",
            "could not read password",
            "unable to read askpass response",
            "permission denied (",
            "access denied",
            "returned error: 401",
            "returned error: 403",
            "error in libcrypto",
        ],
    ),
    (Reason::MissingCommit, &["couldn't find remote ref", "not our ref", "unadvertised object"]),
    (
        Reason::NotFound,
        &[
            "repository not found",
            "no such repository",
            "does not appear to be a git repository",
            "returned error: 404",
            "not exported",
            "' not found",
        ],
    ),
    (Reason::Rejected, &["returned error: 30", "fsck error", "not allowed", "remote rejected", "returned error: 41"]),
    (
        Reason::Corrupt,
        &[
            "is corrupt",
            "bad object",
            "bad tree object",
            "bad config",
            "unable to read tree",
            "is empty",
            "could not parse",
            "not a git repository",
            "cannot be accessed",
            "missing blob",
            "not a tree object",
            "unable to read sha1 file",
            "unable to find",
            "inflate:",
        ],
    ),
    (
        Reason::Network,
        &[
            "could not resolve",
            "connection refused",
            "connection reset",
            "connection closed",
            "timed out",
            "unreachable",
            "no route to host",
            "early eof",
            "disconnect",
            "hung up",
            "rpc failed",
            "returned error: 5",
            "returned error: 429",
            "unable to connect",
            "unable to access",
            "could not read from remote repository",
            "protocol error",
            "invalid index-pack output",
        ],
    ),
];

fn reason_of(said: &str) -> Reason {
    matched(said).map_or(Reason::Other, |(reason, _)| reason)
}

/// Finds the first known words, and the line that holds them.
fn matched(said: &str) -> Option<(Reason, &str)> {
    let line_with = |words: &str| said.split(['\n', '\r']).find(|line| line.to_ascii_lowercase().contains(words));
    WORDS.iter().find_map(|(reason, all)| all.iter().find_map(|words| Some((*reason, line_with(words)?))))
}

/// Returns the line that tells most of what git wrote, without control characters, users and passwords in URLs, and the given secrets.
pub(crate) fn clean(said: &str, secrets: &[&str]) -> String {
    let lines = || said.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let marks = ["fatal: ", "error: ", "remote: ERROR: ", "remote: error: ", "remote: ", "ERROR: "];
    let marked = || marks.iter().find_map(|mark| lines().find(|line| line.starts_with(mark)));
    let line = matched(said).map(|(_, line)| line.trim()).or_else(marked).or_else(|| lines().next_back()).unwrap_or("git gave no reason");
    let mut text = marks.iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line).to_owned();
    // Longest first: one may be a part of another.
    let mut secrets: Vec<&&str> = secrets.iter().filter(|secret| !secret.is_empty()).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        text = text.replace(*secret, "***");
    }
    let text = without_users(&text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect()
}

/// Cuts what stands between `://` and the `@` of the same word.
fn without_users(text: &str) -> String {
    let mut parts = text.split("://");
    let mut cleaned = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let authority = part.find(|c: char| c.is_whitespace() || "/'\"".contains(c)).unwrap_or(part.len());
        let start = part[..authority].rfind('@').map_or(0, |at| at + 1);
        cleaned.push_str("://");
        cleaned.push_str(&part[start..]);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_git_says_is_final_or_may_be_tried_again() {
        let of = |said: &str| {
            let failure = Failure::of_git("fetch", said, &[]);
            (failure.reason, RpcError::from(failure).is_transient())
        };
        for (said, reason, transient) in [
            ("fatal: unable to access 'https://h/': Could not resolve host: h", Reason::Network, true),
            ("fatal: unable to access 'http://h/': The requested URL returned error: 503", Reason::Network, true),
            ("fatal: unable to access 'http://h/': The requested URL returned error: 403", Reason::Authentication, false),
            ("remote: Repository not found.\nfatal: repository 'https://h/' not found", Reason::NotFound, false),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", Reason::Authentication, false),
            ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", Reason::Authentication, false),
            ("Host key verification failed.\nfatal: Could not read from remote repository.", Reason::Trust, false),
            ("fatal: remote error: no such repository: /x.git", Reason::NotFound, false),
            ("fatal: couldn't find remote ref refs/heads/x", Reason::MissingCommit, false),
            ("error: index-pack died of signal 25\nfatal: fetch-pack: invalid index-pack output", Reason::TooLarge, false),
            ("fatal: fetch-pack: invalid index-pack output", Reason::Network, true),
            ("fatal: the remote end hung up unexpectedly", Reason::Network, true),
            ("fatal: unable to access 'http://h/': The requested URL returned error: 301", Reason::Rejected, false),
            ("fatal: transport 'ext' not allowed", Reason::Rejected, false),
            ("error: object file objects/ab/cd is empty\nfatal: loose object abcd is corrupt", Reason::Corrupt, true),
            ("fatal: write error: No space left on device", Reason::Disk, true),
            ("something new", Reason::Other, true),
        ] {
            assert_eq!(of(said), (reason, transient), "{said}");
        }
    }

    #[test]
    fn words_of_git_hold_no_user_no_secret_and_no_control_characters() {
        for (said, expected) in [
            ("hint: x\nfatal: unable to access 'https://u:p@h/r/': no", "unable to access 'https://h/r/': no"),
            (
                "git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.",
                "git@h: Permission denied (publickey).",
            ),
            ("fatal: a\u{1b}[31mb", "a [31mb"),
            ("fatal: token s3cret refused", "token *** refused"),
            ("plain words", "plain words"),
            ("", "git gave no reason"),
        ] {
            assert_eq!(clean(said, &["s3cret"]), expected);
        }
    }

    proptest! {
        #[test]
        fn a_secret_is_never_in_the_words(before in ".{0,40}", after in ".{0,40}", secret in "[a-zA-Z0-9]{4,20}") {
            let said = format!("fatal: {before}{secret}{after}");
            prop_assert!(!clean(&said, &[&secret]).contains(&secret));
        }
    }
}

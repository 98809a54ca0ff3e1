//! Why a feature or a step failed, in words that people see.

use std::fmt;

/// Longest detail, in bytes.
const LONGEST: usize = 2000;

/// What kind of thing went wrong: the closed set of causes that people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The repository can't be fetched.
    Fetch,
    /// The model gave no plan that can be used.
    Plan,
    /// The model gave no patch that can be used.
    Patch,
    /// The patch can't be applied or the branch not be pushed.
    Push,
    /// The sandbox could not run the command.
    Sandbox,
    /// The command ended with another exit code than 0.
    Verification {
        /// The exit code.
        exit_code: i32,
    },
    /// The artifacts can't be stored.
    Artifacts,
    /// Something of the platform itself.
    Internal,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetch => "the repository can't be fetched",
            Self::Plan => "there is no usable plan",
            Self::Patch => "there is no usable patch",
            Self::Push => "the change can't be pushed",
            Self::Sandbox => "the sandbox could not run the command",
            Self::Verification { exit_code } => return write!(f, "verification failed with exit code {exit_code}"),
            Self::Artifacts => "the artifacts can't be stored",
            Self::Internal => "the platform met an error of its own",
        })
    }
}

/// A cause with its detail: `verification failed with exit code 1: 3 tests failed`.
///
/// The detail is text from outside made harmless: of limited length, without control characters but line breaks, without what stands
/// between `://` and `@` in a URL. It is the caller's part to put no other secret into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    cause: Cause,
    detail: String,
}

impl Failure {
    /// Makes a failure; of a long detail the end is kept, where programs say what went wrong.
    pub fn new(cause: Cause, detail: &str) -> Self {
        let plain: String = detail.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        let plain = without_passwords(plain.trim());
        let from = plain.len().saturating_sub(LONGEST);
        let from = (from..=plain.len()).find(|at| plain.is_char_boundary(*at)).unwrap_or(0);
        Self { cause, detail: plain[from..].to_owned() }
    }

    /// Returns the cause.
    pub fn cause(&self) -> Cause {
        self.cause
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { write!(f, "{}", self.cause) } else { write!(f, "{}: {}", self.cause, self.detail) }
    }
}

/// Replaces user and password in URLs by `***`.
fn without_passwords(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let authority = after.split(['/', '?', '#', '\'', '"', ' ', '\n']).next().unwrap_or_default();
        rest = match authority.rfind('@') {
            Some(at) => {
                clean.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_program_says_becomes_harmless(before in "\\PC{0,20}", secret in "[A-Z]{8,20}", after in any::<String>()) {
            let text = format!("{before}://user:{secret}@{after}");
            let detail = Failure::new(Cause::Internal, &text).detail;
            prop_assert!(!detail.contains(&secret), "{}", detail);
            let whole = Failure::new(Cause::Internal, &after).detail;
            prop_assert!(whole.len() <= LONGEST && !whole.chars().any(|c| c.is_control() && c != '\n'));
            prop_assert_eq!(Failure::new(Cause::Internal, &whole).detail, whole.trim());
        }
    }

    #[test]
    fn a_failure_says_its_cause_and_a_harmless_detail() {
        for (cause, detail, expected) in [
            (Cause::Plan, "", "there is no usable plan"),
            (Cause::Verification { exit_code: 1 }, "3 tests failed\n", "verification failed with exit code 1: 3 tests failed"),
            (Cause::Push, "a\u{1b}[31mred\u{7}\r\nb\0", "the change can't be pushed: a[31mred\nb"),
            (
                Cause::Fetch,
                "fatal: 'https://user:canary@h/p' and ssh://canary@h, git://h/a@b",
                "the repository can't be fetched: fatal: 'https://***@h/p' and ssh://***@h, git://h/a@b",
            ),
            (Cause::Fetch, "https://a:can@ary@h/p://x", "the repository can't be fetched: https://***@h/p://x"),
        ] {
            assert_eq!(Failure::new(cause, detail).to_string(), expected);
        }
    }

    #[test]
    fn of_a_long_detail_the_end_is_kept() {
        let long = Failure::new(Cause::Internal, &format!("start{}end", "ü".repeat(LONGEST)));
        assert!(long.detail.len() <= LONGEST && long.detail.ends_with("üend") && !long.detail.contains("start"));
    }
}

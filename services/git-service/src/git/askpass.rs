//! The role in which git asks this program for a user's name and a password.
//!
//! Git starts it with one argument, its prompt: `Username for 'https://host': `. The answer comes from the file that [`VARIABLE`] names,
//! and only if the prompt is about the place that the credential is for.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use url::Url;

/// Variable that names the file with the answers; set and empty: there is no credential.
pub(crate) const VARIABLE: &str = "GIT_SERVICE_ASKPASS_FILE";

/// What the file holds, as JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answers {
    /// Place that the answers are for, as a URL.
    pub(crate) url: String,
    /// Name of the user.
    pub(crate) username: String,
    /// Password or token.
    pub(crate) password: String,
}

/// Answers one prompt on standard output.
pub(crate) fn run(file: &OsStr, prompt: Option<&OsStr>) -> ExitCode {
    let prompt = prompt.and_then(OsStr::to_str).unwrap_or_default();
    let answers = fs::read(file).ok().and_then(|text| serde_json::from_slice::<Answers>(&text).ok());
    match answers.as_ref().and_then(|answers| answer(prompt, answers)) {
        Some(answer) if writeln!(io::stdout(), "{answer}").is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Returns the answer to a prompt, if it asks for one of ours for its place.
fn answer<'a>(prompt: &str, answers: &'a Answers) -> Option<&'a str> {
    let (question, rest) = prompt.split_once(" for '")?;
    let asked = Url::parse(rest.strip_suffix("': ")?).ok()?;
    let ours = Url::parse(&answers.url).ok()?;
    let place = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    match question {
        _ if place(&asked) != place(&ours) => None,
        "Username" => Some(&answers.username),
        "Password" => Some(&answers.password),
        _ => None,
    }
}

/// Writes to standard error, where git and the service look for words of failure.
pub(crate) fn complain(problem: &str) {
    // Nobody is left to be told.
    drop(io::stderr().write_all(problem.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_of_the_credential_gets_an_answer() {
        let answers = Answers { url: "https://git.example.com/a/b".into(), username: "u".into(), password: "p".into() };
        for (prompt, expected) in [
            ("Username for 'https://git.example.com': ", Some("u")),
            ("Password for 'https://u@git.example.com': ", Some("p")),
            ("Password for 'https://u@git.example.com:443': ", Some("p")),
            ("Password for 'https://u@evil.example.com': ", None),
            ("Password for 'http://u@git.example.com': ", None),
            ("Password for 'https://u@git.example.com:8443': ", None),
            ("Passphrase for 'https://git.example.com': ", None),
            ("Are you sure (yes/no)? ", None),
            ("", None),
        ] {
            assert_eq!(answer(prompt, &answers), expected, "{prompt}");
        }
    }
}

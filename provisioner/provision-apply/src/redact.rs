//! Takes secret values out of texts that come from elsewhere: log lines, messages of the API server.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use provision_model::{Evidence, Verdict};

/// What stands for a value that was taken out.
const MASK: &str = "(secret)";
/// Shorter values would blot out ordinary words.
const SHORTEST: usize = 4;
const SHORTEST_LINE: usize = 16;

/// Knows secret values and takes them out of texts, in every form in which they may stand there; clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<BTreeSet<Needle>>>);

/// Ordered by length, longest first, so that a value inside another one leaves nothing of either.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Needle(std::cmp::Reverse<usize>, String);

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(..)")
    }
}

impl Redactor {
    /// Learns a value; one shorter than 4 bytes is left out, and of a longer text each long line counts too.
    pub fn learn(&self, value: &str) {
        let whole = std::iter::once(value.trim()).filter(|text| text.len() >= SHORTEST);
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for text in std::iter::once(value).filter(|text| text.len() >= SHORTEST).chain(whole).chain(lines) {
            for form in forms(text) {
                known.insert(Needle(std::cmp::Reverse(form.len()), form));
            }
        }
    }

    /// Returns a text without any known value.
    pub fn clean(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut out = text.to_owned();
        for Needle(_, needle) in known.iter() {
            if out.contains(needle.as_str()) {
                out = out.replace(needle.as_str(), MASK);
            }
        }
        out
    }

    /// Returns a verdict without any known value.
    #[must_use]
    pub fn clean_verdict(&self, verdict: Verdict) -> Verdict {
        let evidence = verdict.evidence;
        Verdict {
            message: self.clean(&verdict.message),
            next: verdict.next.map(|next| self.clean(&next)),
            evidence: Evidence {
                message: evidence.message.map(|message| self.clean(&message)),
                logs: evidence.logs.iter().map(|line| self.clean(line)).collect(),
                ..evidence
            },
            ..verdict
        }
    }
}

fn forms(text: &str) -> Vec<String> {
    let json = serde_json::Value::from(text).to_string();
    vec![
        text.to_owned(),
        json.trim_matches('"').to_owned(),
        percent_encoded(text, false),
        percent_encoded(text, true),
        STANDARD.encode(text),
        STANDARD_NO_PAD.encode(text),
        URL_SAFE.encode(text),
        URL_SAFE_NO_PAD.encode(text),
        percent_encoded(&STANDARD.encode(text), false),
    ]
}

fn percent_encoded(text: &str, lower: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else if lower {
            out.push_str(&format!("%{byte:02x}"));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_out_in_every_form() {
        let redactor = Redactor::default();
        let value = "p\"ss/w+rd é\nsecond";
        redactor.learn(value);
        for form in [
            value.to_owned(),
            "p\\\"ss/w+rd é\\nsecond".to_owned(),
            "p%22ss%2Fw%2Brd%20%C3%A9%0Asecond".to_owned(),
            STANDARD.encode(value),
            URL_SAFE_NO_PAD.encode(value),
        ] {
            assert_eq!(redactor.clean(&format!("<{form}>")), format!("<{MASK}>"));
        }
        assert_eq!(redactor.clean("other text"), "other text");
    }

    #[test]
    fn a_value_inside_another_leaves_nothing() {
        let redactor = Redactor::default();
        redactor.learn("hunter");
        redactor.learn("hunter2-hunter");
        assert_eq!(redactor.clean("x hunter2-hunter y hunter"), format!("x {MASK} y {MASK}"));
        redactor.learn("no");
        assert_eq!(redactor.clean("not known"), "not known");
    }

    #[test]
    fn a_line_of_a_key_is_taken_out() {
        let redactor = Redactor::default();
        redactor.learn("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END KEY-----\n");
        assert_eq!(redactor.clean("read MIIEvQIBADANBgkqhkiG"), format!("read {MASK}"));
    }
}

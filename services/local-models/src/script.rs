//! Scripts: which request gets which answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use thiserror::Error;

use crate::builtin::{self, Builtin, Material};
use crate::messages::Kind;

const DEFAULT: &str = include_str!("../script/default.yaml");

#[derive(Debug, Error)]
pub(crate) enum ScriptError {
    #[error("failed to read the script `{}` (MODELS_SCRIPT)", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the script is not of the form expected: {0}")]
    Form(String),
    #[error("rule {number} of the script: `{field}` is not a regular expression: {why}")]
    Regex { number: usize, field: &'static str, why: String },
    #[error("rule {number} of the script: {wrong}")]
    Rule { number: usize, wrong: &'static str },
}

/// A script as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rules: Vec<WrittenRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    name: Option<String>,
    system: Option<String>,
    user: Option<String>,
    contains: Option<String>,
    #[serde(default)]
    latency_ms: u64,
    refuse: Option<WrittenRefusals>,
    answer: Option<String>,
    builtin: Option<Builtin>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRefusals {
    times: u32,
    status: u16,
    #[serde(default)]
    retry_after_seconds: u32,
}

/// A script, checked.
#[derive(Debug)]
pub(crate) struct Script {
    rules: Vec<Rule>,
}

/// One rule of a script.
#[derive(Debug)]
pub(crate) struct Rule {
    name: String,
    system: Option<Regex>,
    user: Option<Regex>,
    contains: Option<String>,
    latency: Duration,
    refuse: Option<Refusals>,
    answer: Text,
}

#[derive(Debug)]
enum Text {
    Template(String),
    Builtin(Builtin),
}

/// Requests that are refused before one is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusals {
    pub(crate) times: u32,
    pub(crate) kind: Kind,
    pub(crate) retry_after_seconds: u32,
}

/// What is asked, as rules see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) system: &'a str,
    /// The user's first message.
    pub(crate) first: &'a str,
    /// The user's last message.
    pub(crate) last: &'a str,
}

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Name of the rule.
    pub(crate) rule: String,
    pub(crate) latency: Duration,
    pub(crate) refuse: Option<Refusals>,
    pub(crate) text: String,
}

impl Script {
    /// Returns the script that makes a complete feature run possible.
    ///
    /// # Errors
    /// Never, as a test shows.
    pub(crate) fn built_in() -> Result<Self, ScriptError> {
        Self::parse(DEFAULT)
    }

    /// Reads a script from a file.
    ///
    /// # Errors
    /// If it can't be read, or is not a script; the first rule that is wrong is named by its number, from 1 on.
    pub(crate) async fn load(path: &Path) -> Result<Self, ScriptError> {
        let text = tokio::fs::read_to_string(path).await.map_err(|source| ScriptError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, ScriptError> {
        let written: Written = serde_yaml::from_str(text).map_err(|error| ScriptError::Form(error.to_string()))?;
        let rules = written.rules.into_iter().enumerate().map(|(index, rule)| check(index + 1, rule)).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns what the first rule that fits says, if one fits.
    pub(crate) fn reply(&self, question: Question<'_>) -> Option<Reply> {
        self.rules.iter().find_map(|rule| rule.reply(question))
    }
}

fn check(number: usize, rule: WrittenRule) -> Result<Rule, ScriptError> {
    let wrong = |wrong| ScriptError::Rule { number, wrong };
    let regex = |field, text: Option<String>| {
        let compile = |text: String| RegexBuilder::new(&text).multi_line(true).build();
        text.map(compile).transpose().map_err(|error| ScriptError::Regex { number, field, why: error.to_string() })
    };
    let answer = match (rule.answer, rule.builtin) {
        (Some(answer), None) => Text::Template(answer),
        (None, Some(builtin)) => Text::Builtin(builtin),
        _ => return Err(wrong("it needs either `answer` or `builtin`")),
    };
    let refuse = match rule.refuse {
        None => None,
        Some(WrittenRefusals { times, status, retry_after_seconds }) => {
            let kind = Kind::of_status(status).ok_or_else(|| wrong("`refuse.status` must be 429, 500 or 529"))?;
            Some(Refusals { times, kind, retry_after_seconds })
        }
    };
    Ok(Rule {
        name: rule.name.unwrap_or_else(|| format!("rule-{number}")),
        system: regex("system", rule.system)?,
        user: regex("user", rule.user)?,
        contains: rule.contains,
        latency: Duration::from_millis(rule.latency_ms),
        refuse,
        answer,
    })
}

impl Rule {
    fn reply(&self, question: Question<'_>) -> Option<Reply> {
        if !self.system.as_ref().is_none_or(|system| system.is_match(question.system))
            || !self.contains.as_ref().is_none_or(|text| question.last.contains(text))
        {
            return None;
        }
        let caught = match &self.user {
            Some(user) => Some(user.captures(question.last)?),
            None => None,
        };
        let reply = Reply { rule: self.name.clone(), latency: self.latency, refuse: self.refuse, text: String::new() };
        Some(match &self.answer {
            Text::Template(template) => {
                let mut text = String::new();
                match caught {
                    Some(caught) => caught.expand(template, &mut text),
                    None => text.push_str(template),
                }
                Reply { text, ..reply }
            }
            Text::Builtin(function) => {
                let said = builtin::reply(*function, &Material::read(question.first));
                let latency = reply.latency.max(said.latency);
                Reply { text: said.text, latency, refuse: said.refuse.or(reply.refuse), ..reply }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_reply(script: &str, system: &str, user: &str, expected: Option<(&str, &str)>) {
        let script = Script::parse(script).unwrap();
        let reply = script.reply(Question { system, first: user, last: user });
        assert_eq!(reply.as_ref().map(|reply| (reply.rule.as_str(), reply.text.as_str())), expected);
    }

    fn check_error(script: &str, expected: &str) {
        let error = Script::parse(script).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn the_first_rule_that_fits_answers() {
        let script = "rules: [{contains: blue, answer: one}, {name: red, user: red, answer: two}, {system: '^b$', answer: three}]";
        check_reply(script, "", "blue and red", Some(("rule-1", "one")));
        check_reply(script, "", "red", Some(("red", "two")));
        check_reply(script, "a\nb", "green", Some(("rule-3", "three")));
        check_reply(script, "ab", "green", None);
    }

    #[test]
    fn all_that_a_rule_asks_for_must_fit() {
        let script = "rules: [{system: s, user: u, contains: c, answer: x}]";
        check_reply(script, "s", "uc", Some(("rule-1", "x")));
        for (system, user) in [("", "uc"), ("s", "u"), ("s", "c")] {
            check_reply(script, system, user, None);
        }
    }

    #[test]
    fn an_answer_may_repeat_what_was_caught() {
        let script = r#"rules: [{user: 'say (?<what>\w+) (\w+)', answer: "${what}-${2}-$$1${none}"}, {answer: "${0} $$"}]"#;
        check_reply(script, "", "say hello world", Some(("rule-1", "hello-world-$1")));
        // Without an expression there is nothing to repeat, and the text is the text.
        check_reply(script, "", "other", Some(("rule-2", "${0} $$")));
    }

    #[test]
    fn a_script_may_be_json() {
        check_reply(r#"{"rules": [{"answer": "x"}]}"#, "", "", Some(("rule-1", "x")));
    }

    #[test]
    fn a_mistake_is_named_with_its_rule() {
        check_error("rules: [{answer: x}, {contains: y}]", "rule 2 of the script: it needs either `answer` or `builtin`");
        check_error("rules: [{answer: x, builtin: plan}]", "rule 1");
        check_error("rules: [{answer: x, user: '('}]", "`user` is not a regular expression");
        check_error("rules: [{answer: x, refuse: {times: 1, status: 404}}]", "429, 500 or 529");
        check_error("rules: [{answer: x, delay: 1}]", "delay");
        check_error("rules: [{builtin: sing}]", "sing");
        check_error("rules: 7", "form");
    }

    #[test]
    fn the_built_in_script_plans_and_patches() {
        let script = Script::built_in().unwrap();
        let user = "<instruction>\nAdd a page\n</instruction>\n";
        let reply = |system| script.reply(Question { system, first: user, last: "again" }).unwrap();
        assert!(reply("function: plan\nYou plan.").text.starts_with('{'));
        assert!(reply("function: patch\nYou write.").text.contains("+++ b/features/add-a-page.md"));
        assert_eq!(reply("You sing.\nfunction: plan").rule, "other");
    }
}

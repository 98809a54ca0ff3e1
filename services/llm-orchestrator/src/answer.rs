//! Models' answers, read strictly: what can't be used is a mistake that the model is told of.

mod diff;
mod fence;

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;

/// What is wrong with an answer, to complete "your answer can't be used: ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake(String);

impl Mistake {
    fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// What will be done.
    pub(crate) summary: String,
    /// Files of the tree that the change needs to see.
    pub(crate) files: Vec<String>,
    /// Command that verifies the change; none if empty.
    pub(crate) verify: Vec<String>,
}

/// Reads a plan: a JSON object, as it is or inside of the only fence. Files that are not in `tree` can't be seen and are left out.
///
/// # Errors
/// [`Mistake`] if it is anything else, if the summary is empty, or the command can't be one.
pub(crate) fn plan(text: &str, tree: &[String]) -> Result<Plan, Mistake> {
    let object = fence::only_block(text, &["", "json"])?.unwrap_or_else(|| text.to_owned());
    let plan: Plan = serde_json::from_str(object.trim()).map_err(|error| Mistake::new(format!("it is not the JSON object: {error}")))?;
    if plan.summary.trim().is_empty() {
        return Err(Mistake::new("`summary` is empty"));
    }
    if plan.verify.first().is_some_and(String::is_empty) || plan.verify.iter().any(|argument| argument.contains('\0')) {
        return Err(Mistake::new("`verify` is not a command: a list of arguments, the first one a program"));
    }
    let known: HashSet<&str> = tree.iter().map(String::as_str).collect();
    let mut seen = HashSet::new();
    let files = plan.files.into_iter().filter(|path| known.contains(path.as_str()) && seen.insert(path.clone())).collect();
    Ok(Plan { summary: plan.summary.trim().to_owned(), files, ..plan })
}

/// Reads a patch: a unified diff inside of the only `diff` fence, written anew in git's own form.
///
/// # Errors
/// [`Mistake`] if it is anything else.
pub(crate) fn patch(text: &str) -> Result<String, Mistake> {
    let block = fence::only_block(text, &["diff"])?;
    diff::normal(&block.ok_or_else(|| Mistake::new("there is no fence that begins with ```diff"))?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_answer_is_a_plan_that_can_be_used_or_a_mistake(
            text in "\\PC{0,80}",
            (summary, file, argument) in ("[ -~]{0,10}", "(a|b|x|\\.\\.)(/|\\.txt)?", "[ -~\\x00]{0,6}"),
            fence in "(```(json|diff|)\n?){0,2}",
        ) {
            let object = serde_json::json!({"summary": summary, "files": [file], "verify": [argument]});
            for text in [format!("{fence}{object}\n{fence}"), format!("{fence}{text}{fence}"), object.to_string()] {
                drop(patch(&text));
                if let Ok(plan) = read(&text) {
                    prop_assert!(!plan.summary.trim().is_empty());
                    prop_assert!(plan.files.iter().all(|file| ["a.txt", "b.txt"].contains(&file.as_str())));
                    prop_assert!(plan.verify.iter().all(|argument| !argument.contains('\0')));
                    prop_assert!(plan.verify.first().is_none_or(|program| !program.is_empty()));
                }
            }
        }
    }

    fn read(text: &str) -> Result<Plan, String> {
        plan(text, &["a.txt".to_owned(), "b.txt".to_owned()]).map_err(|mistake| mistake.to_string())
    }

    const OBJECT: &str = r#"{"summary": " say hello ", "files": ["b.txt", "new.txt", "b.txt"], "verify": ["sh", "-c", "true\n"]}"#;

    #[test]
    fn a_plan_is_an_object_with_or_without_a_fence() {
        let verify = ["sh", "-c", "true\n"].map(str::to_owned).to_vec();
        let expected = Plan { summary: "say hello".to_owned(), files: vec!["b.txt".to_owned()], verify };
        for text in [OBJECT.to_owned(), format!("```json\n{OBJECT}\n```\n"), format!("Here it is:\n```\n{OBJECT}\n```\nAs asked.")] {
            assert_eq!(read(&text), Ok(expected.clone()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_a_mistake() {
        for (text, words) in [
            ("I would rather not.", "it is not the JSON object"),
            ("", "it is not the JSON object: EOF"),
            (r#"{"summary": "s", "files": []}"#, "missing field `verify`"),
            (r#"{"summary": "s", "files": [], "verify": [], "risk": "low"}"#, "unknown field `risk`"),
            (r#"{"summary": "s", "files": "a.txt", "verify": []}"#, "invalid type: string"),
            (r#"{"summary": " ", "files": [], "verify": []}"#, "`summary` is empty"),
            (r#"{"summary": "s", "files": [], "verify": [""]}"#, "`verify` is not a command"),
            (r#"{"summary": "s", "files": [], "verify": ["a\u0000b"]}"#, "`verify` is not a command"),
            ("```json\n{}\n```\n```json\n{}\n```", "more than one fence"),
            ("```json\n{}", "is not closed"),
        ] {
            let mistake = read(text).unwrap_err();
            assert!(mistake.contains(words), "{text}: {mistake}");
        }
        assert!(read(&format!("Sure! {OBJECT}")).is_err(), "words around it are none of the object");
    }

    #[test]
    fn a_patch_is_in_its_fence() {
        let diff = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-a\n+b\n";
        assert!(patch(&format!("Done:\n```diff\n{diff}```\nas asked")).unwrap().contains("@@ -1,1 +1,1 @@\n-a\n+b\n"));
        for text in [diff.to_owned(), format!("```\n{diff}```"), String::new()] {
            assert_eq!(patch(&text).unwrap_err().to_string(), "there is no fence that begins with ```diff", "{text}");
        }
    }
}

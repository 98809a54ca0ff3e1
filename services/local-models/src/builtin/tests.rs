//! Built-in answers, held against git itself.

use std::path::Path;
use std::process::{Command, Output};

use super::*;

fn material(instruction: &str, tree: &str) -> Material {
    Material::read(&format!("<instruction>\n{instruction}\n</instruction>\n<tree>\n{tree}\n</tree>\n"))
}

fn said(function: Builtin, instruction: &str) -> Said {
    reply(function, &material(instruction, "README.md\nsrc/main.rs"))
}

fn git(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("git").args(arguments).current_dir(folder).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", folder).output().unwrap()
}

/// Applies the patch of an answer to an empty repository, as the orchestrator would take it out of its fence.
fn apply(answer: &str) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("a/b");
    std::fs::create_dir_all(&repository).unwrap();
    assert!(git(&repository, &["init", "--quiet"]).status.success());
    let patch = answer.strip_prefix("```diff\n").and_then(|rest| rest.strip_suffix("```\n")).unwrap();
    std::fs::write(folder.path().join("patch"), patch).unwrap();
    let output = git(&repository, &["apply", "--index", "../../patch"]);
    (folder, output)
}

fn check_patch(instruction: &str, path: &str, content: &str) {
    let answer = said(Builtin::Patch, instruction).text;
    let (folder, output) = apply(&answer);
    assert!(output.status.success(), "{}\n{answer}", String::from_utf8_lossy(&output.stderr));
    let staged = git(&folder.path().join("a/b"), &["diff", "--cached", "--name-only"]).stdout;
    assert_eq!(String::from_utf8(staged).unwrap(), format!("{path}\n"));
    assert_eq!(std::fs::read_to_string(folder.path().join("a/b").join(path)).unwrap(), content);
}

#[test]
fn a_patch_makes_a_file_with_the_instruction() {
    check_patch("Add a greeting", "features/add-a-greeting.md", "# Feature\n\nAdd a greeting\n");
    check_patch("Zwei\n\nZeilen\r\nund\tmehr", "features/zwei-zeilen-und-mehr.md", "# Feature\n\nZwei\n\nZeilen\nund\tmehr\n");
    check_patch(
        "```\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x",
        "features/a-x-b-x-1-1-x.md",
        "# Feature\n\n```\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x\n",
    );
    check_patch("a\u{0}b\u{1b}[31m;\rc", "features/a-b-31m-c.md", "# Feature\n\na b [31m; c\n");
    check_patch("機能を追加", "features/change.md", "# Feature\n\n機能を追加\n");
    check_patch("&lt;/instruction> of &lt;tree>", "features/instruction-of-tree.md", "# Feature\n\n</instruction> of <tree>\n");
}

#[test]
fn a_file_that_is_there_is_not_made_again() {
    let target = |tree: &str| material("Add it", tree).target();
    assert_eq!(target("README.md"), "features/add-it.md");
    assert_eq!(target("features/add-it.md"), "features/add-it-2.md");
    assert_eq!(target("features/add-it.md\nfeatures/add-it-2.md\nfeatures/add-it-4.md"), "features/add-it-3.md");
    assert_eq!(material(&"word ".repeat(100), "").target().len(), "features/.md".len() + 59);
}

#[test]
fn a_plan_says_what_to_read_and_how_to_verify() {
    let plan: serde_json::Value = serde_json::from_str(&said(Builtin::Plan, "Add it; $(rm -rf /)").text).unwrap();
    assert_eq!(plan["files"], json!(["README.md"]));
    assert_eq!(plan["verify"], json!(["sh", "-c", "test -s features/add-it-rm-rf.md"]));
    assert_eq!(plan["summary"], "Adds features/add-it-rm-rf.md, which holds the instruction.");
    let plan: serde_json::Value = serde_json::from_str(&reply(Builtin::Plan, &material("Add it", "src/lib.rs")).text).unwrap();
    assert_eq!(plan["files"], json!([]));
}

#[test]
fn the_plans_command_verifies_the_patch() {
    let plan: serde_json::Value = serde_json::from_str(&said(Builtin::Plan, "Add it").text).unwrap();
    let (folder, _) = apply(&said(Builtin::Patch, "Add it").text);
    let run = |folder: &Path| {
        let words: Vec<&str> = plan["verify"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        Command::new(words[0]).args(&words[1..]).current_dir(folder).status().unwrap().code()
    };
    assert_eq!(run(&folder.path().join("a/b")), Some(0));
    assert_eq!(run(folder.path()), Some(1));
}

#[test]
fn marks_change_the_answers() {
    assert!(said(Builtin::Plan, "Add it [fail-verify]").text.contains("exit 1"));
    assert_eq!(said(Builtin::Plan, "[slow:1500] Add it").latency, Duration::from_millis(1500));
    assert_eq!(said(Builtin::Patch, "[slow:99999999] Add it").latency, LONGEST);
    let refuse = |times, kind| Some(Refusals { times, kind, retry_after_seconds: 1 });
    assert_eq!(said(Builtin::Plan, "[rate-limit:3]").refuse, refuse(3, Kind::RateLimit));
    assert_eq!(said(Builtin::Plan, "[overloaded:1]").refuse, refuse(1, Kind::Overloaded));
    assert_eq!(said(Builtin::Plan, "[garbage]").text, GARBAGE);
    assert_eq!(said(Builtin::Patch, "[garbage]").text, GARBAGE);
}

#[test]
fn marks_are_no_part_of_the_files_name() {
    assert_eq!(material("[slow:5] Add [rate-limit:2] it", "").target(), "features/add-it.md");
    assert_eq!(material("[slow:5]", "").target(), "features/change.md");
    assert_eq!(material("open [bracket", "").target(), "features/open-bracket.md");
}

#[test]
fn what_is_no_mark_changes_nothing() {
    for instruction in ["slow:5", "[slow:x]", "[slow]", "[slow:5", "[SLOW:5]", "[rate-limit:-1]"] {
        let said = said(Builtin::Patch, instruction);
        assert_eq!((said.latency, said.refuse), (Duration::ZERO, None), "{instruction}");
    }
}

#[test]
fn bad_patches_are_refused_by_git() {
    for (instruction, reason) in [("Add it [bad-patch]", "does not exist"), ("Add it [path-escape]", "invalid path")] {
        let (folder, output) = apply(&said(Builtin::Patch, instruction).text);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.contains(reason), "{instruction}: {words}");
        assert!(!folder.path().join("escaped.md").exists());
    }
}

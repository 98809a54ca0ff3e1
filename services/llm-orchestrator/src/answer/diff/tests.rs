use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn check_mistake(diff: &str, words: &str) {
    let mistake = normal(diff).unwrap_err().to_string();
    assert!(mistake.contains(words), "{diff}\n{mistake}");
}

#[test]
fn headers_and_counts_are_written_anew() {
    let diff = "--- a/a.txt\t2026-01-01\n+++ b/a.txt\n@@ -1,9 +1,9 @@ fn x\n one\n-two\n+TWO\n+more\n\n three\n@@ -20 +21 @@\n-x\n+y\n\n";
    let expected = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n\
         @@ -1,4 +1,5 @@ fn x\n one\n-two\n+TWO\n+more\n \n three\n@@ -20,1 +21,1 @@\n-x\n+y\n";
    assert_eq!(normal(diff).unwrap(), expected);
    assert_eq!(normal(expected).unwrap(), expected, "git's own form stays");
}

#[test]
fn right_counts_tell_lines_from_headers() {
    let diff = "--- a/a.sql\n+++ b/a.sql\n@@ -1,1 +1,1 @@\n--- a/old\n+++ b/new\n@@ -9,1 +9,1 @@\n-x\n+y\n";
    assert_eq!(normal(diff).unwrap(), format!("diff --git a/a.sql b/a.sql\n{diff}"));
}

#[test]
fn what_is_no_diff_of_plain_files_is_a_mistake() {
    let with = |old: &str, new: &str| format!("--- {old}\n+++ {new}\n@@ -1 +1 @@\n-a\n+b\n");
    for (diff, words) in [
        (String::new(), "the diff is empty"),
        ("hello".to_owned(), "line 1 of the diff, \"hello\", stands where the header of a file"),
        (with("a/../x", "b/../x"), "is no plain path below a/"),
        (with("a//etc/passwd", "b//etc/passwd"), "is no plain path"),
        (with("/etc/passwd", "/etc/passwd"), "is no plain path"),
        (with("a/x/.GIT/config", "b/x/.GIT/config"), "is no plain path"),
        (with("a/x", "b/y"), "don't name one file"),
        (with("/dev/null", "/dev/null"), "don't name one file"),
        (with("x", "x"), "is no plain path below a/"),
        (with("a/\"x", "b/\"x"), "is no plain path"),
        ("--- a/x\n@@ -1 +1 @@\n-a\n+b\n".to_owned(), "stands where `+++ b/...` is expected"),
        ("--- a/x\n+++ b/x\n".to_owned(), "stands where a hunk"),
        ("--- a/x\n+++ b/x\n@@ ... @@\n-a\n".to_owned(), "is no header of a hunk"),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n a\n".to_owned(), "changes nothing"),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\nand so on".to_owned(), "line 6 of the diff, \"and so on\", begins with none of"),
        ("diff --git a/x b/x\nnew file mode 120000\n".to_owned(), "names no plain file"),
        ("diff --git a/x b/x\nold mode 100644\n".to_owned(), "the diff changes nothing in x"),
        ("diff --git a/x b/y\nold mode 100644\nnew mode 100755\n".to_owned(), "don't name one file"),
        ("rename from x\n".to_owned(), "don't name one file"),
        ("diff --git a/x b/y\nrename from x\nrename to ../y\n".to_owned(), "names no plain file"),
        ("diff --git a/x b/x\nGIT binary patch\n".to_owned(), "only text"),
    ] {
        check_mistake(&diff, words);
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn git_applies_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q"]);
    for (name, content) in [("a b.txt", "one\ntwo\n\nthree"), ("gone.txt", "x\n"), ("old.txt", "same\n"), ("run.sh", "true\n")] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    git(folder.path(), &["add", "."]);
    let diff = "--- a/a b.txt\n+++ b/a b.txt\n@@ -1,7 +1,2 @@\n one\n-two\n+TWO\n\n-three\n\\ No newline at end of file\n+THREE\n\
         --- /dev/null\n+++ b/new/\u{e4}.txt\n@@ -0,0 +1,9 @@\n+hello\n\
         --- a/gone.txt\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n\
         diff --git a/old.txt b/moved.txt\nsimilarity index 50%\nrename from old.txt\nrename to moved.txt\n--- a/old.txt\n+++ b/moved.txt\n@@ -1 +1,2 @@\n same\n+more\n\
         diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n\
         diff --git a/empty b/empty\nnew file mode 100644\nindex 000..e69\n";
    let patch = folder.path().join(".git/normal.patch");
    std::fs::write(&patch, normal(diff).unwrap()).unwrap();
    git(folder.path(), &["apply", "--index", &patch.to_string_lossy()]);
    let status = git(folder.path(), &["-c", "core.quotePath=false", "ls-files", "--format=%(objectmode) %(path)"]);
    assert_eq!(status, "100644 a b.txt\n100644 empty\n100644 moved.txt\n100644 new/\u{e4}.txt\n100755 run.sh\n");
    assert_eq!(std::fs::read_to_string(folder.path().join("a b.txt")).unwrap(), "one\nTWO\n\nTHREE\n");
    assert_eq!(std::fs::read_to_string(folder.path().join("moved.txt")).unwrap(), "same\nmore\n");
}

proptest! {
    #[test]
    fn whatever_comes_is_a_diff_that_stays_as_it_is_or_a_mistake(
        lines in prop::collection::vec("(--- a/x|\\+\\+\\+ b/x|@@ -1,[0-3] \\+1,[0-3] @@|[-+ \\\\]y|rename (from|to) x|diff --git a/x b/x|)", 0..14)
    ) {
        if let Ok(written) = normal(&lines.join("\n")) {
            prop_assert_eq!(normal(&written).unwrap(), written);
        }
    }
}

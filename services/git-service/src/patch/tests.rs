use std::fmt::Write;
use std::fs;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn refused(text: &str) -> (usize, Problem) {
    let error = parse(text).unwrap_err();
    (error.line, error.problem)
}

const PLAIN: &str = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";

#[test]
fn a_patch_is_written_in_one_form() {
    for (text, expected) in [
        (PLAIN, "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,1 +1,1 @@\n-a\n+b\n"),
        (
            "diff --git a/x b/x\nindex 12..34 100644\n--- a/x\t2026-01-01\n+++ b/x\n@@ -1,2 +1,3 @@ fn x()\n a\n\n+b\n",
            "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@\n a\n \n+b\n",
        ),
        (
            "--- /dev/null\n+++ b/n/m\n@@ -0,0 +1 @@\n+b\n\\ no line break\n",
            "diff --git a/n/m b/n/m\nnew file mode 100644\n--- /dev/null\n+++ b/n/m\n@@ -0,0 +1,1 @@\n+b\n\\ No newline at end of file\n",
        ),
        ("diff --git a/x y b/x y\nold mode 100644\nnew mode 100755\n", "diff --git a/x y b/x y\nold mode 100644\nnew mode 100755\n"),
        ("diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n", "diff --git a/x b/y\nrename from x\nrename to y\n"),
        ("diff --git a/e b/e\nnew file mode 100755\nindex 0..1\n", "diff --git a/e b/e\nnew file mode 100755\n"),
    ] {
        assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
    }
}

#[test]
fn what_leaves_the_tree_or_is_no_regular_file_is_refused_with_its_line() {
    let cases = [
        ("", (1, Problem::Empty)),
        ("\n\n", (3, Problem::Empty)),
        ("hello\n", (1, Problem::Line)),
        ("--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n", (1, Problem::Path)),
        ("--- a//etc/x\n+++ b//etc/x\n@@ -1 +1 @@\n-a\n+b\n", (1, Problem::Path)),
        ("--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", (1, Problem::Prefix)),
        ("--- a/x\n+++ b/.git/config\n@@ -1 +1 @@\n-a\n+b\n", (2, Problem::Path)),
        ("--- \"a/\\056\\056/x\"\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", (1, Problem::Prefix)),
        ("--- a/x\r\n+++ b/x\r\n@@ -1 +1 @@\n-a\n+b\n", (1, Problem::Path)),
        ("diff --git a/x b/../y\nrename from x\nrename to ../y\n", (3, Problem::Path)),
        ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n", (2, Problem::Mode)),
        ("diff --git a/l b/l\nnew file mode 160000\n", (2, Problem::Mode)),
        ("diff --git a/l b/l\nold mode 100644\nnew mode 120000\n", (3, Problem::Mode)),
        ("diff --git a/l b/l\nindex 12..34 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-a\n+b\n", (2, Problem::Mode)),
        ("diff --git a/x b/x\nGIT binary patch\nliteral 1\n", (1, Problem::Binary)),
        ("diff --git a/x b/x\nBinary files a/x and b/x differ\n", (1, Problem::Binary)),
        ("diff --git a/x b/x\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n", (3, Problem::Contradiction)),
        ("--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n", (2, Problem::Contradiction)),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n", (2, Problem::Contradiction)),
        ("--- /dev/null\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", (5, Problem::Contradiction)),
        ("--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n-a\n+b\n", (6, Problem::Hunk)),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n+c\n", (6, Problem::Line)),
        ("--- a/x\n+++ b/x\n@@ -1,99999999999 +1 @@\n-a\n+b\n", (3, Problem::Hunk)),
        ("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n b\n", (5, Problem::Hunk)),
        ("--- a/x\n+++ b/x\n", (2, Problem::Hunk)),
        ("diff --git a/x b/x\n", (1, Problem::Hunk)),
        ("diff --git a/x b/x\nsubmodule x\n", (1, Problem::Hunk)),
        (&PLAIN.repeat(2), (10, Problem::Twice)),
    ];
    let wrong: Vec<_> =
        cases.iter().map(|(text, expected)| (text, refused(text), expected)).filter(|(_, found, expected)| found != *expected).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let many = (0..=MOST_FILES).fold(String::new(), |mut many, n| {
        write!(many, "--- a/{n}\n+++ b/{n}\n@@ -1 +1 @@\n-a\n+b\n").unwrap();
        many
    });
    assert_eq!(refused(&many).1, Problem::Files);
    assert_eq!(refused(&"x".repeat(LARGEST + 1)).1, Problem::Size);
}

/// Texts that are nearly patches.
fn nearly_a_patch() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => Just("--- a/x".to_owned()),
        4 => Just("+++ b/x".to_owned()),
        4 => Just("@@ -1 +1 @@".to_owned()),
        2 => Just("@@ -0,0 +1,2 @@".to_owned()),
        4 => Just("-a".to_owned()),
        4 => Just("+b".to_owned()),
        2 => Just(" c".to_owned()),
        1 => Just(String::new()),
        1 => Just("\\ No newline at end of file".to_owned()),
        2 => Just("diff --git a/x b/x".to_owned()),
        1 => Just("diff --git a/x b/y z".to_owned()),
        1 => Just("new file mode 100644".to_owned()),
        1 => Just("deleted file mode 100755".to_owned()),
        1 => Just("--- /dev/null".to_owned()),
        1 => Just("+++ /dev/null".to_owned()),
        1 => Just("rename from x".to_owned()),
        1 => Just("rename to y z".to_owned()),
        1 => "[-+ @a-z/.\\\\\"]{0,12}",
    ];
    proptest::collection::vec(line, 0..14).prop_map(|lines| lines.join("\n") + "\n")
}

/// Patches of one to three files, with names that are hard to read.
fn a_patch() -> impl Strategy<Value = String> {
    let name = "[a-zA-Z0-9 ._~ü-]{1,8}(/[a-z .]{1,4})?";
    let file = (name, 0..4_u8, "[ -~]{0,8}").prop_map(|(name, kind, text)| match kind {
        0 => format!("--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{text}\n"),
        1 => format!("diff --git a/{name} b/{name}\ndeleted file mode 100644\n--- a/{name}\n+++ /dev/null\n@@ -1 +0,0 @@\n-{text}\n"),
        2 => format!("diff --git a/{name} b/b {name}\nrename from {name}\nrename to b {name}\n"),
        _ => format!("--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-{text}\n+{text}x\n"),
    });
    proptest::collection::vec(file, 1..4).prop_map(|files| files.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic_and_what_is_taken_is_safe(text in prop_oneof![nearly_a_patch(), a_patch(), "\\PC{0,200}"]) {
        if let Ok(patch) = parse(&text) {
            prop_assert!(patch.paths().iter().all(|path| is_safe_path(path)));
            prop_assert_eq!(parse(&patch.to_string()).unwrap(), patch);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn git_reads_the_same_paths(text in prop_oneof![nearly_a_patch(), a_patch()]) {
        let Ok(patch) = parse(&text) else { return Ok(()) };
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("patch"), patch.to_string()).unwrap();
        let output = Command::new("git").args(["apply", "--numstat", "-z", "patch"]).current_dir(&folder).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        prop_assert!(output.status.success(), "{patch}\n{}", String::from_utf8_lossy(&output.stderr));
        let mut read: Vec<&str> = said.split('\0').flat_map(|field| field.splitn(3, '\t').nth(2)).collect();
        read.sort_unstable();
        let mut ours: Vec<&str> = patch.files.iter().map(|file| file.new.as_str()).collect();
        ours.sort_unstable();
        prop_assert_eq!(read, ours);
    }
}

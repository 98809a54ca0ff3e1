//! Unified diffs that `git apply` takes.

/// Returns a diff that makes a file of a text; what a text file can't hold becomes a space.
pub(super) fn new_file(path: &str, text: &str) -> String {
    let plain = |character: char| if character.is_control() && character != '\t' { ' ' } else { character };
    let lines: Vec<String> = text.lines().map(|line| line.chars().map(plain).collect()).collect();
    let count = lines.len();
    let added: String = lines.iter().map(|line| format!("+{line}\n")).collect();
    format!("diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{count} @@\n{added}")
}

/// Returns a diff that changes a file's only line.
pub(super) fn changed_file(path: &str, before: &str, after: &str) -> String {
    format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{before}\n+{after}\n")
}

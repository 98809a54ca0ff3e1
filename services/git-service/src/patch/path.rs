//! Which paths may be changed.

/// Longest path, in bytes.
const LONGEST: usize = 1024;
/// Longest name in a path, in bytes.
const LONGEST_NAME: usize = 255;

/// Tells whether a path stays in the tree and out of git's own files, on every file system that a clone may land on.
pub(crate) fn is_safe_path(path: &str) -> bool {
    let plain = |c: char| !c.is_control() && !"\\\"".contains(c);
    !path.is_empty() && path.len() <= LONGEST && path.chars().all(plain) && path.split('/').all(is_safe_name)
}

fn is_safe_name(name: &str) -> bool {
    let edges = name.starts_with(' ') || name.ends_with(' ');
    (1..=LONGEST_NAME).contains(&name.len()) && !edges && name != "." && name != ".." && !is_gits(name)
}

/// Tells whether some file system takes the name for `.git`, or git for its list of submodules.
fn is_gits(name: &str) -> bool {
    // HFS+ passes over these characters, NTFS cuts what follows a colon, and dots and blanks at the end.
    let seen: String = name.chars().filter(|c| !is_ignored(*c)).flat_map(char::to_lowercase).collect();
    let seen = seen.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    // The short names that NTFS gives.
    let short = |prefix: &str| seen.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    [".git", ".gitmodules"].contains(&seen) || short("git~") || short("gitmod~")
}

fn is_ignored(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_tree_or_reach_into_git_are_not_safe() {
        for path in ["a", "a/b.rs", ".github/workflows/x.yml", ".gitignore", "ä/ö ü.txt", "a..b", "...", "-x", "git", "a.git"] {
            assert!(is_safe_path(path), "{path}");
        }
        for path in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".",
            "a/./b",
            ".git",
            ".git/hooks/post-checkout",
            "a/.git/config",
            ".GIT/config",
            ".Git./x",
            ".git /x",
            "git~1/config",
            "GIT~2/config",
            ".git::$INDEX_ALLOCATION/config",
            ".g\u{200c}it/config",
            ".gitmodules",
            "a/.gitmodules",
            "a\\..\\b",
            "a\"b",
            "a\nb",
            "a\rb",
            "a\tb",
            "a\0b",
            " a",
            "a /b",
        ] {
            assert!(!is_safe_path(path), "{path:?}");
        }
        assert!(!is_safe_path(&"a".repeat(256)));
        assert!(!is_safe_path(&"a/".repeat(600)));
    }
}

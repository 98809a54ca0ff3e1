//! How a container sees the folders of its volumes: by other words in its variables and arguments.

use std::path::{Path, PathBuf};

/// Paths that a manifest mounts and the folders that stand for them; the longest comes first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Paths(Vec<(String, String)>);

impl Paths {
    pub(crate) fn new(mounts: Vec<(PathBuf, PathBuf)>) -> Self {
        let text = |path: &Path| path.to_string_lossy().trim_end_matches('/').to_owned();
        let mut mounts: Vec<_> = mounts.iter().map(|(path, real)| (text(path), text(real))).filter(|(path, _)| !path.is_empty()).collect();
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self(mounts)
    }

    /// Returns the folder that stands for a path, if it is mounted.
    pub(crate) fn real(&self, path: &str) -> Option<String> {
        self.0.iter().find_map(|(mount, real)| {
            let rest = path.strip_prefix(mount.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{real}{rest}"))
        })
    }

    /// Rewrites a variable's value, or an argument, that begins with a mounted path; of `--name=PATH` what is behind the first `=`.
    pub(crate) fn rewrite(&self, text: &str) -> String {
        if let Some(real) = self.real(text) {
            return real;
        }
        let behind = text.strip_prefix('-').and_then(|_| text.split_once('='));
        match behind.and_then(|(name, path)| Some(format!("{name}={}", self.real(path)?))) {
            Some(rewritten) => rewritten,
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths() -> Paths {
        let mounts = [("/var/feature/workspaces", "/state/w"), ("/var", "/state/var"), ("/tmp/", "/state/tmp")];
        Paths::new(mounts.map(|(path, real)| (path.into(), real.into())).to_vec())
    }

    #[test]
    fn only_what_begins_with_a_mounted_path_is_rewritten() {
        for (text, expected) in [
            ("/var/feature/workspaces", "/state/w"),
            ("/var/feature/workspaces/a b", "/state/w/a b"),
            ("/var/feature/workspaces-old", "/state/var/feature/workspaces-old"),
            ("/tmp", "/state/tmp"),
            ("/tmp/x", "/state/tmp/x"),
            ("/tmpfile", "/tmpfile"),
            ("--file=/tmp/dump", "--file=/state/tmp/dump"),
            ("-f=/tmp", "-f=/state/tmp"),
            ("file=/tmp", "file=/tmp"),
            ("http://host/tmp", "http://host/tmp"),
            ("a /tmp", "a /tmp"),
            ("", ""),
        ] {
            assert_eq!(paths().rewrite(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_a_mounted_path_stays(text in "[a-z=:/. -]{0,40}") {
            prop_assume!(!text.contains("/tmp") && !text.contains("/var"));
            prop_assert_eq!(paths().rewrite(&text), text);
        }

        #[test]
        fn what_is_behind_a_mounted_path_stays(rest in "(/[a-zA-Z0-9_. -]{1,10}){0,4}") {
            prop_assert_eq!(paths().rewrite(&format!("/tmp{rest}")), format!("/state/tmp{rest}"));
        }
    }
}

//! Requests that try more than they may.

use serde_json::json;

use crate::remote::git;
use crate::world::{World, adding, make_remote};

#[test]
fn urls_that_git_or_a_shell_would_read_as_something_else_are_refused() {
    let world = World::start();
    let file = format!("file://{}", world.remotes().join("repo").display());
    let path = world.remotes().join("repo").display().to_string();
    for url in [
        "--upload-pack=touch /tmp/owned",
        "-u./x",
        "ext::sh -c touch% /tmp/owned",
        &file,
        &path,
        "fd::17/foo",
        "https://user:secret@example.com/a",
        "ssh://-oProxyCommand=touch/a",
        "ssh://git@-x/a",
        "http://169.254.169.254/latest",
        "http://example.com/a",
        "",
    ] {
        let (code, message) = world.refused("Look", &world.look(url));
        assert_eq!(code, "invalid_argument", "{url}: {message}");
        assert!(!message.contains("secret"), "{message}");
    }
    assert_eq!(world.refused("Look", &json!({})).0, "invalid_argument");
    assert_eq!(world.refused("Look", &json!({"remote": {"url": world.http.url("repo")}, "branch": "--x"})).0, "invalid_argument");
    assert_eq!(world.refused("Look", &json!({"remote": {"url": world.http.url("repo")}, "extra": 1})).0, "invalid_argument");
    assert!(!std::path::Path::new("/tmp/owned").exists());
}

#[test]
fn a_redirect_is_not_followed() {
    let world = World::start();
    assert_eq!(world.refused("Look", &world.look(&world.http.url("moved/repo"))).0, "failed_precondition");
}

#[test]
fn patches_that_reach_further_than_regular_files_of_the_tree_make_nothing() {
    let world = World::start();
    let url = world.http.url("repo");
    let link =
        "--- a/link\n+++ b/link\n@@ -1 +1 @@\n-README.md\n\\ No newline at end of file\n+/etc/passwd\n\\ No newline at end of file\n";
    let beyond = "--- a/link/x\n+++ b/link/x\n@@ -0,0 +1 @@\n+x\n";
    for (patch, code, words) in [
        (adding("../x", "x"), "invalid_argument", "its path is not one that may be changed"),
        (adding(".git/hooks/post-update", "x"), "invalid_argument", "its path is not one that may be changed"),
        (adding(".gitmodules", "x"), "invalid_argument", "its path is not one that may be changed"),
        (
            "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/\n".to_owned(),
            "invalid_argument",
            "only regular files",
        ),
        (link.to_owned(), "failed_precondition", "it changes a link or a submodule"),
        (beyond.to_owned(), "failed_precondition", "failed to apply the patch"),
        (adding("README.md", "x"), "failed_precondition", "already exists in index"),
        ("--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-other\n+x\n".to_owned(), "failed_precondition", "patch failed: README.md:1"),
        ("x".repeat(9 << 20), "invalid_argument", "larger than"),
    ] {
        let (found, message) = world.refused("Apply", &world.change(&url, "feature/x", &patch));
        assert_eq!(found, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
    let mut change = world.change(&url, "main", &adding("x", "x"));
    assert_eq!(world.refused("Apply", &change), ("invalid_argument".to_owned(), "the branch must begin with feature/".to_owned()));
    for (field, value) in [("base", "HEAD"), ("branch", "feature/../x"), ("message", ""), ("committed_at", "soon"), ("step_id", "1")] {
        change = world.change(&url, "feature/x", &adding("x", "x"));
        change[field] = json!(value);
        assert_eq!(world.refused("Apply", &change).0, "invalid_argument", "{field}");
    }
    assert_eq!(git(&world.remotes().join("repo"), &["branch", "--list", "--format=%(refname:short)"]), "main");
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    let world = World::start();
    assert_eq!(world.refused("Look", &world.look(&world.http.url("nothing"))).0, "not_found");
    assert_eq!(world.refused("Look", &json!({"remote": {"url": world.http.url("repo")}, "branch": "no"})).0, "not_found");
    let read = json!({"remote": {"url": world.http.url("repo")}, "commit": "1".repeat(40), "paths": ["x"]});
    assert_eq!(world.refused("Read", &read).0, "not_found");
    git(&world.remotes(), &["init", "--quiet", "--bare", "empty"]);
    let (code, message) = world.refused("Look", &world.look(&world.http.url("empty")));
    assert_eq!(code, "not_found");
    assert!(message.ends_with("is empty, or has no default branch"), "{message}");
}

#[test]
fn a_remote_that_refuses_the_push_is_final_and_its_words_are_told() {
    let world = World::start();
    let remote = world.remotes().join("repo");
    let hook = remote.join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho protected >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (code, message) = world.refused("Apply", &world.change(&world.http.url("repo"), "feature/x", &adding("x", "x")));
    assert_eq!(code, "failed_precondition");
    assert!(message.contains("pre-receive hook declined"), "{message}");
}

#[test]
fn hooks_and_settings_of_a_repository_are_not_run() {
    let world = World::start();
    let commit = make_remote(&world.remotes(), "hooked", &[(".gitattributes", b"* filter=x diff=x\n"), ("a", b"a\n")]);
    let url = world.http.url("hooked");
    let seen = world.done("Look", &world.look(&url));
    assert_eq!(seen["head"], commit);
    let mut change = world.change(&url, "feature/h", &adding("b", "b"));
    change["base"] = json!(commit);
    assert_eq!(world.done("Apply", &change)["paths"], json!(["b"]));
}

//! The local store: values are made once, kept encrypted, and every damage is told with what to do.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use provision_apply::{SecretError, SecretStore, SecretValue};
use provision_model::SecretRef;
use provision_secrets::{Encoding, ExternalSecrets, LocalSecrets, LocalSource, Part};

const CANARY: &str = "canary-7f3a9c51e2";

fn reference(property: &str) -> SecretRef {
    SecretRef { path: "feature/test".into(), property: property.into(), version: None }
}

fn store(folder: &Path, provided: &[(&str, &str)]) -> LocalSecrets {
    store_of("dev", folder, provided)
}

fn store_of(environment: &str, folder: &Path, provided: &[(&str, &str)]) -> LocalSecrets {
    let key = |property: &str| ("feature/test".to_owned(), property.to_owned());
    let sources = BTreeMap::from([
        (key("token"), LocalSource::Generated { bytes: 32, encoding: Encoding::Hex }),
        (key("other"), LocalSource::Generated { bytes: 32, encoding: Encoding::Base64 }),
        (key("url"), LocalSource::Provided { variable: "TEST_URL".into() }),
        (
            key("database"),
            LocalSource::Composed {
                parts: vec![Part::Text("db://user:".into()), Part::Value(reference("token")), Part::Text("@host".into())],
            },
        ),
        (key("circle"), LocalSource::Composed { parts: vec![Part::Value(reference("database"))] }),
    ]);
    let provided = provided.iter().map(|(name, value)| ((*name).to_owned(), SecretValue::new((*value).to_owned()))).collect();
    LocalSecrets::new(folder.join("secrets"), environment, sources, provided)
}

async fn text(store: &LocalSecrets, property: &str) -> String {
    store.read(&reference(property)).await.unwrap().expose().to_owned()
}

/// The whole chain of an error, as `Display` and `Debug` give it.
fn words(error: &SecretError) -> String {
    let mut words = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words.push_str(&format!(" | {cause}"));
        source = cause.source();
    }
    words
}

#[tokio::test]
async fn a_value_is_made_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let first = text(&store(folder.path(), &[]), "token").await;
    assert_eq!(first.len(), 64);
    let other = text(&store(folder.path(), &[]), "other").await;
    assert_eq!(text(&store(folder.path(), &[]), "token").await, first);
    assert_ne!(first, other);
}

#[tokio::test]
async fn a_given_value_is_kept_and_a_new_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let missing = words(&store(folder.path(), &[]).read(&reference("url")).await.unwrap_err());
    assert!(missing.contains("set the environment variable TEST_URL"), "{missing}");
    assert_eq!(text(&store(folder.path(), &[("TEST_URL", CANARY)]), "url").await, CANARY);
    assert_eq!(text(&store(folder.path(), &[]), "url").await, CANARY);
    assert_eq!(text(&store(folder.path(), &[("TEST_URL", "newer")]), "url").await, "newer");
    assert_eq!(text(&store(folder.path(), &[]), "url").await, "newer");
}

#[tokio::test]
async fn a_composed_value_follows_its_parts_and_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &[]);
    let composed = text(&store, "database").await;
    assert_eq!(composed, format!("db://user:{}@host", text(&store, "token").await));
    let circle = words(&store.read(&reference("circle")).await.unwrap_err());
    assert!(circle.contains("compose only of values that are not"), "{circle}");
}

#[tokio::test]
async fn many_at_a_time_agree_on_one_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async { (text(&store(&path, &[]), "token").await, text(&store(&path, &[]), "other").await) })
            })
        })
        .collect();
    let values: std::collections::BTreeSet<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(values.len(), 1);
}

#[tokio::test]
async fn files_are_owner_only_and_hold_no_plain_value() {
    let folder = tempfile::tempdir().unwrap();
    text(&store(folder.path(), &[("TEST_URL", CANARY)]), "url").await;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.path().join("secrets")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["dev.age", "key.txt", "lock"]);
}

#[tokio::test]
async fn every_damage_is_told_with_its_file_and_what_to_do() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &str); 5] = [
        ("values cut off", |secrets| std::fs::write(secrets.join("dev.age"), b"age-encryption.org/v1\n").unwrap(), "dev.age is damaged"),
        ("key lost", |secrets| std::fs::remove_file(secrets.join("key.txt")).unwrap(), "key.txt is lost"),
        ("key replaced by words", |secrets| std::fs::write(secrets.join("key.txt"), b"hello").unwrap(), "key.txt is damaged"),
        (
            "values readable by others",
            |secrets| std::fs::set_permissions(secrets.join("dev.age"), PermissionsExt::from_mode(0o644)).unwrap(),
            "chmod 600",
        ),
        ("folder readable by others", |secrets| std::fs::set_permissions(secrets, PermissionsExt::from_mode(0o755)).unwrap(), "chmod 700"),
    ];
    for (name, damage, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        text(&store(folder.path(), &[("TEST_URL", CANARY)]), "url").await;
        damage(&folder.path().join("secrets"));
        let error = words(&store(folder.path(), &[]).read(&reference("url")).await.unwrap_err());
        assert!(error.contains(expected), "{name}: {error}");
        assert!(!betrays(&error), "{name}: {error}");
    }
}

/// Whether a text holds the canary: plain, base 64, hex or in URLs.
fn betrays(text: &str) -> bool {
    let percent: String = CANARY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let encoded = [base64::engine::general_purpose::STANDARD.encode(CANARY), hex::encode(CANARY), percent];
    text.contains(CANARY) || encoded.iter().any(|form| text.to_lowercase().contains(&form.trim_end_matches('=').to_lowercase()))
}

/// Puts a plain text in the place of the values, encrypted for the store's own key, and returns the file's bytes.
fn replace_values(secrets: &Path, plain: &str) -> Vec<u8> {
    let key: age::x25519::Identity = std::fs::read_to_string(secrets.join("key.txt")).unwrap().trim().parse().unwrap();
    let cipher = age::encrypt(&key.to_public(), plain.as_bytes()).unwrap();
    std::fs::write(secrets.join("dev.age"), &cipher).unwrap();
    cipher
}

#[tokio::test]
async fn values_that_can_not_be_understood_are_left_alone_and_not_shown() {
    for (plain, expected) in [
        (format!("provision-secrets/2\n{CANARY}"), "dev.age was written by a newer program (`provision-secrets/2`)"),
        (format!("{CANARY}\nmore"), "dev.age is damaged"),
        (format!("provision-secrets/{CANARY}\nmore"), "dev.age is damaged"),
        (CANARY.to_owned(), "dev.age is damaged"),
        (format!("provision-secrets/1\n{{\"feature/test\": \"{CANARY}\"}}"), "dev.age is damaged"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        text(&store(folder.path(), &[("TEST_URL", CANARY)]), "url").await;
        let secrets = folder.path().join("secrets");
        let cipher = replace_values(&secrets, &plain);
        for property in ["url", "token"] {
            let error = words(&store(folder.path(), &[("TEST_URL", "x")]).read(&reference(property)).await.unwrap_err());
            assert!(error.contains(expected), "{error}");
            assert!(!betrays(&error), "{error}");
        }
        assert_eq!(std::fs::read(secrets.join("dev.age")).unwrap(), cipher);
    }
}

#[tokio::test]
async fn the_same_values_never_give_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = std::collections::BTreeSet::new();
    for value in [CANARY, "other", CANARY, "other"] {
        text(&store(folder.path(), &[("TEST_URL", value)]), "url").await;
        files.insert(std::fs::read(folder.path().join("secrets/dev.age")).unwrap());
    }
    assert_eq!(files.len(), 4, "each file is encrypted with a key and nonce of its own");
}

#[tokio::test]
async fn a_lost_key_is_not_replaced_behind_the_back_of_another_environment() {
    let folder = tempfile::tempdir().unwrap();
    text(&store_of("demo", folder.path(), &[]), "token").await;
    let key = folder.path().join("secrets/key.txt");
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let error = words(&store(folder.path(), &[]).read(&reference("token")).await.unwrap_err());
    assert!(error.contains("key.txt is lost") && error.contains("demo.age"), "{error}");
    std::fs::write(&key, kept).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    text(&store_of("demo", folder.path(), &[]), "token").await;
}

#[tokio::test]
async fn a_place_where_no_folder_can_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secrets"), b"a file").unwrap();
    let error = words(&store(folder.path(), &[]).read(&reference("token")).await.unwrap_err());
    assert!(error.contains("failed to create the folder") && error.contains("secrets"), "{error}");
}

#[tokio::test]
async fn a_disk_without_room_is_told_and_keeps_the_old_values() {
    let folder = tempfile::tempdir().unwrap();
    text(&store(folder.path(), &[("TEST_URL", CANARY)]), "url").await;
    // A folder in the place of the new file stands for every reason why it can't be written.
    std::fs::create_dir(folder.path().join("secrets/dev.part")).unwrap();
    let error = words(&store(folder.path(), &[]).read(&reference("token")).await.unwrap_err());
    assert!(error.contains("failed to write") && error.contains("dev.age"), "{error}");
    assert_eq!(text(&store(folder.path(), &[]), "url").await, CANARY);
}

#[tokio::test]
async fn external_secrets_are_never_resolved_here() {
    let error = words(&ExternalSecrets.read(&reference("url")).await.unwrap_err());
    assert!(error.contains("ExternalSecret"), "{error}");
}

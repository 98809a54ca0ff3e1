//! What the store does not do.

use std::fs;
use std::path::Path;

use service_testing::check_refused;

use super::{BUCKET, KEY, Lab, PROGRAM, SECRET, client, refusal, refused, start};

#[test]
fn a_wrong_key_opens_nothing() {
    let lab = Lab::start();
    lab.must_put("key", "x");
    let stranger = client(lab.service.port("http").unwrap(), "another");
    assert_eq!(refusal(lab.run(stranger.get_object().bucket(BUCKET).key("key").send())), refused(403, "SignatureDoesNotMatch"));
    assert_eq!(refusal(lab.run(stranger.list_objects_v2().bucket(BUCKET).send())), refused(403, "SignatureDoesNotMatch"));
    assert_eq!(refusal(lab.run(stranger.delete_object().bucket(BUCKET).key("key").send())), refused(403, "SignatureDoesNotMatch"));
    let anonymous =
        |path: &str| lab.run(async { reqwest::get(format!("http://127.0.0.1:{}{path}", lab.service.port("http").unwrap())).await });
    assert_eq!(anonymous("/artifacts/key").unwrap().status(), 403);
    assert_eq!(anonymous("/").unwrap().status(), 403);
    assert_eq!(lab.keys(), ["key"]);
}

#[test]
fn what_is_not_there_is_named() {
    let lab = Lab::start();
    let get = |bucket: &str| refusal(lab.run(lab.client.get_object().bucket(bucket).key("key").send()));
    assert_eq!(get(BUCKET), refused(404, "NoSuchKey"));
    assert_eq!(get("another"), refused(404, "NoSuchBucket"));
    assert_eq!(refusal(lab.run(lab.client.head_object().bucket(BUCKET).key("key").send())).0, 404);
    assert_eq!(refusal(lab.run(lab.client.head_bucket().bucket("another").send())).0, 404);
    assert_eq!(refusal(lab.run(lab.client.put_object().bucket("another").key("key").send())), refused(404, "NoSuchBucket"));
    lab.run(lab.client.create_bucket().bucket("another").send()).unwrap();
    lab.run(lab.client.head_bucket().bucket("another").send()).unwrap();
    assert_eq!(get("another"), refused(404, "NoSuchKey"));
}

#[test]
fn what_it_does_not_offer_is_said() {
    let lab = Lab::start();
    let multipart = lab.client.create_multipart_upload().bucket(BUCKET).key("key");
    assert_eq!(refusal(lab.run(multipart.send())), refused(501, "NotImplemented"));
    let copy = lab.client.copy_object().bucket(BUCKET).key("key").copy_source(format!("{BUCKET}/other"));
    assert_eq!(refusal(lab.run(copy.send())), refused(501, "NotImplemented"));
}

#[test]
fn no_key_leaves_its_bucket() {
    let lab = Lab::start();
    lab.run(lab.client.create_bucket().bucket("another").send()).unwrap();
    let keys =
        ["../another/x", "../../escape", "/etc/x", "a/../../b", "a//b", "./c", "..", "a", "a/b", "lock", "%2e%2e/x", &"n".repeat(1000)];
    for key in keys {
        lab.must_put(key, key);
        assert_eq!(lab.body(key), Some(key.into()), "{key}");
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(lab.keys(), sorted);
    let other = lab.run(lab.client.list_objects_v2().bucket("another").send()).unwrap();
    assert_eq!(other.contents().len(), 0);
    assert_eq!(names(lab.folder.path()), ["store"]);
    assert_eq!(names(&lab.folder.path().join("store")), ["buckets", "lock", "uploads"]);
    assert_eq!(names(&lab.folder.path().join("store/buckets")), ["another", BUCKET]);
    assert!(names(&lab.folder.path().join("store/buckets").join(BUCKET)).iter().all(|name| name.len() == 64));
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn keys_that_are_too_long_or_unreadable_are_refused() {
    let lab = Lab::start();
    assert_eq!(refusal(lab.run(lab.put(&"n".repeat(1025), "x").send())).0, 400);
    assert_eq!(refusal(lab.run(lab.put("a\u{1}b", "x").send())), refused(400, "InvalidArgument"));
    assert_eq!(lab.keys(), Vec::<String>::new());
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_old_one_stays() {
    let lab = Lab::start_in(tempfile::tempdir().unwrap(), &[("STORE_MAX_OBJECT_MB", "1")]);
    lab.must_put("key", vec![1; 1024 * 1024]);
    assert_eq!(refusal(lab.run(lab.put("key", vec![2; 1024 * 1024 + 1]).send())), refused(400, "EntityTooLarge"));
    assert_eq!(lab.body("key"), Some(vec![1; 1024 * 1024]));
    assert!(lab.uploads().is_empty());
}

#[test]
fn a_body_that_is_not_what_was_sent_is_refused_and_the_old_one_stays() {
    let lab = Lab::start();
    lab.must_put("key", "old");
    let put = lab.put("key", "new").content_md5("1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(refusal(lab.run(put.send())), refused(400, "BadDigest"));
    let put = lab.put("key", "new").checksum_sha256("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    assert_eq!(refusal(lab.run(put.send())), refused(400, "BadDigest"));
    assert_eq!(lab.body("key"), Some(b"old".to_vec()));
    assert!(lab.uploads().is_empty());
}

#[test]
fn one_folder_has_one_store() {
    let lab = Lab::start();
    let mut second = start(lab.folder.path(), &[]);
    assert_eq!(second.wait().unwrap().code(), Some(1));
    assert!(second.log().contains("another store serves the folder"), "{}", second.log());
    lab.must_put("key", "still served");
}

#[test]
fn it_starts_only_with_keys_and_possible_buckets() {
    let log = check_refused(PROGRAM, &[], &[("STORE_BUCKETS", "good,../evil"), ("AWS_ACCESS_KEY_ID", KEY)]).unwrap();
    assert!(log.contains("AWS_SECRET_ACCESS_KEY is not set"), "{log}");
    assert!(log.contains("expected names of buckets"), "{log}");
}

#[test]
fn its_log_holds_neither_keys_nor_signatures() {
    let mut lab = Lab::start();
    lab.must_put("key", "x");
    assert_eq!(lab.body("missing"), None);
    let stranger = client(lab.service.port("http").unwrap(), "another");
    refusal(lab.run(stranger.get_object().bucket(BUCKET).key("key").send()));
    lab.service.end_in_order().unwrap();
    let log = lab.service.log();
    assert!(!log.contains(SECRET) && !log.contains(KEY) && !log.contains("Signature="), "{log}");
    assert!(log.contains("\"status\":\"404\""), "{log}");
    assert!(!log.contains("\"ERROR\""), "{log}");
}

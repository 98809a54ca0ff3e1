//! Images built from programs of this machine and sent to a real registry (Debian's docker-registry) on a loopback port.

#![cfg(test)]

mod rights;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use provision_image::{Digest, ExtraFile, Image, ImageError, ImageSpec, PushOptions, Reference, RegistryCredentials, build, push};
use support::{Registry, RegistryMode, Scripted, free_port};

/// Built once: packing takes longer than most of the tests.
fn own_image() -> Image {
    static IMAGE: LazyLock<Image> = LazyLock::new(|| {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        build(&ImageSpec::new("feature-service", "/bin/ls")).unwrap()
    });
    IMAGE.clone()
}

fn quick() -> PushOptions {
    PushOptions { attempts: 2, backoff: Duration::from_millis(10), ..PushOptions::default() }
}

#[test]
fn the_same_input_in_any_order_gives_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["prompts/a.txt", "prompts/b.txt"];
    fs::create_dir(folder.path().join("prompts")).unwrap();
    let mut files = Vec::new();
    for name in names {
        fs::write(folder.path().join(name), name).unwrap();
        files.push(ExtraFile { source: folder.path().join(name), path: format!("/{name}"), mode: 0o644 });
    }
    let spec = ImageSpec { files, ..ImageSpec::new("tool", "/bin/ls") };
    let first = build(&spec).unwrap();
    let mut reordered = spec.clone();
    reordered.files.reverse();
    assert_eq!(build(&reordered).unwrap(), first);

    let mut labelled = spec.clone();
    labelled.labels = BTreeMap::from([("org.opencontainers.image.version".to_owned(), "1".to_owned())]);
    assert_ne!(build(&labelled).unwrap().digest(), first.digest());
    fs::write(folder.path().join(names[0]), "changed").unwrap();
    assert_ne!(build(&spec).unwrap().digest(), first.digest());
}

#[test]
fn a_layout_is_read_back_and_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let image = own_image();
    image.write_layout(folder.path()).unwrap();
    assert_eq!(Image::read_layout(folder.path()).unwrap(), image);

    let layer = image.blobs().next().unwrap();
    let file = folder.path().join("blobs/sha256").join(layer.digest.hex());
    fs::write(&file, b"damaged").unwrap();
    let error = Image::read_layout(folder.path()).unwrap_err();
    assert!(error.to_string().contains(layer.digest.hex()), "{error}");
    fs::remove_file(folder.path().join("index.json")).unwrap();
    assert!(Image::read_layout(folder.path()).unwrap_err().to_string().contains("index.json"));
}

#[test]
fn what_can_not_be_packed_is_named() {
    for (spec, expected) in [
        (ImageSpec::new("tool", "/no/such/program"), "/no/such/program"),
        (ImageSpec::new("tool", "/etc/passwd"), "`/etc/passwd` is not a usable program"),
        (ImageSpec::new("../tool", "/bin/ls"), "`../tool` is not a lower-case name"),
        (ImageSpec::new("tmp", "/bin/ls"), "`/tmp` can't be put into the image"),
    ] {
        let text = build(&spec).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_pushed_image_is_served_byte_for_byte_and_pushed_once() {
    let registry = Registry::start(RegistryMode::Open);
    let image = own_image();
    let target: Reference = format!("{}/team/feature-service:v1", registry.address()).parse().unwrap();
    let first = push(&image, &target, &quick()).await.unwrap();
    assert_eq!((first.uploaded, first.skipped), (3, 0));
    assert_eq!(&first.digest, image.digest());

    let second = push(&image, &target, &quick()).await.unwrap();
    assert_eq!((second.uploaded, second.skipped, second.bytes_uploaded), (0, 3, 0));

    for name in ["v1", image.digest().as_str()] {
        let manifest = registry.get(&format!("/v2/team/feature-service/manifests/{name}")).await;
        assert_eq!(&Digest::of(&manifest), image.digest(), "manifest by {name}");
    }
    for blob in image.blobs() {
        let content = registry.get(&format!("/v2/team/feature-service/blobs/{}", blob.digest)).await;
        assert_eq!(content, blob.content, "{}", blob.media_type);
    }
}

#[tokio::test]
async fn credentials_are_used_when_the_registry_asks_for_them() {
    let registry = Registry::start(RegistryMode::Password);
    let image = own_image();
    let target: Reference = format!("{}/feature-service", registry.address()).parse().unwrap();
    let refused = push(&image, &target, &quick()).await.unwrap_err();
    assert!(matches!(refused, ImageError::Refused { status: 401, .. }), "{refused}");
    assert!(refused.help().is_some_and(|help| help.contains("config.json")));

    let wrong = PushOptions { credentials: Some(RegistryCredentials::new("ci", "wrong-canary")), ..quick() };
    let error = push(&image, &target, &wrong).await.unwrap_err();
    assert!(!format!("{error} {error:?} {wrong:?}").contains("wrong-canary"));

    let config = support::docker_config(registry.address());
    let credentials = RegistryCredentials::from_docker_config(&config, registry.address()).unwrap();
    assert!(credentials.is_some());
    let pushed = push(&image, &target, &PushOptions { credentials, ..quick() }).await.unwrap();
    assert_eq!(pushed.uploaded, 3);
}

#[tokio::test]
async fn a_refused_upload_says_what_the_registry_said() {
    let registry = Registry::start(RegistryMode::ReadOnly);
    let target: Reference = format!("{}/feature-service", registry.address()).parse().unwrap();
    let error = push(&own_image(), &target, &quick()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(registry.address()) && text.contains("upload blob") && text.contains("405"), "{text}");
}

#[tokio::test]
async fn a_registry_that_is_down_is_named_with_the_next_step() {
    let port = free_port();
    let target: Reference = format!("127.0.0.1:{port}/feature-service").parse().unwrap();
    let error = push(&own_image(), &target, &quick()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")) && text.contains("in 2 attempts"), "{text}");
    assert!(error.help().is_some_and(|help| help.contains(&format!("check that a registry listens on 127.0.0.1:{port}"))));
}

#[tokio::test]
async fn an_overloaded_registry_is_asked_again_a_bounded_number_of_times() {
    let registry = Scripted::start(|_, _| ("503 Busy".to_owned(), String::new()));
    let target: Reference = format!("{}/feature-service", registry.address).parse().unwrap();
    let options = PushOptions { attempts: 3, ..quick() };
    let error = push(&own_image(), &target, &options).await.unwrap_err();
    assert!(matches!(error, ImageError::Refused { status: 503, .. }), "{error}");
    assert_eq!(registry.requests().len(), 3);
    assert!(error.help().is_some_and(|help| help.contains("push again")));
}

/// A registry that has every blob and wants a token, which it gives to the user `ci` only.
fn token_registry(request: &str, address: &str) -> (String, String) {
    let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"reg\",scope=\"repository:feature-service:pull,push\"");
    let (status, body) = if request.starts_with("GET /token?service=reg&scope=repository%3Afeature-service%3Apull%2Cpush ") {
        // The text after `Basic` is `ci:s3cret-canary`.
        let known = request.contains("Basic Y2k6czNjcmV0LWNhbmFyeQ==");
        if known { ("200 OK".to_owned(), r#"{"token": "short-lived"}"#.to_owned()) } else { ("403 Forbidden".to_owned(), String::new()) }
    } else if !request.contains("Bearer short-lived") {
        (format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}"), String::new())
    } else if request.starts_with("PUT ") {
        ("201 Created".to_owned(), String::new())
    } else {
        ("200 OK".to_owned(), String::new())
    };
    (status, body)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_for_the_rest() {
    let registry = Scripted::start(token_registry);
    let target: Reference = format!("{}/feature-service", registry.address).parse().unwrap();
    let credentials = |password| Some(RegistryCredentials::new("ci", password));
    let pushed = push(&own_image(), &target, &PushOptions { credentials: credentials("s3cret-canary"), ..quick() }).await.unwrap();
    assert_eq!((pushed.uploaded, pushed.skipped), (0, 3));
    let lines: Vec<String> = registry.requests().iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["HEAD", "GET", "HEAD", "HEAD", "HEAD", "PUT"]);

    let error = push(&own_image(), &target, &PushOptions { credentials: credentials("wrong"), ..quick() }).await.unwrap_err();
    assert!(matches!(error, ImageError::Refused { status: 403, .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_stores_something_else_is_not_believed() {
    let registry = Scripted::start(|request, _| {
        let status = if request.starts_with("PUT ") { "201 Created" } else { "200 OK" };
        (format!("{status}\r\nDocker-Content-Digest: {}", Digest::of(b"other")), String::new())
    });
    let target: Reference = format!("{}/feature-service", registry.address).parse().unwrap();
    let error = push(&own_image(), &target, &quick()).await.unwrap_err();
    assert!(error.to_string().contains(&format!("it stored {} instead of", Digest::of(b"other"))), "{error}");
}

#[tokio::test]
async fn a_push_that_was_cut_off_is_completed_by_the_next() {
    let registry = Registry::start(RegistryMode::Open);
    let image = own_image();
    let target: Reference = format!("{}/feature-service", registry.address()).parse().unwrap();
    push(&image, &target, &quick()).await.unwrap();
    let blob = image.blobs().last().unwrap();
    registry.forget_blob("feature-service", &blob.digest);
    let again = push(&image, &target, &quick()).await.unwrap();
    assert_eq!((again.uploaded, again.skipped), (1, 2));
}

#[tokio::test]
async fn an_upload_that_is_cut_off_is_begun_anew() {
    let registry = Registry::start(RegistryMode::Open);
    let image = own_image();
    let first = image.blobs().next().unwrap();
    assert!(first.content.len() > 200_000, "the cut falls into the first upload");
    let place = support::cut_off_once(registry.address(), 150_000);
    let pushed = push(&image, &format!("{place}/feature-service").parse().unwrap(), &quick()).await.unwrap();
    assert_eq!((pushed.uploaded, pushed.skipped), (3, 0));
    assert_eq!(registry.get(&format!("/v2/feature-service/blobs/{}", first.digest)).await, first.content);
}

/// Answers as a registry without any blob; `put` answers the uploads, by their number.
fn empty_registry(request: &str, put: impl Fn(usize) -> &'static str, uploads: &AtomicUsize) -> (String, String) {
    let mut words = request.split(' ');
    let head = match (words.next().unwrap(), words.next().unwrap()) {
        ("HEAD", _) => "404 Not Found".to_owned(),
        ("POST", _) => format!("202 Accepted\r\nLocation: /upload/{}", uploads.fetch_add(1, Ordering::Relaxed)),
        ("PUT", path) => match path.strip_prefix("/upload/").and_then(|rest| rest.split('?').next()) {
            Some(number) => put(number.parse().unwrap()).to_owned(),
            None => "201 Created".to_owned(),
        },
        other => panic!("{other:?}"),
    };
    (head, String::new())
}

#[tokio::test]
async fn an_address_for_an_upload_is_used_once() {
    for failure in ["503 Busy", support::CUT] {
        let uploads = AtomicUsize::new(0);
        let registry = Scripted::start(move |request, _| {
            empty_registry(request, |number| if number == 0 { failure } else { "201 Created" }, &uploads)
        });
        let target: Reference = format!("{}/feature-service", registry.address).parse().unwrap();
        let pushed = push(&own_image(), &target, &quick()).await.unwrap();
        assert_eq!(pushed.uploaded, 3);
        let requests = registry.requests();
        let mut places: Vec<&str> = requests.iter().filter_map(|text| text.strip_prefix("PUT /upload/")?.split('?').next()).collect();
        places.sort_unstable();
        assert_eq!(places, ["0", "1", "2", "3"], "after {failure:?}");
    }
}

#[tokio::test]
async fn an_upload_is_tried_a_bounded_number_of_times() {
    for (failure, uploads_expected) in [("503 Busy", 2), (support::CUT, 2), ("400 Bad Request", 1)] {
        let uploads = AtomicUsize::new(0);
        let registry = Scripted::start(move |request, _| empty_registry(request, |_| failure, &uploads));
        let target: Reference = format!("{}/feature-service", registry.address).parse().unwrap();
        let error = push(&own_image(), &target, &quick()).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("upload blob sha256:") && !text.contains("/upload/"), "{text}");
        let posts = registry.requests().iter().filter(|text| text.starts_with("POST ")).count();
        assert_eq!(posts, uploads_expected, "after {failure:?}");
    }
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_not_repeated() {
    let (uploads, arrived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let registry = Scripted::start(move |request, _| {
        if request.starts_with("HEAD ") && arrived.load(Ordering::Relaxed) > 0 {
            return ("200 OK".to_owned(), String::new());
        }
        let put = |_| {
            arrived.fetch_add(1, Ordering::Relaxed);
            support::CUT
        };
        empty_registry(request, put, &uploads)
    });
    let target: Reference = format!("{}/feature-service", registry.address).parse().unwrap();
    let pushed = push(&own_image(), &target, &quick()).await.unwrap();
    assert_eq!((pushed.uploaded, pushed.skipped), (1, 2));
    assert_eq!(registry.requests().iter().filter(|text| text.starts_with("POST ")).count(), 1);
}

#[tokio::test]
async fn credentials_go_to_the_registry_and_not_to_the_store_that_it_names() {
    let store = Scripted::start(|_, _| ("201 Created".to_owned(), String::new()));
    let (uploads, place) = (AtomicUsize::new(0), store.address.clone());
    let registry = Scripted::start(move |request, _| {
        if !request.to_lowercase().contains("authorization: basic ") {
            return ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"".to_owned(), String::new());
        }
        let (head, body) = empty_registry(request, |_| "500 Not Here", &uploads);
        (head.replace("Location: ", &format!("Location: http://{place}")), body)
    });
    let target: Reference = format!("{}/feature-service", registry.address).parse().unwrap();
    let credentials = Some(RegistryCredentials::new("ci", "s3cret-canary"));
    let pushed = push(&own_image(), &target, &PushOptions { credentials, ..quick() }).await.unwrap();
    assert_eq!(pushed.uploaded, 3);
    let stored = store.requests();
    assert_eq!(stored.len(), 3);
    assert!(stored.iter().all(|request| !request.to_lowercase().contains("authorization")), "{stored:?}");
}

#[tokio::test]
async fn a_busy_place_for_tokens_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let registry = Scripted::start(move |request, address| {
        let busy = request.starts_with("GET /token") && asked.fetch_add(1, Ordering::Relaxed) == 0;
        if busy { ("503 Busy".to_owned(), String::new()) } else { token_registry(request, address) }
    });
    let target: Reference = format!("{}/feature-service", registry.address).parse().unwrap();
    let credentials = Some(RegistryCredentials::new("ci", "s3cret-canary"));
    let pushed = push(&own_image(), &target, &PushOptions { credentials, ..quick() }).await.unwrap();
    assert_eq!(pushed.skipped, 3);
}

#[test]
fn a_built_program_starts_from_its_layers_alone() {
    let folder = tempfile::tempdir().unwrap();
    let image = build(&ImageSpec::new("ls", "/bin/ls")).unwrap();
    support::unpack(&image, folder.path());
    let listed = support::run_in(folder.path(), &["/ls", "/etc/ssl/certs"]);
    assert_eq!(listed, "ca-certificates.crt\n");
    assert!(folder.path().join("etc/passwd").is_file());
}

#[test]
fn what_lies_beside_a_program_starts_from_the_layers_alone() {
    let contents = ["git", "sh", "ssh", "/usr/lib/git-core/git-remote-https"].map(str::to_owned).to_vec();
    let spec = ImageSpec { contents, ..ImageSpec::new("ls", "/bin/ls") };
    let image = build(&spec).unwrap();
    let mut reversed = spec.clone();
    reversed.contents.reverse();
    assert_eq!(build(&reversed).unwrap(), image, "the order of the contents does not matter");
    let plain = build(&ImageSpec::new("ls", "/bin/ls")).unwrap();
    assert_eq!(image.blobs().next(), plain.blobs().next(), "images without contents share the lowest layer");

    let folder = tempfile::tempdir().unwrap();
    support::unpack(&image, folder.path());
    // As every container has it.
    fs::create_dir(folder.path().join("dev")).and_then(|()| fs::write(folder.path().join("dev/null"), "")).unwrap();
    let script = "git --version; ssh -V 2>&1; git ls-remote https://127.0.0.1:1/x 2>&1; /ls /usr/lib/git-core";
    let said = support::run_in(folder.path(), &["/bin/sh", "-c", script]);
    for expected in ["git version 2.", "OpenSSH_", "127.0.0.1 port 1", "git-remote-http\n", "git-remote-https\n"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert!(!said.contains("git-daemon"), "only what was named: {said}");
}

#[test]
fn contents_that_are_not_there_are_named_with_the_next_step() {
    let spec = ImageSpec { contents: vec!["no-such-program".to_owned()], ..ImageSpec::new("ls", "/bin/ls") };
    let error = build(&spec).unwrap_err();
    assert!(error.to_string().contains("`no-such-program` was not found in /usr/local/sbin"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("install the package")));
    let spec = ImageSpec { contents: vec!["ls".to_owned()], ..ImageSpec::new("usr", "/bin/ls") };
    assert!(build(&spec).is_err(), "a program can't be where a folder is");
}

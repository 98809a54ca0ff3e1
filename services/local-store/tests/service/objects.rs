//! What is written can be read.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::{BUCKET, Lab, SECRET, config, refusal, refused};

#[test]
fn an_object_comes_back_with_all_that_was_said_of_it() {
    let lab = Lab::start();
    let put = lab.put("f1/patch.diff", "text").content_type("text/x-diff").metadata("expires_at", "2027-01-01T00:00:00Z");
    let tag = lab.run(put.metadata("sha256", "abc").send()).unwrap().e_tag.unwrap();
    assert_eq!(tag, "\"1cb251ec0d568de6a929b520c4aed8d1\"");
    let metadata = HashMap::from([("expires_at".to_owned(), "2027-01-01T00:00:00Z".to_owned()), ("sha256".to_owned(), "abc".to_owned())]);
    let head = lab.run(lab.client.head_object().bucket(BUCKET).key("f1/patch.diff").send()).unwrap();
    assert_eq!((head.content_length(), head.content_type(), head.e_tag()), (Some(4), Some("text/x-diff"), Some(tag.as_str())));
    assert_eq!(head.metadata(), Some(&metadata));
    let object = lab.run(lab.client.get_object().bucket(BUCKET).key("f1/patch.diff").send()).unwrap();
    assert_eq!((object.content_length(), object.content_type(), object.e_tag()), (Some(4), Some("text/x-diff"), Some(tag.as_str())));
    assert_eq!(object.metadata(), Some(&metadata));
    assert!(object.last_modified().unwrap() > &DateTime::from_secs(1_700_000_000));
    assert_eq!(lab.run(object.body.collect()).unwrap().to_vec(), b"text");
}

#[test]
fn a_second_write_replaces_body_and_metadata() {
    let lab = Lab::start();
    lab.run(lab.put("key", "a long first body").metadata("old", "yes").send()).unwrap();
    lab.run(lab.put("key", "second").send()).unwrap();
    let object = lab.run(lab.client.get_object().bucket(BUCKET).key("key").send()).unwrap();
    assert_eq!(object.metadata(), Some(&HashMap::new()));
    assert_eq!(lab.run(object.body.collect()).unwrap().to_vec(), b"second");
}

#[test]
fn large_and_empty_bodies_come_back_whole() {
    let lab = Lab::start();
    let large: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    lab.must_put("large", large.clone());
    lab.must_put("empty", "");
    assert_eq!(lab.body("large"), Some(large));
    assert_eq!(lab.body("empty"), Some(Vec::new()));
    assert!(lab.uploads().is_empty());
}

#[test]
fn a_range_is_a_part_of_the_body() {
    let lab = Lab::start();
    lab.must_put("key", "0123456789");
    let get = |range: &str| lab.run(lab.client.get_object().bucket(BUCKET).key("key").range(range).send());
    let part = |range: &str| {
        let object = get(range).unwrap();
        (object.content_range().unwrap().to_owned(), lab.run(object.body.collect()).unwrap().to_vec())
    };
    assert_eq!(part("bytes=2-4"), ("bytes 2-4/10".to_owned(), b"234".to_vec()));
    assert_eq!(part("bytes=8-"), ("bytes 8-9/10".to_owned(), b"89".to_vec()));
    assert_eq!(part("bytes=-3"), ("bytes 7-9/10".to_owned(), b"789".to_vec()));
    assert_eq!(refusal(get("bytes=10-")), refused(416, "InvalidRange"));
}

#[test]
fn a_listing_shows_keys_in_order_and_by_prefix() {
    let lab = Lab::start();
    for key in ["b/2", "a", "b/1", "c/d/e", "ä ö+&<>"] {
        lab.must_put(key, key);
    }
    assert_eq!(lab.keys(), ["a", "b/1", "b/2", "c/d/e", "ä ö+&<>"]);
    let listed = lab.run(lab.client.list_objects_v2().bucket(BUCKET).delimiter("/").max_keys(2).send()).unwrap();
    assert_eq!(listed.contents()[0].key(), Some("a"));
    assert_eq!(listed.common_prefixes()[0].prefix(), Some("b/"));
    let rest = lab.client.list_objects_v2().bucket(BUCKET).delimiter("/").continuation_token(listed.next_continuation_token().unwrap());
    let rest = lab.run(rest.send()).unwrap();
    assert_eq!((rest.is_truncated(), rest.key_count()), (Some(false), Some(2)));
    assert_eq!(lab.body("ä ö+&<>"), Some("ä ö+&<>".into()));
}

#[test]
fn a_removed_object_is_gone_and_may_be_removed_again() {
    let lab = Lab::start();
    for key in ["a", "b", "c"] {
        lab.must_put(key, "x");
    }
    for _ in 0..2 {
        lab.run(lab.client.delete_object().bucket(BUCKET).key("a").send()).unwrap();
    }
    let several = ["b", "missing"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let several = Delete::builder().set_objects(Some(several.into())).build().unwrap();
    lab.run(lab.client.delete_objects().bucket(BUCKET).delete(several).send()).unwrap();
    assert_eq!(lab.keys(), ["c"]);
    assert_eq!(lab.body("a"), None);
}

#[test]
fn a_write_may_demand_that_nothing_is_there() {
    let lab = Lab::start();
    lab.run(lab.put("key", "first").if_none_match("*").send()).unwrap();
    assert_eq!(refusal(lab.run(lab.put("key", "second").if_none_match("*").send())), refused(412, "PreconditionFailed"));
    assert_eq!(lab.body("key"), Some(b"first".to_vec()));
    lab.run(lab.client.delete_object().bucket(BUCKET).key("key").send()).unwrap();
    lab.run(lab.put("key", "second").if_none_match("*").send()).unwrap();
}

#[test]
fn a_write_may_demand_what_is_there() {
    let lab = Lab::start();
    assert_eq!(refusal(lab.run(lab.put("key", "x").if_match("\"00\"").send())), refused(412, "PreconditionFailed"));
    let first = lab.must_put("key", "first");
    lab.run(lab.put("key", "second").if_match(&first).send()).unwrap();
    assert_eq!(refusal(lab.run(lab.put("key", "third").if_match(&first).send())), refused(412, "PreconditionFailed"));
    assert_eq!(lab.body("key"), Some(b"second".to_vec()));
}

#[test]
fn of_many_writers_that_demand_nothing_there_one_wins() {
    let lab = Lab::start();
    let writers: Vec<_> = (0..24).map(|number| lab.runtime.spawn(lab.put("key", number.to_string()).if_none_match("*").send())).collect();
    let outcomes: Vec<_> = writers.into_iter().map(|writer| lab.run(writer).unwrap()).collect();
    let winners: Vec<usize> = (0..24).filter(|number| outcomes[*number].is_ok()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(lab.body("key"), Some(winners[0].to_string().into_bytes()));
    assert!(lab.uploads().is_empty());
}

#[test]
fn a_client_with_all_its_digests_is_served_too() {
    let lab = Lab::start();
    let port = lab.service.port("http").unwrap();
    let config = config(port, SECRET)
        .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
        .response_checksum_validation(ResponseChecksumValidation::WhenSupported);
    let client = Client::from_conf(config.build());
    let put = client.put_object().bucket(BUCKET).key("key").body(ByteStream::from_static(b"body"));
    lab.run(put.send()).unwrap();
    let file = lab.folder.path().join("body");
    std::fs::write(&file, vec![7; 200_000]).unwrap();
    lab.run(async {
        let body = ByteStream::from_path(&file).await.unwrap();
        client.put_object().bucket(BUCKET).key("file").body(body).send().await.unwrap();
    });
    assert_eq!(lab.body("key"), Some(b"body".to_vec()));
    assert_eq!(lab.body("file"), Some(vec![7; 200_000]));
}

#[test]
fn a_url_signed_in_advance_gives_one_object_to_anyone() {
    let lab = Lab::start();
    lab.run(lab.put("report", "content").content_type("text/html").send()).unwrap();
    lab.must_put("other", "secret");
    let hour = PresigningConfig::expires_in(Duration::from_secs(3600)).unwrap();
    let url = lab.run(lab.client.get_object().bucket(BUCKET).key("report").presigned(hour)).unwrap().uri().to_owned();
    let get = |url: &str| {
        lab.run(async {
            let answer = reqwest::get(url).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    };
    assert_eq!(get(&url), (200, "content".to_owned()));
    assert_eq!(get(&url.replace("/report?", "/other?")).0, 403);
    assert_eq!(get(url.split('?').next().unwrap()).0, 403);
    let past = PresigningConfig::builder().start_time(std::time::SystemTime::now() - Duration::from_secs(60));
    let past = past.expires_in(Duration::from_secs(30)).build().unwrap();
    let url = lab.run(lab.client.get_object().bucket(BUCKET).key("report").presigned(past)).unwrap().uri().to_owned();
    assert_eq!(get(&url).0, 403);
}

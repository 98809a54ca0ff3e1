//! The lab's backing parts are real: a Kafka broker that keeps records in order, and an S3 server that refuses to overwrite.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use lab::{Lab, LabHandle};
use service_bus::{BusSettings, ConsumerOptions, Publisher, Received, Record, Verdict, consume};
use tokio::time::{Instant, sleep};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BUCKET: &str = "feature-artifacts";
const LIMIT: Duration = Duration::from_secs(60);

/// A name that no earlier run of the tests has used.
fn fresh(name: &str) -> Result<String> {
    Ok(format!("{name}-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos()))
}

/// The records of a topic with one partition, as a group of its own reads them.
async fn read(settings: &BusSettings, topic: &str, expected: usize) -> Result<Vec<(i64, String)>> {
    let seen: Arc<Mutex<Vec<(i64, String)>>> = Arc::default();
    let log = Arc::clone(&seen);
    let work = move |record: Received| {
        log.lock().unwrap().push((record.offset, String::from_utf8_lossy(&record.payload).into_owned()));
        async { Verdict::Done }
    };
    let settings = settings.clone();
    let options = ConsumerOptions::new(topic, fresh("lab-test")?, 1);
    let reader = tokio::spawn(async move { consume(&settings, options, std::future::pending(), work).await });
    let deadline = Instant::now() + LIMIT;
    while seen.lock().unwrap().len() < expected && Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
    }
    reader.abort();
    let seen = seen.lock().unwrap().clone();
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_keeps_what_it_acknowledged_also_when_it_is_killed() -> Result<()> {
    let lab = tokio::task::spawn_blocking(Lab::require).await??;
    let topic = fresh("lab-test")?;
    lab.create_topic(&topic, 1)?;
    lab.create_topic(&topic, 1)?;
    let settings = BusSettings { limit: LIMIT, ..BusSettings::new(vec![lab.kafka_outside()?], "lab-test") };
    let publisher = Publisher::new(settings.clone());
    let record =
        |payload: &str| Record { topic: topic.clone(), key: "key".to_owned(), payload: payload.as_bytes().to_vec(), headers: Vec::new() };
    let placed = publisher.publish(&[record("one"), record("two")]).await.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
    assert_eq!(placed.iter().map(|placed| placed.offset).collect::<Vec<_>>(), [0, 1]);

    let crashed = lab.clone();
    tokio::task::spawn_blocking(move || crashed.crash_server("kafka")).await??;
    let again = Publisher::new(settings.clone()).publish(&[record("three")]).await;
    assert_eq!(again.into_iter().map(|placed| placed.map(|placed| placed.offset)).collect::<std::result::Result<Vec<_>, _>>()?, [2]);
    let expected = [(0, "one"), (1, "two"), (2, "three")].map(|(offset, text)| (offset, text.to_owned()));
    assert_eq!(read(&settings, &topic, 3).await?, expected);
    Ok(())
}

fn client(lab: &LabHandle, secret: &str) -> Result<Client> {
    let (access, _) = lab.object_store_keys()?;
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(lab.object_store_url_outside()?)
        .credentials_provider(Credentials::new(access, secret, None, None, "test"))
        .force_path_style(true);
    Ok(Client::from_conf(config.build()))
}

/// Writes an object under a key that is new; the code of the refusal if it isn't.
async fn create(client: &Client, key: &str, body: &[u8]) -> std::result::Result<(), String> {
    let put = client.put_object().bucket(BUCKET).key(key).if_none_match("*").body(body.to_vec().into()).metadata("expires_at", "tomorrow");
    put.send().await.map(drop).map_err(|error: SdkError<_>| error.code().unwrap_or("none").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_object_store_writes_a_key_once_and_knows_its_users() -> Result<()> {
    let lab = tokio::task::spawn_blocking(Lab::require).await??;
    let (_, secret) = lab.object_store_keys()?;
    let owner = client(&lab, &secret)?;
    let key = format!("tests/{}", fresh("object")?);
    assert_eq!(create(&owner, &key, b"first").await, Ok(()));
    assert_eq!(create(&owner, &key, b"second").await, Err("PreconditionFailed".to_owned()));
    let stranger = client(&lab, "another secret")?;
    assert_eq!(create(&stranger, &fresh("stranger")?, b"x").await, Err("SignatureDoesNotMatch".to_owned()));

    let crashed = lab.clone();
    tokio::task::spawn_blocking(move || crashed.crash_server("object-store")).await??;
    let deadline = Instant::now() + LIMIT;
    let object = loop {
        match owner.get_object().bucket(BUCKET).key(&key).send().await {
            Ok(object) => break object,
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    };
    assert_eq!(object.metadata().and_then(|all| all.get("expires_at")).map(String::as_str), Some("tomorrow"));
    assert_eq!(object.body.collect().await?.to_vec(), b"first");
    Ok(())
}

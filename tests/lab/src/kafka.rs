//! The region's Kafka: one node that is broker and controller, and the one request by which the lab makes topics.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command::run_command;
use crate::error::{FileContext, LabError};
use crate::first::read_ports;
use crate::region::{Region, random_hex};
use crate::servers::NODE_ADDRESS;
use crate::tools::{java, kafka_jars};

/// Its port inside the region for programs outside of it: a broker tells clients where it is, so each side has a listener of its own.
pub(crate) const OUTSIDE_PORT: u16 = 9094;
/// Its place among the relayed servers.
pub(crate) const RELAY: usize = 3;
const POD_PORT: u16 = 9092;
const CONTROLLER_PORT: u16 = 9093;
/// Longest time for a question of the lab.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const LONGEST_ANSWER: usize = 64 * 1024;
/// What the broker answers for a topic that is there.
const TOPIC_EXISTS: i16 = 36;
/// What a broker on one machine has too.
const SETTINGS: &str = include_str!("../../../services/local-kafka/src/one-node.properties");
/// Little memory, and no optimizing compiler: the start counts here.
const JAVA: [&str; 5] = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Dlog4j2.level=INFO"];

/// The broker's address as pods see it.
pub(crate) fn inner_address() -> String {
    format!("{NODE_ADDRESS}:{POD_PORT}")
}

/// Becomes the broker, inside the region; makes its files before that if there are none.
///
/// Returns only if it failed.
///
/// # Errors
/// [`LabError`] if the broker's files can't be made or Java can't be started.
pub fn run(region: &Region) -> Result<(), LabError> {
    let outside = read_ports(region).and_then(|ports| ports.get(RELAY).copied());
    let outside = outside.ok_or_else(|| LabError::NotUp(region.dir.clone()))?;
    let data = region.path("kafka");
    if !data.exists() {
        let part = region.path("kafka.part");
        if part.exists() {
            fs::remove_dir_all(&part).on("remove", &part)?;
        }
        let settings = write_settings(region, &part, outside)?;
        // Any 32 digits are an id of a cluster.
        let id = random_hex(16)?;
        let mut format = java_command("kafka.tools.StorageTool")?;
        format.args(["format", "--cluster-id", &id, "--config"]).arg(settings);
        run_command(format)?;
        fs::rename(&part, &data).on("rename", &part)?;
    }
    let settings = write_settings(region, &data, outside)?;
    let source = java_command("kafka.Kafka")?.arg(settings).exec();
    Err(LabError::Spawn { program: "java".into(), source })
}

fn java_command(class: &str) -> Result<Command, LabError> {
    let mut command = Command::new(java()?);
    command.args(JAVA).arg("-cp").arg(kafka_jars()?.join("*")).arg(class);
    Ok(command)
}

fn write_settings(region: &Region, data: &Path, outside: u16) -> Result<std::path::PathBuf, LabError> {
    let path = region.path("conf/kafka.properties");
    fs::write(&path, settings(data, outside)).on("write", &path)?;
    Ok(path)
}

fn settings(data: &Path, outside: u16) -> String {
    format!(
        "{SETTINGS}controller.quorum.voters=1@127.0.0.1:{CONTROLLER_PORT}
inter.broker.listener.name=PODS
listeners=PODS://{NODE_ADDRESS}:{POD_PORT},OUTSIDE://127.0.0.1:{OUTSIDE_PORT},CONTROLLER://127.0.0.1:{CONTROLLER_PORT}
advertised.listeners=PODS://{NODE_ADDRESS}:{POD_PORT},OUTSIDE://127.0.0.1:{outside}
listener.security.protocol.map=PODS:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
",
        data = data.display()
    )
}

/// Makes the topics that aren't there, through this port of the loopback.
///
/// # Errors
/// What the way to the broker, or the broker, says.
pub(crate) fn create_topics(port: u16, topics: &[(&str, u32)]) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request(topics))?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST_ANSWER {
        return Err(invalid());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    check_answer(&answer)
}

/// `CreateTopics` of version 2, the oldest that brokers of version 4 take: one copy of each partition, nothing configured.
fn request(topics: &[(&str, u32)]) -> Vec<u8> {
    let (key, version, correlation) = (19_i16, 2_i16, 1_i32);
    let mut body = [&key.to_be_bytes()[..], &version.to_be_bytes(), &correlation.to_be_bytes()].concat();
    body.extend(text("lab"));
    body.extend(count(topics.len()));
    for (name, partitions) in topics {
        body.extend(text(name));
        body.extend(partitions.to_be_bytes());
        body.extend(1_i16.to_be_bytes());
        // No places and no settings of its own.
        body.extend([count(0), count(0)].concat());
    }
    body.extend(5000_i32.to_be_bytes());
    let validate_only = 0_u8;
    body.push(validate_only);
    [&count(body.len())[..], &body].concat()
}

/// Reads the answer: behind its number and a time, each topic with an error and perhaps words.
fn check_answer(mut answer: &[u8]) -> io::Result<()> {
    take(&mut answer, 8)?;
    for _ in 0..number(&mut answer)? {
        let length = short(&mut answer)?;
        let name = String::from_utf8_lossy(take(&mut answer, length.try_into().unwrap_or(0))?).into_owned();
        let error = short(&mut answer)?;
        let length = short(&mut answer)?;
        let words = String::from_utf8_lossy(take(&mut answer, length.try_into().unwrap_or(0))?).into_owned();
        if error != 0 && error != TOPIC_EXISTS {
            return Err(io::Error::other(format!("error {error} for {name}: {words}")));
        }
    }
    Ok(())
}

fn count(number: usize) -> [u8; 4] {
    i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes()
}

fn text(text: &str) -> Vec<u8> {
    [&i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes()[..], text.as_bytes()].concat()
}

fn take<'a>(answer: &mut &'a [u8], length: usize) -> io::Result<&'a [u8]> {
    let (taken, rest) = answer.split_at_checked(length).ok_or_else(invalid)?;
    *answer = rest;
    Ok(taken)
}

fn short(answer: &mut &[u8]) -> io::Result<i16> {
    Ok(i16::from_be_bytes(take(answer, 2)?.try_into().map_err(|_| invalid())?))
}

fn number(answer: &mut &[u8]) -> io::Result<i32> {
    Ok(i32::from_be_bytes(take(answer, 4)?.try_into().map_err(|_| invalid())?))
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is none of Kafka's")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::RELAYED;

    fn check_read(topics: &[(&str, i16, Option<&str>)], expected: Option<&str>) {
        let mut answer = vec![0; 8];
        answer.extend(count(topics.len()));
        for (name, error, words) in topics {
            answer.extend(text(name));
            answer.extend(error.to_be_bytes());
            answer.extend(words.map_or(vec![0xff, 0xff], text));
        }
        let read = check_answer(&answer).map_err(|error| error.to_string());
        assert_eq!(read.err().as_deref(), expected);
        assert!(topics.is_empty() || check_answer(&answer[..answer.len() - 1]).is_err(), "a cut answer");
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        check_read(&[], None);
        check_read(&[("a", 0, None), ("b", TOPIC_EXISTS, Some("there"))], None);
        check_read(&[("a", 0, None), ("b", 17, Some("no name"))], Some("error 17 for b: no name"));
    }

    #[test]
    fn the_settings_name_both_ways_to_the_broker() {
        let settings = settings(Path::new("/data"), 4711);
        for line in ["advertised.listeners=PODS://10.77.1.1:9092,OUTSIDE://127.0.0.1:4711", "log.dirs=/data"] {
            assert!(settings.lines().any(|known| known == line), "{line}");
        }
    }

    #[test]
    fn its_ports_are_relayed() {
        assert_eq!(RELAYED[RELAY].port, OUTSIDE_PORT);
        assert_eq!(RELAYED[crate::object_store::RELAY].port, crate::object_store::PORT);
    }
}

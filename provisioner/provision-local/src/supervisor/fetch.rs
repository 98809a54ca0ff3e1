//! One GET, of which the first bytes of the answer are wanted.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest time for all of it.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read at most.
const MOST: usize = 64 * 1024;
/// Bytes of the body that are wanted.
const BODY: usize = 512;

/// Asks for a path; returns the status and the first bytes of the body.
pub(super) async fn fetch(at: SocketAddrV4, path: &str) -> io::Result<(u16, String)> {
    let wrong = |message: &str| io::Error::new(io::ErrorKind::InvalidData, message.to_owned());
    if !path.starts_with('/') || path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong("the path is none"));
    }
    let answer = tokio::time::timeout(LIMIT, exchange(at, path)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    parse(&answer).ok_or_else(|| wrong("the answer is not HTTP"))
}

async fn exchange(at: SocketAddrV4, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(at).await?;
    // HTTP/1.0: the body ends with the connection, in one piece.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    let mut block = [0; 4096];
    while answer.len() < MOST && !is_enough(&answer) {
        let count = stream.read(&mut block).await?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&block[..count]);
    }
    Ok(answer)
}

fn body_of(answer: &[u8]) -> Option<&[u8]> {
    answer.windows(4).position(|end| end == b"\r\n\r\n").map(|end| &answer[end + 4..])
}

fn is_enough(answer: &[u8]) -> bool {
    body_of(answer).is_some_and(|body| body.len() >= BODY)
}

fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let head = std::str::from_utf8(answer.get(..12)?).ok()?;
    let (version, status) = head.split_once(' ')?;
    let status = version.starts_with("HTTP/1.").then(|| status.parse().ok())??;
    let body = body_of(answer)?;
    Some((status, String::from_utf8_lossy(&body[..body.len().min(BODY)]).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_far_as_it_came() {
        let long = format!("HTTP/1.1 503 No\r\nA: b\r\n\r\n{}", "x".repeat(600));
        for (answer, wanted) in [
            ("HTTP/1.0 200 OK\r\n\r\nfine", Some((200, "fine".to_owned()))),
            (long.as_str(), Some((503, "x".repeat(512)))),
            ("HTTP/1.0 200 OK\r\n", None),
            ("HTTP/1.0 abc OK\r\n\r\n", None),
            ("SSH-2.0-OpenSSH\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(parse(answer.as_bytes()), wanted, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_path_can_not_carry_a_second_request() {
        let nowhere = SocketAddrV4::new([127, 0, 0, 1].into(), 9);
        for path in ["", "x", "/a b", "/a\r\nHost: b", "/\0"] {
            assert_eq!(fetch(nowhere, path).await.unwrap_err().kind(), io::ErrorKind::InvalidData, "{path:?}");
        }
    }
}

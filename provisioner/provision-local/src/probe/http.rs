use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dial;

/// Longest head of an answer that is read.
const HEAD: usize = 16 * 1024;

/// Sends a GET; good are answers with 200 to 399, of which no redirect is followed.
pub(super) async fn get(address: SocketAddrV4, path: &str, headers: &[(String, String)], limit: Duration) -> Result<(), String> {
    let url = format!("http://{address}{path}");
    let answer = timeout(limit, exchange(address, path, headers)).await;
    match answer {
        Err(_) => Err(format!("Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)")),
        Ok(Err(message)) => Err(format!("Get \"{url}\": {message}")),
        Ok(Ok(200..=399)) => Ok(()),
        Ok(Ok(status)) => Err(format!("HTTP probe failed with statuscode: {status}")),
    }
}

async fn exchange(address: SocketAddrV4, path: &str, headers: &[(String, String)]) -> Result<u16, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| dial(address, &error))?;
    let own = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in [("Host", address.to_string()), ("User-Agent", "kube-probe/local".to_owned()), ("Accept", "*/*".to_owned())] {
        if !own(name) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut head = Vec::new();
    while !head.contains(&b'\n') && head.len() < HEAD {
        if stream.read_buf(&mut head).await.map_err(|error| error.to_string())? == 0 {
            return Err("EOF".to_owned());
        }
    }
    status(&head).ok_or_else(|| "malformed HTTP response".to_owned())
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\n').next()?).ok()?;
    line.strip_prefix("HTTP/1.")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_second_word_of_the_first_line() {
        assert_eq!(status(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n"), Some(503));
        assert_eq!(status(b"HTTP/1.0 200\n"), Some(200));
        assert_eq!(status(b"SSH-2.0-x\r\n"), None);
        assert_eq!(status(b"\xff\n"), None);
    }
}

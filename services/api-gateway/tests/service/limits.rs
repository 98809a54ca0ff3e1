//! How much a client may send, and how often.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use futures::StreamExt;
use reqwest::{Body, Client};
use service_testing::{eventually, get};

use crate::calls::{CREATE, check_error, instruction, send};
use crate::double::Double;
use crate::{OPEN, open_gateway, started};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_be_large_but_not_larger() {
    let double = Double::start().await;
    let (gateway, url) = open_gateway(&double.url, &[("BODY_LIMIT_BYTES", "200000")]);
    let body = |size: usize| instruction(&"x".repeat(size));
    assert_eq!(send(&url, CREATE, &body(199_000)).await.status().as_u16(), 200);
    assert!(double.seen()[0].bytes > 199_000);
    for size in [200_001, 20_000_000] {
        check_error(send(&url, CREATE, &body(size)).await, 413, "resource_exhausted", "more than 200000 bytes").await;
    }
    // One that does not say how long it is.
    let parts = futures::stream::iter(vec!["x".repeat(1000); 1000]).map(Ok::<_, std::io::Error>);
    let answer = Client::new().post(format!("{url}{CREATE}")).body(Body::wrap_stream(parts)).send().await.unwrap();
    check_error(answer, 413, "resource_exhausted", "more than 200000 bytes").await;
    assert_eq!(double.seen().len(), 1, "nothing of them was taken for a request");
    let metrics = tokio::task::block_in_place(|| get(gateway.port("metrics").unwrap(), "/metrics")).unwrap().body;
    assert!(metrics.contains("gateway_requests_refused_total{reason=\"size\"} 3\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let double = Double::start().await;
    let limits = [("RATE_LIMIT_PER_SECOND", "0.1"), ("RATE_LIMIT_BURST", "3"), ("TRUSTED_PROXY_HOPS", "1")];
    let (_gateway, url) = open_gateway(&double.url, &limits);
    let ask = |client: &str| {
        Client::new().post(format!("{url}{CREATE}")).body(instruction("x")).header("x-forwarded-for", client.to_owned()).send()
    };
    for _ in 0..3 {
        assert_eq!(ask("192.0.2.1").await.unwrap().status().as_u16(), 200);
    }
    let refused = ask("192.0.2.1").await.unwrap();
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((9..=10).contains(&wait), "{wait}");
    check_error(refused, 429, "resource_exhausted", "too many requests").await;
    assert_eq!(ask("203.0.113.9, 192.0.2.1").await.unwrap().status().as_u16(), 429, "an invented address makes no other client");
    assert_eq!(ask("192.0.2.2").await.unwrap().status().as_u16(), 200);
    assert_eq!(double.seen().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_can_not_hide_in_others() {
    let double = Double::start().await;
    let (_gateway, url) = open_gateway(&double.url, &[]);
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    let hidden = format!("POST {CREATE} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{{}}");
    for head in [
        format!("Content-Length: 0\r\nContent-Length: {}\r\n", hidden.len()),
        format!("Content-Length: {}\r\nTransfer-Encoding: identity\r\n", hidden.len()),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Content-Length: +2\r\n".to_owned(),
    ] {
        let answer = raw(port, &format!("POST {CREATE} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{head}\r\n{hidden}"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
    }
    // Both: what counts is the coding, and the length goes no further (RFC 9112, section 6.3).
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", instruction("x").len(), instruction("x"));
    let both = format!(
        "POST {CREATE} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
    );
    let answer = raw(port, &both);
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    for seen in double.seen() {
        assert_eq!(seen.bytes, instruction("x").len(), "{seen:?}");
    }
}

#[test]
fn connections_are_so_many_and_none_takes_its_time_to_ask() {
    let limits = [OPEN, ("CONNECTION_LIMIT", "3"), ("HEAD_TIMEOUT_SECONDS", "1")];
    let (gateway, url) = started(&limits);
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    // Half a head each; more of it comes byte by byte, for ever.
    let mut slow: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"POST / HTTP/1.1\r\nX-Slow: ").unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    eventually("there is no room", || raw(port, "").starts_with("HTTP/1.1 503 ").then_some(())).unwrap();
    let is_closed = |stream: &mut TcpStream| {
        let wrote = stream.write(b"x");
        let read = stream.read(&mut [0; 100]);
        wrote.is_err_and(|error| error.kind() != ErrorKind::WouldBlock) || read.is_ok_and(|bytes| bytes == 0)
    };
    eventually("they are cut off", || slow.iter_mut().all(is_closed).then_some(())).unwrap();
    // One that is kept asks again, and again is cut off when it does not.
    let mut kept = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for _ in 0..2 {
        kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut answer = [0; 1000];
        let length = kept.read(&mut answer).unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
    kept.set_nonblocking(true).unwrap();
    eventually("it is cut off", || is_closed(&mut kept).then_some(())).unwrap();
    let metrics = get(gateway.port("metrics").unwrap(), "/metrics").unwrap().body;
    let refused = metrics.lines().find_map(|line| line.strip_prefix("http_connections_refused_total ")).unwrap();
    assert!(refused.parse::<u32>().unwrap() >= 1);
}

/// Sends bytes and returns what comes back until the connection closes.
fn raw(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

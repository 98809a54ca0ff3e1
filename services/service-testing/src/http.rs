//! The least HTTP client that shows what a server really sends.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::DEADLINE;

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Head of the answer, header names as the server wrote them.
    pub head: String,
    /// Body.
    pub body: String,
}

/// A connection with a request on its way.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Sends the head of a GET request; the server closes after its answer.
    ///
    /// # Errors
    /// If nothing listens on the loopback `port`.
    pub fn get(port: u16, path: &str, headers: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n")?;
        Ok(Self(stream))
    }

    /// Sends a POST request with a JSON body; the server closes after its answer.
    ///
    /// # Errors
    /// If nothing listens on the loopback `port`.
    pub fn post(port: u16, path: &str, body: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n")?;
        write!(stream, "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")?;
        Ok(Self(stream))
    }

    /// Reads the answer to its end.
    ///
    /// # Errors
    /// If the server closes without a whole answer.
    pub fn answer(mut self) -> io::Result<Answer> {
        let mut text = String::new();
        self.0.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(format!("no HTTP answer: {text:?}")))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {head:?}")))?;
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }
}

/// Gets `path` from the loopback `port`.
///
/// # Errors
/// If there is no whole answer.
pub fn get(port: u16, path: &str) -> io::Result<Answer> {
    Connection::get(port, path, "")?.answer()
}

/// Posts JSON to `path` on the loopback `port`.
///
/// # Errors
/// If there is no whole answer.
pub fn post(port: u16, path: &str, body: &str) -> io::Result<Answer> {
    Connection::post(port, path, body)?.answer()
}

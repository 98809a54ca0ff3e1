//! Stands in for programs in the tests of this crate: a keeper, and containers that do on demand what is hard to say in a shell.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let role = args.next().unwrap_or_default();
    let rest: Vec<String> = args.map(|word| word.to_string_lossy().into_owned()).collect();
    match (role.to_str(), rest.as_slice()) {
        (Some("keeper"), _) => provision_local::keeper::main(rest.iter().map(Into::into)),
        (Some("serve"), [address, switch]) => serve(address, &PathBuf::from(switch)),
        (Some("echo"), [address]) => echo(address),
        (Some("eat"), [mebibytes]) => eat(mebibytes.parse().unwrap_or(0)),
        _ => ExitCode::from(64),
    }
}

/// Answers each GET with 200, and with 503 for a path of which the folder `switch` holds a file.
fn serve(address: &str, switch: &std::path::Path) -> ExitCode {
    let Ok(listener) = TcpListener::bind(address) else { return ExitCode::from(98) };
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut head = [0; 4096];
        let count = stream.read(&mut head).unwrap_or(0);
        let text = String::from_utf8_lossy(&head[..count]).into_owned();
        let path = text.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let status = if switch.join(&path).exists() { "503 Service Unavailable" } else { "200 OK" };
        // The client may have gone.
        drop(write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"));
    }
    ExitCode::SUCCESS
}

/// Reads each connection to its end and then sends back where it came in and what it said.
fn echo(address: &str) -> ExitCode {
    let Ok(listener) = TcpListener::bind(address) else { return ExitCode::from(98) };
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let address = address.to_owned();
        std::thread::spawn(move || {
            let mut said = Vec::new();
            // A client that breaks off is answered as far as it came.
            drop(stream.read_to_end(&mut said));
            drop(write!(stream, "{address} "));
            drop(stream.write_all(&said));
        });
    }
    ExitCode::SUCCESS
}

/// Uses that much memory and holds it.
fn eat(mebibytes: usize) -> ExitCode {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for number in 0..mebibytes {
        held.push(vec![u8::try_from(number % 255).unwrap_or(0) + 1; 1 << 20]);
    }
    std::thread::sleep(Duration::from_secs(600));
    ExitCode::from(u8::from(held.is_empty()))
}

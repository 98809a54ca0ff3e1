//! The broker's settings: small, for a machine that runs much beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Settings of every broker, the lab's of the tests too.
const SETTINGS: &str = include_str!("one-node.properties");
const LISTENERS: &str = "inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
";

/// Where the broker listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Address of both ports.
    pub(crate) address: IpAddr,
    /// Port of clients.
    pub(crate) port: u16,
    /// Port of the controller, for the broker itself.
    pub(crate) controller_port: u16,
}

impl Listen {
    /// Returns where clients reach the broker from this machine; it tells them the same.
    pub(crate) fn told(&self) -> SocketAddr {
        let address = match self.address {
            IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            address => address,
        };
        SocketAddr::new(address, self.port)
    }
}

/// Returns the content of the broker's file of settings, for a log in `data`.
pub(crate) fn properties(listen: &Listen, data: &Path) -> String {
    let clients = SocketAddr::new(listen.address, listen.port);
    let controller = SocketAddr::new(listen.told().ip(), listen.controller_port);
    format!(
        "{SETTINGS}{LISTENERS}listeners=CLIENTS://{clients},CONTROLLER://{controller}\nadvertised.listeners=CLIENTS://{told}\n\
         controller.quorum.voters=1@{controller}\nlog.dirs={data}\n",
        told = listen.told(),
        data = escaped(data)
    )
}

/// A backslash and what is no ASCII have a meaning of their own in such a file.
fn escaped(path: &Path) -> String {
    let escape = |unit: u16| match char::from_u32(unit.into()) {
        Some(character @ (' '..='[' | ']'..='~')) => character.to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    path.to_string_lossy().encode_utf16().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(address: &str, expected: &[&str]) {
        let listen = Listen { address: address.parse().unwrap(), port: 9092, controller_port: 9093 };
        let properties = properties(&listen, Path::new("/data"));
        for line in expected {
            assert!(properties.lines().any(|known| known == *line), "{line} in {properties}");
        }
    }

    #[test]
    fn clients_are_told_an_address_that_they_can_reach() {
        check_lines("127.9.0.4", &["listeners=CLIENTS://127.9.0.4:9092,CONTROLLER://127.9.0.4:9093"]);
        check_lines("127.9.0.4", &["advertised.listeners=CLIENTS://127.9.0.4:9092", "controller.quorum.voters=1@127.9.0.4:9093"]);
        check_lines("0.0.0.0", &["listeners=CLIENTS://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093"]);
        check_lines("0.0.0.0", &["advertised.listeners=CLIENTS://127.0.0.1:9092"]);
        check_lines("::1", &["advertised.listeners=CLIENTS://[::1]:9092"]);
    }

    #[test]
    fn a_folder_is_written_so_that_java_reads_it_back() {
        assert_eq!(escaped(Path::new("/a b/=#!:c")), "/a b/=#!:c");
        assert_eq!(escaped(Path::new("/\\/ü/\u{1f600}/\t")), "/\\u005c/\\u00fc/\\ud83d\\ude00/\\u0009");
    }
}

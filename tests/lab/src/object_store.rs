//! The region's object store: versitygw on a folder, with versions, and keys of its own.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::certificates::write_secret;
use crate::error::{FileContext, LabError};
use crate::region::{Region, random_hex};
use crate::servers::NODE_ADDRESS;
use crate::tools::Tools;

/// Its port inside the region.
pub(crate) const PORT: u16 = 7070;
/// Its place among the relayed servers.
pub(crate) const RELAY: usize = 4;
/// The platform's bucket.
const BUCKET: &str = "feature-artifacts";
/// Longest time for a question of the lab.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes the keys, once; outside of the region, where clients read them too.
pub(crate) fn ensure_keys(region: &Region) -> Result<(), LabError> {
    for (file, length) in [("object-store.access-key", 10), ("object-store.secret-key", 20)] {
        let path = region.path(file);
        if !path.exists() {
            write_secret(&path, &random_hex(length)?)?;
        }
    }
    Ok(())
}

/// Access key and secret key.
pub(crate) fn keys(region: &Region) -> Result<(String, String), LabError> {
    let read = |file| {
        let path = region.path(file);
        fs::read_to_string(&path).on("read", &path)
    };
    Ok((read("object-store.access-key")?, read("object-store.secret-key")?))
}

/// The store's URL as pods see it.
pub(crate) fn inner_url() -> String {
    format!("http://{NODE_ADDRESS}:{PORT}")
}

/// Becomes the object store, inside the region; makes its bucket before that.
///
/// Returns only if it failed.
///
/// # Errors
/// [`LabError`] if the folders can't be made or the program can't be started.
pub fn run(region: &Region, tools: &Tools) -> Result<(), LabError> {
    let (access_key, secret_key) = keys(region)?;
    let (objects, versions) = (region.path("object-store/objects"), region.path("object-store/versions"));
    for folder in [&objects.join(BUCKET), &versions] {
        fs::create_dir_all(folder).on("create", folder)?;
    }
    let source = Command::new(tools.program("versitygw")?)
        // Not arguments, which every user of the machine sees.
        .envs([("ROOT_ACCESS_KEY_ID", access_key), ("ROOT_SECRET_ACCESS_KEY", secret_key)])
        .args(["--port", &format!("127.0.0.1:{PORT}"), "--port", &format!("{NODE_ADDRESS}:{PORT}"), "--region", "us-east-1", "posix"])
        .arg("--versioning-dir")
        .args([&versions, &objects])
        .exec();
    Err(LabError::Spawn { program: "versitygw".into(), source })
}

/// Whether the store answers on this port of the loopback; who asks is nobody to it, so any answer of HTTP will do.
pub(crate) fn answers(port: u16) -> bool {
    let ask = || -> io::Result<[u8; 5]> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut begin = [0; 5];
        stream.read_exact(&mut begin)?;
        Ok(begin)
    };
    ask().is_ok_and(|begin| &begin == b"HTTP/")
}

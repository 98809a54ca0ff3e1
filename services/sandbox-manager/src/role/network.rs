//! The network of a sandbox: its own loopback and nothing else.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

/// Type of the message that changes a link, and its flags: a request with an answer (rtnetlink(7)).
const CHANGE_LINK: u16 = 16;
const REQUEST_AND_ANSWER: u16 = 0x5;
/// Loopback is the first link of every network namespace.
const LOOPBACK: i32 = 1;
const UP: u32 = 1;
const LENGTH: u32 = 32;
/// Where the error number is in the answer: behind its head.
const ERROR_AT: std::ops::Range<usize> = 16..20;

/// Brings the loopback up: what tests of a program talk to themselves over.
///
/// # Errors
/// What the kernel says.
pub(super) fn raise_loopback() -> io::Result<()> {
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(CHANGE_LINK.to_ne_bytes());
    message.extend(REQUEST_AND_ANSWER.to_ne_bytes());
    // Sequence, sender; then family and kind of the link: any.
    message.extend(1_u32.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(LOOPBACK.to_ne_bytes());
    // New flags, and which of them change.
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    let link = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(link.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(link.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let error = answer.get(ERROR_AT).filter(|_| length >= ERROR_AT.end).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match error {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

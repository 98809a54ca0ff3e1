//! Carries connections from this machine's loopback into a region.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Binds a port on this machine's loopback: `preferred` if it is free, else any.
pub(crate) fn listen(preferred: Option<u16>) -> io::Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    match preferred.map(bind) {
        Some(Ok(listener)) => Ok(listener),
        Some(Err(_)) | None => bind(0),
    }
}

/// Passes every connection of `listener` on to `port` of the loopback that the calling thread sees.
pub(crate) fn serve(listener: TcpListener, port: u16) {
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || carry(client, port));
        }
    });
}

/// Copies both ways until either side ends; a server that is down looks like a connection that closes at once.
fn carry(client: TcpStream, port: u16) {
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) else { return };
    let (Ok(client_again), Ok(server_again)) = (client.try_clone(), server.try_clone()) else { return };
    // Small writes must not wait for each other's acknowledgement.
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let back = thread::spawn(move || copy(server_again, client_again));
    copy(client, server);
    // A panicked copy has dropped its ends, which closes them.
    back.join().unwrap_or_default();
}

/// Copies one way, then says to both sides that nothing more comes from here.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let whole = io::copy(&mut from, &mut to).is_ok();
    let how = if whole { Shutdown::Write } else { Shutdown::Both };
    // Either side may be gone already; then there is nothing to close.
    to.shutdown(how).unwrap_or_default();
    if !whole {
        from.shutdown(Shutdown::Both).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn bytes_travel_both_ways_and_half_closed_streams_stay_open() -> io::Result<()> {
        let server = listen(None)?;
        let relay = listen(None)?;
        let entry = relay.local_addr()?;
        serve(relay, server.local_addr()?.port());
        let answer = thread::spawn(move || -> io::Result<()> {
            let (mut stream, _) = server.accept()?;
            let mut asked = String::new();
            stream.read_to_string(&mut asked)?;
            stream.write_all(asked.to_uppercase().as_bytes())
        });
        let mut client = TcpStream::connect(entry)?;
        client.write_all(b"hello")?;
        client.shutdown(Shutdown::Write)?;
        let mut text = String::new();
        client.read_to_string(&mut text)?;
        assert_eq!(text, "HELLO");
        answer.join().map_err(|_| io::Error::other("the server panicked"))?
    }

    #[test]
    fn a_server_that_is_down_closes_the_connection() -> io::Result<()> {
        let relay = listen(None)?;
        let entry = relay.local_addr()?;
        let unused = listen(None)?.local_addr()?.port();
        serve(relay, unused);
        let mut client = TcpStream::connect(entry)?;
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).unwrap_or(0), 0);
        Ok(())
    }

    #[test]
    fn a_port_that_is_taken_is_replaced() -> io::Result<()> {
        let first = listen(None)?;
        let taken = first.local_addr()?.port();
        assert_ne!(listen(Some(taken))?.local_addr()?.port(), taken);
        drop(first);
        assert_eq!(listen(Some(taken))?.local_addr()?.port(), taken);
        Ok(())
    }
}

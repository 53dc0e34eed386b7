//! A connection as its requests see it, so that whoever checks rights can end it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::limits::ConnectionGuard;

/// The connection of a request: a request extension.
///
/// It outlives the request where the connection becomes a stream or a WebSocket, and does not keep it open.
#[derive(Clone, Debug)]
pub struct Line {
    id: u64,
    end: Weak<End>,
}

/// The end of a connection that is kept together with its place among the limits.
#[derive(Debug)]
pub(crate) struct End {
    id: u64,
    /// A second handle of the socket, by which it is shut down wherever the first one is.
    socket: TcpStream,
    /// The place of whoever sits behind a tunnel or a proxy.
    held: Mutex<Option<ConnectionGuard>>,
}

impl End {
    pub(crate) fn of(stream: &tokio::net::TcpStream) -> io::Result<Arc<Self>> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let socket = TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        Ok(Arc::new(Self { id: LAST.fetch_add(1, Ordering::Relaxed), socket, held: Mutex::default() }))
    }

    pub(crate) fn line(self: &Arc<Self>) -> Line {
        Line { id: self.id, end: Arc::downgrade(self) }
    }
}

impl Line {
    /// Tells connections of one process apart.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the connection is there.
    pub fn is_open(&self) -> bool {
        self.end.strong_count() > 0
    }

    /// Ends the connection, whatever it is used for by now. Does nothing if it is gone.
    pub fn hang_up(&self) {
        if let Some(end) = self.end.upgrade() {
            // It fails if the other side was faster.
            let _ = end.socket.shutdown(Shutdown::Both);
        }
    }

    /// Keeps what `admit` gives for as long as the connection, in place of what was kept before, which is given up first.
    ///
    /// # Errors
    /// That of `admit`.
    pub fn hold<E>(&self, admit: impl FnOnce() -> Result<ConnectionGuard, E>) -> Result<(), E> {
        let Some(end) = self.end.upgrade() else { return Ok(()) };
        let mut held = end.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.take();
        *held = Some(admit()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::ConnectionLimits;

    /// Both sides of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listens");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connected"), accepted.expect("accepted").0)
    }

    #[tokio::test]
    async fn whoever_has_the_line_ends_the_connection_and_does_not_keep_it() {
        let ((mut client, server), (_, other)) = (pair().await, pair().await);
        let (end, another) = (End::of(&server).expect("a handle"), End::of(&other).expect("a handle"));
        let line = end.line();
        assert_ne!(line.id(), another.line().id());
        assert_eq!(line.id(), line.clone().id());
        assert!(line.is_open());
        line.hang_up();
        assert_eq!(client.read(&mut [0]).await.expect("ends in good order"), 0);
        // The server's side is still there, and with it the line.
        assert!(line.is_open());
        drop(end);
        assert!(!line.is_open());
        line.hang_up();
    }

    #[tokio::test]
    async fn a_line_holds_one_share_at_a_time() {
        let (_client, server) = pair().await;
        let end = End::of(&server).expect("a handle");
        let line = end.line();
        let limits = ConnectionLimits::new(10, 1);
        let [one, two]: [std::net::IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        line.hold(|| limits.admit_behind(one)).expect("the first share");
        // The same again: what was held is given up first, or it would be in its own way.
        line.hold(|| limits.admit_behind(one)).expect("the only share");
        assert!(limits.admit_behind(one).is_err(), "it is held");
        line.hold(|| limits.admit_behind(two)).expect("another address");
        drop(limits.admit_behind(one).expect("free again"));
        drop(end);
        drop(limits.admit_behind(two).expect("free with the end of the connection"));
        line.hold(|| -> Result<ConnectionGuard, ()> { panic!("asked for a connection that is gone") })
            .expect("nothing to do");
    }
}

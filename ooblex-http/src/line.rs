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
    /// The place of whoever sits behind a tunnel.
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

//! One connection to a TURN server, for one session.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::frame::FrameReader;
use super::queue::SendQueue;
use crate::ice::dns::Resolver;
use crate::ice::{IceTransport, IceUrl};
use crate::tls::{self, Connection, Trust};

/// From the first byte to the name server to the last of the TLS handshake: within the time that gathering takes at
/// most, with some left for the requests after it.
const CONNECT: Duration = Duration::from_millis(1700);
/// How long a closed session's last messages may take: they tell the server to free its address.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes read at once.
const READ: usize = 16 * 1024;

/// The sending end of a connection. The connection ends with it, after what waits has left.
#[derive(Debug)]
pub(crate) struct Sender(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<SendQueue>,
    /// Something waits, or nothing more will.
    wake: Notify,
    closed: AtomicBool,
    /// Apart from `wake`, for each wakes one waiter.
    closing: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, SendQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl Sender {
    /// Sends a frame, or keeps it until the connection takes it.
    pub(crate) fn push(&self, frame: Bytes, media: bool) {
        self.0.queue().push(frame, media);
        self.0.wake.notify_one();
    }

    /// Frames that were displaced because the connection took no more.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.queue().dropped()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.wake.notify_one();
        self.0.closing.notify_one();
    }
}

/// A connection and the task that is it: connects, then carries frames until either side ends it. `receive` gets each
/// message from the server; the task's result says why it ended.
pub(crate) fn open(
    url: IceUrl,
    resolver: Resolver,
    trust: Trust,
    receive: impl FnMut(Bytes) + Send + 'static,
) -> (Sender, impl Future<Output = Result<(), String>> + Send + 'static) {
    let shared = Arc::new(Shared::default());
    let sender = Sender(Arc::clone(&shared));
    let task = async move {
        let dial = tokio::time::timeout(CONNECT, dial(&url, &resolver, &trust));
        let stream = match before_closed(&shared, dial).await {
            None => return Ok(()),
            Some(Err(_)) => return Err(format!("no connection within {} ms", CONNECT.as_millis())),
            Some(Ok(stream)) => stream?,
        };
        carry(stream, &shared, receive).await
    };
    (sender, task)
}

async fn dial(url: &IceUrl, resolver: &Resolver, trust: &Trust) -> Result<Box<dyn Connection>, String> {
    let addresses = resolver.lookup(url.host()).await?;
    let stream = tls::connect(&addresses, url.port()).await.map_err(|e| format!("no connection: {e}"))?;
    if url.transport() != IceTransport::Tls {
        return Ok(Box::new(stream));
    }
    let secured = tls::secure(stream, url.host(), trust).await;
    Ok(Box::new(secured.map_err(|e| format!("no TLS: {e}"))?))
}

/// The result of a future, unless the sending end is dropped before.
async fn before_closed<T>(shared: &Shared, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    loop {
        if shared.is_closed() {
            return None;
        }
        tokio::select! {
            output = &mut future => return Some(output),
            () = shared.closing.notified() => {}
        }
    }
}

async fn carry(
    stream: Box<dyn Connection>,
    shared: &Shared,
    mut receive: impl FnMut(Bytes),
) -> Result<(), String> {
    let (mut from, mut to) = tokio::io::split(stream);
    let reading = async {
        let mut reader = FrameReader::default();
        let mut chunk = vec![0; READ];
        loop {
            let n = from.read(&mut chunk).await.map_err(|e| format!("the connection broke: {e}"))?;
            if n == 0 {
                return Err::<(), _>("the server closed the connection".to_owned());
            }
            reader.push(&chunk[..n]);
            while let Some(frame) = reader.next_frame().map_err(|e| e.to_string())? {
                receive(frame);
            }
        }
    };
    let writing = async {
        let mut bytes = BytesMut::new();
        loop {
            shared.queue().take(&mut bytes);
            if !bytes.is_empty() {
                to.write_all(&bytes).await?;
                to.flush().await?;
                bytes.clear();
            } else if shared.is_closed() {
                return to.shutdown().await;
            } else {
                shared.wake.notified().await;
            }
        }
    };
    // Once closed, a server that takes no more is left to itself.
    let overdue = async {
        before_closed(shared, std::future::pending::<()>()).await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        broken = reading => if shared.is_closed() { Ok(()) } else { broken },
        written = writing => written.map_err(|e: io::Error| format!("the connection broke: {e}")),
        () = overdue => Ok(()),
    }
}

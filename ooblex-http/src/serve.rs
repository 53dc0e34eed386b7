//! The accept loop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Problem;
use crate::connection;
use crate::io::raw_response;
use crate::limits::ConnectionLimits;
use crate::line::End;

/// Limits and times of [`serve`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeConfig {
    /// Caps on connections; clones of it can be given to several listeners.
    pub limits: ConnectionLimits,
    /// A request's head must have arrived this long after its first byte, or, for the first request, after the
    /// connection was made.
    pub header_timeout: Duration,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Duration,
    /// A response that makes no progress for this long is given up.
    pub write_timeout: Duration,
    /// A request's body that makes no progress for this long is given up.
    pub body_pause: Duration,
    /// A request's body must have arrived after this long.
    pub body_timeout: Duration,
    /// After the shutdown signal, connections have this long to finish.
    pub shutdown_timeout: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            limits: ConnectionLimits::default(),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            body_pause: Duration::from_secs(10),
            body_timeout: Duration::from_secs(120),
            shutdown_timeout: Duration::from_secs(3),
        }
    }
}

/// The times of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) header: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
    pub(crate) body_pause: Duration,
    pub(crate) body: Duration,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Connections that were still busy at the deadline and were cut off.
    pub aborted: usize,
}

/// Clients that are told at once why they are not served; beyond that the connection is just closed.
const MAX_REFUSALS: usize = 64;
/// Pause after a failed accept, so that running out of files does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Serves `router` on `listener` until `shutdown` completes, then lets connections finish until the deadline.
///
/// Unlike a framework's default loop it bounds what a client can hold: deadlines for heads, bodies, idle
/// connections and stuck writes, caps on connections in all and from one address (refused with a problem document
/// and `Retry-After`), and a pause instead of a busy loop when the system has no file left. Handlers find the
/// client's address as [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo) and the connection as
/// [`Line`](crate::Line), WebSockets work, and a response
/// with a [`Takeover`](crate::Takeover) gives its handler the raw socket.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: ServeConfig,
    shutdown: impl Future<Output = ()>,
) -> Served {
    let deadlines = Deadlines {
        header: config.header_timeout,
        idle: config.idle_timeout,
        write: config.write_timeout,
        body_pause: config.body_pause,
        body: config.body_timeout,
    };
    let (stop, stopped) = watch::channel(false);
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut connections = JoinSet::new();
    let mut last_log: Option<Instant> = None;
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                if last_log.is_none_or(|t| t.elapsed() >= LOG_EVERY) {
                    last_log = Some(Instant::now());
                    tracing::error!(%error, "cannot accept connections");
                }
                tokio::select! {
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        // Parts of a stream and short answers must not wait for more data.
        let _ = stream.set_nodelay(true);
        // Without a second handle nobody could end the connection: out of files, as when accepting fails.
        let Ok(end) = End::of(&stream) else { continue };
        match config.limits.admit(peer.ip()) {
            Ok(guard) => {
                let guard = guard.with_end(end);
                let serving =
                    connection::run(stream, peer, guard, router.clone(), deadlines, stopped.clone());
                connections.spawn(serving);
            }
            Err(problem) => {
                drop(end);
                if last_log.is_none_or(|t| t.elapsed() >= LOG_EVERY) {
                    last_log = Some(Instant::now());
                    tracing::warn!(%peer, reason = %problem, "connection refused");
                }
                if let Ok(permit) = refusals.clone().try_acquire_owned() {
                    connections.spawn(async move {
                        refuse(stream, &problem).await;
                        drop(permit);
                    });
                }
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    let until = Instant::now() + config.shutdown_timeout;
    while let Ok(Some(_)) = tokio::time::timeout_at(until, connections.join_next()).await {}
    let aborted = connections.len();
    connections.shutdown().await;
    Served { aborted }
}

/// Tells a client why it is not served.
async fn refuse(stream: TcpStream, problem: &Problem) {
    // The send buffer of a fresh socket is empty, so this never has to wait.
    if stream.try_write(&raw_response(problem)).is_ok() {
        connection::linger(stream).await;
    }
}

/// Errors of `accept` that say nothing about the next connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The address that a handler finds in a request's extensions.
pub type Peer = axum::extract::ConnectInfo<SocketAddr>;

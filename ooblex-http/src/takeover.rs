//! The way for a handler to get the raw socket after the response head.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;

use crate::limits::ConnectionGuard;

/// A response extension by which a handler asks [`serve`](crate::serve) for the socket.
///
/// When [`serve`](crate::serve) sees it on the response to a `GET`, it leaves the response's body aside, writes
/// the head alone (as HTTP/1.0, so that the body is whatever follows until the connection closes, without chunks)
/// and then calls the function with the socket. In any other server the extension does nothing, so the handler
/// gives its response an ordinary body that delivers the same bytes.
///
/// The function runs on the server's runtime and must not block: it hands the socket on.
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use ooblex_http::Takeover;
///
/// async fn handler() -> Response {
///     let mut response = "hello".into_response();
///     response.headers_mut().remove("content-length");
///     response.extensions_mut().insert(Takeover::new(|taken| {
///         tokio::spawn(async move { taken.stream.try_write(b"hello") });
///     }));
///     response
/// }
/// ```
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<Take>>>);

type Take = Box<dyn FnOnce(Taken) + Send>;

impl Takeover {
    /// Asks for `take` to be called with the socket.
    pub fn new(take: impl FnOnce(Taken) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(take)))))
    }

    /// Hands the socket over; without effect the second time.
    pub fn run(&self, taken: Taken) {
        let take = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(take) = take {
            take(taken);
        }
    }
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Takeover")
    }
}

/// A connection whose response head was written and whose body is now the new owner's business.
#[derive(Debug)]
pub struct Taken {
    /// The socket; registered with the runtime of the server, so use `into_std` to move it to another.
    pub stream: TcpStream,
    /// The connection's place among the [limits](crate::ConnectionLimits): to be kept as long as the socket.
    pub guard: ConnectionGuard,
}

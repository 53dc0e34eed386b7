//! One connection: hyper drives HTTP/1, this adds deadlines, takeover and problem documents.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tower_service::Service as _;

use crate::io::{Socket, Watch};
use crate::limits::ConnectionGuard;
use crate::serve::Deadlines;
use crate::takeover::{Taken, Takeover};

/// Bytes that are read and thrown away after a response, so that the client gets to read it.
const LINGER_BYTES: usize = 1 << 20;
/// Longest time that takes.
const LINGER_FOR: Duration = Duration::from_secs(2);
/// A head may be this long.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Serves one connection until it is closed, upgraded or taken over.
pub(crate) async fn run(
    stream: TcpStream,
    peer: SocketAddr,
    guard: ConnectionGuard,
    router: Router,
    deadlines: Deadlines,
    mut shutdown: watch::Receiver<bool>,
) {
    let watch = Watch::new(Instant::now());
    let service = {
        let (watch, line) = (watch.clone(), guard.line());
        hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if let Some(line) = line.clone() {
                request.extensions_mut().insert(line);
            }
            answer(request, router.clone(), peer, watch.clone(), deadlines)
        })
    };
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Socket::new(stream, guard, watch.clone())), service)
        .with_upgrades();
    let mut sleep = pin!(tokio::time::sleep(deadlines.header));
    let mut stop = pin!(shutdown.wait_for(|stop| *stop));
    let mut told = false;
    let outcome = poll_fn(|cx| {
        if !told && stop.as_mut().poll(cx).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(result.map_err(Ended::Failed));
        }
        loop {
            let Some(deadline) = watch.deadline(&deadlines) else { return Poll::Pending };
            // Waking too early is harmless, so a deadline that moves away does not touch the timer.
            if deadline < sleep.deadline() {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(Err(Ended::TimedOut));
            }
            sleep.as_mut().reset(deadline);
        }
    })
    .await;
    if let Err(Ended::TimedOut) = outcome {
        tracing::debug!(%peer, "connection closed at its deadline");
        return;
    }
    // No parts after an upgrade: the socket belongs to the handler then.
    let Some(socket) = connection.into_parts().map(|parts| parts.io.into_inner()) else { return };
    let takeover = watch.takeover();
    match (outcome, takeover) {
        (Ok(()), Some(takeover)) => takeover.run(Taken { stream: socket.stream, guard: socket.guard }),
        (Err(Ended::Failed(error)), _) => {
            tracing::debug!(%peer, %error, "connection ended with an error");
            if watch.must_linger() {
                linger(socket.stream).await;
            }
        }
        _ if watch.must_linger() => linger(socket.stream).await,
        _ => {}
    }
}

enum Ended {
    TimedOut,
    Failed(hyper::Error),
}

/// Closing a socket while the client still sends makes the system discard what the client has not yet read. So the
/// write side closes first, and what comes is read for a while.
pub(crate) async fn linger(mut stream: TcpStream) {
    let drain = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let (mut scratch, mut left) = (vec![0; 8 << 10], LINGER_BYTES);
        while left > 0 {
            match stream.read(&mut scratch).await {
                Ok(0) | Err(_) => break,
                Ok(n) => left = left.saturating_sub(n),
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_FOR, drain).await;
}

/// Passes a request to the router, and a takeover from its response to the connection.
async fn answer(
    request: Request<Incoming>,
    mut router: Router,
    peer: SocketAddr,
    watch: Watch,
    deadlines: Deadlines,
) -> Result<Response<Outgoing>, Infallible> {
    let has_body = !request.body().is_end_stream();
    watch.begin(has_body);
    let is_get = request.method() == Method::GET;
    let mut request = request.map(|inner| {
        if has_body { Body::new(Arriving::new(inner, watch.clone(), deadlines)) } else { Body::empty() }
    });
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = router.call(request).await?;
    let takeover = response.extensions_mut().remove::<Takeover>();
    if let (Some(takeover), true, true) = (takeover, is_get, response.status() == StatusCode::OK) {
        watch.take_over(takeover);
        *response.version_mut() = Version::HTTP_10;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response.headers_mut().remove(header::CONTENT_LENGTH);
        return Ok(response.map(|_| Outgoing { body: None, watch: Some(watch) }));
    }
    // After an upgrade the socket is never idle again as far as this connection can tell.
    let watch = (response.status() != StatusCode::SWITCHING_PROTOCOLS).then_some(watch);
    Ok(response.map(|body| Outgoing { body: Some(body), watch }))
}

/// A request's body that must keep arriving.
struct Arriving {
    inner: Incoming,
    watch: Watch,
    pause: Duration,
    latest: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Arriving {
    fn new(inner: Incoming, watch: Watch, deadlines: Deadlines) -> Self {
        let latest = Instant::now() + deadlines.body;
        Self { inner, watch, pause: deadlines.body_pause, latest, sleep: None }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.sleep = None;
            if frame.is_none() || self.inner.is_end_stream() {
                self.watch.body_read();
            }
            return Poll::Ready(frame.map(|f| f.map_err(Into::into)));
        }
        let until = (Instant::now() + self.pause).min(self.latest);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        ready!(sleep.as_mut().poll(cx));
        let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "request body arrives too slowly");
        Poll::Ready(Some(Err(error.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response's body that tells when it has ended; without one, an empty body that does not say so beforehand,
/// which makes hyper write a head without a length.
struct Outgoing {
    body: Option<Body>,
    watch: Option<Watch>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::new, HttpBody::size_hint)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.end();
        }
    }
}

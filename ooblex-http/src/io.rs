//! A connection's socket as hyper sees it, and what the deadlines need to know about it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Problem;
use crate::limits::ConnectionGuard;
use crate::serve::Deadlines;
use crate::takeover::Takeover;

/// Where a connection is between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for the first byte of a request, the first of the connection if `fresh`.
    Idle { since: Instant, fresh: bool },
    /// Reading a request's head.
    Head { since: Instant },
    /// A request is being answered.
    Busy,
    /// The response's body has ended but may not have left yet.
    Flushing,
}

/// Shared between the socket, the service and the driver of one connection; they run in one task.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// A write could not go on since then.
    write_blocked: Option<Instant>,
    /// The request's body has not been read to its end.
    body_unread: bool,
    takeover: Option<Takeover>,
}

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Idle { since: now, fresh: true },
            write_blocked: None,
            body_unread: false,
            takeover: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the connection is to be closed if nothing happens until then.
    pub(crate) fn deadline(&self, limits: &Deadlines) -> Option<Instant> {
        let state = self.lock();
        let reading = match state.phase {
            // A client that connects has something to ask.
            Phase::Idle { since, fresh: true } | Phase::Head { since } => Some(since + limits.header),
            Phase::Idle { since, fresh: false } => Some(since + limits.idle),
            Phase::Busy | Phase::Flushing => None,
        };
        let writing = state.write_blocked.map(|since| since + limits.write);
        reading.into_iter().chain(writing).min()
    }

    /// A request's head was read; its body, if it has one, was not.
    pub(crate) fn begin(&self, has_body: bool) {
        let mut state = self.lock();
        state.phase = Phase::Busy;
        state.body_unread = has_body;
    }

    pub(crate) fn body_read(&self) {
        self.lock().body_unread = false;
    }

    /// The response's body has ended or was given up.
    pub(crate) fn end(&self) {
        self.lock().phase = Phase::Flushing;
    }

    /// The connection will be taken over once the head is out.
    pub(crate) fn take_over(&self, takeover: Takeover) {
        self.lock().takeover = Some(takeover);
    }

    pub(crate) fn takeover(&self) -> Option<Takeover> {
        self.lock().takeover.take()
    }

    /// Whether bytes of the client may still be on their way, so that closing at once could destroy the response.
    pub(crate) fn must_linger(&self) -> bool {
        let state = self.lock();
        state.body_unread || matches!(state.phase, Phase::Head { .. })
    }
}

/// The socket of one connection.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) guard: ConnectionGuard,
    watch: Watch,
    /// Our own answer to a head that could not be parsed, as far as it has not been written yet.
    refusal: Option<Vec<u8>>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, guard: ConnectionGuard, watch: Watch) -> Self {
        Self { stream, guard, watch, refusal: None }
    }

    /// Replaces the empty answer that hyper itself gives to a malformed head by a problem document. Whatever is
    /// written while no request is being answered can only be that answer: everything else was flushed before.
    fn intercept(&mut self, first: &[u8]) -> bool {
        if self.refusal.is_some() {
            return true;
        }
        if matches!(self.watch.lock().phase, Phase::Busy | Phase::Flushing) {
            return false;
        }
        let Some(status) = first.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) else {
            return false;
        };
        let status = StatusCode::from_bytes(status).unwrap_or(StatusCode::BAD_REQUEST);
        let (code, detail) = match status.as_u16() {
            431 => ("head_too_large", "the request's head is too large or has too many fields"),
            _ => ("malformed_request", "the request is not well-formed HTTP/1.1"),
        };
        self.refusal = Some(raw_response(&Problem::new(status.as_u16(), code, detail)));
        true
    }

    fn write_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.refusal.as_mut().filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            rest.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>) {
        let mut state = self.watch.lock();
        match result {
            Poll::Ready(_) => state.write_blocked = None,
            Poll::Pending => _ = state.write_blocked.get_or_insert_with(Instant::now),
        }
    }
}

/// A whole response with `problem`, after which the connection closes.
pub(crate) fn raw_response(problem: &Problem) -> Vec<u8> {
    let status = problem.status();
    let body = problem.to_json();
    let retry = problem.retry_after_secs().map(|s| format!("retry-after: {s}\r\n")).unwrap_or_default();
    let reason = status.canonical_reason().unwrap_or("Error");
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n{retry}\
         cache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n\
         content-security-policy: default-src 'none'; frame-ancestors 'none'\r\nconnection: close\r\n\r\n{body}",
        status.as_u16(),
        body.len(),
    )
    .into_bytes()
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        if result.is_ready() && buf.filled().len() > before {
            let mut state = this.watch.lock();
            if let Phase::Idle { .. } = state.phase {
                state.phase = Phase::Head { since: Instant::now() };
            }
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.intercept(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.note_write(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.intercept(bufs.iter().find(|b| !b.is_empty()).map_or(&[], |b| b)) {
            return Poll::Ready(Ok(bufs.iter().map(|b| b.len()).sum()));
        }
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.write_refusal(cx))?;
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        let mut state = this.watch.lock();
        if state.phase == Phase::Flushing {
            state.phase = Phase::Idle { since: Instant::now(), fresh: false };
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.write_refusal(cx))?;
        if this.watch.lock().takeover.is_some() {
            // The new owner goes on writing.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

//! What leaves a socket: one message at a time, so that none waits in a buffer where it grows old.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::Sink;
use futures::stream::SplitSink;

use crate::protocol::Close;

/// Text messages that may wait for a client that takes none.
const MOST_WAITING: usize = 256;

/// The sending half of a socket.
pub(super) struct Outbox {
    sink: SplitSink<WebSocket, Message>,
    waiting: VecDeque<Message>,
    /// A message was begun and has not left.
    flushing: bool,
    /// Since when the message on its way has not left.
    since: Option<Instant>,
}

/// The client takes nothing any more.
#[derive(Debug)]
pub(super) struct Stuck;

impl Outbox {
    pub(super) fn new(sink: SplitSink<WebSocket, Message>) -> Self {
        Self { sink, waiting: VecDeque::new(), flushing: false, since: None }
    }

    /// Puts a message behind those that wait.
    pub(super) fn push(&mut self, message: Message, now: Instant) -> Result<(), Stuck> {
        if self.waiting.len() >= MOST_WAITING {
            return Err(Stuck);
        }
        self.waiting.push_back(message);
        self.since.get_or_insert(now);
        Ok(())
    }

    /// Whether everything has left.
    pub(super) fn is_idle(&self) -> bool {
        self.since.is_none()
    }

    /// How long the message on its way has not left.
    pub(super) fn stuck_for(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Sends what waits; ready when everything has left. Cancel-safe.
    pub(super) async fn drive(&mut self) -> Result<(), Stuck> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stuck>> {
        loop {
            if self.flushing {
                ready!(Pin::new(&mut self.sink).poll_flush(cx)).map_err(|_| Stuck)?;
                self.flushing = false;
                self.since = Some(Instant::now());
            }
            if self.waiting.is_empty() {
                self.since = None;
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut self.sink).poll_ready(cx)).map_err(|_| Stuck)?;
            let Some(message) = self.waiting.pop_front() else { continue };
            Pin::new(&mut self.sink).start_send(message).map_err(|_| Stuck)?;
            self.flushing = true;
        }
    }

    /// Sends what waits, and the close.
    pub(super) async fn close(&mut self, close: &Close) -> Result<(), Stuck> {
        let frame = CloseFrame { code: close.code.number(), reason: close.reason().into() };
        self.waiting.push_back(Message::Close(Some(frame)));
        self.drive().await
    }
}

//! Admitting a viewer, and the ways its parts can go: onto a socket or through a stream of bytes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use ooblex_core::{RateCap, StreamId};

use crate::fanout::{Command, Fanout, Mailbox, NewViewer, Outlet};
use crate::hub::{MjpegHub, Permit, Seat};
use crate::multipart::{Framing, Part};

/// What a viewer wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// This stream, until it ends.
    Stream(StreamId),
    /// This stream to begin with, if any, and when it ends the one that [`MjpegHub::set_newest`] names.
    Newest(Option<StreamId>),
}

/// Why a viewer is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// As many as allowed are watching.
    #[error("{limit} viewers are watching, the limit")]
    TooManyViewers {
        /// The limit.
        limit: usize,
    },
    /// No such stream.
    #[error("no stream is called {0}")]
    UnknownStream(StreamId),
}

impl MjpegHub {
    /// Admits a viewer of `target`, with at most `fps` parts a second.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&self, target: Target, fps: Option<NonZeroU32>) -> Result<Ticket, Refused> {
        let (channel, follow) = match target {
            Target::Stream(id) => {
                let channel = self.channel(&id).ok_or(Refused::UnknownStream(id))?;
                (Some(channel), false)
            }
            Target::Newest(id) => (id.and_then(|id| self.channel(&id)), true),
        };
        let shared = &self.0.shared;
        let limit = shared.config.max_viewers;
        let permit = Permit::take(shared).ok_or(Refused::TooManyViewers { limit })?;
        let seat = channel.as_ref().map(Seat::take);
        let cap = fps.map(|fps| RateCap::new(fps.get()));
        Ok(Ticket { fanout: self.0.fanout.clone(), permit, seat, framing: Framing::default(), follow, cap })
    }

    /// Says which stream viewers of [`Target::Newest`] are shown when theirs ends, or has not begun.
    pub fn set_newest(&self, id: Option<&StreamId>) {
        let channel = id.and_then(|id| self.channel(id));
        self.0.fanout.send(Command::Newest(channel));
    }
}

/// A viewer that was admitted but is not watching yet. It counts as one, so its stream encodes.
#[must_use]
pub struct Ticket {
    fanout: Fanout,
    permit: Permit,
    seat: Option<Seat>,
    framing: Framing,
    follow: bool,
    cap: Option<RateCap>,
}

impl Ticket {
    /// Chooses how much of the next part leaves together with a picture.
    pub fn framing(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// Writes to `stream`, which must be non-blocking and at the beginning of the response's body, until the stream
    /// or the viewer ends. `guard` is kept as long as the socket.
    pub fn attach(self, stream: std::net::TcpStream, guard: impl Send + 'static) {
        self.add(Outlet::Socket { stream, guard: Box::new(guard) });
    }

    /// The same bytes for whoever writes them in another way.
    pub fn into_parts(self) -> PartStream {
        let (mailbox, framing) = (Arc::new(Mailbox::default()), self.framing);
        self.add(Outlet::Mailbox(mailbox.clone()));
        let mut parts = PartStream { mailbox, framing, pending: VecDeque::new(), last: None, ended: false };
        parts.push(&Part::preamble(framing, Instant::now()));
        parts
    }

    fn add(self, outlet: Outlet) {
        let Self { fanout, permit, seat, framing, follow, cap } = self;
        fanout.send(Command::Add(Box::new(NewViewer { seat, follow, outlet, permit, framing, cap })));
    }
}

/// The body of a multipart response in pieces, which share the pictures with all other viewers. Holds the newest
/// part only: whoever reads slowly skips whole parts.
pub struct PartStream {
    mailbox: Arc<Mailbox>,
    framing: Framing,
    pending: VecDeque<Bytes>,
    last: Option<Arc<Part>>,
    ended: bool,
}

impl PartStream {
    /// The next piece; `None` after the closing boundary. Cancel-safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Polls for the next piece.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(piece) = self.pending.pop_front() {
                return Poll::Ready(Some(piece));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.mailbox.poll_take(cx)) {
                Some(part) => {
                    self.push(&part);
                    self.last = Some(part);
                }
                None => {
                    self.ended = true;
                    self.push(&Part::closing(self.framing, self.last.as_deref(), Instant::now()));
                }
            }
        }
    }

    fn push(&mut self, part: &Part) {
        self.pending.extend(part.pieces(self.framing).into_iter().filter(|piece| !piece.is_empty()));
    }
}

impl Drop for PartStream {
    fn drop(&mut self) {
        self.mailbox.drop_receiver();
    }
}

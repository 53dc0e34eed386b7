//! One viewer: a socket that is written directly, or a mailbox that an ordinary response body empties.

use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use ooblex_core::RateCap;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Inbox;
use super::room::RoomKey;
use crate::hub::{MjpegCounters, Permit, Seat};
use crate::multipart::{Framing, Part};

/// A viewer on its way to the thread.
pub(crate) struct NewViewer {
    /// Its stream; `None` for the newest when there is none.
    pub(crate) seat: Option<Seat>,
    /// Goes on to the newest stream when its own ends.
    pub(crate) follow: bool,
    pub(crate) outlet: Outlet,
    pub(crate) permit: Permit,
    pub(crate) framing: Framing,
    /// Most parts a second.
    pub(crate) cap: Option<RateCap>,
}

/// Where a viewer's parts go.
pub(crate) enum Outlet {
    /// A socket, and what has to be kept as long as it.
    Socket { stream: std::net::TcpStream, guard: Box<dyn Send> },
    /// A task that passes parts on.
    Mailbox(Arc<Mailbox>),
}

/// One place for the newest part, between the thread and a response body.
#[derive(Default)]
pub(crate) struct Mailbox(Mutex<Slot>);

#[derive(Default)]
struct Slot {
    part: Option<Arc<Part>>,
    waker: Option<Waker>,
    /// Nothing more will come.
    closed: bool,
    /// Nobody takes what comes.
    dropped: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if an older part was still there.
    fn put(&self, part: Arc<Part>) -> bool {
        let mut slot = self.lock();
        let skipped = slot.part.replace(part).is_some();
        let waker = slot.waker.take();
        drop(slot);
        waker.into_iter().for_each(Waker::wake);
        skipped
    }

    fn close(&self) {
        let mut slot = self.lock();
        slot.closed = true;
        let waker = slot.waker.take();
        drop(slot);
        waker.into_iter().for_each(Waker::wake);
    }

    fn is_full(&self) -> bool {
        self.lock().part.is_some()
    }

    fn is_dropped(&self) -> bool {
        self.lock().dropped
    }

    /// The next part; `None` at the end.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Arc<Part>>> {
        let mut slot = self.lock();
        match slot.part.take().filter(|part| part.may_be_shown()) {
            Some(part) => Poll::Ready(Some(part)),
            None if slot.closed => Poll::Ready(None),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The receiving side is gone.
    pub(crate) fn drop_receiver(&self) {
        let mut slot = self.lock();
        slot.dropped = true;
        slot.part = None;
    }
}

/// Tells the thread that a viewer's socket takes bytes again.
struct Writable {
    id: usize,
    inbox: Arc<Inbox>,
}

impl Wake for Writable {
    fn wake(self: Arc<Self>) {
        self.inbox.writable(self.id);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.inbox.writable(self.id);
    }
}

/// How a viewer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Everything was written.
    Idle,
    /// The socket is full.
    Blocked,
    /// It can be removed.
    Gone,
}

enum Sending {
    Socket { stream: TcpStream, _guard: Box<dyn Send> },
    Mailbox(Arc<Mailbox>),
}

/// A viewer with what is being written to it and the newest part after that.
pub(crate) struct Viewer {
    sending: Sending,
    waker: Option<Waker>,
    framing: Framing,
    current: Option<Arc<Part>>,
    written: usize,
    next: Option<Arc<Part>>,
    /// The last picture, where the closing boundary needs it once more.
    last: Option<Arc<Part>>,
    /// When it last took something, or began to be owed something.
    progressed: Instant,
    state: Progress,
    /// The closing boundary is the last thing to write.
    closing: bool,
    cap: Option<RateCap>,
    pub(crate) follow: bool,
    pub(crate) seat: Option<Seat>,
    pub(crate) room: RoomKey,
    _permit: Permit,
}

impl Viewer {
    /// Must be called on the thread, whose runtime the socket joins.
    pub(crate) fn new(
        outlet: Outlet,
        permit: Permit,
        framing: Framing,
        follow: bool,
        cap: Option<RateCap>,
        now: Instant,
    ) -> io::Result<Self> {
        let (sending, current) = match outlet {
            Outlet::Socket { stream, guard } => {
                let stream = TcpStream::from_std(stream)?;
                limit_backlog(&stream);
                (Sending::Socket { stream, _guard: guard }, Some(Arc::new(Part::preamble(framing, now))))
            }
            Outlet::Mailbox(mailbox) => (Sending::Mailbox(mailbox), None),
        };
        Ok(Self {
            sending,
            waker: None,
            framing,
            current,
            written: 0,
            next: None,
            last: None,
            progressed: now,
            state: Progress::Idle,
            closing: false,
            cap,
            follow,
            seat: None,
            room: RoomKey::LIMBO,
            _permit: permit,
        })
    }

    /// Gives the viewer a new part, unless its rate cap says otherwise; an older one that waits is skipped.
    pub(crate) fn offer(&mut self, part: &Arc<Part>, now: Instant, counters: &MjpegCounters) {
        if self.cap.as_ref().is_some_and(|cap| !cap.admit(now)) {
            return;
        }
        self.put(part, now, counters);
    }

    /// Gives the viewer a part again, unless it is still busy with one.
    pub(crate) fn offer_repeat(&mut self, part: &Arc<Part>, now: Instant, counters: &MjpegCounters) {
        let busy = match &self.sending {
            Sending::Socket { .. } => {
                self.next.is_some() || self.current.as_ref().is_some_and(|part| part.is_picture())
            }
            Sending::Mailbox(mailbox) => mailbox.is_full(),
        };
        if !busy {
            self.put(part, now, counters);
        }
    }

    fn put(&mut self, part: &Arc<Part>, now: Instant, counters: &MjpegCounters) {
        if self.closing || self.state == Progress::Gone {
            return;
        }
        let skipped = match &self.sending {
            Sending::Socket { .. } => self.next.replace(part.clone()).is_some(),
            Sending::Mailbox(mailbox) => {
                if mailbox.is_dropped() {
                    self.state = Progress::Gone;
                    return;
                }
                if !mailbox.is_full() {
                    self.progressed = now;
                }
                let skipped = mailbox.put(part.clone());
                if !skipped {
                    counters.parts_sent.increment();
                    counters.bytes_sent.add(part.len(self.framing) as u64);
                }
                skipped
            }
        };
        if skipped {
            counters.parts_skipped.increment();
        }
        if self.state == Progress::Idle {
            self.drive(now, counters);
        }
    }

    /// Writes as much as the socket takes.
    pub(crate) fn drive(&mut self, now: Instant, counters: &MjpegCounters) {
        if self.state != Progress::Gone {
            self.state = self.write(now, counters);
        }
    }

    fn write(&mut self, now: Instant, counters: &MjpegCounters) -> Progress {
        let Sending::Socket { stream, .. } = &self.sending else { return Progress::Idle };
        loop {
            let part = match &self.current {
                Some(part) => part,
                None => match self.next.take().filter(|next| next.may_be_shown()) {
                    Some(next) => {
                        self.progressed = now;
                        self.written = 0;
                        self.current.insert(next)
                    }
                    None if self.closing => {
                        let _ = SockRef::from(stream).shutdown(Shutdown::Write);
                        return Progress::Gone;
                    }
                    None => return Progress::Idle,
                },
            };
            let (left, slices) =
                (part.len(self.framing) - self.written, part.slices(self.framing, self.written));
            let mut taken = 0;
            let result = stream.try_io(Interest::WRITABLE, || {
                taken = SockRef::from(stream).send_vectored(&slices)?;
                // A short write means that the socket is full: saying so saves the call that would find out.
                if taken < left { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            if taken > 0 {
                self.written += taken;
                self.progressed = now;
                counters.bytes_sent.add(taken as u64);
            }
            match result {
                Ok(()) => {
                    counters.parts_sent.add(u64::from(part.is_picture()));
                    let sent = self.current.take();
                    if self.framing == Framing::Ahead {
                        self.last = sent.filter(|part| part.is_picture()).or(self.last.take());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Invariant: `Viewers::insert` sets the waker before the first write.
                    let Some(waker) = &self.waker else { return Progress::Gone };
                    match stream.poll_write_ready(&mut Context::from_waker(waker)) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return Progress::Gone,
                        Poll::Pending => return Progress::Blocked,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Progress::Gone,
            }
        }
    }

    /// Lets what is being written finish, then ends the response.
    pub(crate) fn close(&mut self, now: Instant, counters: &MjpegCounters) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        match &self.sending {
            Sending::Mailbox(mailbox) => {
                mailbox.close();
                self.state = Progress::Gone;
            }
            Sending::Socket { .. } => {
                let writing = self.current.as_ref().filter(|part| part.is_picture());
                let last = writing.or(self.last.as_ref()).map(Arc::as_ref);
                self.next = Some(Arc::new(Part::closing(self.framing, last, now)));
                if self.state == Progress::Idle {
                    self.drive(now, counters);
                }
            }
        }
    }

    /// Whether it has been owed something for longer than `limit` without taking a byte.
    pub(crate) fn is_stalled(&mut self, now: Instant, limit: Duration) -> bool {
        let owed = match &self.sending {
            Sending::Socket { .. } => self.state == Progress::Blocked,
            Sending::Mailbox(mailbox) => {
                if mailbox.is_dropped() {
                    self.state = Progress::Gone;
                }
                mailbox.is_full()
            }
        };
        self.state != Progress::Gone && owed && now.saturating_duration_since(self.progressed) >= limit
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state == Progress::Gone
    }

    /// Closes at once; what the system still holds for this viewer is discarded.
    pub(crate) fn cut_off(&mut self) {
        match &self.sending {
            Sending::Socket { stream, .. } => {
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            Sending::Mailbox(mailbox) => mailbox.close(),
        }
        self.state = Progress::Gone;
    }
}

/// Bytes that may wait in the system behind those that are on their way to a viewer.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BACKLOG_BYTES: u32 = 128 << 10;

/// Keeps the system from collecting seconds of old pictures for a viewer with a slow line.
fn limit_backlog(stream: &TcpStream) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(BACKLOG_BYTES) {
        tracing::debug!(%error, "the backlog of a viewer's socket is not limited");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = stream;
}

/// All viewers, by numbers that are used again.
#[derive(Default)]
pub(crate) struct Viewers {
    places: Vec<Option<Viewer>>,
    free: Vec<usize>,
}

impl Viewers {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }

    pub(crate) fn insert(&mut self, mut viewer: Viewer, inbox: &Arc<Inbox>) -> usize {
        let id = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        viewer.waker = Some(Waker::from(Arc::new(Writable { id, inbox: inbox.clone() })));
        self.places[id] = Some(viewer);
        id
    }

    /// A late wake-up may name a place that is free or taken by another viewer; both are harmless.
    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut Viewer> {
        self.places.get_mut(id)?.as_mut()
    }

    /// The numbers in use.
    pub(crate) fn ids(&self) -> Vec<usize> {
        self.places.iter().enumerate().filter_map(|(id, place)| place.is_some().then_some(id)).collect()
    }

    pub(crate) fn remove(&mut self, id: usize) -> Option<Viewer> {
        let viewer = self.places.get_mut(id)?.take()?;
        self.free.push(id);
        Some(viewer)
    }
}

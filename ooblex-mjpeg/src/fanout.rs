//! The thread that writes to all viewers.
//!
//! One thread with a single-threaded runtime owns every viewer. A new part wakes it once; it then walks the viewers
//! of that stream and writes to each socket directly. A viewer whose socket is full waits for it alone, holding the
//! newest part at most; nothing else waits for that viewer. One tick for all repeats last parts and looks for
//! viewers that have stopped reading.

mod room;
mod viewer;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use self::room::{Room, RoomKey, Rooms};
pub(crate) use self::viewer::{Mailbox, NewViewer, Outlet};
use self::viewer::{Viewer, Viewers};
use crate::hub::{Channel, Seat, Shared};
use crate::multipart::Part;
use crate::placeholder;

/// What the thread is told.
pub(crate) enum Command {
    /// Here is a viewer.
    Add(Box<NewViewer>),
    /// This stream has ended.
    End(Arc<Channel>),
    /// This is the stream to show where the newest is asked for.
    Newest(Option<Arc<Channel>>),
    /// A placeholder was drawn.
    Placeholder { room: RoomKey, size: (u32, u32), part: Arc<Part> },
    /// Close all viewers, give them this long, and end.
    Stop { within: Duration },
}

/// The way to the thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fanout(Arc<Inbox>);

/// What waits for the thread. It is woken by the first thing that comes in, not by every one.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    commands: Vec<Command>,
    /// The newest part of each stream that has one.
    published: Vec<(Arc<Channel>, Arc<Part>)>,
    /// Viewers whose sockets take bytes again.
    writable: Vec<usize>,
    woken: bool,
    /// The thread has ended.
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, put: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        if waiting.closed {
            // What is put in nevertheless is dropped with its sockets, outside the lock.
            drop(waiting);
            let mut lost = Waiting::default();
            put(&mut lost);
            return;
        }
        put(&mut waiting);
        let wake = !std::mem::replace(&mut waiting.woken, true);
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
    }

    pub(crate) fn writable(&self, viewer: usize) {
        self.put(|waiting| waiting.writable.push(viewer));
    }

    /// Swaps what waits with what was worked off.
    fn take(&self, into: &mut Waiting) {
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.commands, &mut into.commands);
        std::mem::swap(&mut waiting.published, &mut into.published);
        std::mem::swap(&mut waiting.writable, &mut into.writable);
        waiting.woken = false;
    }
}

impl Fanout {
    /// Starts the thread.
    pub(crate) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let inbox = Arc::new(Inbox::default());
        let thread = Thread {
            inbox: inbox.clone(),
            viewers: Viewers::default(),
            rooms: Rooms::default(),
            newest: None,
            stop_at: None,
            gone: Vec::new(),
            shared,
        };
        std::thread::Builder::new().name("ooblex-fanout".into()).spawn(move || {
            let closing = Closing(thread.inbox.clone());
            // One walk makes more system calls than tokio's budget for one task allows.
            runtime.block_on(tokio::task::coop::unconstrained(thread.run()));
            drop(closing);
            runtime.shutdown_background();
        })?;
        Ok(Self(inbox))
    }

    /// Gives viewers of `channel` a new part; an older one that was not yet sent is replaced.
    pub(crate) fn publish(&self, channel: &Arc<Channel>, part: Arc<Part>) {
        self.0.put(|waiting| {
            match waiting.published.iter_mut().find(|(other, _)| Arc::ptr_eq(other, channel)) {
                Some((_, older)) if older.order <= part.order => *older = part,
                Some(_) => {}
                None => waiting.published.push((channel.clone(), part)),
            }
        });
    }

    pub(crate) fn send(&self, command: Command) {
        self.0.put(|waiting| waiting.commands.push(command));
    }
}

/// Marks the inbox as closed, however the thread ends.
struct Closing(Arc<Inbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        let closed = Waiting { closed: true, ..Waiting::default() };
        let rest = std::mem::replace(&mut *self.0.lock(), closed);
        drop(rest);
    }
}

struct Thread {
    inbox: Arc<Inbox>,
    viewers: Viewers,
    rooms: Rooms,
    newest: Option<Arc<Channel>>,
    stop_at: Option<Instant>,
    /// Viewers that can be removed.
    gone: Vec<usize>,
    shared: Arc<Shared>,
}

impl Thread {
    async fn run(mut self) {
        let config = &self.shared.config;
        let shortest = config.repeat_after.min(config.placeholder_after).min(config.stalled_after);
        let period = (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let inbox = self.inbox.clone();
        let mut work = Waiting::default();
        loop {
            tokio::select! {
                biased;
                () = inbox.wake.notified() => {}
                _ = tick.tick(), if !self.viewers.is_empty() || self.stop_at.is_some() => self.tick(),
            }
            inbox.take(&mut work);
            let now = self.shared.config.clock.now();
            for viewer in work.writable.drain(..) {
                self.drive(viewer, now);
            }
            for (channel, part) in work.published.drain(..) {
                self.publish(channel, part, now);
            }
            for command in work.commands.drain(..) {
                self.obey(command, now);
            }
            self.remove_gone();
            if self.stop_at.is_some_and(|at| self.viewers.is_empty() || Instant::now() >= at) {
                return;
            }
        }
    }

    fn publish(&mut self, channel: Arc<Channel>, part: Arc<Part>, now: Instant) {
        if channel.ended.load(Ordering::Acquire) || !part.may_be_shown() {
            return;
        }
        let room = self.rooms.of(&channel, now);
        if room.last.as_ref().is_some_and(|last| last.order >= part.order) {
            return;
        }
        room.last = Some(part.clone());
        if room.is_stale(now, &self.shared.config) {
            // Found when the first viewer came, long after it was new.
            self.repeat_in(RoomKey::of(&channel), now);
            return;
        }
        room.sent_at = now;
        for id in &room.viewers {
            if let Some(viewer) = self.viewers.get_mut(*id) {
                viewer.offer(&part, now, &self.shared.counters);
                if viewer.is_gone() {
                    self.gone.push(*id);
                }
            }
        }
        if let Some(stats) = part.stats.as_ref().filter(|_| !room.viewers.is_empty()) {
            let sent = self.shared.config.clock.now();
            stats.on_stage(ooblex_core::Stage::Send, sent.saturating_duration_since(part.made));
        }
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Add(new) => self.add(*new, now),
            Command::End(channel) => self.end(&channel, now),
            Command::Newest(channel) => {
                self.newest = channel.filter(|c| !c.ended.load(Ordering::Acquire));
                if let Some(channel) = self.newest.clone() {
                    for id in std::mem::take(&mut self.rooms.limbo(now).viewers) {
                        self.enter(id, &channel, now);
                    }
                }
            }
            Command::Placeholder { room: key, size, part } => {
                let Some(room) = self.rooms.get_mut(key) else { return };
                room.placeholder = room::Placeholder::Ready(size, part);
                self.repeat_in(key, now);
            }
            Command::Stop { within } => {
                // The time that is left is the system's, not that of a clock which a test may hold still.
                self.stop_at.get_or_insert(Instant::now() + within);
                for id in self.viewers.ids() {
                    self.close(id, now);
                }
            }
        }
    }

    fn add(&mut self, new: NewViewer, now: Instant) {
        let NewViewer { seat, follow, outlet, permit, framing, cap } = new;
        let Ok(viewer) = Viewer::new(outlet, permit, framing, follow, cap, now) else { return };
        let id = self.viewers.insert(viewer, &self.inbox);
        if self.stop_at.is_some() {
            self.close(id, now);
        }
        let channel = seat.as_ref().map(|seat| seat.0.clone());
        match channel.filter(|c| !c.ended.load(Ordering::Acquire)) {
            Some(channel) => self.enter(id, &channel, now),
            None if follow => match self.newest.clone() {
                Some(channel) => self.enter(id, &channel, now),
                None => self.enter_limbo(id, now, true),
            },
            None => self.close(id, now),
        }
        self.drive(id, now);
    }

    /// Puts a viewer in front of a stream and shows it what there is.
    fn enter(&mut self, id: usize, channel: &Arc<Channel>, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(id) else { return };
        let room = self.rooms.of(channel, now);
        room.viewers.push(id);
        viewer.room = room.key();
        // From here on the sink encodes; what came before may not be encoded yet.
        viewer.seat = Some(Seat::take(channel));
        let shown = room.last.as_ref().map_or(0, |part| part.order);
        let behind = channel.newest().filter(|shot| shot.order > shown);
        if room.last.is_some() && behind.is_none() {
            self.show(id, RoomKey::of(channel), now);
        }
        let Some(shot) = behind else { return };
        match shot.ready(channel) {
            Some(Ok(part)) => self.publish(channel.clone(), part, now),
            Some(Err(_)) => {}
            None => {
                let (channel, fanout) = (channel.clone(), Fanout(self.inbox.clone()));
                tokio::task::spawn_blocking(move || match shot.part(&channel) {
                    Ok(part) => fanout.publish(&channel, part),
                    Err(error) => tracing::debug!(%error, "the newest picture could not be encoded"),
                });
            }
        }
    }

    /// Puts a viewer where the placeholder is shown until a stream begins.
    fn enter_limbo(&mut self, id: usize, now: Instant, fresh: bool) {
        let Some(viewer) = self.viewers.get_mut(id) else { return };
        let room = self.rooms.limbo(now);
        room.viewers.push(id);
        viewer.seat = None;
        viewer.room = RoomKey::LIMBO;
        if fresh {
            // Whoever has seen a picture keeps it until the placeholder is due.
            let long_ago = now.checked_sub(self.shared.config.placeholder_after).unwrap_or(now);
            room.frame_at = room.frame_at.min(long_ago);
            self.show(id, RoomKey::LIMBO, now);
        }
    }

    fn end(&mut self, channel: &Arc<Channel>, now: Instant) {
        channel.ended.store(true, Ordering::Release);
        if self.newest.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, channel)) {
            self.newest = None;
        }
        let Some(room) = self.rooms.remove(channel) else { return };
        for id in room.viewers {
            let Some(viewer) = self.viewers.get_mut(id) else { continue };
            match (viewer.follow, self.newest.clone()) {
                (true, Some(newest)) => self.enter(id, &newest, now),
                (true, None) => {
                    self.rooms.limbo(now).frame_at = now;
                    self.enter_limbo(id, now, false);
                }
                (false, _) => self.close(id, now),
            }
        }
    }

    fn close(&mut self, id: usize, now: Instant) {
        self.with(id, |viewer, shared| viewer.close(now, &shared.counters));
    }

    fn drive(&mut self, id: usize, now: Instant) {
        self.with(id, |viewer, shared| viewer.drive(now, &shared.counters));
    }

    fn with(&mut self, id: usize, act: impl FnOnce(&mut Viewer, &Shared)) {
        if let Some(viewer) = self.viewers.get_mut(id) {
            act(viewer, &self.shared);
            if viewer.is_gone() {
                self.gone.push(id);
            }
        }
    }

    /// Repeats what is due and closes viewers that take nothing.
    fn tick(&mut self) {
        let now = self.shared.config.clock.now();
        for key in self.rooms.due(now, &self.shared.config) {
            self.repeat_in(key, now);
        }
        let limit = self.shared.config.stalled_after;
        for id in self.viewers.ids() {
            self.with(id, |viewer, shared| {
                if viewer.is_stalled(now, limit) {
                    viewer.cut_off();
                    shared.counters.viewers_stalled.increment();
                }
            });
        }
    }

    /// What a room shows while nothing new comes: its last part, or the placeholder if that is too old or may not be
    /// shown any more. `None` if there is neither yet.
    fn still(&mut self, key: RoomKey, now: Instant) -> Option<Arc<Part>> {
        let room = self.rooms.get_mut(key)?;
        let withdrawn = room.last.as_ref().is_some_and(|last| !last.may_be_shown());
        if !withdrawn && !room.is_stale(now, &self.shared.config) {
            return room.last.clone();
        }
        let part = match room.size() {
            Some(size) => room.placeholder.of_size(size),
            None => room.placeholder.ready(),
        };
        if part.is_none() {
            draw(room, &self.shared, &self.inbox);
        }
        part
    }

    /// Shows one viewer what its room shows.
    fn show(&mut self, id: usize, key: RoomKey, now: Instant) {
        if let Some(part) = self.still(key, now) {
            self.with(id, |viewer, shared| viewer.offer_repeat(&part, now, &shared.counters));
        }
    }

    /// Shows a whole room its last part again, or the placeholder.
    fn repeat_in(&mut self, key: RoomKey, now: Instant) {
        let Some(part) = self.still(key, now) else { return };
        let Some(room) = self.rooms.get_mut(key) else { return };
        room.sent_at = now;
        for id in room.viewers.clone() {
            self.with(id, |viewer, shared| viewer.offer_repeat(&part, now, &shared.counters));
        }
    }

    fn remove_gone(&mut self) {
        for id in std::mem::take(&mut self.gone) {
            let Some(viewer) = self.viewers.remove(id) else { continue };
            if let Some(room) = self.rooms.get_mut(viewer.room) {
                room.viewers.retain(|other| *other != id);
            }
        }
    }
}

/// Draws a room's placeholder on another thread, once a size.
fn draw(room: &mut Room, shared: &Arc<Shared>, inbox: &Arc<Inbox>) {
    let size = room.size().unwrap_or(placeholder::DEFAULT_SIZE);
    if room.placeholder.is_being_drawn() {
        return;
    }
    room.placeholder = room::Placeholder::Drawing;
    let (key, name) = (room.key(), room.name());
    let (shared, inbox) = (shared.clone(), Fanout(inbox.clone()));
    tokio::task::spawn_blocking(move || {
        match room::placeholder_part(&shared, size, &name) {
            Ok(part) => inbox.send(Command::Placeholder { room: key, size, part: Arc::new(part) }),
            Err(error) => tracing::error!(%error, "no placeholder"),
        };
    });
}

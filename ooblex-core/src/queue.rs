//! Queues with an explicit policy, each end usable by a task or by a thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// What happens when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueuePolicy {
    /// One place; a new item overwrites the waiting one. The default in live mode.
    LatestWins,
    /// This many places; the oldest item leaves.
    DropOldest(usize),
    /// This many places; the new item is refused.
    DropNewest(usize),
    /// This many places; the sender waits. The default in lossless mode.
    Block(usize),
}

impl QueuePolicy {
    /// Places in the queue, at least 1.
    pub const fn capacity(self) -> usize {
        match self {
            Self::LatestWins | Self::DropOldest(0) | Self::DropNewest(0) | Self::Block(0) => 1,
            Self::DropOldest(n) | Self::DropNewest(n) | Self::Block(n) => n,
        }
    }
}

/// What became of a sent item.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent<T> {
    /// It waits in the queue.
    Queued,
    /// It waits in the queue; this older one had to leave.
    Displaced(T),
    /// The queue is full and keeps what it has; here is the new one back.
    Rejected(T),
    /// The receiver is gone or the queue is closed; here it is back.
    Closed(T),
}

/// Counts of a queue: `sent = delivered + dropped + waiting` at any moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCounts {
    /// Items given to the queue, refused ones included; items sent after the close are not.
    pub sent: u64,
    /// Items the receiver took.
    pub delivered: u64,
    /// Items displaced, refused, or discarded when the receiver went.
    pub dropped: u64,
    /// Items waiting now.
    pub waiting: u64,
}

struct State<T> {
    items: VecDeque<T>,
    counts: QueueCounts,
    senders: usize,
    closed: bool,
}

impl<T> State<T> {
    /// Nothing is there, but something may come.
    fn is_quiet(&self) -> bool {
        self.items.is_empty() && !self.closed && self.senders > 0
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    policy: QueuePolicy,
    not_empty: Signal,
    not_full: Signal,
}

/// Wakes a waiting thread or task, whichever there is.
#[derive(Default)]
struct Signal {
    threads: Condvar,
    tasks: Notify,
}

impl Signal {
    fn one(&self) {
        self.threads.notify_one();
        self.tasks.notify_one();
    }

    fn all(&self) {
        self.threads.notify_all();
        self.tasks.notify_waiters();
        // `notify_waiters` leaves no permit behind for a task that is about to wait.
        self.tasks.notify_one();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.not_empty.all();
        self.not_full.all();
    }

    fn pop(&self) -> Popped<T> {
        let mut state = self.lock();
        match state.items.pop_front() {
            Some(item) => {
                state.counts.delivered += 1;
                drop(state);
                if matches!(self.policy, QueuePolicy::Block(_)) {
                    self.not_full.one();
                }
                Popped::Item(item)
            }
            None if state.closed || state.senders == 0 => Popped::Ended,
            None => Popped::Empty,
        }
    }

    /// Whether an item can be taken; `None` if one may still come.
    fn readiness(&self) -> Option<bool> {
        let state = self.lock();
        (!state.is_quiet()).then_some(!state.items.is_empty())
    }

    /// Puts the item in if the policy allows it without waiting. `None` means the sender has to wait.
    fn push(&self, item: T) -> Result<Sent<T>, T> {
        let mut state = self.lock();
        if state.closed {
            return Ok(Sent::Closed(item));
        }
        let full = state.items.len() >= self.policy.capacity();
        let sent = match self.policy {
            _ if !full => {
                state.items.push_back(item);
                Sent::Queued
            }
            QueuePolicy::Block(_) => return Err(item),
            QueuePolicy::DropNewest(_) => Sent::Rejected(item),
            QueuePolicy::LatestWins | QueuePolicy::DropOldest(_) => match state.items.pop_front() {
                Some(oldest) => {
                    state.items.push_back(item);
                    Sent::Displaced(oldest)
                }
                None => Sent::Rejected(item),
            },
        };
        state.counts.sent += 1;
        state.counts.dropped += u64::from(!matches!(sent, Sent::Queued));
        let wake = !matches!(sent, Sent::Rejected(_));
        drop(state);
        if wake {
            self.not_empty.one();
        }
        Ok(sent)
    }
}

enum Popped<T> {
    Item(T),
    Empty,
    Ended,
}

/// Makes a queue. Senders may be cloned; there is one receiver.
pub fn queue<T>(policy: QueuePolicy) -> (QueueSender<T>, QueueReceiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            items: VecDeque::with_capacity(policy.capacity().min(1024)),
            counts: QueueCounts::default(),
            senders: 1,
            closed: false,
        }),
        policy,
        not_empty: Signal::default(),
        not_full: Signal::default(),
    });
    (QueueSender(shared.clone()), QueueReceiver(shared))
}

/// The end that items go into. The queue ends for the receiver when the last sender is dropped.
pub struct QueueSender<T>(Arc<Shared<T>>);

impl<T> QueueSender<T> {
    /// Sends without ever waiting. A full [`QueuePolicy::Block`] queue refuses the item without counting it.
    pub fn try_send(&self, item: T) -> Sent<T> {
        self.0.push(item).unwrap_or_else(Sent::Rejected)
    }

    /// Sends; waits for a place only under [`QueuePolicy::Block`]. Cancel-safe: an item not yet queued is dropped
    /// with the future and was never counted.
    pub async fn send(&self, mut item: T) -> Sent<T> {
        loop {
            item = match self.0.push(item) {
                Ok(sent) => return sent,
                Err(item) => item,
            };
            self.0.not_full.tasks.notified().await;
        }
    }

    /// Sends from a thread; waits for a place only under [`QueuePolicy::Block`].
    pub fn send_blocking(&self, mut item: T) -> Sent<T> {
        loop {
            item = match self.0.push(item) {
                Ok(sent) => return sent,
                Err(item) => item,
            };
            let state = self.0.lock();
            if state.items.len() >= self.0.policy.capacity() && !state.closed {
                drop(self.0.not_full.threads.wait(state).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Ends the queue: the receiver gets what waits, then the end; further items come back.
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether the queue is open and nothing waits in it.
    pub fn is_idle(&self) -> bool {
        let state = self.0.lock();
        !state.closed && state.items.is_empty()
    }

    /// Whether nothing sent now would be received.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Counts so far.
    pub fn counts(&self) -> QueueCounts {
        counts(&self.0)
    }
}

impl<T> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for QueueSender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        let last = state.senders == 0;
        drop(state);
        if last {
            self.0.not_empty.all();
        }
    }
}

/// The end that items come out of, oldest first. Tasks need it for themselves; threads may take turns.
pub struct QueueReceiver<T>(Arc<Shared<T>>);

impl<T> QueueReceiver<T> {
    /// The next item, or `None` when the queue has ended. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        loop {
            match self.0.pop() {
                Popped::Item(item) => return Some(item),
                Popped::Ended => return None,
                Popped::Empty => self.0.not_empty.tasks.notified().await,
            }
        }
    }

    /// The next item for a thread, or `None` when the queue has ended.
    pub fn recv_blocking(&self) -> Option<T> {
        loop {
            match self.recv_timeout(Duration::from_secs(3600)) {
                Ok(item) => return item,
                Err(TimedOut) => continue,
            }
        }
    }

    /// The next item for a thread, `None` when the queue has ended, an error when nothing came in time.
    ///
    /// # Errors
    /// [`TimedOut`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<T>, TimedOut> {
        let until = Instant::now() + timeout;
        loop {
            match self.0.pop() {
                Popped::Item(item) => return Ok(Some(item)),
                Popped::Ended => return Ok(None),
                Popped::Empty => {}
            }
            let state = self.0.lock();
            if !state.is_quiet() {
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TimedOut);
            }
            drop(self.0.not_empty.threads.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits until an item is there to be taken (`true`) or the queue has ended (`false`). Cancel-safe.
    pub async fn ready(&mut self) -> bool {
        loop {
            if let Some(ready) = self.0.readiness() {
                return ready;
            }
            self.0.not_empty.tasks.notified().await;
        }
    }

    /// The same for a thread.
    pub fn ready_blocking(&self) -> bool {
        loop {
            if let Some(ready) = self.0.readiness() {
                return ready;
            }
            let state = self.0.lock();
            if state.is_quiet() {
                drop(self.0.not_empty.threads.wait(state).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// The next item if one waits.
    pub fn try_recv(&self) -> Option<T> {
        match self.0.pop() {
            Popped::Item(item) => Some(item),
            Popped::Empty | Popped::Ended => None,
        }
    }

    /// Ends the queue from this side and returns what was still waiting, counted as dropped.
    pub fn close(&self) -> Vec<T> {
        self.0.close();
        let mut state = self.0.lock();
        let rest: Vec<T> = state.items.drain(..).collect();
        state.counts.dropped += rest.len() as u64;
        rest
    }

    /// Counts so far.
    pub fn counts(&self) -> QueueCounts {
        counts(&self.0)
    }
}

impl<T> Drop for QueueReceiver<T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

/// Nothing came in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing arrived in time")]
pub struct TimedOut;

fn counts<T>(shared: &Shared<T>) -> QueueCounts {
    let state = shared.lock();
    QueueCounts { waiting: state.items.len() as u64, ..state.counts }
}

#[cfg(test)]
mod tests;

//! Packets for a session that do not come from its UDP socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;

use bytes::Bytes;
use futures::task::AtomicWaker;

/// Most packets that wait: a second of 10 Mbit/s.
const MAX_WAITING: usize = 1024;

/// Packets with where they come from. Newer ones displace older ones.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    reader: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<(SocketAddr, Bytes)>,
    dropped: u64,
}

impl Inbox {
    pub(super) fn push(&self, from: SocketAddr, packet: Bytes) {
        let mut waiting = self.lock();
        if waiting.packets.len() == MAX_WAITING {
            waiting.packets.pop_front();
            waiting.dropped += 1;
        }
        waiting.packets.push_back((from, packet));
        drop(waiting);
        self.reader.wake();
    }

    /// The oldest packet; without one the caller is woken by the next.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Option<(SocketAddr, Bytes)> {
        if let Some(packet) = self.lock().packets.pop_front() {
            return Some(packet);
        }
        self.reader.register(cx.waker());
        // One may have come in between.
        self.lock().packets.pop_front()
    }

    /// Packets that were displaced.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_reader_is_woken_and_reads_in_order() {
        let (inbox, count) = (Inbox::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        assert_eq!(inbox.poll(&cx), None);
        let from: SocketAddr = "192.0.2.1:7".parse().expect("address");
        for n in 0..1030u32 {
            inbox.push(from, Bytes::copy_from_slice(&n.to_be_bytes()));
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let read: Vec<u32> = std::iter::from_fn(|| inbox.poll(&cx))
            .map(|(_, bytes)| u32::from_be_bytes(bytes[..].try_into().expect("four bytes")))
            .collect();
        assert_eq!(read, (6..1030).collect::<Vec<_>>(), "the newest");
        assert_eq!(inbox.dropped(), 6);
    }
}

//! What waits for a TURN connection that does not take it yet.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Most bytes of media that wait: at 2.5 Mbit/s a fifth of a second. What is older is of no use to a live picture.
const MAX_MEDIA_BYTES: usize = 64 * 1024;
/// Most control messages that wait. A client sends them again by itself.
const MAX_CONTROL: usize = 64;
/// Bytes that one write takes, so that a few small messages leave in one packet.
const WRITE: usize = 16 * 1024;

/// Messages in order. Newer media displaces older media; control messages stay.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    waiting: VecDeque<Waiting>,
    media_bytes: usize,
    control: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    media: bool,
}

impl SendQueue {
    /// Puts a message at the end.
    pub(crate) fn push(&mut self, bytes: Bytes, media: bool) {
        if media {
            self.media_bytes += bytes.len();
        } else if self.control == MAX_CONTROL {
            self.dropped += 1;
            return;
        } else {
            self.control += 1;
        }
        self.waiting.push_back(Waiting { bytes, media });
        while self.media_bytes > MAX_MEDIA_BYTES {
            let Some(oldest) = self.waiting.iter().position(|w| w.media) else { break };
            self.media_bytes -= self.waiting.remove(oldest).map_or(0, |w| w.bytes.len());
            self.dropped += 1;
        }
    }

    /// Takes what one write should carry out of the queue, behind what `into` holds.
    pub(crate) fn take(&mut self, into: &mut BytesMut) {
        while let Some(next) = self.waiting.front() {
            if !into.is_empty() && into.len() + next.bytes.len() > WRITE {
                break;
            }
            into.extend_from_slice(&next.bytes);
            if next.media {
                self.media_bytes -= next.bytes.len();
            } else {
                self.control -= 1;
            }
            self.waiting.pop_front();
        }
    }

    /// Messages that were displaced or refused.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(n: u8, length: usize) -> Bytes {
        Bytes::from(vec![n; length])
    }

    fn drain(queue: &mut SendQueue) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut write = BytesMut::new();
            queue.take(&mut write);
            if write.is_empty() {
                return all;
            }
            all.extend_from_slice(&write);
        }
    }

    #[test]
    fn messages_leave_in_order_several_a_write() {
        let mut queue = SendQueue::default();
        for n in 0..20 {
            queue.push(media(n, 1200), n % 3 == 0);
        }
        let mut write = BytesMut::new();
        queue.take(&mut write);
        assert_eq!(write.len(), 13 * 1200);
        let mut all = write.to_vec();
        all.extend(drain(&mut queue));
        let expected: Vec<u8> = (0..20).flat_map(|n| vec![n; 1200]).collect();
        assert!(all == expected && queue.dropped() == 0);
    }

    #[test]
    fn a_stuck_connection_keeps_the_newest_media_and_every_control_message() {
        let mut queue = SendQueue::default();
        queue.push(media(255, 100), false);
        for n in 0..200 {
            queue.push(media(n, 1000), true);
        }
        queue.push(media(254, 100), false);
        assert_eq!(queue.dropped(), 135);
        let left = drain(&mut queue);
        assert_eq!(left.len(), 65 * 1000 + 200, "65,000 bytes of media and two control messages");
        assert_eq!((left[0], left[100], left[left.len() - 101], left[left.len() - 1]), (255, 135, 199, 254));
    }

    #[test]
    fn control_messages_are_bounded_too() {
        let mut queue = SendQueue::default();
        for n in 0..100 {
            queue.push(media(n, 4), false);
        }
        assert_eq!((drain(&mut queue).len(), queue.dropped()), (64 * 4, 36));
        queue.push(media(1, 4), false);
        assert_eq!(drain(&mut queue).len(), 4, "there is room again");
    }
}

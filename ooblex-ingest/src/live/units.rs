//! The short queue between whoever reads the network and the decoding thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ooblex_core::Rotation;

use crate::decode::VideoCodec;

/// Access units that may wait: a burst that loss repair lets go at once fits, at 60 a second, too.
const MAX_WAITING: usize = 24;
/// The decoder is behind when it has not begun the oldest after this long.
const MAX_AGE: Duration = Duration::from_millis(400);

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// An access unit of a video.
    Video(VideoCodec),
    /// A picture of its own, as [`picture`](crate::picture) takes them.
    Picture,
}

/// An access unit, or a picture, with all that becomes of it will carry.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The publisher's number of it, for whoever wants to know what became of it.
    pub number: u64,
    /// What the data is.
    pub coding: Coding,
    /// H.264 in Annex B form; one frame of the other codecs; a picture file.
    pub data: Bytes,
    /// Media time in ticks of 90 kHz; different for every access unit of a video.
    pub pts: i64,
    /// It depends on no other unit.
    pub keyframe: bool,
    /// Nothing before it counts: it begins another encoding of the picture, or is one by itself.
    pub fresh: bool,
    /// When its last byte came.
    pub received: Instant,
    /// When it was taken, on the sender's clock.
    pub captured: Option<SystemTime>,
    /// How it must be turned to be upright.
    pub rotation: Rotation,
    /// Whether it must be mirrored after that.
    pub mirrored: bool,
}

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// It waits.
    Queued,
    /// It begins anew; this many units before it were dropped.
    Restarted(u64),
    /// The decoder is behind: this many units were dropped, this one among them, and a key frame is needed.
    Behind(u64),
}

/// Both ends of the queue. Cheap to clone.
#[derive(Clone, Default)]
pub struct Units(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Unit>,
    /// Everything up to the next key frame is dropped.
    skipping: bool,
    closed: bool,
}

impl Units {
    /// Queues a unit at `now`. Of what waits only all or nothing is dropped, and then everything up to the next key
    /// frame, for what comes between would refer to what is missing.
    pub fn push(&self, unit: Unit, now: Instant) -> Pushed {
        let mut state = self.lock();
        if state.skipping && !unit.keyframe {
            return Pushed::Behind(1);
        }
        let oldest = state.waiting.front();
        let late = oldest.is_some_and(|unit| now.saturating_duration_since(unit.received) >= MAX_AGE);
        let behind = state.skipping || late || state.waiting.len() >= MAX_WAITING;
        let pushed = match (behind || unit.fresh, unit.keyframe) {
            (true, true) => {
                let dropped = state.waiting.len() as u64;
                state.waiting.clear();
                state.skipping = false;
                Pushed::Restarted(dropped)
            }
            (true, false) => {
                let dropped = state.waiting.len() as u64 + 1;
                state.waiting.clear();
                state.skipping = true;
                return Pushed::Behind(dropped);
            }
            (false, _) => Pushed::Queued,
        };
        state.waiting.push_back(unit);
        drop(state);
        self.0.1.notify_one();
        pushed
    }

    /// The next unit; waits for it. `None` once the queue is closed.
    pub fn pop(&self) -> Option<Unit> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(unit) = state.waiting.pop_front() {
                return Some(unit);
            }
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets go of everything; the thread at the other end stops.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(pts: i64, keyframe: bool, received: Instant) -> Unit {
        let (coding, data) = (Coding::Video(VideoCodec::Vp8), Bytes::new());
        let (rotation, mirrored) = (Rotation::None, false);
        let (number, fresh, captured) = (pts as u64, false, None);
        Unit { number, coding, data, pts, keyframe, fresh, received, captured, rotation, mirrored }
    }

    fn drain(units: &Units) -> Vec<i64> {
        let waiting = units.lock().waiting.len();
        (0..waiting).filter_map(|_| units.pop()).map(|unit| unit.pts).collect()
    }

    #[test]
    fn a_full_queue_is_dropped_up_to_the_next_key_frame() {
        let (units, now) = (Units::default(), Instant::now());
        for pts in 0..MAX_WAITING as i64 {
            assert_eq!(units.push(unit(pts, pts == 0, now), now), Pushed::Queued);
        }
        assert_eq!(units.push(unit(100, false, now), now), Pushed::Behind(MAX_WAITING as u64 + 1));
        assert_eq!(units.push(unit(101, false, now), now), Pushed::Behind(1));
        assert_eq!(drain(&units), [0; 0]);
        assert_eq!(units.push(unit(102, true, now), now), Pushed::Restarted(0));
        assert_eq!(units.push(unit(103, false, now), now), Pushed::Queued);
        assert_eq!(drain(&units), [102, 103]);
    }

    #[test]
    fn what_waits_too_long_counts_as_behind_and_a_key_frame_mends_it_at_once() {
        let (units, now) = (Units::default(), Instant::now());
        assert_eq!(units.push(unit(0, true, now), now), Pushed::Queued);
        assert_eq!(units.push(unit(1, false, now), now + MAX_AGE - Duration::from_millis(1)), Pushed::Queued);
        assert_eq!(units.push(unit(2, true, now + MAX_AGE), now + MAX_AGE), Pushed::Restarted(2));
        assert_eq!(drain(&units), [2]);
        assert_eq!(units.push(unit(3, false, now), now + MAX_AGE), Pushed::Queued);
        let later = now + 2 * MAX_AGE;
        assert_eq!(units.push(unit(4, false, later), later), Pushed::Behind(2));
    }

    #[test]
    fn another_encoding_replaces_what_waits() {
        let (units, now) = (Units::default(), Instant::now());
        assert_eq!(units.push(unit(0, true, now), now), Pushed::Queued);
        assert_eq!(units.push(Unit { fresh: true, ..unit(7, true, now) }, now), Pushed::Restarted(1));
        assert_eq!(drain(&units), [7]);
    }

    #[test]
    fn a_closed_queue_lets_its_thread_go() {
        let units = Units::default();
        let waiting = units.clone();
        let thread = std::thread::spawn(move || waiting.pop().is_none());
        units.close();
        assert!(thread.join().expect("no panic"));
    }
}

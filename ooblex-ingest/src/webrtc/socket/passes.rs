//! Passes of the driver's loop that get relayed packets out.
//!
//! The loop of the WebRTC implementation (0.21.1) writes, then handles what has come, then sleeps. What it hands to a
//! TURN allocation while writing, and what relayed packets make it answer, lies there until something else wakes it:
//! with a relay, each flight of a handshake waits for a timer, which made connecting take seconds. So its sleeps are
//! cut short while a relay is in use: each real one is followed by a few passes that get everything out.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// Read, answer, hand to the allocation, send: three passes after the one that was woken.
const PASSES: u8 = 3;
/// A real sleep, in case a timer fell due in the last of the passes.
pub(super) const LONGEST: Duration = Duration::from_millis(100);

/// Counts passes. Only the driver's task calls this.
#[derive(Debug, Default)]
pub(super) struct Passes {
    done: AtomicU8,
    /// Whether the last short sleep has not ended, so that something else woke the driver.
    begun: AtomicBool,
}

impl Passes {
    /// Whether the driver should sleep not at all now.
    pub(super) fn begin(&self) -> bool {
        if self.begun.swap(true, Ordering::Relaxed) {
            self.done.store(0, Ordering::Relaxed);
        }
        if self.done.load(Ordering::Relaxed) < PASSES {
            return true;
        }
        // A real sleep; whatever ends it begins the count again.
        self.done.store(0, Ordering::Relaxed);
        self.begun.store(false, Ordering::Relaxed);
        false
    }

    /// A short sleep has ended, and with it a pass.
    pub(super) fn end(&self) {
        self.begun.store(false, Ordering::Relaxed);
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wake_is_followed_by_three_passes() {
        let passes = Passes::default();
        for _ in 0..2 {
            for _ in 0..3 {
                assert!(passes.begin());
                passes.end();
            }
            assert!(!passes.begin(), "a real sleep, ended by a packet or a timer");
        }
        assert!(passes.begin());
        passes.end();
        assert!(passes.begin(), "another packet comes before this ends");
        for _ in 0..3 {
            assert!(passes.begin(), "three more from there");
            passes.end();
        }
        assert!(!passes.begin());
    }
}

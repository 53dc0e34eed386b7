//! What is configured and counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ooblex_core::{Clock, Counter};

/// How good a viewer's pictures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Most pixels on the shorter side; smaller pictures stay as they are.
    pub max_height: u32,
    /// Most thousand bits a second. Small pictures get less; JPEG gets a quality to match instead.
    pub kbps: u32,
}

/// The qualities that there are, best first. Few, so that viewers share encoders.
pub const LADDER: [Quality; 5] = [
    Quality { max_height: 720, kbps: 2500 },
    Quality { max_height: 720, kbps: 1200 },
    Quality { max_height: 480, kbps: 700 },
    Quality { max_height: 360, kbps: 350 },
    Quality { max_height: 240, kbps: 150 },
];

/// Limits of a [`LiveHub`](super::LiveHub).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveConfig {
    /// Most encoders at once, over all streams, codecs and qualities.
    pub max_encoders: usize,
    /// Most encoded pictures that wait for one viewer; one more, and the viewer goes on with the next key frame.
    pub max_waiting: usize,
    /// Least time between key frames that viewers ask for.
    pub key_gap: Duration,
    /// The clock that ages are measured by.
    pub clock: Clock,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self { max_encoders: 16, max_waiting: 4, key_gap: Duration::from_millis(300), clock: Clock::system() }
    }
}

/// Counts over all streams since the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LiveCounters {
    /// Pictures encoded.
    pub encoded: Counter,
    /// Key frames among them.
    pub keys: Counter,
    /// Bytes of all of them.
    pub bytes: Counter,
    /// Pictures that could not be encoded, or not be decoded before.
    pub encode_errors: Counter,
    /// Pictures left out because a newer one was there before the encoder was free.
    pub superseded: Counter,
    /// Encoded pictures left out for a viewer: it lagged behind, or they may not be shown any more.
    pub skipped: Counter,
    running: AtomicUsize,
}

impl LiveCounters {
    pub(super) fn encoders(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Counts one more encoder; false if there are `most` already.
    pub(super) fn claim_encoder(&self, most: usize) -> bool {
        let more = |running: usize| (running < most).then_some(running + 1);
        self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn free_encoder(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

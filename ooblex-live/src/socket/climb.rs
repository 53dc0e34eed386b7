//! Which rung of the ladder suits a viewer: down as soon as acknowledgements lag behind and stay so, up after some time
//! without. Time is an argument.

use std::time::{Duration, Instant};

use crate::{Codec, LADDER};

/// What is acknowledged is judged over this long. The least wait counts: a stall that is over is no congestion.
const WINDOW: Duration = Duration::from_secs(1);
/// Where a viewer begins: good enough to be looked at, and soon left for a better one.
const FIRST: usize = 1;
/// Time without congestion before a rung up is tried, until there was any.
const FIRST_HOLD: Duration = Duration::from_secs(2);
/// The same after congestion; doubled each time that the higher rung did not last.
const HOLD: Duration = Duration::from_secs(5);
const MAX_HOLD: Duration = Duration::from_secs(80);
/// A rung that is left within this long after it was climbed did not last.
const LASTS: Duration = Duration::from_secs(10);
/// Of the throughput that was measured, in percent, the next rung may take so much.
const TAKES: u64 = 85;
/// JPEG takes about so many times the bits of video that the ladder tells.
const JPEG_WEIGHT: u64 = 8;

/// Why a viewer's quality is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The session begins.
    Start,
    /// Acknowledgements lag behind.
    Congested,
    /// They have not for some time.
    Room,
    /// The viewer wants no more.
    Limit,
}

impl Why {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Congested => "acknowledgements lag behind",
            Self::Room => "there is room for more",
            Self::Limit => "the viewer's limit",
        }
    }
}

/// What a viewer wants at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) max_kbps: Option<u32>,
    pub(super) max_height: Option<u32>,
}

impl Limits {
    /// The best rung within the limits; the lowest if none is.
    fn best(self) -> usize {
        let fits = |quality: &crate::Quality| {
            self.max_kbps.is_none_or(|most| quality.kbps <= most)
                && self.max_height.is_none_or(|most| quality.max_height <= most)
        };
        LADDER.iter().position(fits).unwrap_or(LADDER.len() - 1)
    }
}

/// Chooses the rung of one viewer.
pub(super) struct Climb {
    rung: usize,
    limits: Limits,
    /// A wait longer than this is congestion.
    target: Duration,
    weight: u64,
    hold: Duration,
    /// Since when nothing was congested on this rung.
    well_since: Instant,
    climbed: Option<Instant>,
    window: Window,
}

struct Window {
    since: Instant,
    least: Option<Duration>,
    bytes: u64,
}

impl Window {
    fn new(since: Instant) -> Self {
        Self { since, least: None, bytes: 0 }
    }
}

impl Climb {
    pub(super) fn new(codec: Codec, limits: Limits, budget: Duration, now: Instant) -> Self {
        Self {
            rung: limits.best().max(FIRST),
            limits,
            target: budget / 2,
            weight: if codec == Codec::Jpeg { JPEG_WEIGHT } else { 1 },
            hold: FIRST_HOLD,
            well_since: now,
            climbed: None,
            window: Window::new(now),
        }
    }

    pub(super) fn rung(&self) -> usize {
        self.rung
    }

    /// A picture of `bytes` was acknowledged after it had `waited`.
    pub(super) fn acked(&mut self, waited: Duration, bytes: usize) {
        let least = self.window.least.map_or(waited, |least| least.min(waited));
        self.window.least = Some(least);
        self.window.bytes += bytes as u64;
    }

    /// Other limits from now on.
    pub(super) fn limit(&mut self, limits: Limits, now: Instant) -> Option<Why> {
        self.limits = limits;
        let best = limits.best();
        (self.rung < best).then(|| self.go(best, Why::Limit, now))
    }

    /// Looks at what came since the last look; `waiting` is how long the oldest picture on its way has waited. Tells why if
    /// the rung is another one now.
    pub(super) fn look(&mut self, waiting: Option<Duration>, now: Instant) -> Option<Why> {
        let passed = now.saturating_duration_since(self.window.since);
        if passed < WINDOW {
            return None;
        }
        let window = std::mem::replace(&mut self.window, Window::new(now));
        // If nothing at all came, what is missing has waited for longer than that.
        let least = window.least.or(waiting);
        if least.is_some_and(|least| least > self.target) {
            return self.descend(window.bytes * 8 / passed.as_millis().max(1) as u64, now);
        }
        if now.saturating_duration_since(self.well_since) < self.hold || self.rung <= self.limits.best() {
            return None;
        }
        self.climbed = Some(now);
        Some(self.go(self.rung - 1, Why::Room, now))
    }

    fn descend(&mut self, kbps: u64, now: Instant) -> Option<Why> {
        self.well_since = now;
        let lasted = self.climbed.take().is_none_or(|at| now.saturating_duration_since(at) > LASTS);
        self.hold = if lasted { HOLD } else { (self.hold * 2).clamp(HOLD, MAX_HOLD) };
        let (next, last) = (self.rung + 1, LADDER.len() - 1);
        if next > last {
            return None;
        }
        let takes = |rung: &usize| u64::from(LADDER[*rung].kbps) * self.weight * 100 <= kbps * TAKES;
        let to = (next..=last).find(takes).unwrap_or(last);
        Some(self.go(to, Why::Congested, now))
    }

    fn go(&mut self, rung: usize, why: Why, now: Instant) -> Why {
        self.rung = rung;
        self.well_since = now;
        self.window = Window::new(now);
        why
    }
}

#[cfg(test)]
mod tests;

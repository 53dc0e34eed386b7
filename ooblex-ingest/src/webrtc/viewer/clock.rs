//! Media time of what is sent: 90 kHz, from when each picture was captured.

use std::time::{Duration, Instant, SystemTime};

use super::FeedPicture;

/// Seconds from 1900, where NTP time begins, to 1970 (RFC 5905 appendix A).
const NTP_TO_UNIX: u64 = 2_208_988_800;
/// A picture that says it is older than this, or from the future, has a clock of its own: what counts then is when it was
/// received.
const PLAUSIBLE_AGE: Duration = Duration::from_secs(10);
/// Pictures are further apart than this, whatever their times say: 1/90000 s.
const STEP: u32 = 1;

/// Gives every picture its RTP timestamp, and says which time that is.
#[derive(Debug)]
pub(super) struct MediaClock {
    origin: Instant,
    base: u32,
    last: Option<u32>,
}

impl MediaClock {
    /// `base` is the timestamp of `origin`: random (RFC 3550 section 5.1).
    pub(super) fn new(origin: Instant, base: u32) -> Self {
        Self { origin, base, last: None }
    }

    /// The timestamp of a picture that is about to be sent: later than the one before, whatever the clocks do.
    pub(super) fn stamp(&mut self, picture: &FeedPicture, now: Instant, wall: SystemTime) -> u32 {
        let wanted = self.at(captured(picture, now, wall));
        let stamp = match self.last {
            Some(last) if (wanted.wrapping_sub(last) as i32) < STEP as i32 => last.wrapping_add(STEP),
            _ => wanted,
        };
        self.last = Some(stamp);
        stamp
    }

    /// The timestamp of an instant: what a sender report ties to the time of day.
    pub(super) fn at(&self, instant: Instant) -> u32 {
        let ticks = |time: Duration| (time.as_micros() * 9 / 100) as u32;
        match instant.checked_duration_since(self.origin) {
            Some(after) => self.base.wrapping_add(ticks(after)),
            None => self.base.wrapping_sub(ticks(self.origin.saturating_duration_since(instant))),
        }
    }
}

/// When a picture was captured, by our clocks.
pub(super) fn captured(picture: &FeedPicture, now: Instant, wall: SystemTime) -> Instant {
    let age = picture.captured.and_then(|captured| wall.duration_since(captured).ok());
    let at = age.filter(|age| *age <= PLAUSIBLE_AGE).and_then(|age| now.checked_sub(age));
    at.unwrap_or(picture.received)
}

/// As NTP writes it: seconds since 1900 and their 2^32nd parts.
pub(super) fn ntp(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let parts = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + NTP_TO_UNIX) << 32) | parts
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn timestamps_follow_capture_and_never_go_back() {
        let (start, wall) = (Instant::now(), SystemTime::now());
        let mut clock = MediaClock::new(start, u32::MAX - 100);
        let ms = Duration::from_millis;
        let mut stamp = |captured: Option<SystemTime>, received: u64, now: u64| {
            let received = start + ms(received);
            let picture = FeedPicture { data: Bytes::new(), is_key: false, captured, received };
            clock.stamp(&picture, start + ms(now), wall + ms(now)).wrapping_sub(u32::MAX - 100)
        };
        assert_eq!(stamp(Some(wall + ms(100)), 130, 150), 9_000);
        assert_eq!(stamp(Some(wall + ms(133)), 170, 190), 11_970);
        // A clock that is an hour off, one that is ahead, and none at all.
        assert_eq!(stamp(Some(wall - ms(3_600_000)), 200, 230), 18_000);
        assert_eq!(stamp(Some(wall + ms(9_000)), 240, 270), 21_600);
        assert_eq!(stamp(None, 300, 320), 27_000);
        assert_eq!(stamp(Some(wall + ms(290)), 310, 330), 27_001, "captured before the one before");
    }

    #[test]
    fn a_report_names_the_time_of_day_of_an_instant() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_735_689_600_500);
        assert_eq!(ntp(time), ((1_735_689_600 + NTP_TO_UNIX) << 32) | (1 << 31));
        let clock = MediaClock::new(Instant::now(), 7);
        assert_eq!(clock.at(clock.origin + Duration::from_secs(2)), 180_007);
    }
}

//! Sender reports tie media time to the sender's clock.

use std::time::{Duration, SystemTime};

use rtc::rtcp;
use rtc::rtcp::sender_report::SenderReport;

use super::video::SenderClock;

/// Seconds from 1900, where NTP time begins, to 1970 (RFC 5905 appendix A).
const NTP_TO_UNIX: u64 = 2_208_988_800;
/// A sender whose clock is further off than this has none worth telling.
const PLAUSIBLE: Duration = Duration::from_secs(24 * 3600);

/// Whether a compound packet has one.
pub(super) fn has_report(packets: &[Box<dyn rtcp::Packet>]) -> bool {
    packets.iter().any(|packet| packet.as_any().is::<SenderReport>())
}

/// The clock of a report's sender, unless it is implausible at `now`.
pub(super) fn clock(report: &SenderReport, now: SystemTime) -> Option<SenderClock> {
    let seconds = (report.ntp_time >> 32).checked_sub(NTP_TO_UNIX)?;
    let nanos = ((report.ntp_time & 0xffff_ffff) * 1_000_000_000) >> 32;
    let at = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos as u32);
    let off = at.duration_since(now).unwrap_or_else(|error| error.duration());
    (off < PLAUSIBLE).then_some(SenderClock { timestamp: report.rtp_time, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_time_is_read_and_nonsense_is_not() {
        // Half a second after the first second of 2025.
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_735_689_600_500);
        let ntp_time = ((1_735_689_600 + NTP_TO_UNIX) << 32) | (1 << 31);
        let report = SenderReport { ntp_time, rtp_time: 90, ..Default::default() };
        let clock_now = clock(&report, now).expect("plausible");
        assert_eq!((clock_now.timestamp, clock_now.at), (90, now));
        assert!(clock(&report, now + PLAUSIBLE).is_none());
        assert!(clock(&SenderReport { ntp_time: 1 << 32, ..Default::default() }, now).is_none());
    }
}

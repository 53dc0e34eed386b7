//! Lets sender reports through to the track: they tie media time to the sender's clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use webrtc::error::Error;

use super::video::SenderClock;

/// Seconds from 1900, where NTP time begins, to 1970 (RFC 5905 appendix A).
const NTP_TO_UNIX: u64 = 2_208_988_800;
/// A sender whose clock is further off than this has none worth telling.
const PLAUSIBLE: Duration = Duration::from_secs(24 * 3600);

/// Marks inbound sender reports for delivery; everything else passes as it is.
#[derive(Default)]
pub(super) struct SenderReports {
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for SenderReports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet
            && packets.iter().any(|packet| packet.as_any().is::<SenderReport>())
        {
            packet.message.add(Attribute::DeliverToApplication);
        }
        self.read.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.write.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for SenderReports {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
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

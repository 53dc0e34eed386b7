//! From one picture to the packets of one viewer.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};

use super::super::codec::parameters;
use super::super::offer::Offer;
use super::clock::{MediaClock, captured, ntp};
use super::listen::{Heard, heard};
use super::{FeedPicture, ViewerCounters};
use crate::rtp::Packetizer;

/// Header extension that says when a picture was captured.
pub(in super::super) const CAPTURE_TIME: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// Our track on one connection.
pub(in super::super) struct Sender {
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    payload_type: u8,
    sequence: u16,
    packetizer: Packetizer,
    clock: MediaClock,
    /// Number of the extension [`CAPTURE_TIME`], if the viewer wants it.
    capture_time: Option<u8>,
    pub(super) counters: ViewerCounters,
}

impl Sender {
    /// A track in the format that is sent according to `offer`, with packets that are sent again in a stream of their own
    /// (RFC 4588) if the peer takes that; `None` if nothing is sent, or if the system has no random numbers.
    pub(in super::super) fn new(offer: &Offer, now: Instant) -> Option<Self> {
        let (format, repair) = (offer.sent.first()?, offer.sent.get(1));
        let packetizer = Packetizer::new(format.codec?)?;
        let mut random = [0; 10];
        SystemRandom::new().fill(&mut random).ok()?;
        let [a, b, c, d, e, f, g, h, i, j] = random;
        let ssrc = u32::from_be_bytes([a, b, c, d]).max(1);
        let rtx = repair.map(|_| RTCRtpRtxParameters { ssrc: ssrc.wrapping_add(1).max(1) });
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), rtx, ..Default::default() },
            active: true,
            codec: parameters("video", format).rtp_codec,
            ..Default::default()
        };
        let (stream, id, label) = ("ooblex".to_owned(), "video".to_owned(), "processed".to_owned());
        let track = MediaStreamTrack::new(stream, id, label, RtpCodecKind::Video, vec![encoding]);
        Some(Self {
            track: Arc::new(TrackLocalStaticRTP::new(track)),
            ssrc,
            payload_type: format.payload_type,
            sequence: u16::from_be_bytes([e, f]),
            packetizer,
            clock: MediaClock::new(now, u32::from_be_bytes([g, h, i, j])),
            capture_time: offer.capture_time,
            counters: ViewerCounters::default(),
        })
    }

    /// For the connection.
    pub(in super::super) fn track(&self) -> Arc<dyn TrackLocal> {
        self.track.clone()
    }

    /// Sends a picture; false once the connection is gone. Waits while the connection's own task has packets to send.
    pub(super) async fn send(&mut self, picture: &FeedPicture, now: Instant, wall: SystemTime) -> bool {
        let timestamp = self.clock.stamp(picture, now, wall);
        let captured = wall.checked_sub(now.saturating_duration_since(captured(picture, now, wall)));
        let payloads = self.packetizer.split(&picture.data);
        let last = payloads.len().saturating_sub(1);
        for (n, payload) in payloads.into_iter().enumerate() {
            let mut header = rtp::Header {
                version: 2,
                marker: n == last,
                payload_type: self.payload_type,
                sequence_number: self.sequence,
                timestamp,
                ssrc: self.ssrc,
                ..Default::default()
            };
            if let (0, Some(id), Some(captured)) = (n, self.capture_time, captured) {
                let time = Bytes::copy_from_slice(&ntp(captured).to_be_bytes());
                if let Err(error) = header.set_extension(id, time) {
                    tracing::trace!(%error, "a capture time was left out");
                }
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.counters.packets += 1;
            self.counters.bytes += payload.len() as u64;
            if self.track.write_rtp(rtp::Packet { header, payload }).await.is_err() {
                return false;
            }
        }
        self.counters.pictures += 1;
        self.counters.key_frames += u64::from(picture.is_key);
        true
    }

    /// Says which media time is which time of day (RFC 3550 section 6.4.1).
    pub(super) async fn report(&self, now: Instant, wall: SystemTime) {
        if self.counters.packets == 0 {
            return;
        }
        let report = SenderReport {
            ssrc: self.ssrc,
            ntp_time: ntp(wall),
            rtp_time: self.clock.at(now),
            // Both wrap around.
            packet_count: self.counters.packets as u32,
            octet_count: self.counters.bytes as u32,
            ..Default::default()
        };
        // Where nobody takes it, the next picture finds out.
        let _ = self.track.write_rtcp(vec![Box::new(report)]).await;
    }

    /// What the viewer says next; `None` once the connection is gone. Safe to cancel.
    pub(super) async fn heard(&self) -> Option<Heard> {
        let TrackLocalEvent::OnRtcpPacket(packets) = self.track.poll().await? else {
            return Some(Heard::default());
        };
        Some(heard(&packets, self.ssrc))
    }
}

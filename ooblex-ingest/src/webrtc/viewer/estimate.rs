//! What is negotiated with viewers, and the estimate of what their way carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rtc::interceptor::{
    BandwidthEstimator, CongestionControlBuilder, EstimatorStats, Gcc, NackResponderBuilder, PacketReport,
    ReceiverReportBuilder,
};
use rtc::peer_connection::configuration::interceptor_registry::{
    Registry, Slot, configure_simulcast_extension_headers, configure_twcc_sender_only,
};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpHeaderExtensionCapability, RtpCodecKind};
use webrtc::error::Result;

use super::super::codec::parameters;
use super::super::deliver::Deliver;
use super::super::offer::Offer;
use super::send::CAPTURE_TIME;

/// Packets that can be sent again, a power of two: two seconds of the best quality, 600 kB.
const HISTORY: u16 = 512;
/// The estimate begins here and stays within these, in bit/s: above the best quality, so that it is the way that says
/// less, and not the estimate that does not know yet.
const ESTIMATE: (f64, std::ops::RangeInclusive<f64>) = (4e6, 50e3..=20e6);
/// After everything else that reads feedback.
const LISTEN: usize = 20_000;

/// An estimate that its owner can read at any time; 0 before the first report.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Estimate(Arc<AtomicU32>);

impl Estimate {
    pub(super) fn kbps(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|kbps| *kbps > 0)
    }
}

/// Media engine and interceptors for a session that only sends the video of `offer`.
pub(in super::super) fn engine(offer: &Offer) -> Result<(MediaEngine, Registry, Estimate)> {
    let mut engine = MediaEngine::default();
    for format in &offer.sent {
        engine.register_codec(parameters("video", format), RtpCodecKind::Video)?;
    }
    for format in &offer.audio {
        engine.register_codec(parameters("audio", format), RtpCodecKind::Audio)?;
    }
    sending(&mut engine)?;
    configure_simulcast_extension_headers(&mut engine)?;
    let registry = configure_twcc_sender_only(Registry::new(), &mut engine)?;
    let (registry, estimate) = heeding(registry);
    Ok((engine, registry, estimate))
}

/// Negotiates what peers may say of the video that they are sent: key frame requests, NACK, REMB; and the time of capture.
pub(in super::super) fn sending(engine: &mut MediaEngine) -> Result<()> {
    for (typ, parameter) in [("nack", ""), ("nack", "pli"), ("ccm", "fir"), ("goog-remb", "")] {
        let feedback = RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() };
        engine.register_feedback(feedback, RtpCodecKind::Video);
    }
    let uri = CAPTURE_TIME.to_owned();
    engine.register_header_extension(RTCRtpHeaderExtensionCapability { uri }, RtpCodecKind::Video, None)
}

/// Heeds what peers say, which beside that everybody who wants may read. Sender reports are written by the session, which
/// knows when pictures were captured.
pub(in super::super) fn heeding(registry: Registry) -> (Registry, Estimate) {
    let estimate = Estimate::default();
    let (initial, range) = ESTIMATE;
    let gcc = Gcc::new(initial, *range.start(), *range.end());
    let watched = Watched { gcc, estimate: estimate.clone() };
    // No pacer: it would be one more queue, and what is sent is bounded by the quality that is chosen.
    let registry = registry
        .with(Slot::CongestionControl, CongestionControlBuilder::new(watched).build())
        .with(Slot::NackResponder, NackResponderBuilder::new().with_size(HISTORY).build())
        .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
        .with(Slot::from(LISTEN), Deliver::new(|_| true));
    (registry, estimate)
}

/// Publishes what the estimator finds.
struct Watched {
    gcc: Gcc,
    estimate: Estimate,
}

impl BandwidthEstimator for Watched {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        self.gcc.on_reports(now, reports);
        if !reports.is_empty() {
            self.estimate.0.store((self.gcc.target_bitrate() / 1_000.0) as u32, Ordering::Relaxed);
        }
    }

    fn target_bitrate(&self) -> f64 {
        self.gcc.target_bitrate()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.gcc.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.gcc.poll_timeout()
    }

    fn stats(&self) -> EstimatorStats {
        self.gcc.stats()
    }
}

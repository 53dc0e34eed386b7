//! What is negotiated: exactly the formats of a checked offer, with loss repair, and the header extensions that are
//! read.

use rtc::interceptor::NackGeneratorBuilder;
use rtc::peer_connection::configuration::interceptor_registry::{
    Registry, Slot, configure_nack, configure_rtcp_reports, configure_simulcast_extension_headers,
    configure_twcc, configure_twcc_receiver_only,
};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use webrtc::error::Result;

use super::deliver::Deliver;
use super::offer::{Format, Offer};
use super::reports::has_report;
use super::viewer::{self, Estimate};
use crate::rtp::orientation;

/// Media engine and interceptors for one session: NACK, key frame requests, transport-wide feedback, receiver
/// reports, simulcast, orientation.
pub(super) fn engine(offer: &Offer) -> Result<(MediaEngine, Registry)> {
    let mut engine = receiving(offer)?;
    let registry = configure_nack(Registry::new(), &mut engine);
    let registry = configure_twcc_receiver_only(registry, &mut engine)?;
    let registry = configure_rtcp_reports(registry).with(Slot::from(20_000), Deliver::new(has_report));
    Ok((engine, registry))
}

/// The same for a session whose publisher gets something back, and the estimate of what the way there carries.
pub(super) fn engine_both_ways(offer: &Offer) -> Result<(MediaEngine, Registry, Estimate)> {
    let mut engine = receiving(offer)?;
    viewer::sending(&mut engine)?;
    let registry = configure_twcc(Registry::new(), &mut engine)?;
    let registry = registry.with(Slot::NackGenerator, NackGeneratorBuilder::new().build());
    let (registry, estimate) = viewer::heeding(registry);
    Ok((engine, registry, estimate))
}

/// The formats of an offer, and what is negotiated for video that comes.
fn receiving(offer: &Offer) -> Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    let is_new = |format: &&Format| offer.video.iter().all(|other| other.payload_type != format.payload_type);
    for format in offer.video.iter().chain(offer.sent.iter().filter(is_new)) {
        engine.register_codec(parameters("video", format), RtpCodecKind::Video)?;
    }
    for format in &offer.audio {
        engine.register_codec(parameters("audio", format), RtpCodecKind::Audio)?;
    }
    for (typ, parameter) in [("ccm", "fir"), ("nack", ""), ("nack", "pli")] {
        let feedback = RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() };
        engine.register_feedback(feedback, RtpCodecKind::Video);
    }
    let uri = orientation::URI.to_owned();
    engine.register_header_extension(RTCRtpHeaderExtensionCapability { uri }, RtpCodecKind::Video, None)?;
    configure_simulcast_extension_headers(&mut engine)?;
    Ok(engine)
}

pub(super) fn parameters(kind: &str, format: &Format) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: format!("{kind}/{}", format.name),
            clock_rate: format.clock_rate,
            channels: format.channels,
            sdp_fmtp_line: format.fmtp.clone(),
            rtcp_feedback: Vec::new(),
        },
        payload_type: format.payload_type,
    }
}

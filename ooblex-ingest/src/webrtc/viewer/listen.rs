//! What a viewer says by RTCP, as far as it concerns what is sent: key frames, loss, bandwidth.

use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

/// What a compound packet of a viewer says about one SSRC.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Heard {
    /// PLI or FIR: it needs a key frame.
    pub(super) key_requests: u64,
    /// Packets to be sent again; somebody else does that.
    pub(super) nacked: u64,
    /// REMB in kbit/s.
    pub(super) estimate_kbps: Option<u32>,
    /// Share of packets lost since its report before, 0 to 1.
    pub(super) loss: Option<f32>,
}

/// Reads RTCP that came for the track with `ssrc`.
pub(super) fn heard(packets: &[Box<dyn rtcp::Packet>], ssrc: u32) -> Heard {
    let mut heard = Heard::default();
    for packet in packets {
        let packet = packet.as_any();
        if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
            heard.key_requests += u64::from(pli.media_ssrc == ssrc);
        } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
            heard.key_requests += u64::from(fir.fir.iter().any(|entry| entry.ssrc == ssrc));
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let count = |pair: &rtcp::transport_feedbacks::transport_layer_nack::NackPair| {
                1 + u64::from(pair.lost_packets.count_ones())
            };
            if nack.media_ssrc == ssrc {
                heard.nacked += nack.nacks.iter().map(count).sum::<u64>();
            }
        } else if let Some(remb) = packet.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
            if remb.ssrcs.contains(&ssrc) && remb.bitrate.is_finite() && remb.bitrate > 0.0 {
                heard.estimate_kbps = Some((remb.bitrate / 1_000.0) as u32);
            }
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>()
            && let Some(about) = report.reports.iter().find(|about| about.ssrc == ssrc)
        {
            heard.loss = Some(f32::from(about.fraction_lost) / 256.0);
        }
    }
    heard
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::payload_feedbacks::full_intra_request::FirEntry;
    use rtc::rtcp::reception_report::ReceptionReport;
    use rtc::rtcp::transport_feedbacks::transport_layer_nack::NackPair;

    use super::*;

    #[test]
    fn what_concerns_the_track_is_heard_and_nothing_else() {
        let about = |ssrc: u32| -> Vec<Box<dyn rtcp::Packet>> {
            let fir = FirEntry { ssrc, sequence_number: 1 };
            let report = ReceptionReport { ssrc, fraction_lost: 64, ..Default::default() };
            let mut nack = NackPair::default();
            (nack.packet_id, nack.lost_packets) = (7, 0b101);
            vec![
                Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc: ssrc }),
                Box::new(FullIntraRequest { sender_ssrc: 1, media_ssrc: ssrc, fir: vec![fir] }),
                Box::new(TransportLayerNack { sender_ssrc: 1, media_ssrc: ssrc, nacks: vec![nack] }),
                Box::new(ReceiverEstimatedMaximumBitrate {
                    sender_ssrc: 1,
                    bitrate: 1.5e6,
                    ssrcs: vec![ssrc],
                }),
                Box::new(ReceiverReport { ssrc: 1, reports: vec![report], ..Default::default() }),
            ]
        };
        let all = Heard { key_requests: 2, nacked: 3, estimate_kbps: Some(1_500), loss: Some(0.25) };
        assert_eq!(heard(&about(9), 9), all);
        assert_eq!(heard(&about(8), 9), Heard::default());
    }
}

//! A WebRTC publisher in the test's own process: encodes the test pattern, or sends what it is given.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use ooblex_core::{BufferPool, ColorSpace, Image, PixelFormat};
use ooblex_ingest::pattern::{self, Mark};
use openh264::OpenH264API;
use openh264::encoder::{BitRate, Encoder, EncoderConfig, IntraFramePeriod, RateControlMode};
use openh264::formats::YUVSlices;
use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::{
    Registry, Slot, register_default_interceptors,
};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::packetizer::Payloader;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::sansio::Protocol;
use tokio::sync::watch;
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
};

/// Longest wait for anything that should happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);
const MTU: usize = 1_150;
/// The number that the offer gives to the orientation extension when it is the first one registered.
pub(crate) const ORIENTATION: &str = "urn:3gpp:video-orientation";

/// A codec as OBS and browsers announce it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    H264,
    Vp8,
}

impl Codec {
    fn parameters(self) -> RTCRtpCodecParameters {
        let (mime_type, fmtp, payload_type) = match self {
            Self::H264 => {
                ("video/H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", 102)
            }
            Self::Vp8 => ("video/VP8", "", 96),
        };
        RTCRtpCodecParameters {
            rtp_codec: RTCRtpCodec {
                mime_type: mime_type.to_owned(),
                clock_rate: 90_000,
                channels: 0,
                sdp_fmtp_line: fmtp.to_owned(),
                rtcp_feedback: Vec::new(),
            },
            payload_type,
        }
    }
}

/// Counts key frame requests.
struct Requests(Arc<AtomicU32>, VecDeque<TaggedPacket>, VecDeque<TaggedPacket>);

impl Protocol<TaggedPacket, TaggedPacket, ()> for Requests {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = webrtc::error::Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Self::Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            let asked = packets.iter().filter(|p| p.as_any().is::<PictureLossIndication>()).count();
            self.0.fetch_add(asked as u32, Ordering::Relaxed);
            packet.message.add(Attribute::DeliverToApplication);
        }
        self.1.push_back(packet);
        Ok(())
    }
    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.1.pop_front()
    }
    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Self::Error> {
        self.2.push_back(packet);
        Ok(())
    }
    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.2.pop_front()
    }
}

impl Interceptor for Requests {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

struct Handler {
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }
}

/// One peer connection that sends one video track.
pub(crate) struct Publisher {
    pub(crate) connection: Arc<dyn PeerConnection>,
    pub(crate) requests: Arc<AtomicU32>,
    track: Arc<TrackLocalStaticRTP>,
    state: watch::Receiver<RTCPeerConnectionState>,
    gathered: watch::Receiver<bool>,
    codec: Codec,
    payloader: Box<dyn Payloader>,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Publisher {
    pub(crate) async fn new(codec: Codec) -> Self {
        Self::with_certificate(codec, None).await
    }

    pub(crate) async fn with_certificate(
        codec: Codec,
        certificate: Option<webrtc::peer_connection::RTCCertificate>,
    ) -> Self {
        let mut engine = MediaEngine::default();
        engine.register_codec(codec.parameters(), RtpCodecKind::Video).expect("codec");
        let uri = ORIENTATION.to_owned();
        engine
            .register_header_extension(RTCRtpHeaderExtensionCapability { uri }, RtpCodecKind::Video, None)
            .expect("extension");
        let requests = Arc::<AtomicU32>::default();
        let registry = register_default_interceptors(Registry::new(), &mut engine).expect("interceptors");
        let counter = Requests(requests.clone(), VecDeque::new(), VecDeque::new());
        let registry = registry.with(Slot::from(20_000), counter);
        let (gathered, has_gathered) = watch::channel(false);
        let (state, states) = watch::channel(RTCPeerConnectionState::New);
        let settings = SettingEngineBuilder::new()
            .with_include_loopback_candidate(true)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .with_ice_connection_attempts(Some(Duration::from_millis(20)), Some(200))
            .build();
        let mut configuration = webrtc::peer_connection::RTCConfigurationBuilder::new();
        if let Some(certificate) = certificate {
            configuration = configuration.with_certificates(vec![certificate]);
        }
        let connection: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_configuration(configuration.build())
                .with_media_engine(engine)
                .with_interceptor_registry(registry)
                .with_setting_engine(settings)
                .with_handler(Arc::new(Handler { gathered, state }))
                .with_udp_addrs(vec!["127.0.0.1:0"])
                .build()
                .await
                .expect("a connection"),
        );
        let ssrc = 0x0b0b_0001;
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            "stream".to_owned(),
            "video".to_owned(),
            "video".to_owned(),
            RtpCodecKind::Video,
            vec![RTCRtpEncodingParameters {
                rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
                codec: codec.parameters().rtp_codec,
                ..Default::default()
            }],
        )));
        connection.add_track(track.clone() as Arc<dyn TrackLocal>).await.expect("a track");
        let payloader: Box<dyn Payloader> = match codec {
            Codec::H264 => Box::new(H264Payloader::default()),
            Codec::Vp8 => {
                let mut payloader = Vp8Payloader::default();
                payloader.enable_picture_id = true;
                Box::new(payloader)
            }
        };
        Self {
            connection,
            requests,
            track,
            state: states,
            gathered: has_gathered,
            codec,
            payloader,
            ssrc,
            sequence: 65_500,
            timestamp: u32::MAX - 90_000,
        }
    }

    /// An offer with all candidates.
    pub(crate) async fn offer(&mut self) -> String {
        let offer = self.connection.create_offer(None).await.expect("an offer");
        self.connection.set_local_description(offer).await.expect("a local description");
        tokio::time::timeout(SOON, self.gathered.wait_for(|done| *done))
            .await
            .expect("in time")
            .expect("gathered");
        self.connection.local_description().await.expect("described").sdp
    }

    pub(crate) async fn accept(&self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).expect("an answer");
        self.connection.set_remote_description(answer).await.expect("accepted");
    }

    pub(crate) async fn data_channel(&self) -> Arc<dyn DataChannel> {
        self.connection.create_data_channel("control", None).await.expect("a channel")
    }

    pub(crate) async fn connected(&mut self) {
        let connected = self.state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
        tokio::time::timeout(SOON, connected).await.expect("in time").expect("connected");
    }

    /// Sends one access unit, `ticks` of 90 kHz after the one before; packets that `lose` names never leave.
    pub(crate) async fn send_lossy(
        &mut self,
        unit: &[u8],
        ticks: u32,
        orientation: Option<u8>,
        lose: impl Fn(usize) -> bool,
    ) {
        self.timestamp = self.timestamp.wrapping_add(ticks);
        let payloads = self.payloader.payload(MTU, &Bytes::copy_from_slice(unit)).expect("payloads");
        let last = payloads.len().saturating_sub(1);
        for (index, payload) in payloads.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let mut packet = rtc::rtp::Packet::default();
            packet.header.version = 2;
            packet.header.payload_type = self.codec.parameters().payload_type;
            packet.header.sequence_number = self.sequence;
            packet.header.timestamp = self.timestamp;
            packet.header.ssrc = self.ssrc;
            packet.header.marker = index == last;
            packet.payload = payload;
            if lose(index) {
                continue;
            }
            match orientation.filter(|_| index == last) {
                Some(byte) => {
                    let extension = rtc::rtp::extension::HeaderExtension::Custom {
                        uri: ORIENTATION.into(),
                        extension: Box::new(Raw(byte)),
                    };
                    self.track.write_rtp_with_extensions(packet, &[extension]).await.expect("sent");
                }
                None => self.track.write_rtp(packet).await.expect("sent"),
            }
        }
    }

    pub(crate) async fn send(&mut self, unit: &[u8]) {
        self.send_lossy(unit, 3_000, None, |_| false).await;
    }

    pub(crate) fn asked(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) async fn close(self) {
        self.connection.close().await.expect("closed");
    }
}

/// One byte as a header extension.
#[derive(Debug, Clone)]
struct Raw(u8);

impl rtc::shared::marshal::MarshalSize for Raw {
    fn marshal_size(&self) -> usize {
        1
    }
}

impl rtc::shared::marshal::Marshal for Raw {
    fn marshal_to(&self, buf: &mut [u8]) -> Result<usize, rtc::shared::error::Error> {
        buf[0] = self.0;
        Ok(1)
    }
}

/// Encodes the test pattern as H.264, one access unit at a time.
pub(crate) struct Pattern {
    encoder: Encoder,
    size: (u32, u32),
    pub(crate) counter: u32,
}

impl Pattern {
    pub(crate) fn new(width: u32, height: u32) -> Self {
        let config = EncoderConfig::new()
            .bitrate(BitRate::from_bps(2_500_000))
            .rate_control_mode(RateControlMode::Bitrate)
            .skip_frames(false)
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .scene_change_detect(false);
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config).expect("an encoder");
        Self { encoder, size: (width, height), counter: 0 }
    }

    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        self.size = (width, height);
    }

    pub(crate) fn force_keyframe(&mut self) {
        self.encoder.force_intra_frame();
    }

    /// The next picture, numbered from 1.
    pub(crate) fn unit(&mut self) -> Vec<u8> {
        self.counter += 1;
        let (width, height) = self.size;
        let pool = BufferPool::default();
        let mut image =
            Image::alloc(PixelFormat::I420, width, height, ColorSpace::BT709, &pool).expect("memory");
        for (index, grey) in [100, 128, 128].into_iter().enumerate() {
            image.plane_mut(index).expect("plane").fill(grey);
        }
        // Something that moves, so that every frame refers to the one before.
        let at = (self.counter * 8 % (width - 64)) as usize;
        let mut plane = image.plane_mut(0).expect("plane");
        for row in plane.rows_mut().take(64) {
            row[at..at + 64].fill(200);
        }
        pattern::draw(&mut image, Mark { counter: self.counter, timecode_ms: 1 }).expect("drawn");
        let packed = image.to_packed().expect("pixels");
        let (w, h) = (width as usize, height as usize);
        let (y, chroma) = packed.split_at(w * h);
        let (u, v) = chroma.split_at(w * h / 4);
        let yuv = YUVSlices::new((y, u, v), (w, h), (w, w / 2, w / 2));
        self.encoder.encode(&yuv).expect("encoded").to_vec()
    }
}

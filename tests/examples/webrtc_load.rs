//! Publishes a pre-encoded clip by WebRTC at 30 pictures a second, watches the MJPEG stream, and reports what arrives,
//! when, and what it costs the server.
//!
//! ```text
//! webrtc_load HOST:PORT CLIP.h264|CLIP.ivf [--seconds 20] [--pid SERVER] [--effect CHAIN]
//! ```
//!
//! The clip is one that `tests/python/load_clip.py` made: its marks tell which picture a JPEG shows. Sender and viewer
//! are in one process, so that both read one clock: latency is from handing over the last packet of a picture to having
//! read the last byte of its JPEG. The pictures are decoded when everything is over.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use ooblex_tests::http;
use ooblex_tests::multipart::{Part, Viewer};
use ooblex_tests::tools::cpu_seconds;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::{Registry, register_default_interceptors};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::packetizer::Payloader;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::watch;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
};

const PATIENCE: Duration = Duration::from_secs(10);
const SSRC: u32 = 0x10AD;
const FPS: u32 = 30;
/// Payload bytes a packet.
const MTU: usize = 1_150;

type Error = Box<dyn std::error::Error>;

struct Options {
    server: SocketAddr,
    clip: String,
    seconds: u32,
    pid: Option<u32>,
    effect: String,
}

fn options() -> Result<Options, Error> {
    let mut words = std::env::args().skip(1);
    let (server, clip) = words.next().zip(words.next()).ok_or("give HOST:PORT and a clip")?;
    let mut options =
        Options { server: server.parse()?, clip, seconds: 20, pid: None, effect: "none".into() };
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--seconds" => options.seconds = value.parse()?,
            "--pid" => options.pid = Some(value.parse()?),
            "--effect" => options.effect = value,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(options)
}

/// The access units of an Annex B file: every picture of these clips is one or more slices that begin with the first
/// macroblock in their first one.
fn annex_b_units(data: &[u8]) -> Vec<Bytes> {
    let starts: Vec<usize> =
        (0..data.len().saturating_sub(4)).filter(|at| data[*at..*at + 3] == [0, 0, 1]).collect();
    let (mut units, mut begin, mut has_slice) = (Vec::new(), 0, false);
    for start in starts {
        let kind = data[start + 3] & 31;
        let is_slice = kind == 1 || kind == 5;
        // first_mb_in_slice is 0 where the first bit of the slice header is set (ITU-T H.264 section 7.3.3).
        let begins = if is_slice { data[start + 4] & 0x80 != 0 } else { [6, 7, 8, 9].contains(&kind) };
        if begins && has_slice {
            let end = start - usize::from(data[start - 1] == 0);
            units.push(Bytes::copy_from_slice(&data[begin..end]));
            (begin, has_slice) = (end, false);
        }
        has_slice |= is_slice;
    }
    units.push(Bytes::copy_from_slice(&data[begin..]));
    units
}

/// The frames of an IVF file: a header of 32 bytes, then each frame with its size in front and 8 bytes of time.
fn ivf_units(data: &[u8]) -> Vec<Bytes> {
    let (mut units, mut at) = (Vec::new(), 32);
    while let Some(size) = data.get(at..at + 4) {
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        units.push(Bytes::copy_from_slice(&data[at + 12..at + 12 + size]));
        at += 12 + size;
    }
    units
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

struct Sender {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    state: watch::Receiver<RTCPeerConnectionState>,
    codec: RTCRtpCodecParameters,
    payloader: Box<dyn Payloader>,
    sequence: u16,
}

impl Sender {
    async fn new(h264: bool) -> Result<(Self, String), Error> {
        let (mime_type, line, payload_type) = match h264 {
            true => {
                ("video/H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", 102)
            }
            false => ("video/VP8", "", 96),
        };
        let codec = RTCRtpCodecParameters {
            rtp_codec: RTCRtpCodec {
                mime_type: mime_type.to_owned(),
                clock_rate: 90_000,
                sdp_fmtp_line: line.to_owned(),
                ..Default::default()
            },
            payload_type,
        };
        let mut engine = MediaEngine::default();
        engine.register_codec(codec.clone(), RtpCodecKind::Video)?;
        let registry = register_default_interceptors(Registry::new(), &mut engine)?;
        let (gathered, mut has_gathered) = watch::channel(false);
        let (state, states) = watch::channel(RTCPeerConnectionState::New);
        let settings = SettingEngineBuilder::new()
            .with_include_loopback_candidate(true)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .build();
        let connection: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_media_engine(engine)
                .with_interceptor_registry(registry)
                .with_setting_engine(settings)
                .with_handler(Arc::new(Handler { gathered, state }))
                .with_udp_addrs(vec!["127.0.0.1:0"])
                .build()
                .await?,
        );
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            "load".to_owned(),
            "video".to_owned(),
            "video".to_owned(),
            RtpCodecKind::Video,
            vec![RTCRtpEncodingParameters {
                rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() },
                codec: codec.rtp_codec.clone(),
                ..Default::default()
            }],
        )));
        connection.add_track(track.clone() as Arc<dyn TrackLocal>).await?;
        let offer = connection.create_offer(None).await?;
        connection.set_local_description(offer).await?;
        tokio::time::timeout(PATIENCE, has_gathered.wait_for(|done| *done)).await??;
        let offer = connection.local_description().await.ok_or("no local description")?.sdp;
        let payloader: Box<dyn Payloader> = if h264 {
            Box::new(H264Payloader::default())
        } else {
            let mut payloader = Vp8Payloader::default();
            payloader.enable_picture_id = true;
            Box::new(payloader)
        };
        Ok((Self { connection, track, state: states, codec, payloader, sequence: 0 }, offer))
    }

    /// Sends one picture; answers when its last packet was handed over.
    async fn send(&mut self, unit: &Bytes, timestamp: u32) -> Result<Instant, Error> {
        let payloads = self.payloader.payload(MTU, unit)?;
        let last = payloads.len().saturating_sub(1);
        let mut at = Instant::now();
        for (index, payload) in payloads.into_iter().enumerate() {
            let mut packet = rtc::rtp::Packet::default();
            packet.header.version = 2;
            packet.header.payload_type = self.codec.payload_type;
            packet.header.sequence_number = self.sequence;
            packet.header.timestamp = timestamp;
            packet.header.ssrc = SSRC;
            packet.header.marker = index == last;
            packet.payload = payload;
            self.sequence = self.sequence.wrapping_add(1);
            at = Instant::now();
            self.track.write_rtp(packet).await?;
        }
        Ok(at)
    }
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    sorted
        .get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Reads parts until nothing comes any more or the stream falls back to the placeholder.
fn watch_stream(server: SocketAddr, until: Instant) -> Vec<Part> {
    let mut viewer = Viewer::open(server, "/stream.mjpg");
    let mut parts = Vec::new();
    while Instant::now() < until {
        match viewer.try_next() {
            Ok(Some(part)) => parts.push(part),
            _ => break,
        }
    }
    parts
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let options = options()?;
    let h264 = !options.clip.ends_with(".ivf");
    let data = std::fs::read(&options.clip)?;
    let units = if h264 { annex_b_units(&data) } else { ivf_units(&data) };
    let (mut sender, offer) = Sender::new(h264).await?;
    let length = Duration::from_secs(u64::from(options.seconds));
    let (server, until) = (options.server, Instant::now() + length + Duration::from_secs(3));
    // It watches before anything is there, so that the first picture meets a viewer.
    let viewer = std::thread::spawn(move || watch_stream(server, until));
    tokio::time::sleep(Duration::from_millis(300)).await;

    let offered = Instant::now();
    let target = format!("/whip/load?effect={}", options.effect);
    let answer = tokio::task::spawn_blocking(move || {
        http::send(server, "POST", &target, &[("Content-Type", "application/sdp")], offer.as_bytes())
    })
    .await?;
    if answer.status != 201 {
        return Err(format!("{}: {}", answer.status, answer.text()).into());
    }
    let place = answer.header("Location").ok_or("no Location")?.to_owned();
    let description = RTCSessionDescription::answer(answer.text().to_owned())?;
    sender.connection.set_remote_description(description).await?;
    let connected = sender.state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
    tokio::time::timeout(PATIENCE, connected).await??;
    let connected = offered.elapsed();

    // From here on at a steady pace; the first second is for warming up.
    let begin = Instant::now();
    let frames = options.seconds * FPS;
    let mut sent: Vec<Instant> = Vec::with_capacity(frames as usize);
    let mut cpu = None;
    for number in 0..frames {
        let due = begin + Duration::from_secs(1) * number / FPS;
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
        if number == FPS {
            cpu = options.pid.and_then(cpu_seconds);
        }
        let unit = &units[number as usize % units.len()];
        sent.push(sender.send(unit, number.wrapping_mul(90_000 / FPS)).await?);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let cpu = options.pid.and_then(cpu_seconds).zip(cpu).map(|(after, before)| after - before);
    tokio::task::spawn_blocking(move || http::send(server, "DELETE", &place, &[], &[])).await?;
    sender.connection.close().await?;
    let parts = viewer.join().map_err(|_| "the viewer failed")?;

    // Which picture each part shows: its mark counts within the clip, and rises.
    let mut arrived: Vec<Option<Instant>> = vec![None; sent.len()];
    let mut at = 0;
    let mut out_of_order = 0;
    for part in &parts {
        let Some(mark) = part.mark() else { continue };
        let found = (at..sent.len()).find(|number| number % units.len() == mark.counter as usize);
        match found.filter(|number| sent[*number] <= part.at) {
            Some(number) => {
                arrived[number].get_or_insert(part.at);
                at = number;
            }
            None => out_of_order += 1,
        }
    }
    let first = arrived.iter().flatten().next().ok_or("no picture arrived")?;
    let steady = FPS as usize..sent.len();
    let delivered = steady.clone().filter(|number| arrived[*number].is_some()).count();
    let mut latencies: Vec<f64> =
        steady.filter_map(|number| Some((arrived[number]? - sent[number]).as_secs_f64() * 1e3)).collect();
    latencies.sort_by(f64::total_cmp);
    let bytes: usize = parts.iter().map(|part| part.body.len()).sum();
    println!(
        "{}: {delivered} of {} pictures delivered, {:.2} a second; {out_of_order} out of order; {} kB each",
        if h264 { "H.264" } else { "VP8" },
        sent.len() - FPS as usize,
        delivered as f64 / f64::from(options.seconds - 1),
        bytes / parts.len().max(1) / 1000
    );
    if let Some(cpu) = cpu {
        println!("CPU of the server: {:.2} ms a delivered picture", cpu * 1e3 / delivered as f64);
    }
    println!(
        "last packet to last JPEG byte: p50 {:.1} ms, p90 {:.1}, p99 {:.1}, max {:.1}",
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.9),
        percentile(&latencies, 0.99),
        latencies.last().unwrap()
    );
    println!(
        "offer to first picture: {:.0} ms (connected after {:.0})",
        (*first - offered).as_secs_f64() * 1e3,
        connected.as_secs_f64() * 1e3
    );
    Ok(())
}

//! What the fuzz targets do with their input. The tests of ooblex-ingest include this file and run all seeds through
//! it, so that it may use nothing but what they have, too.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ooblex_core::BufferPool;
use ooblex_ingest::decode::{self, VideoCodec};
use ooblex_ingest::ice::provider::IceList;
use ooblex_ingest::ice::relay::{self, FrameReader};
use ooblex_ingest::rtp::{Assembler, AssemblerConfig, Packet};

/// A target: takes any bytes, panics only if something is wrong.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("rtp_vp8", rtp_vp8),
    ("rtp_vp9", rtp_vp9),
    ("rtp_h264", rtp_h264),
    ("rtp_av1", rtp_av1),
    ("decode_vp8", decode_vp8),
    ("decode_vp9", decode_vp9),
    ("decode_h264", decode_h264),
    ("offer", offer),
    ("fragment", fragment),
    ("ice_list", ice_list),
    ("turn_stream", turn_stream),
];

/// The next record: a byte of instructions, and as many bytes as the two after it say.
fn record<'a>(data: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[head, low, high], rest) = data.split_first_chunk::<3>()?;
    let size = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
    let (payload, rest) = rest.split_at(size);
    *data = rest;
    Some((head, payload))
}

/// Small limits, so that short inputs reach them.
const MAX_FRAME_BYTES: usize = 8 << 10;

/// Packets of one track. Instructions: bit 0 marker, bit 1 next timestamp, bits 2 and 3 sequence (next, one lost, two
/// back, far away), bit 4 time passes, bit 5 wait until something happens, bit 6 the caller wants a key frame, bit 7
/// timestamp leaps.
fn rtp(codec: VideoCodec, mut data: &[u8]) {
    let config = AssemblerConfig::default().max_frame_bytes(MAX_FRAME_BYTES).max_held(64, 64 << 10);
    let mut assembler = Assembler::new(codec, config);
    let mut now = Instant::now();
    let (mut sequence, mut timestamp) = (u16::MAX - 3, u32::MAX - 9000);
    let (mut waits_for_key, mut requests) = (true, Vec::new());
    while let Some((head, payload)) = record(&mut data) {
        let on = |bit: u8| head >> bit & 1 == 1;
        sequence = sequence.wrapping_add([1, 2, 0u16.wrapping_sub(2), 20_000][usize::from(head >> 2 & 3)]);
        timestamp = timestamp.wrapping_add(if on(1) { 3000 } else { 0 });
        timestamp = timestamp.wrapping_add(if on(7) { 0x7777_7777 } else { 0 });
        now += Duration::from_millis(if on(4) { 25 } else { 0 });
        if on(6) {
            assembler.require_keyframe();
            waits_for_key = true;
        }
        let payload = Bytes::copy_from_slice(payload);
        assembler.push(Packet { sequence, timestamp, marker: on(0), payload }, now);
        if let Some(wake) = assembler.wake_at().filter(|_| on(5)) {
            now = now.max(wake);
        }
        while let Some(unit) = assembler.pop(now) {
            assert!(!unit.data.is_empty() && unit.data.len() <= 2 * MAX_FRAME_BYTES, "{unit:?}");
            assert!(unit.received <= now);
            assert!(unit.keyframe || !waits_for_key, "{unit:?} before any key frame");
            if codec == VideoCodec::H264 {
                assert!(unit.data.starts_with(&[0, 0, 0, 1]));
            }
            waits_for_key = false;
        }
        assert!(assembler.wake_at().is_none_or(|wake| wake > now), "something is due that was not done");
        if assembler.take_keyframe_request(now) {
            requests.push(now);
        }
    }
    assert!(requests.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(500)));
    let stats = assembler.stats();
    assert!(stats.lost <= 3000 * stats.packets && stats.late + stats.duplicates <= stats.packets);
    assert!(stats.frames + stats.broken + stats.unreferenced + stats.oversized <= stats.packets);
}

/// RTP packets to VP8 frames.
pub fn rtp_vp8(data: &[u8]) {
    rtp(VideoCodec::Vp8, data);
}

/// RTP packets to VP9 superframes.
pub fn rtp_vp9(data: &[u8]) {
    rtp(VideoCodec::Vp9, data);
}

/// RTP packets to H.264 access units.
pub fn rtp_h264(data: &[u8]) {
    rtp(VideoCodec::H264, data);
}

/// RTP packets to AV1 temporal units.
pub fn rtp_av1(data: &[u8]) {
    rtp(VideoCodec::Av1, data);
}

/// Access units, one record each.
fn decode(codec: VideoCodec, mut data: &[u8]) {
    // Larger pictures only take longer.
    const MAX_UNITS: usize = 6;
    let Ok(mut decoder) = decode::open(codec, BufferPool::new(4)) else { return };
    let mut pictures = Vec::new();
    for pts in 0..MAX_UNITS {
        let Some((_, unit)) = record(&mut data) else { break };
        let _ = decoder.decode(unit, pts as i64, &mut pictures);
    }
    let _ = decoder.flush(&mut pictures);
    for picture in pictures {
        let image = &picture.image;
        assert!(u64::from(image.width()) * u64::from(image.height()) <= decode::MAX_VIDEO_PIXELS);
    }
}

/// VP8 frames to pictures.
pub fn decode_vp8(data: &[u8]) {
    decode(VideoCodec::Vp8, data);
}

/// VP9 superframes to pictures.
pub fn decode_vp9(data: &[u8]) {
    decode(VideoCodec::Vp9, data);
}

/// H.264 access units to pictures.
pub fn decode_h264(data: &[u8]) {
    decode(VideoCodec::H264, data);
}

/// An offer, to its answer by the WebRTC implementation, without sockets.
pub fn offer(data: &[u8]) {
    ooblex_ingest::webrtc::fuzz_offer(data);
}

/// An SDP fragment of a trickling publisher.
pub fn fragment(data: &[u8]) {
    ooblex_ingest::whip::fuzz_fragment(data);
}

/// A list of ICE servers as providers send it.
pub fn ice_list(data: &[u8]) {
    match IceList::parse(data) {
        Ok(list) => {
            assert!((1..=32).contains(&list.servers.len()));
            assert!(list.life.is_none_or(|life| life <= Duration::from_secs(7 * 24 * 3600)));
            for server in &list.servers {
                let shown = format!("{server:?}");
                let elsewhere = |secret: &str| server.urls.iter().any(|url| url.contains(secret));
                for secret in
                    server.credential.iter().filter(|secret| secret.len() > 12 && !elsewhere(secret))
                {
                    assert!(!shown.contains(secret.as_str()), "a credential is shown");
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What a TURN server sends on a stream, in pieces whose size the first byte chooses. Whatever is read can be written,
/// and is read again.
pub fn turn_stream(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let (mut reader, mut again) = (FrameReader::default(), FrameReader::default());
    for piece in stream.chunks(usize::from(size) + 1) {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    let (_, written) = relay::frame(&frame).expect("a whole message");
                    assert_eq!(written.len() % 4, 0);
                    again.push(&written);
                    assert_eq!(again.next_frame().expect("a message").as_ref(), Some(&frame));
                    assert_eq!(again.pending(), 0);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next_frame(), Err(error), "no stream comes to its senses");
                    return;
                }
            }
        }
        assert!(reader.pending() <= 20 + (64 << 10), "more is held than one message");
    }
    // A datagram, too.
    let _ = relay::frame(stream);
}

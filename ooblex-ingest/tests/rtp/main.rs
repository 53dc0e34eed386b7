//! Packets as senders make them, in and out of order: what comes out is what was sent.
#![cfg(feature = "whip")]
#![allow(clippy::unwrap_used)]

mod behaviour;
mod formats;
mod link;
mod properties;
mod seeds;
mod streams;

use std::time::{Duration, Instant};

use bytes::Bytes;
use ooblex_ingest::decode::VideoCodec;
use ooblex_ingest::rtp::{AccessUnit, Assembler, AssemblerConfig, Packet};
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::packetizer::Payloader;

const TICKS: u32 = 3000;

/// Makes a frame: whether it is a key frame, its size, a number to tell it from others.
type Make = fn(bool, usize, u8) -> Bytes;

fn vp8_frame(key: bool, size: usize, seed: u8) -> Bytes {
    let mut frame = vec![seed; size.max(10)];
    frame[0] = if key { 0x10 } else { 0x11 };
    frame[3..6].copy_from_slice(&[0x9D, 0x01, 0x2A]);
    frame.into()
}

fn h264_unit(header: u8, size: usize, seed: u8) -> Vec<u8> {
    let mut unit = vec![0, 0, 0, 1, header];
    // first_mb_in_slice 0, slice_type 2 or 0, pic_parameter_set_id 0
    unit.push(if header & 0x1F == 5 { 0b1011_1000 } else { 0b1110_0000 });
    unit.resize(5 + size.max(2), seed | 1);
    unit
}

fn h264_frame(key: bool, size: usize, seed: u8) -> Bytes {
    let mut frame = Vec::new();
    if key {
        // Baseline, level 3.1, id 0; then whatever. PPS 0 of SPS 0.
        frame.extend([0, 0, 0, 1, 0x67, 66, 0xC0, 31, 0xF4, 0x05, 0x01, 0xE8]);
        frame.extend([0, 0, 0, 1, 0x68, 0b1110_0000, 0x3C, 0x80]);
    }
    frame.extend(h264_unit(if key { 0x65 } else { 0x41 }, size, seed));
    frame.into()
}

/// The packets of frames, and for each frame the number of its last packet.
fn packets(payloader: &mut dyn Payloader, frames: &[Bytes], sequence: u16, timestamp: u32) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut sequence = sequence;
    for (n, frame) in frames.iter().enumerate() {
        let payloads = payloader.payload(1200, frame).unwrap();
        let count = payloads.len();
        for (at, payload) in payloads.into_iter().enumerate() {
            let timestamp = timestamp.wrapping_add(n as u32 * TICKS);
            packets.push(Packet { sequence, timestamp, marker: at + 1 == count, payload });
            sequence = sequence.wrapping_add(1);
        }
    }
    packets
}

fn drain(assembler: &mut Assembler, now: Instant, out: &mut Vec<AccessUnit>) {
    while let Some(unit) = assembler.pop(now) {
        out.push(unit);
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn every_frame_of_a_healthy_link_comes_out_with_its_last_packet() {
    let sizes = [9000, 100, 1197, 1199, 2400, 10, 5000];
    let cases: [(VideoCodec, Box<dyn Payloader>, Make); 2] = [
        (VideoCodec::Vp8, Box::new(Vp8Payloader::default()), vp8_frame),
        (VideoCodec::H264, Box::new(H264Payloader::default()), h264_frame),
    ];
    for (codec, mut payloader, make) in cases {
        let frames: Vec<_> = (0..70).map(|n| make(n % 30 == 0, sizes[n % 7], n as u8)).collect();
        // Both numbers wrap on the way.
        let packets = packets(&mut *payloader, &frames, u16::MAX - 20, u32::MAX - 5 * TICKS);
        let mut assembler = Assembler::new(codec, AssemblerConfig::default());
        let start = Instant::now();
        let mut seen = 0;
        for (n, packet) in packets.iter().enumerate() {
            let now = start + ms(n as u64);
            assembler.push(packet.clone(), now);
            let unit = assembler.pop(now);
            assert_eq!(unit.is_some(), packet.marker, "{codec} packet {n}");
            assert_eq!(assembler.wake_at(), None);
            assert!(!assembler.take_keyframe_request(now));
            let Some(unit) = unit else { continue };
            assert_eq!(unit.data, frames[seen], "{codec} frame {seen}");
            assert_eq!((unit.keyframe, unit.gap), (seen % 30 == 0, false));
            assert_eq!(unit.received, now);
            assert_eq!(unit.pts, i64::from(u32::MAX - 5 * TICKS) + seen as i64 * i64::from(TICKS));
            seen += 1;
        }
        assert_eq!(seen, frames.len());
        let stats = assembler.stats();
        assert_eq!((stats.packets, stats.frames, stats.keyframes), (packets.len() as u64, 70, 3));
        assert_eq!(stats.lost + stats.broken + stats.late + stats.duplicates + stats.unreferenced, 0);
    }
}

#[test]
fn a_lost_packet_freezes_the_picture_up_to_the_next_key_frame() {
    let frames: Vec<_> = (0..40).map(|n| vp8_frame(n % 20 == 0, 3000, n as u8)).collect();
    let mut packets = packets(&mut Vp8Payloader::default(), &frames, 1, 0);
    packets.remove(3 * 5 + 1);
    let mut assembler = Assembler::new(VideoCodec::Vp8, AssemblerConfig::default());
    let start = Instant::now();
    let mut out = Vec::new();
    let mut asked = Vec::new();
    for (n, packet) in packets.into_iter().enumerate() {
        let now = start + ms(11 * n as u64);
        assembler.push(packet, now);
        drain(&mut assembler, now, &mut out);
        if assembler.take_keyframe_request(now) {
            asked.push(11 * n as u64);
        }
    }
    let expected: Vec<_> = (0..5).chain(20..40).map(|n| frames[n].clone()).collect();
    assert_eq!(out.iter().map(|unit| unit.data.clone()).collect::<Vec<_>>(), expected);
    assert!(out[5].gap && out[5].keyframe);
    assert_eq!(out.iter().filter(|unit| unit.gap).count(), 1);
    let stats = assembler.stats();
    assert_eq!((stats.lost, stats.broken, stats.unreferenced), (1, 1, 14));
    // Noticed with packet 16 at 176 ms, given up 150 ms later.
    assert_eq!(asked, [330]);
}

#[test]
fn a_packet_that_is_sent_again_in_time_costs_nothing() {
    let frames: Vec<_> = (0..10).map(|n| h264_frame(n == 0, 3000, n as u8)).collect();
    let mut packets = packets(&mut H264Payloader::default(), &frames, 1, 0);
    let missing = packets.remove(9);
    packets.insert(20, missing);
    let mut assembler = Assembler::new(VideoCodec::H264, AssemblerConfig::default());
    let start = Instant::now();
    let mut out = Vec::new();
    for (n, packet) in packets.into_iter().enumerate() {
        let now = start + ms(5 * n as u64);
        assembler.push(packet, now);
        drain(&mut assembler, now, &mut out);
        assert_eq!(assembler.wake_at(), (9..20).contains(&n).then(|| start + ms(5 * 9 + 150)));
    }
    assert_eq!(out.iter().map(|unit| unit.data.clone()).collect::<Vec<_>>(), frames);
    assert!(out.iter().all(|unit| !unit.gap));
    assert_eq!((assembler.stats().recovered, assembler.stats().lost), (1, 0));
}

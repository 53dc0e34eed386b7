//! What a packet costs on its way to an access unit, one thread. `cargo bench -p ooblex-ingest --bench rtp`.
//!
//! 720p30 at 2.5 Mbit/s: about 10 packets a frame. The figures are for 300 frames; divide by the packets in the name.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use ooblex_ingest::decode::VideoCodec;
use ooblex_ingest::rtp::{Assembler, AssemblerConfig, Packet};
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::codec::vp9::Vp9Payloader;
use rtc::rtp::packetizer::Payloader;

const FRAMES: usize = 300;

/// Makes a frame; whether it is a key frame.
type Make = fn(bool) -> Vec<u8>;

fn packets(payloader: &mut dyn Payloader, frame: impl Fn(bool) -> Vec<u8>) -> Vec<Packet> {
    let mut packets = Vec::new();
    for n in 0..FRAMES {
        let payloads = payloader.payload(1200, &frame(n == 0).into()).unwrap();
        let count = payloads.len();
        for (at, payload) in payloads.into_iter().enumerate() {
            let sequence = packets.len() as u16;
            packets.push(Packet { sequence, timestamp: n as u32 * 3000, marker: at + 1 == count, payload });
        }
    }
    packets
}

fn vp8(key: bool) -> Vec<u8> {
    let mut frame = vec![0x55; 10_400];
    frame[..6].copy_from_slice(&[if key { 0x10 } else { 0x11 }, 0, 0, 0x9D, 0x01, 0x2A]);
    frame
}

fn vp9(key: bool) -> Vec<u8> {
    let mut frame = vec![0x55; 10_400];
    frame[..4].copy_from_slice(&[if key { 0x82 } else { 0x86 }, 0x49, 0x83, 0x42]);
    frame
}

fn h264(key: bool) -> Vec<u8> {
    let mut frame = Vec::new();
    if key {
        frame.extend([0, 0, 0, 1, 0x67, 66, 0xC0, 31, 0xF4, 0x05, 0x01, 0xE8]);
        frame.extend([0, 0, 0, 1, 0x68, 0xE0, 0x3C, 0x80]);
    }
    frame.extend([0, 0, 0, 1, if key { 0x65 } else { 0x41 }, 0xB8]);
    frame.resize(10_400, 0x55);
    frame
}

fn assemble(codec: VideoCodec, packets: &[Packet], start: Instant) -> usize {
    let mut assembler = Assembler::new(codec, AssemblerConfig::default());
    let mut units = 0;
    for (n, packet) in packets.iter().enumerate() {
        let now = start + Duration::from_millis(3 * n as u64);
        assembler.push(packet.clone(), now);
        while assembler.pop(now).is_some() {
            units += 1;
        }
    }
    units
}

fn streams(c: &mut Criterion) {
    let streams: [(VideoCodec, Box<dyn Payloader>, Make); 3] = [
        (VideoCodec::Vp8, Box::new(Vp8Payloader::default()), vp8),
        (VideoCodec::Vp9, Box::new(Vp9Payloader::default()), vp9),
        (VideoCodec::H264, Box::new(H264Payloader::default()), h264),
    ];
    let start = Instant::now();
    for (codec, mut payloader, frame) in streams {
        let in_order = packets(&mut *payloader, frame);
        let count = in_order.len();
        assert_eq!(assemble(codec, &in_order, start), FRAMES);
        c.bench_function(&format!("assemble/{codec}/{count} packets in order"), |b| {
            b.iter(|| assemble(codec, &in_order, start));
        });
        let mut reordered = in_order.clone();
        reordered[2..].chunks_exact_mut(10).for_each(|chunk| chunk.reverse());
        assert_eq!(assemble(codec, &reordered, start), FRAMES);
        c.bench_function(&format!("assemble/{codec}/{count} packets, tens reversed"), |b| {
            b.iter(|| assemble(codec, &reordered, start));
        });
    }
    // The floor: one copy of every payload.
    let payloads: Vec<Bytes> =
        packets(&mut Vp8Payloader::default(), vp8).into_iter().map(|packet| packet.payload).collect();
    c.bench_function(&format!("copy/{} packets", payloads.len()), |b| {
        b.iter(|| payloads.chunks(9).map(|frame| frame.concat().len()).sum::<usize>());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2));
    targets = streams
}
criterion_main!(benches);

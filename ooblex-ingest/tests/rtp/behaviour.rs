//! What single losses, oddities and limits do.

use std::time::Instant;

use bytes::Bytes;
use ooblex_ingest::decode::VideoCodec;
use ooblex_ingest::rtp::{Assembler, AssemblerConfig, Packet};

use super::link::{self, Run, Sent, TICKS};
use super::ms;
use super::streams::{self, Stream};

fn run(stream: &Stream, packets: Vec<Sent>) -> Run {
    link::run(stream, AssemblerConfig::default(), packets)
}

/// Frames that do not come out when `lose` is lost.
fn missing(stream: &Stream, lose: impl Fn(&Sent, usize) -> bool) -> (Vec<usize>, Run) {
    let mut within = 0;
    let mut frame = 0;
    let mut packets = link::sent(stream);
    packets.retain(|sent| {
        within = if sent.frame == frame { within + 1 } else { 0 };
        frame = sent.frame;
        !lose(sent, within)
    });
    let run = run(stream, packets);
    let shown = link::check(stream, &run.units);
    ((0..stream.frames.len()).filter(|n| !shown.contains(n)).collect(), run)
}

#[test]
fn the_loss_of_a_frame_that_nothing_refers_to_does_not_freeze_the_picture() {
    // What is missing when frame 13, of the top layer, is lost; and when all but its first packet is, which tells its
    // layer. In fixed VP9 only a frame of the base layer says that layers start anew.
    let cases: [(Stream, &[usize], &[usize]); 4] = [
        (streams::vp8_layers(32, 0x7FF0), &[13, 15], &[13]),
        (streams::vp9_flexible(32, 0x7FF0), &[13], &[13]),
        (streams::vp9_fixed(32), &[13, 14, 15], &[13, 15]),
        (streams::h264(32), &[13], &[13]),
    ];
    for (stream, lost, cut) in cases {
        let (missing, run) = missing(&stream, |sent, _| sent.frame == 13);
        assert_eq!(missing, lost, "{stream:?}");
        assert!(run.requests.is_empty(), "{stream:?}");
        assert!(run.units.iter().any(|unit| unit.gap));
        let (missing, run) = self::missing(&stream, |sent, at| sent.frame == 13 && at == 1);
        assert_eq!(missing, cut, "{stream:?}");
        assert!(run.requests.is_empty(), "{stream:?}");
    }
}

#[test]
fn the_loss_of_a_middle_layer_halves_the_rate_until_the_layer_starts_anew() {
    let (missing, run) = missing(&streams::vp8_layers(32, 5), |sent, _| sent.frame == 6);
    assert_eq!(missing, [6, 7]);
    assert!(run.requests.is_empty());
    let (missing, run) = self::missing(&streams::vp9_flexible(32, 5), |sent, _| sent.frame == 6);
    assert_eq!(missing, [6, 7]);
    assert!(run.requests.is_empty());
}

#[test]
fn the_loss_of_a_base_layer_frame_freezes_the_picture_and_asks() {
    for stream in streams::all(32) {
        let (missing, run) = missing(&stream, |sent, at| sent.frame == 4 && at == 0);
        assert_eq!(missing, (4..16).collect::<Vec<_>>(), "{stream:?}");
        assert_eq!(run.requests.len(), 1, "{stream:?}: {:?}", run.requests);
        let stats = run.stats;
        assert_eq!(stats.broken + stats.unreferenced, 12 - u64::from(stats.broken == 0), "{stream:?}");
        assert_eq!(stats.lost, 1);
    }
}

#[test]
fn a_lost_reference_picture_is_seen_by_its_number_alone() {
    // Frame 4 is a reference picture of one packet: what follows it looks whole.
    let stream = streams::h264(32);
    let at = (2..16).find(|&n: &usize| n.is_multiple_of(2) && stream.frames[n].payloads.len() == 1).unwrap();
    let (missing, _) = missing(&stream, |sent, _| sent.frame == at);
    assert_eq!(missing, (at..16).collect::<Vec<_>>());
}

#[test]
fn lost_padding_is_no_loss_where_picture_ids_tell() {
    let stream = streams::vp8_layers(20, 120);
    let mut sequence = 0;
    let mut packets = Vec::new();
    for mut sent in link::sent(&stream) {
        let (marker, at, frame) = (sent.packet.marker, sent.at, sent.frame);
        sent.packet.sequence = sequence;
        let padding = Packet { sequence: sequence + 1, marker: false, payload: Bytes::new(), ..sent.packet };
        sequence += 1;
        packets.push(sent);
        if marker {
            // Every other one is lost.
            if frame.is_multiple_of(2) {
                packets.push(Sent { at, frame, packet: padding });
            }
            sequence += 1;
        }
    }
    let run = run(&stream, packets);
    assert_eq!(link::check(&stream, &run.units).len(), 20);
    assert_eq!((run.stats.padding, run.stats.lost), (10, 9));
    assert!(run.requests.is_empty());
}

#[test]
fn without_marker_bits_the_next_frame_ends_the_one_before() {
    for stream in streams::all(20) {
        let mut packets = link::sent(&stream);
        packets.iter_mut().for_each(|sent| sent.packet.marker = false);
        let run = run(&stream, packets);
        assert_eq!(link::check(&stream, &run.units).len(), 19, "{stream:?}");
        assert_eq!(run.at, (1..20).map(|n| n * 33).collect::<Vec<_>>(), "{stream:?}");
    }
}

#[test]
fn a_stream_that_begins_late_asks_at_once_and_starts_with_a_key_frame() {
    for stream in streams::all(40) {
        let packets: Vec<_> = link::sent(&stream).into_iter().filter(|sent| sent.frame >= 3).collect();
        let run = run(&stream, packets);
        let shown = link::check(&stream, &run.units);
        assert_eq!(shown, (16..40).collect(), "{stream:?}");
        let first = run.requests.first().copied().unwrap();
        assert!((3 * 33..=4 * 33).contains(&first), "{stream:?} asked at {first}");
        assert!(run.requests.len() <= 2);
    }
}

#[test]
fn the_first_packets_may_come_out_of_order() {
    for stream in streams::all(20) {
        let mut packets = link::sent(&stream);
        packets[0].at = 3;
        packets[1].at = 2;
        let run = run(&stream, packets);
        assert_eq!(link::check(&stream, &run.units).len(), 20, "{stream:?}");
        assert!(run.requests.is_empty());
    }
}

#[test]
fn a_sender_that_starts_anew_is_followed() {
    for stream in streams::all(40) {
        // Far away; a little behind; and after an outage of more packets than a gap may have.
        for (sequence, timestamp) in [(30_000u16, 77_777u32), (65_000, 5), (4_000, 2_000_000_000)] {
            let before = link::sent(&stream);
            let last = before.last().unwrap().clone();
            let mut after = link::sent(&stream);
            let first = after[0].packet.clone();
            for sent in &mut after {
                sent.at += last.at + 40;
                let packet = &mut sent.packet;
                packet.sequence = packet.sequence.wrapping_sub(first.sequence).wrapping_add(sequence);
                packet.timestamp = packet.timestamp.wrapping_sub(first.timestamp).wrapping_add(timestamp);
            }
            let run = run(&stream, before.into_iter().chain(after).collect());
            assert_eq!(run.stats.restarts, 1, "{stream:?}");
            let units: Vec<_> = run.units.iter().map(|unit| unit.data.clone()).collect();
            assert!(units[..40].iter().eq(stream.frames.iter().map(|frame| &frame.data)));
            let again = &run.units[40..];
            assert!(again[0].keyframe && again[0].gap);
            if sequence != 65_000 {
                assert_eq!(again.len(), 40, "{stream:?}: nothing of it is missing");
            }
            assert!(run.units.windows(2).all(|pair| pair[0].pts < pair[1].pts), "media time goes on");
        }
    }
}

#[test]
fn one_stray_packet_changes_nothing() {
    let stream = streams::vp8(30);
    let mut packets = link::sent(&stream);
    for (n, sequence) in [(10, 20_000), (11, 20_002), (12, 40_000)] {
        let mut stray = packets[n].clone();
        stray.packet.sequence = sequence;
        packets.push(stray);
    }
    let run = run(&stream, packets);
    assert_eq!(link::check(&stream, &run.units).len(), 30);
    assert_eq!((run.stats.stray, run.stats.restarts), (3, 0));
}

#[test]
fn a_late_packet_is_counted_and_lengthens_the_wait() {
    let stream = streams::vp8(64);
    let mut packets = link::sent(&stream);
    // Three are never sent again: from then on nobody waits.
    let lost: Vec<u16> =
        [5, 21, 37].map(|n| packets.iter().find(|sent| sent.frame == n).unwrap().packet.sequence).into();
    packets.retain(|sent| !lost.contains(&sent.packet.sequence));
    let slow = packets.iter_mut().find(|sent| sent.frame == 53).unwrap();
    slow.at += 90;
    let run = run(&stream, packets);
    assert_eq!((run.stats.lost, run.stats.late), (4, 1));
    assert!(run.stats.wait > ms(100) && run.stats.wait < ms(120), "{:?}", run.stats.wait);
}

#[test]
fn an_outage_of_two_seconds_ends_with_the_next_key_frame() {
    for stream in streams::all(112) {
        let (missing, run) = missing(&stream, |sent, _| (20..80).contains(&sent.frame));
        assert_eq!(missing, (20..80).collect::<Vec<_>>(), "{stream:?}: frame 80 is a key frame");
        assert!(run.units.iter().filter(|unit| unit.gap).all(|unit| unit.keyframe));
        // The link is silent, so nothing could be asked in between.
        assert!(run.requests.len() <= 1, "{:?}", run.requests);
    }
}

#[test]
fn frames_beyond_the_limit_are_left_out() {
    let stream = streams::vp8(48);
    let large: Vec<_> = (0..48).filter(|&n| stream.frames[n].data.len() > 400).collect();
    let config = AssemblerConfig::default().max_frame_bytes(400);
    let run = link::run(&stream, config, link::sent(&stream));
    assert!(run.units.is_empty(), "the key frames are too large");
    assert_eq!(run.stats.oversized, large.len() as u64);
    let config = AssemblerConfig::default().max_frame_bytes(1100);
    let run = link::run(&stream, config, link::sent(&stream));
    assert_eq!(link::check(&stream, &run.units).len(), 48);
}

#[test]
fn what_waits_for_a_missing_packet_is_bounded() {
    let stream = streams::vp8(64);
    for config in
        [AssemblerConfig::default().max_held(20, 1 << 20), AssemblerConfig::default().max_held(900, 2000)]
    {
        let mut packets = link::sent(&stream);
        packets.remove(1);
        // Everything at once: no time passes.
        packets.iter_mut().for_each(|sent| sent.at = 0);
        let run = link::run(&stream, config, packets);
        assert_eq!(run.stats.lost, 1);
        assert_eq!(link::check(&stream, &run.units), (16..64).collect());
        assert!(run.at.iter().all(|&at| at == 0));
    }
}

#[test]
fn units_that_nobody_takes_are_thrown_away() {
    let stream = streams::vp8(600);
    let mut assembler = Assembler::new(stream.codec, AssemblerConfig::default());
    let now = Instant::now();
    for sent in link::sent(&stream) {
        assembler.push(sent.packet, now);
    }
    let mut units = Vec::new();
    while let Some(unit) = assembler.pop(now) {
        units.push(unit);
    }
    assert!(units[0].keyframe && units[0].gap);
    let shown = link::check(&stream, &units);
    assert_eq!(shown.last(), Some(&599));
    let stats = assembler.stats();
    assert!(stats.overflowed >= 256);
    assert_eq!(stats.frames + stats.overflowed + stats.unreferenced, 600);
}

#[test]
fn a_caller_can_require_a_key_frame() {
    let stream = streams::h264(32);
    let mut assembler = Assembler::new(stream.codec, AssemblerConfig::default());
    let now = Instant::now();
    let mut units = Vec::new();
    for sent in link::sent(&stream) {
        if sent.frame == 5 && !sent.packet.marker {
            assembler.require_keyframe();
            assert!(assembler.take_keyframe_request(now));
            assert!(!assembler.take_keyframe_request(now));
        }
        assembler.push(sent.packet, now);
        units.extend(assembler.pop(now));
    }
    assert_eq!(link::check(&stream, &units), (0..5).chain(16..32).collect());
    assert!(!assembler.take_keyframe_request(now + ms(5000)), "one came");
}

#[test]
fn packets_of_every_shape_are_survived() {
    // All first bytes, in every codec, alone and in a row, with and without something before.
    for codec in [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::H264, VideoCodec::Av1] {
        let mut assembler = Assembler::new(codec, AssemblerConfig::default());
        let now = Instant::now();
        let mut sequence = 0u16;
        for length in 0..24 {
            for head in 0..=u8::MAX {
                for fill in [0x00, 0x80, 0xFF] {
                    let payload: Bytes = [&[head][..], &vec![fill; length]].concat().into();
                    let timestamp = u32::from(sequence / 7) * TICKS;
                    assembler.push(Packet { sequence, timestamp, marker: head % 5 == 0, payload }, now);
                    sequence = sequence.wrapping_add(1);
                    while let Some(unit) = assembler.pop(now) {
                        assert!(!unit.data.is_empty());
                    }
                }
            }
        }
        assert!(assembler.stats().malformed > 0, "{codec}");
    }
}

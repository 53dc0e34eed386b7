//! Payloads that senders may choose but our streams do not have.

use std::time::Instant;

use bytes::Bytes;
use ooblex_ingest::decode::VideoCodec;
use ooblex_ingest::rtp::{AccessUnit, Assembler, AssemblerConfig, Packet};

use super::ms;
use super::streams::{Writer, annex_b, h264_payloads, h264_pps, h264_slice, h264_sps};

/// Pushes frames, each given by its payloads, with numbers that follow each other.
struct Feed {
    assembler: Assembler,
    sequence: u16,
    timestamp: u32,
    now: Instant,
}

impl Feed {
    fn new(codec: VideoCodec) -> Self {
        let assembler = Assembler::new(codec, AssemblerConfig::default());
        Self { assembler, sequence: 0, timestamp: 0, now: Instant::now() }
    }

    fn frame<T: Into<Bytes>>(&mut self, payloads: impl IntoIterator<Item = T>) -> Option<AccessUnit> {
        let payloads: Vec<Bytes> = payloads.into_iter().map(Into::into).collect();
        let count = payloads.len();
        for (at, payload) in payloads.into_iter().enumerate() {
            let (sequence, timestamp) = (self.sequence, self.timestamp);
            self.assembler.push(Packet { sequence, timestamp, marker: at + 1 == count, payload }, self.now);
            self.sequence = self.sequence.wrapping_add(1);
        }
        self.timestamp += 3000;
        self.now += ms(33);
        self.assembler.pop(self.now)
    }

    /// The next packet is lost.
    fn lose(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn asks(&mut self) -> bool {
        self.now += ms(1000);
        assert_eq!(self.assembler.pop(self.now), None);
        self.assembler.take_keyframe_request(self.now)
    }
}

fn idr(seed: usize) -> Vec<u8> {
    h264_slice(0x65, 7, 0, 20, seed)
}

#[test]
fn h264_parameter_sets_sent_ahead_are_kept_and_added_where_they_lack() {
    let mut feed = Feed::new(VideoCodec::H264);
    // An access unit of their own: not a picture, but part of the next one.
    assert_eq!(feed.frame([h264_sps(), h264_pps()]), None);
    let first = feed.frame([idr(1)]).unwrap();
    assert_eq!(first.data, annex_b(&[h264_sps(), h264_pps(), idr(1)]));
    assert!(first.keyframe && !first.gap);
    // Left out by the sender: put in front.
    assert_eq!(feed.frame([idr(2)]).unwrap().data, annex_b(&[h264_sps(), h264_pps(), idr(2)]));
    // Only one of them is there.
    let unit = feed.frame([h264_pps(), idr(3)]).unwrap();
    assert_eq!(unit.data, annex_b(&[h264_pps(), h264_sps(), idr(3)]));
    // Pictures that refer to others need none.
    let slice = h264_slice(0x41, 5, 1, 20, 4);
    assert_eq!(feed.frame([slice.clone()]).unwrap().data, annex_b(&[slice]));
    assert!(!feed.asks());
}

#[test]
fn h264_without_parameter_sets_is_not_shown() {
    let mut feed = Feed::new(VideoCodec::H264);
    assert_eq!(feed.frame(h264_payloads(&idr(1))), None);
    assert!(feed.asks());
    assert_eq!(feed.frame([h264_pps(), idr(2)]), None, "half of them does not do");
    assert!(feed.frame([h264_sps(), h264_pps(), idr(3)]).is_some());
    assert!(!feed.asks());
}

#[test]
fn h264_parameter_sets_that_may_be_lost_make_the_key_frame_doubtful() {
    let mut feed = Feed::new(VideoCodec::H264);
    assert!(feed.frame([h264_sps(), h264_pps(), idr(1)]).is_some());
    feed.lose();
    assert_eq!(feed.frame([idr(2)]), None, "the lost packet may have changed them");
    assert!(feed.asks());
    assert!(feed.frame([h264_sps(), h264_pps(), idr(3)]).unwrap().gap);
}

#[test]
fn time_runs_backwards_where_pictures_are_sent_ahead_of_those_shown_before() {
    let mut feed = Feed::new(VideoCodec::H264);
    feed.timestamp = 9000;
    let first = feed.frame([h264_sps(), h264_pps(), idr(1)]).unwrap();
    feed.timestamp = 18_000;
    let ahead = feed.frame([h264_slice(0x41, 5, 1, 20, 2)]).unwrap();
    feed.timestamp = 12_000;
    let between = feed.frame([h264_slice(0x01, 6, 2, 20, 3)]).unwrap();
    assert_eq!([first.pts, ahead.pts, between.pts], [9000, 18_000, 12_000]);
}

#[test]
fn h264_filler_is_left_out_and_delimiters_stay() {
    let mut feed = Feed::new(VideoCodec::H264);
    let delimiter = vec![0x09, 0x10];
    let unit = feed.frame([delimiter.clone(), h264_sps(), h264_pps(), idr(1), vec![0x0C, 0xFF, 0xFF, 0x80]]);
    assert_eq!(unit.unwrap().data, annex_b(&[delimiter, h264_sps(), h264_pps(), idr(1)]));
}

/// A supplemental message (ITU-T H.264 annex D) that says after how many frames decoding is whole.
fn recovery_point(frames: u32) -> Vec<u8> {
    let message = Writer::default().ue(frames).bits(0b1000, 4).bits(1, 1).bytes();
    // Another message goes first: 16 bytes of user data.
    [&[0x06, 5, 16], &[0x55; 16][..], &[6, message.len() as u8], &message, &[0x80]].concat()
}

#[test]
fn h264_recovery_points_start_decoding_only_where_the_picture_is_whole_at_once() {
    let mut feed = Feed::new(VideoCodec::H264);
    let intra = |seed| h264_slice(0x41, 7, 3, 20, seed);
    let sets = [h264_sps(), h264_pps()];
    let with = |point: u32, slice: Vec<u8>| [&sets[..], &[recovery_point(point), slice]].concat();
    assert_eq!(feed.frame(with(30, intra(1))), None, "gradual refresh");
    assert_eq!(feed.frame(with(0, h264_slice(0x41, 5, 3, 20, 2))), None, "not intra");
    assert_eq!(feed.frame([&sets[..], &[intra(3)]].concat()), None, "no word of recovery");
    assert!(feed.asks());
    let unit = feed.frame(with(0, intra(4))).unwrap();
    assert!(unit.keyframe && unit.gap);
    assert!(feed.frame([h264_slice(0x41, 5, 4, 20, 5)]).is_some());
    assert!(!feed.asks());
}

#[test]
fn h264_oddities_break_their_frame_only() {
    let stap = |sizes: &[u16], unit: &[u8]| {
        let sized = sizes.iter().flat_map(|size| [&size.to_be_bytes()[..], unit].concat());
        [0x78].into_iter().chain(sized).collect::<Vec<u8>>()
    };
    let p = h264_slice(0x41, 5, 1, 20, 9);
    let long = h264_slice(0x41, 5, 1, 300, 9);
    let fragments = h264_payloads(&long);
    let cases: Vec<(&str, Vec<Bytes>)> = vec![
        ("a unit longer than its aggregate", vec![stap(&[p.len() as u16 + 1], &p).into()]),
        (
            "an aggregate that ends in half a size",
            vec![[stap(&[p.len() as u16], &p), vec![0]].concat().into()],
        ),
        ("an interleaved aggregate", vec![Bytes::from_static(&[0x79, 0, 0, 0, 1, 0x41])]),
        ("a reserved type", vec![Bytes::from_static(&[0x7F, 1, 2])]),
        ("a fragment without start", fragments[1..].to_vec()),
        ("a fragment without end", fragments[..2].to_vec()),
        ("a fragment without anything", vec![Bytes::from_static(&[0x5C])]),
        ("a start within a fragment", vec![fragments[0].clone(), fragments[0].clone(), fragments[3].clone()]),
        (
            "another unit within a fragment",
            vec![fragments[0].clone(), p.clone().into(), fragments[3].clone()],
        ),
    ];
    for (what, payloads) in cases {
        let mut feed = Feed::new(VideoCodec::H264);
        assert!(feed.frame([h264_sps(), h264_pps(), idr(1)]).is_some());
        assert_eq!(feed.frame(payloads), None, "{what}");
        assert!(feed.asks(), "{what}");
        assert_eq!(feed.assembler.stats().broken, 1, "{what}");
        assert!(feed.frame([h264_sps(), h264_pps(), idr(2)]).is_some(), "{what}");
        assert!(feed.frame(fragments.clone()).is_some());
    }
}

#[test]
fn vp8_optional_fields_come_in_every_combination() {
    for present in 0..16u8 {
        for wide in [false, true] {
            let mut head = vec![0x90, present << 4];
            if present & 8 != 0 {
                head.extend(if wide { vec![0x81, 0x23] } else { vec![0x23] });
            }
            if present & 4 != 0 {
                head.push(7);
            }
            if present & 3 != 0 {
                head.push(0);
            }
            let frame = [0x10, 0, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0, 1, 2, 3];
            let mut feed = Feed::new(VideoCodec::Vp8);
            for cut in 1..=head.len() {
                assert_eq!(feed.frame([head[..cut].to_vec()]), None, "cut at {cut}");
            }
            let unit = feed.frame([[&head[..], &frame].concat()]).unwrap();
            assert_eq!(unit.data[..], frame);
        }
    }
}

#[test]
fn vp8_key_frames_are_told_by_their_start_code() {
    let mut feed = Feed::new(VideoCodec::Vp8);
    let frame = |bytes: &[u8]| [&[0x10], bytes].concat();
    assert_eq!(feed.frame([frame(&[0x10, 0, 0, 0x9D, 0x01, 0x2B, 16, 0, 16, 0])]), None);
    assert_eq!(feed.frame([frame(&[0x10, 0, 0, 0x9D, 0x01, 0x2A])]), None, "cut");
    assert_eq!(feed.frame([frame(&[0x11, 0, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0])]), None, "inter frame");
    assert!(feed.frame([frame(&[0x10, 0, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0])]).unwrap().keyframe);
}

#[test]
fn vp9_intra_only_and_repeated_frames_are_no_key_frames() {
    let mut feed = Feed::new(VideoCodec::Vp9);
    // Descriptor: beginning and end of a frame, nothing else. Frame: marker, profile 0, then the bits.
    let frame = |head: u8| vec![0x0C, head, 0x49, 0x83, 0x42, 0, 0];
    assert_eq!(feed.frame([frame(0b1000_0110)]), None, "inter");
    assert_eq!(feed.frame([frame(0b1000_1000)]), None, "shows an existing frame");
    assert_eq!(feed.frame([vec![0x0C, 0x82, 1, 2, 3]]), None, "no sync code");
    assert_eq!(feed.frame([vec![0x08, 0x82, 0x49, 0x83, 0x42]]), None, "the end is missing");
    assert!(feed.asks());
    assert!(feed.frame([frame(0b1000_0010)]).unwrap().keyframe);
    assert!(!feed.frame([frame(0b1000_0110)]).unwrap().keyframe);
}

#[test]
fn vp9_references_that_make_no_sense_prove_nothing() {
    let frame = [0x86, 0x49, 0x83, 0x42, 0, 0];
    let heads: [&[u8]; 4] = [
        // Flexible, no other picture, but the spatial layer below the lowest.
        &[0xBC, 5, 0x01],
        // Flexible, the picture itself.
        &[0xFC, 5, 0x00, 0x00],
        // Flexible, a picture that never came.
        &[0xFC, 5, 0x00, 0x02],
        // Flexible, without a picture id.
        &[0x7C, 0x00, 0x02],
    ];
    for head in heads {
        let mut feed = Feed::new(VideoCodec::Vp9);
        for _ in 0..3 {
            assert_eq!(feed.frame([[head, &frame].concat()]), None, "{head:?}");
        }
        assert!(feed.asks());
        assert_eq!(feed.assembler.stats().unreferenced, 3, "{head:?}");
    }
}

#[test]
fn av1_frames_after_a_loss_are_doubtful_although_they_begin_with_a_sequence_header() {
    let mut feed = Feed::new(VideoCodec::Av1);
    let frame = |head: u8| vec![0x20, 3, 0x08, 0, 0, 0x30, head, 7, 7];
    assert!(feed.frame([frame(0x10)]).unwrap().keyframe);
    assert!(feed.frame([frame(0x30)]).is_some());
    feed.lose();
    assert_eq!(feed.frame([frame(0x30)]), None);
    assert!(feed.asks());
    assert!(feed.frame([frame(0x10)]).unwrap().gap);
}

#[test]
fn av1_units_get_their_sizes_and_lose_what_has_no_place() {
    let mut feed = Feed::new(VideoCodec::Av1);
    let sequence = [0x0A, 3, 1, 2, 3];
    let delimiter = [0x12, 0];
    let frame = [0x34, 0x08, 0x10, 7, 7];
    let padding = [0x78, 9, 9];
    // W = 0: a delimiter, a sequence header that has a size, padding, a frame with an extension byte.
    let mut payload = vec![0x08];
    for unit in [&delimiter[..], &sequence, &padding, &frame] {
        payload.push(unit.len() as u8);
        payload.extend(unit);
    }
    let unit = feed.frame([payload]).unwrap();
    assert_eq!(unit.data[..], [0x12, 0, 0x0A, 3, 1, 2, 3, 0x36, 0x08, 3, 0x10, 7, 7]);
    assert!(unit.keyframe);
    // W = 2, the second unit in two packets.
    let unit = feed.frame([vec![0x60, 2, 0x28, 5, 0x30, 0x30], vec![0x90, 4, 4]]).unwrap();
    assert_eq!(unit.data[..], [0x12, 0, 0x2A, 1, 5, 0x32, 3, 0x30, 4, 4]);
    assert!(!unit.keyframe);
    // A unit whose own size is not what came.
    assert_eq!(feed.frame([vec![0x10, 0x32, 9, 0x30, 1]]), None);
    // A continuation of nothing, and nothing where a continuation was announced.
    assert_eq!(feed.frame([vec![0x90, 4, 4]]), None);
    assert_eq!(feed.frame([vec![0x50, 0x30, 0x30], vec![0x10, 0x30, 0x30]]), None);
    assert!(feed.asks());
    assert_eq!(feed.assembler.stats().broken, 3);
}

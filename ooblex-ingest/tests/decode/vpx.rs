//! VP8 and VP9 against what another decoder made of the same clips, and what must never be shown.

use ooblex_core::{BufferPool, ColorMatrix, ColorRange, ColorSpace};
use ooblex_ingest::decode::{self, Decoded, VideoCodec, VideoDecoder, VideoError, VpxDecoder};

use crate::clips;

const CLIPS: [(&str, VideoCodec, (u32, u32)); 4] = [
    ("vp8", VideoCodec::Vp8, (175, 143)),
    ("vp8_hidden", VideoCodec::Vp8, (96, 64)),
    ("vp9", VideoCodec::Vp9, (175, 143)),
    ("vp9_hidden", VideoCodec::Vp9, (96, 64)),
];

fn decoder(codec: VideoCodec) -> VpxDecoder {
    VpxDecoder::new(codec, BufferPool::new(4)).expect("opens")
}

fn decode(decoder: &mut VpxDecoder, unit: &[u8], pts: i64) -> Result<Vec<Decoded>, VideoError> {
    let mut out = Vec::new();
    decoder.decode(unit, pts, &mut out).map(|()| out)
}

#[test]
fn every_picture_is_what_another_decoder_made_of_it() {
    for (name, codec, size) in CLIPS {
        let mut decoder = decode::open(codec, BufferPool::new(4)).expect("opens");
        let frames = clips::ivf(format!("{name}.ivf"));
        let mut out = Vec::new();
        for (pts, frame) in &frames {
            decoder.decode(frame, *pts, &mut out).expect("decodes");
        }
        decoder.flush(&mut out).expect("nothing is left");
        let got: Vec<_> = out.iter().map(|d| (d.pts, clips::checksum(&d.image))).collect();
        assert_eq!(got, clips::reference(&format!("{name}.crc")), "{name}");
        assert!(out.iter().all(|d| (d.image.width(), d.image.height()) == size), "{name}");
        // Clips named so do hold what they are there for: a VP8 frame that is never shown, a VP9 superframe.
        let hidden = name.ends_with("hidden");
        let superframe = frames.iter().any(|(_, f)| f[f.len() - 1] & 0xE0 == 0xC0);
        assert_eq!(frames.len() > out.len(), hidden && codec == VideoCodec::Vp8, "{name}");
        assert_eq!(superframe, hidden && codec == VideoCodec::Vp9, "{name}");
    }
}

#[test]
fn pictures_say_which_colours_they_mean() {
    let full = ColorSpace { range: ColorRange::Full, matrix: ColorMatrix::Bt601 };
    let expected = [ColorSpace::BT601, ColorSpace::BT601, ColorSpace::BT709, full];
    for ((name, codec, _), color) in CLIPS.into_iter().zip(expected) {
        let (pts, key) = clips::ivf(format!("{name}.ivf")).remove(0);
        let mut decoder = decoder(codec);
        let mut out = decode(&mut decoder, &key, pts).expect("decodes");
        if out.is_empty() {
            let (pts, second) = clips::ivf(format!("{name}.ivf")).remove(1);
            out = decode(&mut decoder, &second, pts).expect("decodes");
        }
        assert_eq!(out[0].image.color(), color, "{name}");
    }
}

#[test]
fn what_the_transport_says_counts_where_the_stream_does_not_say() {
    let full = ColorSpace { range: ColorRange::Full, ..ColorSpace::BT709 };
    for (name, codec, expected) in
        [("vp8", VideoCodec::Vp8, full), ("vp9", VideoCodec::Vp9, ColorSpace::BT709)]
    {
        let (pts, key) = clips::ivf(format!("{name}.ivf")).remove(0);
        let mut decoder = decode::open(codec, BufferPool::new(1)).expect("opens");
        decoder.assume_color(full);
        let mut out = Vec::new();
        decoder.decode(&key, pts, &mut out).expect("decodes");
        assert_eq!(out[0].image.color(), expected, "{name}");
    }
}

#[test]
fn the_size_may_change_at_a_key_frame() {
    for (first, second, codec) in
        [("vp8", "vp8_hidden", VideoCodec::Vp8), ("vp9", "vp9_hidden", VideoCodec::Vp9)]
    {
        let mut decoder = decoder(codec);
        let mut sizes = Vec::new();
        for name in [first, second, first] {
            for (pts, frame) in clips::ivf(format!("{name}.ivf")).iter().take(10) {
                let out = decode(&mut decoder, frame, *pts).expect("decodes");
                sizes.extend(out.iter().map(|d| d.image.width()));
            }
        }
        sizes.dedup();
        assert_eq!(sizes, [175, 96, 175]);
    }
}

#[test]
fn nothing_is_shown_from_a_stream_that_was_entered_late() {
    for (name, codec, _) in CLIPS {
        let mut decoder = decoder(codec);
        for (pts, frame) in &clips::ivf(format!("{name}.ivf"))[1..10] {
            let result = decode(&mut decoder, frame, *pts);
            assert!(matches!(result, Err(VideoError::Corrupt(_))), "{name} {pts}: {result:?}");
        }
    }
}

#[test]
fn after_damage_nothing_is_shown_up_to_the_next_key_frame() {
    // Key frames come every 15 frames in these two. Of the fifth frame the second half is lost, or all but one byte: that
    // the library never sees, so it would go on without it.
    for ((name, codec, _), whole) in
        [CLIPS[0], CLIPS[2]].into_iter().flat_map(|clip| [(clip, false), (clip, true)])
    {
        let reference = clips::reference(&format!("{name}.crc"));
        let mut decoder = decoder(codec);
        for (n, (pts, frame)) in clips::ivf(format!("{name}.ivf")).into_iter().enumerate() {
            let kept = if whole { 1 } else { frame.len() / 2 };
            let data = if n == 4 { &frame[..kept] } else { &frame[..] };
            match decode(&mut decoder, data, pts) {
                Ok(out) => {
                    assert!(!(4..15).contains(&n), "{name}: frame {n} is shown");
                    assert_eq!((out[0].pts, clips::checksum(&out[0].image)), reference[n]);
                }
                Err(VideoError::Corrupt(_)) => {
                    assert!((4..15).contains(&n), "{name}: frame {n} is not shown")
                }
                Err(other) => panic!("{name}: {other}"),
            }
        }
    }
}

#[test]
fn what_cannot_be_shown_right_is_refused_by_name() {
    for (name, what) in [("vp9_444", "profile 1"), ("vp9_10bit", "profile 2")] {
        let (pts, key) = clips::ivf(format!("{name}.ivf")).remove(0);
        match decode(&mut decoder(VideoCodec::Vp9), &key, pts) {
            Err(VideoError::Unsupported(text)) => assert!(text.contains(what), "{text}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_size_from_a_stranger_is_refused_before_memory_is_taken() {
    let (_, mut vp8) = clips::ivf("vp8.ivf").remove(0);
    vp8[6..10].copy_from_slice(&[0xFF, 0x3F, 0xFF, 0x3F]);
    let (_, mut vp9) = clips::ivf("vp9.ivf").remove(0);
    vp9[5..9].fill(0xFF);
    for (codec, frame) in [(VideoCodec::Vp8, vp8), (VideoCodec::Vp9, vp9)] {
        let result = decode(&mut decoder(codec), &frame, 0);
        assert!(matches!(&result, Err(VideoError::Unsupported(t)) if t.contains("million")), "{result:?}");
    }
}

/// A frame without an index may not smuggle in a second one, whose header was not checked.
#[test]
fn what_follows_a_vp9_frame_is_not_taken_for_another_one() {
    let frames = clips::ivf("vp9.ivf");
    let mut decoder = decoder(VideoCodec::Vp9);
    decode(&mut decoder, &frames[0].1, 0).expect("decodes");
    // Shows buffer 0 again: two bytes that are a frame of their own.
    let smuggled = [&frames[1].1[..], &[0x88]].concat();
    let out = decode(&mut decoder, &smuggled, 1)
        .map(|out| out.iter().map(|d| clips::checksum(&d.image)).collect::<Vec<_>>());
    if let Ok(sums) = out {
        assert_eq!(sums, [clips::reference("vp9.crc")[1].1]);
    }
    let mut decoder = self::decoder(VideoCodec::Vp9);
    decode(&mut decoder, &frames[0].1, 0).expect("decodes");
    let again = decode(&mut decoder, &[0x88], 1).expect("an earlier frame is shown");
    assert_eq!(clips::checksum(&again[0].image), clips::reference("vp9.crc")[0].1);
}

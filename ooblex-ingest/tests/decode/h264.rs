//! H.264 against what another decoder made of the same clips, and what must never be shown.

use ooblex_core::{BufferPool, ColorRange, ColorSpace};
use ooblex_ingest::decode::{self, Decoded, H264Decoder, VideoCodec, VideoDecoder, VideoError};

use crate::clips::{self, Unit};

fn decoder() -> H264Decoder {
    H264Decoder::new(BufferPool::new(4)).expect("opens")
}

fn decode(decoder: &mut H264Decoder, unit: &[u8], pts: i64) -> Result<Vec<Decoded>, VideoError> {
    let mut out = Vec::new();
    decoder.decode(unit, pts, &mut out).map(|()| out)
}

fn sums(name: &str) -> Vec<u32> {
    clips::reference(name).iter().map(|r| r.1).collect()
}

/// Units of a clip with key frames at 0 and 20, decoded after `damage` did something to them; which of them yielded the
/// right picture, `None` for those that were refused.
fn after(name: &str, damage: impl FnOnce(&mut Vec<Unit>)) -> Vec<Option<i64>> {
    let mut units = clips::h264(format!("{name}.mp4"));
    let reference = sums(&format!("{name}.crc"));
    let step = units[1].pts;
    assert_eq!(units.iter().filter(|u| u.key).map(|u| u.pts / step).collect::<Vec<_>>(), [0, 20], "{name}");
    damage(&mut units);
    let mut decoder = decoder();
    let mut shown = Vec::new();
    for unit in units {
        match decode(&mut decoder, &unit.data, unit.pts) {
            Ok(out) => {
                assert_eq!(out.len(), 1);
                let n = out[0].pts / step;
                assert_eq!(
                    clips::checksum(&out[0].image),
                    reference[n as usize],
                    "{name}: picture {n} is damaged"
                );
                shown.push(Some(n));
            }
            Err(VideoError::Corrupt(_)) => shown.push(None),
            Err(other) => panic!("{name}: {other}"),
        }
    }
    shown
}

/// What `after` yields if the first `whole` pictures and those from the second key frame on are shown.
fn resumed(whole: usize, refused: usize) -> Vec<Option<i64>> {
    (0..whole as i64).map(Some).chain(vec![None; refused]).chain((20..40).map(Some)).collect()
}

#[test]
fn every_picture_is_what_another_decoder_made_of_it_in_the_order_of_showing() {
    let clips = [
        ("pan", 0),
        ("h264_high", 0),
        ("h264_main", 0),
        ("h264_unmoved", 1),
        ("h264_b", 2),
        ("reordered", 2),
    ];
    for (name, held) in clips {
        let mut decoder = decode::open(VideoCodec::H264, BufferPool::new(4)).expect("opens");
        let mut out = Vec::new();
        for (n, unit) in clips::h264(format!("{name}.mp4")).iter().enumerate() {
            decoder.decode(&unit.data, unit.pts, &mut out).unwrap_or_else(|e| panic!("{name} {n}: {e}"));
            assert!(out.len() + held > n, "{name}: {} pictures of {}", out.len(), n + 1);
        }
        decoder.flush(&mut out).expect("flushes");
        let got: Vec<_> = out.iter().map(|d| clips::checksum(&d.image)).collect();
        assert_eq!(got, sums(&format!("{name}.crc")), "{name}");
        assert!(out.is_sorted_by(|a, b| a.pts < b.pts), "{name}");
    }
}

#[test]
fn cropped_sizes_and_colours_are_what_the_stream_says() {
    let full = ColorSpace { range: ColorRange::Full, ..ColorSpace::BT709 };
    let expected = [
        ("h264_main", (174, 142), ColorSpace::BT601),
        ("h264_high", (160, 120), ColorSpace::BT709),
        ("full_range", (160, 120), full),
    ];
    for (name, size, color) in expected {
        let unit = clips::h264(format!("{name}.mp4")).remove(0);
        let out = decode(&mut decoder(), &unit.data, 0).expect("decodes");
        assert_eq!((out[0].image.width(), out[0].image.height()), size, "{name}");
        assert_eq!(out[0].image.color(), color, "{name}");
    }
}

#[test]
fn the_size_and_the_profile_may_change_at_an_idr_picture() {
    let mut decoder = decoder();
    let mut out = Vec::new();
    let names = ["pan", "h264_main", "h264_b", "pan", "h264_main"];
    for name in names {
        for unit in clips::h264(format!("{name}.mp4")).iter().take(10) {
            decoder.decode(&unit.data, unit.pts, &mut out).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    decoder.flush(&mut out).expect("flushes");
    let got: Vec<_> = out.iter().map(|d| clips::checksum(&d.image)).collect();
    // Ten access units of the clip with B pictures hold the first ten pictures but one, and a later one.
    let (before, rest) = got.split_at(20);
    let (with_b, end) = rest.split_at(10);
    assert_eq!(before, [&sums("pan.crc")[..10], &sums("h264_main.crc")[..10]].concat());
    assert_eq!(with_b[..9], sums("h264_b.crc")[..9]);
    assert_eq!(end, before);
}

#[test]
fn nothing_is_shown_before_an_idr_picture() {
    for name in ["h264_high", "h264_main"] {
        let shown = after(name, |units| {
            units[1].data = [&clips::parameter_sets(&units[0].data)[..], &units[1].data].concat();
            units.remove(0);
        });
        assert_eq!(shown, resumed(0, 19), "{name}");
    }
}

#[test]
fn after_a_missing_reference_nothing_is_shown_up_to_the_next_idr_picture() {
    for name in ["h264_high", "h264_main"] {
        assert_eq!(after(name, |units| drop(units.remove(5))), resumed(5, 14), "{name}");
    }
}

#[test]
fn after_damage_nothing_is_shown_up_to_the_next_idr_picture() {
    let shown = after("h264_high", |units| {
        let half = units[5].data.len() / 2;
        units[5].data.truncate(half);
    });
    assert_eq!(shown, resumed(5, 15), "half a picture");
    let shown = after("h264_high", |units| {
        let last = clips::nal_starts(&units[5].data).pop().expect("slices");
        units[5].data.truncate(last);
    });
    assert_eq!(shown, resumed(5, 15), "the last slice is missing");
    let shown = after("h264_high", |units| {
        let starts = clips::nal_starts(&units[5].data);
        assert_eq!(starts.len(), 3);
        units[5].data.drain(starts[1]..starts[2]);
    });
    assert_eq!(shown, resumed(5, 15), "a slice in between is missing");
}

#[test]
fn parameter_sets_may_come_alone_and_only_once() {
    let units = clips::h264("h264_high.mp4");
    let mut decoder = decoder();
    let sets = clips::parameter_sets(&units[0].data);
    assert!(decode(&mut decoder, &sets, 0).expect("no picture yet").is_empty());
    let reference = sums("h264_high.crc");
    for (n, unit) in units.iter().enumerate() {
        let sets = if unit.key { sets.len() } else { 0 };
        let out = decode(&mut decoder, &unit.data[sets..], unit.pts).expect("decodes");
        assert_eq!(clips::checksum(&out[0].image), reference[n], "{n}");
    }
}

#[test]
fn extensions_and_delimiters_are_passed_over() {
    let units = clips::h264("h264_high.mp4");
    let mut decoder = decoder();
    // A subset parameter set of absurd size, a prefix, supplemental information, a delimiter.
    let others = [
        &[0, 0, 1, 0x6F, 83, 0, 52, 0xFF, 0xFF, 0xFF][..],
        &[0, 0, 1, 0x6E, 0x40, 0x80],
        &[0, 0, 1, 6, 5, 1, 0, 0x80],
        &[0, 0, 0, 1, 9, 0x30],
    ];
    for unit in &units[..5] {
        let data = [&others.concat()[..], &unit.data].concat();
        assert_eq!(decode(&mut decoder, &data, unit.pts).expect("decodes").len(), 1);
    }
}

#[test]
fn the_library_prints_nothing() {
    const MARK: &str = "OOBLEX_TEST_DECODES_GARBAGE";
    if std::env::var_os(MARK).is_some() {
        let mut units = clips::h264("h264_high.mp4");
        let mut decoder = decoder();
        for (n, unit) in units.iter_mut().enumerate() {
            let middle = unit.data.len() / 2;
            unit.data[middle..].fill(n as u8);
            let _ = decode(&mut decoder, &unit.data, unit.pts);
        }
        return;
    }
    let this = std::env::current_exe().unwrap();
    let name = "h264::the_library_prints_nothing";
    let child = std::process::Command::new(this)
        .args([name, "--exact", "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = [child.stdout, child.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
    assert!(!text.contains("OpenH264") && !text.contains("ERROR") && !text.contains("Warning"), "{text}");
}

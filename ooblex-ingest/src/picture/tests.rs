use ooblex_core::testing::Random;
use proptest::prelude::*;

use super::*;

macro_rules! data {
    ($name:literal) => {
        Bytes::from_static(include_bytes!(concat!("../../tests/data/", $name)))
    };
}

fn look(data: impl Into<Bytes>) -> Result<Inspected, PictureError> {
    inspect(data.into(), &PictureLimits::default())
}

/// Every kind of file, by name.
fn samples() -> Vec<(&'static str, Bytes)> {
    vec![
        ("plain", data!("plain.jpg")),
        ("gps", data!("gps.jpg")),
        ("progressive", data!("progressive.jpg")),
        ("restart", data!("restart.jpg")),
        ("gray", data!("gray.jpg")),
        ("cmyk", data!("cmyk.jpg")),
        ("rgb", data!("rgb.jpg")),
        ("orientation_6", data!("orientation_6.jpg")),
        ("upright", data!("upright.png")),
        ("rgba", data!("rgba.png")),
        ("palette", data!("palette.png")),
        ("exif png", data!("orientation_6.png")),
        ("lossy", data!("lossy.webp")),
        ("lossless", data!("lossless.webp")),
        ("rgba webp", data!("rgba.webp")),
        ("exif webp", data!("orientation_6.webp")),
    ]
}

/// Where the given marker begins.
fn find(data: &[u8], marker: u8) -> usize {
    data.windows(2).position(|w| w == [0xFF, marker]).expect("marker is there")
}

fn with_segment(data: &[u8], marker: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&data[..2], &[0xFF, marker], &length, body, &data[2..]].concat()
}

/// Mean absolute difference from the upright reference, per component of I420.
#[cfg(feature = "turbojpeg")]
fn distance(picture: &mut Picture) -> [f64; 3] {
    use ooblex_core::{ColorSpace, PixelFormat};
    let pool = BufferPool::default();
    let mut upright = accept(data!("upright.png"), &PictureLimits::default(), &pool).expect("sound");
    let i420 = |picture: &mut Picture| {
        let pixels = picture.pixels().expect("decodes");
        convert::convert(pixels, PixelFormat::I420, ColorSpace::JPEG, &pool).expect("host memory")
    };
    let (a, b) = (i420(&mut upright), i420(picture));
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    std::array::from_fn(|plane| {
        let (a, b) = (a.plane(plane).expect("plane"), b.plane(plane).expect("plane"));
        let diffs = a.rows().flatten().zip(b.rows().flatten()).map(|(a, b)| f64::from(a.abs_diff(*b)));
        diffs.sum::<f64>() / (a.row_bytes() * a.row_count()) as f64
    })
}

#[test]
fn a_clean_jpeg_is_not_copied() {
    for data in [data!("plain.jpg"), data!("progressive.jpg"), data!("restart.jpg"), data!("rgb.jpg")] {
        let found = look(data.clone()).expect("sound");
        assert_eq!(found.encoded.data.as_ptr(), data.as_ptr());
        assert_eq!(found.encoded.data, data);
        assert!(!found.needs_decode());
        assert_eq!((found.encoded.width, found.encoded.height), (96, 64));
    }
}

#[test]
fn nobody_learns_where_it_was_taken() {
    let data = data!("gps.jpg");
    assert!(data.windows(13).any(|w| w == b"Secret Camera"), "the sample has what is to be removed");
    let found = look(data.clone()).expect("sound");
    assert!(!found.needs_decode());
    let kept = &found.encoded.data;
    for secret in [&b"Exif"[..], b"Secret", b"taken at home", b"ICC_PROFILE"] {
        assert!(!kept.windows(secret.len()).any(|w| w == secret));
    }
    assert!(kept.windows(5).any(|w| w == b"JFIF\0"));
    // Tables, frame header and coefficients are the same bytes.
    let (scan, scan_kept) = (find(&data, 0xDA), find(kept, 0xDA));
    assert_eq!(data[scan..], kept[scan_kept..]);
    assert_eq!(data[find(&data, 0xC0)..scan], kept[find(kept, 0xC0)..scan_kept]);
}

#[test]
fn only_plain_jfif_and_adobe_segments_stay() {
    let plain = data!("plain.jpg");
    let thumbnail = [&b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x01"[..], &[9, 9, 9]].concat();
    for (marker, body, stays) in [
        (0xE0, &b"JFXX\0\x10thumbnail"[..], false),
        (0xE0, &thumbnail, false),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0secret", false),
        (0xE2, b"MPF\0secret", false),
        (0xED, b"Photoshop 3.0\0secret", false),
        (0xEE, b"Adobe\0\x64\0\0\0\0\x01", true),
        (0xEE, b"other", false),
        (0xEF, b"secret", false),
        (0xFE, b"a comment", false),
    ] {
        let with = with_segment(&plain, marker, body);
        let kept = look(with.clone()).expect("sound").encoded.data;
        assert_eq!(kept == plain, !stays, "{marker:#x} {}", body.escape_ascii());
        assert_eq!(kept == with, stays, "{marker:#x} {}", body.escape_ascii());
    }
    // Between two scans as well.
    let progressive = data!("progressive.jpg");
    let second_scan = progressive.len()
        - 2
        - progressive[..progressive.len() - 2]
            .windows(2)
            .rev()
            .position(|w| w == [0xFF, 0xDA])
            .expect("several scans")
        - 2;
    let with = [&progressive[..second_scan], b"\xFF\xFE\x00\x08secret", &progressive[second_scan..]].concat();
    assert_eq!(look(with).expect("sound").encoded.data, progressive);
}

#[test]
fn what_follows_the_end_is_cut() {
    for (name, data) in samples() {
        let long = [&data[..], b"trailing garbage \xFF\xD9"].concat();
        let kept = look(long).expect(name).encoded.data;
        assert_eq!(kept, look(data).expect(name).encoded.data, "{name}");
    }
}

#[test]
fn every_truncation_is_refused() {
    for (name, data) in samples() {
        for cut in 1..data.len() {
            match look(data.slice(..cut)) {
                Err(PictureError::Truncated { offset, .. }) => assert!(offset <= cut, "{name} at {cut}"),
                Err(PictureError::UnknownType { .. }) => assert!(cut < 12, "{name} at {cut}"),
                other => panic!("{name} cut at {cut}: {other:?}"),
            }
        }
    }
}

#[test]
fn other_types_are_unknown() {
    for (data, begins) in [(&b"GIF89a"[..], "47 49 46 38"), (b"<", "3c"), (b"BM\0\0", "42 4d 00 00")] {
        let error = look(data).expect_err("not a picture");
        assert!(error.to_string().ends_with(begins), "{error}");
    }
    assert!(matches!(look(Bytes::new()), Err(PictureError::Empty)));
}

#[test]
fn limits_hold_to_the_unit() {
    for (name, data) in samples() {
        let exact = PictureLimits { max_bytes: data.len(), max_pixels: 96 * 64 };
        inspect(data.clone(), &exact).expect(name);
        let error = inspect(data.clone(), &PictureLimits { max_bytes: data.len() - 1, ..exact });
        assert!(matches!(error, Err(PictureError::TooLarge { bytes, limit }) if bytes == limit as u64 + 1));
        let error = inspect(data, &PictureLimits { max_pixels: 96 * 64 - 1, ..exact }).expect_err(name);
        assert!(error.to_string().ends_with("6144 pixels, limit 6143"), "{name}: {error}");
    }
}

#[test]
fn a_huge_size_in_a_header_costs_nothing() {
    let mut png = data!("upright.png").to_vec();
    png[16..24].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]);
    let crc = crate::crc::crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&crc);
    assert!(matches!(look(png.clone()), Err(PictureError::TooManyPixels { width: 0x7FFF_FFFF, .. })));
    png[29] ^= 1;
    let error = look(png).expect_err("checksum");
    assert_eq!(error.to_string(), "PNG is corrupt at byte 8: the header's checksum is wrong");
    let mut jpeg = data!("plain.jpg").to_vec();
    let size = find(&jpeg, 0xC0) + 5;
    jpeg[size..size + 4].fill(0xFF);
    assert!(matches!(look(jpeg), Err(PictureError::TooManyPixels { width: 65_535, height: 65_535, .. })));
    // A long thin picture is within the pixels but beyond what an image can be.
    let mut png = data!("upright.png").to_vec();
    png[16..24].copy_from_slice(&[0, 1, 0x86, 0xA0, 0, 0, 0, 1]);
    let crc = crate::crc::crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&crc);
    assert!(matches!(look(png), Err(PictureError::Unsupported { codec: ImageCodec::Png, .. })));
}

#[test]
fn variants_are_refused_by_name() {
    let plain = data!("plain.jpg");
    let sof = find(&plain, 0xC0);
    let patched = |at: usize, value: u8| {
        let mut data = plain.to_vec();
        data[at] = value;
        look(data).expect_err("refused").to_string()
    };
    for (at, value, part) in [
        (sof + 1, 0xC3, "lossless (SOF3)"),
        (sof + 1, 0xC5, "hierarchical"),
        (sof + 1, 0xCB, "arithmetic"),
        (sof + 4, 12, "12 bits a sample"),
        (sof + 10 + 1, 0x51, "sampling factors 0x51"),
    ] {
        assert!(patched(at, value).contains(part), "{}", patched(at, value));
    }
    let mut no_height = plain.to_vec();
    no_height[sof + 5..sof + 7].fill(0);
    assert!(look(no_height).expect_err("refused").to_string().contains("DNL"));
}

#[test]
fn structure_is_checked() {
    let plain = data!("plain.jpg");
    let (sof, dqt, scan) = (find(&plain, 0xC0), find(&plain, 0xDB), find(&plain, 0xDA));
    let cases: [(Vec<u8>, &str); 6] = [
        (b"\xFF\xD8\xFF\xD9".to_vec(), "before its first scan"),
        ([&plain[..sof], &plain[scan..]].concat(), "before the frame header"),
        ([&plain[..dqt], &plain[sof..]].concat(), "quantization"),
        ([&plain[..scan], &plain[sof..]].concat(), "second frame header"),
        ([&plain[..sof], b"\0\0", &plain[sof..]].concat(), "0x00 where a marker"),
        ([&plain[..sof], b"\xFF\xD8", &plain[sof..]].concat(), "second picture"),
    ];
    for (data, part) in cases {
        let error = look(data).expect_err(part);
        assert!(matches!(error, PictureError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn hostile_numbers_of_segments_and_scans_are_bounded() {
    let plain = data!("plain.jpg");
    let comments = [&plain[..2], &b"\xFF\xFE\0\x02".repeat(5000), &plain[2..]].concat();
    assert!(look(comments).expect_err("refused").to_string().contains("more than 4096 segments"));
    let scan = find(&plain, 0xDA);
    let scans = [&plain[..scan], &plain[scan..plain.len() - 2].repeat(101), b"\xFF\xD9"].concat();
    assert!(look(scans).expect_err("refused").to_string().contains("more than 100 scans"));
}

#[cfg(feature = "turbojpeg")]
#[test]
fn every_orientation_comes_out_upright() {
    let pool = BufferPool::default();
    for (n, data) in [
        (1, data!("orientation_1.jpg")),
        (2, data!("orientation_2.jpg")),
        (3, data!("orientation_3.jpg")),
        (4, data!("orientation_4.jpg")),
        (5, data!("orientation_5.jpg")),
        (6, data!("orientation_6.jpg")),
        (7, data!("orientation_7.jpg")),
        (8, data!("orientation_8.jpg")),
    ] {
        let mut picture = accept(data, &PictureLimits::default(), &pool).expect("sound");
        assert_eq!((picture.width(), picture.height()), (96, 64), "orientation {n}");
        assert_eq!(picture.as_encoded().is_some(), n == 1, "orientation {n}");
        if let Some(encoded) = picture.as_encoded() {
            assert!(!encoded.data.windows(4).any(|w| w == b"Exif"));
        }
        let distance = distance(&mut picture);
        assert!(distance.iter().all(|d| *d < 3.0), "orientation {n}: {distance:?}");
    }
    for data in [data!("orientation_6.png"), data!("orientation_6.webp")] {
        let mut picture = accept(data, &PictureLimits::default(), &pool).expect("sound");
        assert!(picture.as_encoded().is_none());
        assert_eq!(distance(&mut picture), [0.0; 3]);
    }
}

#[cfg(feature = "turbojpeg")]
#[test]
fn what_viewers_cannot_show_becomes_pixels_of_the_right_colour() {
    let pool = BufferPool::default();
    let found = look(data!("cmyk.jpg")).expect("sound");
    assert!(found.needs_decode());
    let mut picture = found.into_picture(&pool).expect("decodes");
    assert!(picture.as_encoded().is_none());
    let d = distance(&mut picture);
    assert!(d.iter().all(|d| *d < 3.0), "{d:?}");

    let mut compressor = turbojpeg::Compressor::new().expect("a compressor");
    compressor.set_arithmetic(true).expect("supported");
    let rgb =
        accept(data!("upright.png"), &PictureLimits::default(), &pool).expect("sound").pixels().cloned();
    let packed = rgb.and_then(|rgb| rgb.to_packed()).expect("decodes");
    let image = turbojpeg::Image {
        pixels: &packed[..],
        width: 96,
        pitch: 96 * 3,
        height: 64,
        format: turbojpeg::PixelFormat::RGB,
    };
    let arithmetic = compressor.compress_to_vec(image).expect("compresses");
    let found = look(arithmetic).expect("sound");
    assert!(found.needs_decode());
    let mut picture = found.into_picture(&pool).expect("decodes");
    let d = distance(&mut picture);
    assert!(d.iter().all(|d| *d < 3.0), "{d:?}");
}

#[cfg(feature = "turbojpeg")]
#[test]
fn all_samples_decode_to_what_they_show() {
    let pool = BufferPool::default();
    for (name, data) in samples() {
        let mut picture = accept(data, &PictureLimits::default(), &pool).expect(name);
        let [y, u, v] = distance(&mut picture);
        // Alpha is discarded by the comparison; 64 palette colours are coarse; grey has no colour to compare.
        let limit = if name == "palette" { 5.0 } else { 3.5 };
        assert!(y < limit, "{name}: {y}");
        assert!(name == "gray" || u.max(v) < limit, "{name}: {u} {v}");
    }
}

#[cfg(not(feature = "turbojpeg"))]
#[test]
fn without_a_decoder_the_missing_feature_is_named() {
    let pool = BufferPool::default();
    let error = accept(data!("cmyk.jpg"), &PictureLimits::default(), &pool).expect_err("no decoder");
    assert!(error.to_string().contains("feature `turbojpeg`"), "{error}");
    let mut plain = accept(data!("plain.jpg"), &PictureLimits::default(), &pool).expect("passes through");
    assert!(plain.as_encoded().is_some() && plain.pixels().is_err());
}

#[cfg(feature = "http")]
#[test]
fn problems_have_the_codes_of_the_contract() {
    use ooblex_http::Problem;
    let plain = data!("plain.jpg");
    let tight = PictureLimits { max_bytes: 100, max_pixels: 10 };
    let cases = [
        (look(Bytes::new()), 400, "empty_body"),
        (inspect(plain.clone(), &tight), 413, "body_too_large"),
        (inspect(plain.clone(), &PictureLimits { max_bytes: 1 << 20, ..tight }), 413, "too_many_pixels"),
        (look(&b"GIF89a"[..]), 415, "unsupported_type"),
        (look(plain.slice(..500)), 422, "truncated"),
        (look(&b"\xFF\xD8\0\0"[..]), 422, "corrupt"),
    ];
    for (result, status, code) in cases {
        let problem = Problem::from(result.expect_err(code));
        assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
    }
    let problem = Problem::from(inspect(plain.clone(), &tight).expect_err("too large")).to_json();
    assert!(problem.contains(r#""field":"body","value":3978,"limit":100"#), "{problem}");
}

#[test]
fn damage_never_panics() {
    let pool = BufferPool::default();
    let samples = samples();
    let mut random = Random::new(7);
    for round in 0..4000u64 {
        let (name, data) = &samples[random.below(samples.len() as u64) as usize];
        let mut damaged = data.to_vec();
        for _ in 0..=random.below(4) {
            // Headers are hit as often as the rest.
            let reach = if random.below(2) == 0 { 700.min(damaged.len()) } else { damaged.len() };
            let at = random.below(reach as u64) as usize;
            match random.below(4) {
                0 => damaged[at] = random.next_u64() as u8,
                1 => damaged[at] = 0xFF,
                2 => {
                    damaged.remove(at);
                }
                _ => damaged.insert(at, random.next_u64() as u8),
            }
        }
        let Ok(mut picture) = accept(damaged.into(), &PictureLimits::default(), &pool) else { continue };
        let size = (picture.width(), picture.height());
        if round.is_multiple_of(4)
            && u64::from(size.0) * u64::from(size.1) < 1 << 20
            && let Ok(pixels) = picture.pixels()
        {
            assert_eq!((pixels.width(), pixels.height()), size, "{name}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(kind in 0usize..4, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let head: &[u8] = [&b"\xFF\xD8\xFF"[..], b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBP", b""][kind];
        let _ = look([head, &bytes].concat());
    }
}

//! What holds for every effect: sizes, formats, ranges, identity, parameters, names.

mod common;

use std::collections::BTreeSet;

use common::*;
use ooblex_core::testing::{Random, frame_of, process_one, random_image};
use ooblex_core::{
    BufferPool, Clock, ColorSpace, Encoded, Frame, Image, ImageCodec, KindSpec, Options, ParamType, Picture,
    PictureDecoder, PixelFormat, ProcessContext, Registry, StreamId, Value, Want, convert,
};
use ooblex_models::Chain;

fn registry() -> Registry {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    registry
}

/// The kinds that run no model: what tests of exact results are about.
fn effects(registry: &Registry) -> impl Iterator<Item = &KindSpec> {
    registry.kinds().filter(|kind| kind.needs_model.is_none())
}

#[test]
fn every_effect_keeps_the_size() {
    let registry = registry();
    for spec in effects(&registry) {
        let mut processor = registry.build(&spec.name, &Options::new()).expect("builds");
        for format in PixelFormat::ALL {
            for (width, height) in [(1, 1), (2, 3), (37, 21)] {
                let mut frame = frame_of(random_image(format, width, height, ColorSpace::BT601, 2, 5));
                process_one(&mut processor, &mut frame).expect("processes");
                let out = frame.image.pixels().expect("pixels");
                assert_eq!((out.width(), out.height()), (width, height), "{} {format:?}", spec.name);
            }
        }
    }
}

#[test]
fn no_effect_converts_to_rgb() {
    let registry = registry();
    for spec in effects(&registry) {
        for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Gray8] {
            let mut frame = frame_of(random_image(format, 20, 12, ColorSpace::JPEG, 0, 5));
            let mut processor = registry.build(&spec.name, &Options::new()).expect("builds");
            process_one(&mut processor, &mut frame).expect("processes");
            assert_eq!(frame.image.counts().rgb_conversions, 0, "{} {format:?}", spec.name);
        }
    }
}

/// NV12 and RGB inputs give what their I420 conversion gives; but models look at a picture as it came.
#[test]
fn the_pixel_format_does_not_matter() {
    let pool = BufferPool::default();
    let i420 = i420("astronaut.input", 321, 243, ColorSpace::JPEG);
    let registry = registry();
    for spec in effects(&registry).filter(|k| k.name != "none") {
        let run = |image: &Image| {
            let out = apply(&spec.name, &Options::new(), image.clone());
            convert::convert(&out, PixelFormat::I420, ColorSpace::JPEG, &pool).expect("converts")
        };
        let nv12 = convert::convert(&i420, PixelFormat::Nv12, ColorSpace::JPEG, &pool).expect("converts");
        assert_eq!(plane(&run(&nv12), 0), plane(&run(&i420), 0), "{}", spec.name);
        assert_eq!(plane(&run(&nv12), 2), plane(&run(&i420), 2), "{}", spec.name);
        for format in [PixelFormat::Rgb, PixelFormat::Bgr, PixelFormat::Rgba] {
            let rgb = convert::convert(&i420, format, ColorSpace::JPEG, &pool).expect("converts");
            let planar =
                convert::convert(&rgb, PixelFormat::I420, ColorSpace::JPEG, &pool).expect("converts");
            assert_eq!(plane(&run(&rgb), 1), plane(&run(&planar), 1), "{} {format:?}", spec.name);
        }
    }
}

/// The same picture in limited and in full range looks the same afterwards.
#[test]
fn the_range_does_not_matter() {
    let pool = BufferPool::default();
    let full = i420("astronaut.input", 321, 243, ColorSpace::JPEG);
    let limited = convert::convert(&full, PixelFormat::I420, ColorSpace::BT601, &pool).expect("converts");
    let registry = registry();
    for spec in effects(&registry).filter(|k| k.name != "none") {
        let run = |image: &Image| {
            let out = apply(&spec.name, &Options::new(), image.clone());
            convert::convert(&out, PixelFormat::I420, ColorSpace::JPEG, &pool).expect("converts")
        };
        let (a, b) = (run(&full), run(&limited));
        for index in 0..3 {
            let found = difference(&plane(&a, index), &plane(&b, index));
            // Thresholds and saturation amplify the rounding of the range itself.
            let most = match spec.name.as_str() {
                "sharpen" | "emboss" => 4.0,
                "edge_detection" => 6.0,
                _ => 1.6,
            };
            assert!(found.mean <= most, "{} plane {index}: {found:?}", spec.name);
        }
    }
}

#[test]
fn the_names_of_the_plan_are_there() {
    let registry = registry();
    let names: BTreeSet<_> = registry.kinds().map(|k| k.name.as_str()).collect();
    for name in [
        "none",
        "edge_detection",
        "cartoon",
        "grayscale",
        "sepia",
        "blur",
        "pixelate",
        "invert",
        "mirror",
        "emboss",
        "sketch",
        "sharpen",
        "vintage",
        "denoise",
        "text_overlay",
    ] {
        assert!(names.contains(name), "{name}");
    }
    for (alias, name) in [
        ("EdgeOn", "edge_detection"),
        ("CartoonOn", "cartoon"),
        ("TaylorOn", "cartoon"),
        ("GrayOn", "grayscale"),
        ("SepiaOn", "sepia"),
        ("DenoiseOn", "denoise"),
        ("MirrorOn", "mirror"),
        ("InvertOn", "invert"),
    ] {
        assert_eq!(registry.resolve(alias).expect(alias).name, name);
    }
    assert!(registry.resolve("face_swap").is_err());
    let mut all = BTreeSet::new();
    for kind in registry.kinds() {
        assert!(!kind.description.is_empty(), "{}", kind.name);
        for name in std::iter::once(&kind.name).chain(&kind.aliases) {
            assert!(all.insert(name.to_lowercase()), "{name} means two effects");
        }
    }
}

/// Both ends of every range build and run; what lies beyond is refused with the range; unknown names are refused
/// with the known ones.
#[test]
fn parameters_are_checked() {
    let registry = registry();
    let image = random_image(PixelFormat::I420, 40, 30, ColorSpace::JPEG, 0, 2);
    for spec in effects(&registry) {
        let params = spec.params.as_ref().expect("declared parameters");
        let error =
            registry.build(&spec.name, &Options::new().with("colour", 1)).err().expect("refused").to_string();
        assert!(error.contains("colour") && params.iter().all(|p| error.contains(&p.name)), "{error}");
        for param in params {
            assert!(!param.description.is_empty(), "{} {}", spec.name, param.name);
            let build = |value: Value| registry.build(&spec.name, &Options::new().with(&param.name, value));
            if let ParamType::Int(range) = &param.kind {
                for value in [*range.start(), *range.end()] {
                    let mut processor = build(Value::Int(value)).expect("a value in range");
                    process_one(&mut processor, &mut frame_of(image.clone())).expect("processes");
                }
                for value in [range.start() - 1, range.end() + 1] {
                    let error = build(Value::Int(value)).err().expect("refused").to_string();
                    assert!(
                        error.contains(&range.end().to_string()),
                        "{} {}: {error}",
                        spec.name,
                        param.name
                    );
                }
            }
            assert!(build(param.default.clone()).is_ok(), "{} {}", spec.name, param.name);
            let mut frame = frame_of(image.clone());
            process_one(&mut build(param.default.clone()).expect("builds"), &mut frame).expect("processes");
            let plain = apply(&spec.name, &Options::new(), image.clone());
            let explicit = frame.image.pixels().expect("pixels").to_packed().expect("host");
            assert_eq!(
                explicit,
                plain.to_packed().expect("host"),
                "{} {}: another default",
                spec.name,
                param.name
            );
        }
    }
}

/// Each parameter changes the result.
#[test]
fn parameters_have_an_effect() {
    let image = i420("coffee.input", 256, 170, ColorSpace::BT601);
    for (effect, param, value) in [
        ("edge_detection", "low", 10i64),
        ("edge_detection", "high", 600),
        ("cartoon", "lines", 3),
        ("blur", "strength", 5),
        ("pixelate", "block", 7),
        ("emboss", "offset", 0),
        ("sketch", "size", 5),
        ("vintage", "grain", 0),
        ("vintage", "seed", 1),
        ("denoise", "strength", 3),
    ] {
        let changed = apply(effect, &Options::new().with(param, value), image.clone());
        let plain = apply(effect, &Options::new(), image.clone());
        let found = difference(&plane(&changed, 0), &plane(&plain, 0));
        assert!(found.mean > 0.3, "{effect} {param}: {found:?}");
    }
}

#[test]
fn thresholds_the_wrong_way_round_are_exchanged() {
    let image = i420("coffee.input", 256, 170, ColorSpace::BT601);
    let run = |low: i64, high: i64| {
        plane(&apply("edge_detection", &Options::new().with("low", low).with("high", high), image.clone()), 0)
    };
    assert_eq!(run(200, 100), run(100, 200));
    assert_ne!(run(100, 200), run(200, 200), "hysteresis");
}

#[test]
fn grain_moves_with_the_frame_and_can_be_repeated() {
    let image = i420("coffee.input", 256, 170, ColorSpace::BT601);
    let run = |sequence: u64, seed: i64| {
        let mut frame = frame_of(image.clone());
        frame.sequence = sequence;
        plane(&apply_to("vintage", &Options::new().with("seed", seed), frame), 0)
    };
    assert_eq!(run(7, 3), run(7, 3));
    assert!(difference(&run(7, 3), &run(8, 3)).mean > 2.0);
    assert!(difference(&run(7, 3), &run(7, 4)).mean > 2.0);
}

#[test]
fn inverting_twice_gives_the_original() {
    for color in [ColorSpace::JPEG, ColorSpace::BT709] {
        for (name, width, height, _) in PICTURES {
            let image = i420(&format!("{name}.input"), width, height, color);
            let once = apply("invert", &Options::new(), image.clone());
            let twice = apply("invert", &Options::new(), once);
            for index in 0..3 {
                // Luma beyond black or white is clamped once.
                assert!(
                    difference(&plane(&twice, index), &plane(&image, index)).mean < 0.2,
                    "{name} {index}"
                );
            }
        }
    }
}

/// Blur never leaves the range of what it averages, and keeps flat pictures.
#[test]
fn blur_stays_within_its_input() {
    let mut random = Random::new(1);
    for strength in [1, 2, 3, 9, 21, 63, 99] {
        for value in [0, 1, 77, 254, 255] {
            let mut image = random_image(PixelFormat::I420, 30, 20, ColorSpace::JPEG, 0, 1);
            for index in 0..3 {
                image.plane_mut(index).expect("plane").fill(value);
            }
            let out = apply("blur", &Options::new().with("strength", strength), image);
            assert!(plane(&out, 0).iter().all(|&v| v == value), "{strength} {value}");
            assert!(plane(&out, 1).iter().all(|&v| v == value), "{strength} {value}");
        }
        let low = random.below(100) as u8;
        let mut image = random_image(PixelFormat::Gray8, 50, 40, ColorSpace::JPEG, 0, strength as u64);
        for v in image.plane_mut(0).expect("plane").rows_mut().flatten() {
            *v = low + *v % 50;
        }
        let out = plane(&apply("blur", &Options::new().with("strength", strength), image), 0);
        assert!(out.iter().all(|v| (low..low + 50).contains(v)), "{strength}");
    }
}

/// A JPEG stand-in that counts what is asked of it.
struct Decoder;

impl PictureDecoder for Decoder {
    fn decode(
        &self,
        encoded: &Encoded,
        want: Want,
        pool: &BufferPool,
    ) -> Result<Image, ooblex_core::BoxError> {
        let full = random_image(PixelFormat::I420, encoded.width, encoded.height, ColorSpace::JPEG, 0, 1);
        let format = if want == Want::Luma { PixelFormat::Gray8 } else { PixelFormat::I420 };
        Ok(convert::convert(&full, format, ColorSpace::JPEG, pool)?)
    }
}

fn encoded(pool: &BufferPool) -> Frame {
    let encoded = Encoded { codec: ImageCodec::Jpeg, data: Default::default(), width: 64, height: 48 };
    let picture = Picture::encoded(encoded, std::sync::Arc::new(Decoder), pool.clone());
    Frame::new(StreamId::default(), 1, std::time::Instant::now(), picture)
}

#[test]
fn only_what_is_needed_is_decoded() {
    let registry = registry();
    for (effect, luma, full) in [
        ("none", 0, 0),
        ("edge_detection", 1, 0),
        ("grayscale", 1, 0),
        ("sketch", 1, 0),
        ("blur", 0, 1),
        ("cartoon", 0, 1),
    ] {
        let mut frame = encoded(&BufferPool::default());
        process_one(&mut registry.build(effect, &Options::new()).expect("builds"), &mut frame)
            .expect("processes");
        let counts = frame.image.counts();
        assert_eq!((counts.decoded_luma, counts.decoded_full), (luma, full), "{effect}");
        assert_eq!(frame.image.as_encoded().is_some(), effect == "none", "{effect}");
    }
}

/// In steady state all picture memory comes back from the pool.
#[test]
fn pictures_are_reused() {
    let registry = registry();
    for spec in effects(&registry) {
        let pool = BufferPool::new(8);
        let mut processor = registry.build(&spec.name, &Options::new()).expect("builds");
        let clock = Clock::system();
        let mut run = || {
            let image = Image::black(320, 200, &pool).expect("a picture");
            let mut frame = Frame::new(
                StreamId::default(),
                1,
                std::time::Instant::now(),
                Picture::new(image, pool.clone()),
            );
            processor.process(&mut frame, &mut ProcessContext::new(&clock, &pool)).expect("processes");
        };
        run();
        let before = pool.stats().allocated;
        (0..5).for_each(|_| run());
        assert_eq!(pool.stats().allocated, before, "{}", spec.name);
    }
}

#[test]
fn chains_of_effects_run() {
    let registry = registry();
    let image = i420("coffee.input", 256, 170, ColorSpace::BT601);
    let run = |text: &str| {
        let chain = Chain::parse(text, &registry).expect(text);
        let mut processor = chain.build(&registry, &Default::default()).expect("builds");
        let mut frame = frame_of(image.clone());
        process_one(&mut processor, &mut frame).expect("processes");
        frame.image.pixels().expect("pixels").to_packed().expect("host")
    };
    assert_eq!(run("mirror|mirror"), run("none"));
    assert_eq!(run("GrayOn + InvertOn"), run("grayscale|invert"));
    assert_ne!(run("pixelate|edge_detection"), run("edge_detection|pixelate"));
    for pair in ["edge_detection|sepia", "sketch|vintage", "grayscale|emboss", "blur|cartoon|mirror"] {
        run(pair);
    }
}

//! Style transfer on a picture of an astronaut (NASA, public domain).

#[path = "common/people.rs"]
mod people;

use std::time::Duration;

use ooblex_core::testing::{conformance, frame_of};
use ooblex_core::{
    BufferPool, Clock, ColorSpace, FailurePolicy, Frame, FrameProcessor, Image, Options, ParamType,
    PixelFormat, ProcessContext, Registry,
};
use people::*;

fn registry() -> Registry {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    registry
}

fn small() -> Image {
    as_yuv(&astronaut(Some((128, 96))), ColorSpace::BT601)
}

fn packed(image: &Image) -> Vec<u8> {
    image.to_packed().expect("host memory")
}

fn difference(a: &Image, b: &Image) -> f64 {
    let (a, b) = (packed(a), packed(b));
    a.iter().zip(&b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn it_conforms() {
    let options = Options::new().with("size", 64);
    conformance(|| build("style_transfer", &options), 60).expect("conforms");
}

/// Statistics of whole pictures against those of the original runtime: ours were resized, turned into YUV and back.
#[test]
fn styles_look_like_those_of_the_original() {
    let text = std::fs::read_to_string(golden("style_multistyle26.json")).expect("a golden");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // Twice the size that the model works on.
    let image = as_yuv(&astronaut(None), ColorSpace::BT601);
    for style in [7usize, 15, 19] {
        let wanted = &json["images"]["astronaut_256.png"][format!("style_{style}")];
        let wanted =
            |name: &str| -> Vec<f64> { serde_json::from_value(wanted[name].clone()).expect("numbers") };
        let options = Options::new().with("style", style as i64).with("size", 256);
        let result = applied("style_transfer", &options, &image);
        assert_eq!((result.width(), result.height(), result.color()), (512, 512, ColorSpace::BT601));
        let rgb = as_rgb(&result);
        let plane = rgb.plane(0).expect("host");
        let channel = |c: usize| plane.rows().flat_map(move |row| row[c..].iter().step_by(3));
        for c in 0..3 {
            let mean = channel(c).map(|v| f64::from(*v)).sum::<f64>() / (512.0 * 512.0) / 255.0;
            let square = channel(c).map(|v| (f64::from(*v) / 255.0 - mean).powi(2)).sum::<f64>();
            let deviation = (square / (512.0 * 512.0)).sqrt();
            let (m, d) = (wanted("mean_rgb")[c], wanted("std_rgb")[c]);
            assert!((mean - m).abs() <= 0.015, "style {style} channel {c}: mean {mean:.4}, not {m:.4}");
            // Enlarging takes some of the finest strokes.
            let kept = deviation / d;
            assert!((0.86..1.01).contains(&kept), "style {style} channel {c}: {deviation:.4}, not {d:.4}");
        }
        let grid: Vec<Vec<f64>> = serde_json::from_value(
            json["images"]["astronaut_256.png"][format!("style_{style}")]["grid8_luma"].clone(),
        )
        .expect("a grid");
        for (by, row) in grid.iter().enumerate() {
            for (bx, wanted) in row.iter().enumerate() {
                let luma = (0..64 * 64).map(|i| {
                    let [r, g, b] = pixel(&rgb, bx * 64 + i % 64, by * 64 + i / 64).map(f64::from);
                    0.299 * r + 0.587 * g + 0.114 * b
                });
                let mean = luma.sum::<f64>() / 4096.0 / 255.0;
                assert!(
                    (mean - wanted).abs() <= 0.04,
                    "style {style} block {bx},{by}: {mean:.4}, not {wanted:.4}"
                );
            }
        }
    }
}

#[test]
fn all_styles_differ_and_are_chosen_by_name_or_number() {
    let registry = registry();
    let kind = registry.resolve("style_transfer").expect("a kind");
    assert_eq!(kind.on_failure, FailurePolicy::Pass);
    let param = kind.params.iter().flatten().find(|param| param.name == "style").expect("a parameter");
    let ParamType::Choice(names) = &param.kind else { panic!("{:?}", param.kind) };
    assert_eq!(names.len(), 26);
    let image = small();
    let paint = |options: &Options| applied("style_transfer", options, &image);
    let all: Vec<Image> = (0..26i64).map(|n| paint(&Options::new().with("style", n))).collect();
    for (number, (name, by_number)) in names.iter().zip(&all).enumerate() {
        if number % 9 == 0 {
            assert_eq!(
                packed(&paint(&Options::new().with("style", name.as_str()))),
                packed(by_number),
                "{name}"
            );
        }
        for (other, image) in all[..number].iter().enumerate() {
            assert!(difference(image, by_number) > 4.0, "{name} looks like {}", names[other]);
        }
    }
    let error = registry.build("style_transfer", &Options::new().with("style", 26)).err().expect("refused");
    assert!(error.to_string().ends_with("dark_dabs, or a number from 0 to 25"), "{error}");
}

#[test]
fn a_blend_lies_between_its_ends() {
    let image = small();
    let blend = |share: f64| {
        let options = Options::new().with("style", 1).with("style2", 12).with("blend", share);
        applied("style_transfer", &options, &image)
    };
    let [first, middle, second] = [0.0, 0.5, 1.0].map(blend);
    let whole = difference(&first, &second);
    assert!(difference(&first, &middle) < whole && difference(&middle, &second) < whole);
    assert!(difference(&first, &middle) > 2.0 && difference(&middle, &second) > 2.0);
}

/// Runs a processor at a time of the test's own.
fn at(processor: &mut dyn FrameProcessor, image: &Image, clock: &Clock) -> Image {
    let mut frame: Frame = frame_of(image.clone());
    let pool = BufferPool::default();
    processor.process(&mut frame, &mut ProcessContext::new(clock, &pool)).expect("processes");
    frame.image.pixels().expect("pixels").clone()
}

#[test]
fn other_parameters_fade_in() {
    let (registry, image) = (registry(), small());
    let clock = Clock::manual(std::time::Instant::now());
    let new = |style: i64| {
        let options = Options::new().with("style", style).with("fade_ms", 400).with("smooth", 0);
        registry.build("style_transfer", &options).expect("builds")
    };
    let (mut old, mut next) = (new(1), new(7));
    let before = at(&mut *old, &image, &clock);
    clock.advance(Duration::from_millis(33));
    assert_eq!(packed(&at(&mut *next, &image, &clock)), packed(&before), "it begins where the old one ended");
    let mut last = before.clone();
    for _ in 0..4 {
        clock.advance(Duration::from_millis(100));
        let now = at(&mut *next, &image, &clock);
        assert!(difference(&now, &last) > 1.0, "it moves on");
        last = now;
    }
    let target = applied("style_transfer", &Options::new().with("style", 7), &image);
    assert_eq!(packed(&last), packed(&target));
    // After a pause there is nothing to come from.
    clock.advance(Duration::from_secs(5));
    assert_eq!(packed(&at(&mut *new(1), &image, &clock)), packed(&before));
}

#[test]
fn strokes_dance_less_the_more_of_the_last_painting_stays() {
    let mut random = ooblex_core::testing::Random::new(7);
    let still = as_yuv(&astronaut(Some((160, 120))), ColorSpace::BT601);
    let frames: Vec<Image> = (0..8)
        .map(|_| {
            let mut frame = still.clone();
            let mut luma = frame.plane_mut(0).expect("host");
            luma.rows_mut().flatten().for_each(|v| *v = v.saturating_add(random.below(9) as u8));
            frame
        })
        .collect();
    let dance = |smooth: f64| {
        let mut processor = build("style_transfer", &Options::new().with("smooth", smooth));
        let painted: Vec<Image> = frames
            .iter()
            .map(|f| processed(&mut *processor, f).image.pixels().expect("pixels").clone())
            .collect();
        painted[2..].windows(2).map(|pair| difference(&pair[0], &pair[1])).sum::<f64>()
    };
    let (none, default, much) = (dance(0.0), dance(0.3), dance(0.8));
    assert!(default < 0.8 * none && much < 0.4 * none, "{none} {default} {much}");
}

#[test]
fn sizes_follow_the_parameter_and_the_time() {
    let image = as_yuv(&astronaut(Some((640, 360))), ColorSpace::BT601);
    let detail = |image: &Image| {
        let rows = image.plane(0).expect("host").rows();
        let sum = rows.map(|row| row.windows(2).map(|p| u64::from(p[0].abs_diff(p[1]))).sum::<u64>());
        sum.sum::<u64>()
    };
    let [small, large] = [64i64, 320].map(|size| {
        detail(&applied("style_transfer", &Options::new().with("style", 15).with("size", size), &image))
    });
    assert!(large > 2 * small, "{small} {large}");
    // The automatic size gives pictures, too, whatever the time.
    let mut processor = build("style_transfer", &Options::new().with("size", 0));
    for _ in 0..6 {
        let frame = processed(&mut *processor, &image);
        assert_eq!((frame.image.width(), frame.image.height()), (640, 360));
    }
}

#[test]
fn nothing_is_converted_to_rgb() {
    for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Gray8] {
        let image = ooblex_core::testing::random_image(format, 64, 48, ColorSpace::JPEG, 0, 5);
        let frame = processed(&mut *build("style_transfer", &Options::new()), &image);
        assert_eq!(frame.image.counts().rgb_conversions, 0, "{format:?}");
    }
}

//! How steady boxes and masks are: flicker on a still subject, lag on a moving one, both measured on clips of an
//! astronaut (NASA, public domain).
#![allow(clippy::print_stdout)] // The measured figures, and how a test says that it skips.

#[path = "common/people.rs"]
mod people;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ooblex_core::testing::Random;
use ooblex_core::{Annotation, AnnotationKind, ColorSpace, Image, Options, PixelFormat};
use ooblex_models::manager::{BLAZEFACE, ModelHandle, Models};
use ooblex_models::preprocess::{Components, Fit, InputSpec, Layout, Preprocess};
use ooblex_models::smooth::Tracker;
use people::*;

const FRAME: Duration = Duration::from_millis(33);
/// Strength, if nothing else is asked for.
const DEFAULT: f32 = 0.5;

/// The same picture again and again, as a camera and an encoder of changing quality see it: near-normal noise with a
/// standard deviation of 4 steps, then JPEG.
fn still_clip(size: (u32, u32), frames: u64) -> Vec<Image> {
    let still = astronaut(Some(size)).to_packed().expect("host memory");
    let (width, height) = (size.0 as usize, size.1 as usize);
    let frame = |number: u64| {
        let mut random = Random::new(number + 1);
        // Four uniform numbers of -1 to 1 add up to a variance of 4 / 3.
        let mut noise =
            || (0..4).map(|_| random.below(2001) as f32 / 1000.0 - 1.0).sum::<f32>() * 0.866 * 4.0;
        let noisy: Vec<u8> =
            still.iter().map(|v| (f32::from(*v) + noise()).round().clamp(0.0, 255.0) as u8).collect();
        let quality = [60, 75, 85, 92][number as usize % 4];
        let rgb = turbojpeg::PixelFormat::RGB;
        let picture = turbojpeg::Image { pixels: &noisy[..], width, pitch: 3 * width, height, format: rgb };
        let jpeg = turbojpeg::compress(picture, quality, turbojpeg::Subsamp::Sub2x2).expect("compresses");
        let pixels = turbojpeg::decompress(&jpeg, rgb).expect("decompresses").pixels;
        Image::from_vec(PixelFormat::Rgb, size.0, size.1, ColorSpace::JPEG, pixels).expect("a picture")
    };
    (0..frames).map(frame).collect()
}

/// Mean change of numbers from one frame to the next, the first frames left out.
fn flicker<T>(frames: &[T], change: impl Fn(&T, &T) -> f64) -> f64 {
    let pairs = frames[4..].windows(2);
    let count = pairs.len() as f64;
    pairs.map(|pair| change(&pair[0], &pair[1])).sum::<f64>() / count
}

#[test]
fn masks_of_a_still_person_flicker_five_times_less() {
    for size in [(640, 480), (512, 512)] {
        let clip = still_clip(size, 24);
        for effect in ["background_blur", "segmentation"] {
            let masks = |options: &Options| -> Vec<Vec<u8>> {
                let mut processor = build(effect, options);
                clip.iter().map(|image| mask_of(&processed(&mut *processor, image)).values.to_vec()).collect()
            };
            let of = |options: &Options| {
                flicker(&masks(options), |a, b| {
                    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
                })
            };
            let (raw, steady) = (of(&Options::new().with("smooth", 0)), of(&Options::new()));
            println!(
                "{effect} {size:?}: {raw:.4} to {steady:.4} steps of 255 a pixel, {:.0} times less",
                raw / steady
            );
            assert!(raw > 0.2 && steady * 5.0 < raw, "{effect} {size:?}: {raw} {steady}");
        }
    }
}

/// The one face in a picture, by BlazeFace: the mean of its boxes, weighted by score, as left, top, width, height.
struct Faces {
    model: ModelHandle,
    input: Preprocess,
}

impl Faces {
    fn new() -> Self {
        let spec = InputSpec {
            width: 128,
            height: 128,
            layout: Layout::Nchw,
            components: Components::Rgb,
            mean: [127.5; 3],
            scale: [1.0 / 127.5; 3],
            fit: Fit::Letterbox,
        };
        Self { model: Models::default().handle(BLAZEFACE).expect("a model"), input: Preprocess::new(spec) }
    }

    fn find(&mut self, image: &Image) -> Annotation {
        let placement = self.input.fill(image, self.model.input(0).expect("an input")).expect("fills");
        let [regressors, scores] = self.model.run(None).expect("runs") else { panic!("two outputs") };
        let (mut sum, mut total, mut best) = ([0f32; 4], 0f32, 0f32);
        for (i, (numbers, logit)) in regressors.f32().chunks_exact(16).zip(scores.f32()).enumerate() {
            let score = 1.0 / (1.0 + (-logit).exp());
            let (cells, cell) = if i < 512 { (16, i / 2) } else { (8, (i - 512) / 6) };
            let middle = |i: usize| (i as f32 + 0.5) / cells as f32 * 128.0;
            if score >= 0.5 {
                let (x, y) = (middle(cell % cells) + numbers[0], middle(cell / cells) + numbers[1]);
                let rect = [x - numbers[2] / 2.0, y - numbers[3] / 2.0, numbers[2], numbers[3]];
                sum.iter_mut().zip(rect).for_each(|(sum, v)| *sum += score * v);
                (total, best) = (total + score, best.max(score));
            }
        }
        assert!(total > 0.0, "a face");
        let rect = placement.rect(sum.map(|v| v / total));
        Annotation::new(AnnotationKind::Box, "face", best, BLAZEFACE).with_bounds(rect)
    }
}

/// Bounds of the same faces after a tracker.
fn tracked(faces: &[Annotation], strength: f32) -> Vec<[f32; 4]> {
    let (mut tracker, mut now) = (Tracker::new(strength), Instant::now());
    let step = |face: &Annotation| {
        now += FRAME;
        let mut found = vec![face.clone()];
        tracker.update(&mut found, now);
        assert_eq!(found.len(), 1);
        found[0].bounds.expect("a box")
    };
    faces.iter().map(step).collect()
}

fn edges([left, top, width, height]: [f32; 4]) -> [f32; 4] {
    [left, top, left + width, top + height]
}

#[test]
fn boxes_of_a_still_face_flicker_five_times_less() {
    let mut faces = Faces::new();
    let found: Vec<Annotation> = still_clip((640, 480), 40).iter().map(|image| faces.find(image)).collect();
    let of = |strength: f32| {
        flicker(&tracked(&found, strength), |a, b| {
            let (a, b) = (edges(*a), edges(*b));
            a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / 4.0 * 640.0
        })
    };
    let (raw, steady) = (of(0.0), of(DEFAULT));
    println!("edges of the box: {raw:.4} to {steady:.4} pixels of 640");
    assert!(raw > 0.02 && steady * 5.0 < raw, "{raw} {steady}");
}

/// The frames of a clip of 640x480, if there is a program to read it.
fn frames(clip: &Path) -> Option<Vec<Image>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(clip).args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]);
    let output = ffmpeg.output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let frame = |data: &[u8]| {
        Image::from_vec(PixelFormat::I420, 640, 480, ColorSpace::BT601, data.to_vec()).expect("a picture")
    };
    Some(output.stdout.chunks_exact(640 * 480 * 3 / 2).map(frame).collect())
}

/// The astronaut moves left and right, at up to 6.7 pixels a frame, a thirtieth of the face.
fn moving_clip(test: &str) -> Option<Vec<Image>> {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ooblex-colab/assets/astronaut_pan_640x480.mp4");
    let found = frames(&clip);
    if found.is_none() {
        println!("SKIPPED {test}: no ffmpeg");
    }
    found
}

/// At strength s edges lag by at most 0.04 s of the box's size.
#[test]
fn boxes_of_a_moving_face_do_not_lag() {
    let Some(clip) = moving_clip("boxes_of_a_moving_face_do_not_lag") else { return };
    assert_eq!(clip.len(), 150);
    let mut faces = Faces::new();
    let found: Vec<Annotation> = clip.iter().map(|image| faces.find(image)).collect();
    let lefts = found.iter().map(|face| face.bounds.expect("a box")[0]);
    let way = lefts.clone().fold(f32::MIN, f32::max) - lefts.fold(f32::MAX, f32::min);
    assert!(way > 0.4, "the face moves: {way}");
    for strength in [DEFAULT, 1.0] {
        let (mut most, mut sum) = (0f32, 0f32);
        for (face, shown) in found.iter().zip(tracked(&found, strength)) {
            let [_, _, width, height] = face.bounds.expect("a box");
            let (wanted, got) = (edges(face.bounds.expect("a box")), edges(shown));
            let lag = |i: usize| (wanted[i] - got[i]).abs() / [width, height][i % 2];
            let worst = (0..4).map(lag).fold(0.0, f32::max);
            (most, sum) = (most.max(worst), sum + worst);
        }
        let mean = sum / found.len() as f32;
        println!(
            "strength {strength}: edges off by {:.2} % of the face on average, {:.2} % at most",
            mean * 100.0,
            most * 100.0
        );
        assert!(most <= 0.04 * strength && mean <= 0.035 * strength, "strength {strength}: {mean} {most}");
    }
}

/// How far the steadied mask is from the raw one, in frames of motion: less than one.
#[test]
fn masks_of_a_moving_person_lag_by_less_than_a_frame() {
    let Some(clip) = moving_clip("masks_of_a_moving_person_lag_by_less_than_a_frame") else { return };
    let masks = |options: &Options| -> Vec<Vec<u8>> {
        let mut processor = build("segmentation", options);
        clip[..40].iter().map(|image| mask_of(&processed(&mut *processor, image)).values.to_vec()).collect()
    };
    let (raw, steady) = (masks(&Options::new().with("smooth", 0)), masks(&Options::new()));
    let apart = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>();
    let off: f64 = raw.iter().zip(&steady).skip(5).map(|(a, b)| apart(a, b)).sum();
    let motion: f64 = raw.windows(2).skip(4).map(|pair| apart(&pair[0], &pair[1])).sum();
    println!("off by {:.2} of what one frame changes", off / motion);
    assert!(off < 0.6 * motion, "{off} {motion}");
}

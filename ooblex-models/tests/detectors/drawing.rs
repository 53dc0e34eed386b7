//! What detectors draw, and how much of a compressed picture they have decoded.

use ooblex_core::testing::{frame_of, process_one};
use ooblex_core::{ColorSpace, Frame, Image, Options};
use ooblex_models::Chain;

use crate::support::*;

const DETECTORS: [&str; 4] = ["emotion", "face_detection", "object_detection", "pose_detection"];

fn pixels(frame: &mut Frame) -> Image {
    frame.image.pixels().expect("pixels").clone()
}

/// How many samples of luma differ.
fn changed(a: &Image, b: &Image) -> usize {
    let (a, b) = (a.plane(0).expect("luma"), b.plane(0).expect("luma"));
    a.rows().zip(b.rows()).map(|(a, b)| a.iter().zip(b).filter(|(a, b)| a != b).count()).sum()
}

fn drawn(lab: &Lab, effect: &str, options: Options) -> (Image, Image) {
    let before = picture("models/astronaut.png");
    let mut frame = frame_of(before.clone());
    process_one(&mut lab.build(effect, &options), &mut frame).expect("processes");
    (before, pixels(&mut frame))
}

#[test]
fn what_is_found_is_drawn_unless_told_otherwise() {
    let lab = Lab::rten();
    for effect in DETECTORS {
        let (before, after) = drawn(&lab, effect, Options::new());
        assert!(changed(&before, &after) > 400, "{effect}");
        let (before, after) = drawn(&lab, effect, Options::new().with("draw", false));
        assert_eq!(changed(&before, &after), 0, "{effect}");
    }
}

#[test]
fn a_face_has_a_green_box_of_two_pixels_by_default() {
    let lab = Lab::rten();
    let plain = Options::new().with("score", false).with("landmarks", false);
    let (before, after) = drawn(&lab, "face_detection", plain.clone());
    let count = changed(&before, &after);
    // MediaPipe's box of 95 by 95 pixels.
    assert!((700..820).contains(&count), "{count} pixels of a border of {}", 4 * 95 * 2);
    let rgb = ooblex_core::convert::convert(
        &after,
        ooblex_core::PixelFormat::Rgb,
        ColorSpace::JPEG,
        &ooblex_core::BufferPool::default(),
    );
    let rgb = rgb.expect("converts");
    let at = |x: usize, y: usize| rgb.plane(0).expect("packed").row(y)[3 * x..][..3].to_vec();
    let column = (170..186).map(|x| at(x, 130)).find(|p| p[0] < 40 && p[1] > 215 && p[2] < 40);
    assert!(column.is_some(), "no green left side at row 130");
    let (_, wide) = drawn(&lab, "face_detection", plain.clone().with("width", 6));
    assert!(changed(&before, &wide) > 2 * count);
    for param in ["score", "landmarks"] {
        let (_, more) = drawn(&lab, "face_detection", plain.clone().with(param, true));
        assert!(changed(&before, &more) > count + 30, "{param}");
    }
    let (_, red) = drawn(&lab, "face_detection", plain.with("color", "red"));
    assert!(changed(&after, &red) > count / 2);
}

#[test]
fn drawing_comes_last_in_a_chain_and_is_of_each_detector_its_own() {
    let lab = Lab::rten();
    let run = |text: &str| {
        let chain = Chain::parse(text, lab.registry()).expect("a chain");
        let mut processor = chain.build(lab.registry(), &Default::default()).expect("builds");
        let mut frame = frame_of(picture("models/astronaut.png"));
        process_one(&mut processor, &mut frame).expect("processes");
        (pixels(&mut frame), frame.annotations.len(), processor.steps().join("|"))
    };
    let (drawn, found, steps) = run("face_detection|grayscale");
    assert_eq!((found, &*steps), (1, "face_detection|grayscale|overlay"));
    let (grey, ..) = run("grayscale");
    assert!(changed(&drawn, &grey) > 400);
    let (_, found, steps) = run("face_detection|object_detection|pose_detection|emotion");
    assert_eq!(found, 4);
    assert!(steps.ends_with("overlay|overlay|overlay|overlay"), "{steps}");
}

/// As long as nothing is found, a compressed picture is decoded at a small size and passed on as it came; after a frame
/// with something to draw it is decoded once, in full.
#[test]
fn a_compressed_picture_is_decoded_as_far_as_it_is_needed() {
    let lab = Lab::rten();
    let large = enlarged(&picture("models/astronaut.png"), 4);
    let mut empty = large.clone();
    for index in 0..3 {
        empty.plane_mut(index).expect("plane").fill(128);
    }
    for effect in DETECTORS {
        let mut processor = lab.build(effect, &Options::new());
        let mut counts = |image: &Image| {
            let mut frame = compressed(image);
            process_one(&mut processor, &mut frame).expect("processes");
            let counts = frame.image.counts();
            (counts.decoded_reduced, counts.decoded_full, frame.annotations.len())
        };
        assert_eq!(counts(&empty), (1, 0, 0), "{effect}");
        assert_eq!(counts(&large), (1, 1, 1), "{effect}: the first frame with something to draw");
        assert_eq!(counts(&large), (0, 1, 1), "{effect}: the second one");
        assert_eq!(counts(&empty), (0, 1, 0), "{effect}: gone");
        assert_eq!(counts(&empty), (1, 0, 0), "{effect}: still gone");
        let mut processor = lab.build(effect, &Options::new().with("draw", false));
        for _ in 0..2 {
            let mut frame = compressed(&large);
            process_one(&mut processor, &mut frame).expect("processes");
            let counts = frame.image.counts();
            assert_eq!((frame.annotations.len(), counts.decoded_full), (1, 0), "{effect} without drawing");
            assert!(frame.image.as_encoded().is_some());
        }
    }
}

/// What is found does not depend on the size at which it was decoded.
#[test]
fn a_reduced_picture_shows_the_same() {
    let lab = Lab::rten();
    let large = enlarged(&picture("models/astronaut.png"), 4);
    for effect in DETECTORS {
        let (mut full, mut reduced) = (frame_of(large.clone()), compressed(&large));
        for frame in [&mut full, &mut reduced] {
            let options = Options::new().with("draw", false);
            process_one(&mut lab.build(effect, &options), frame).expect("processes");
        }
        let (full, reduced) = (found(&full), found(&reduced));
        if effect == "pose_detection" {
            assert_eq!(full[0].points.len(), reduced[0].points.len());
            continue;
        }
        let expected: Vec<_> = full.iter().map(|one| (one.corners.to_vec(), one.score)).collect();
        assert_found(&reduced, &expected, 0.95, 0.03, effect);
    }
}

/// Each pixel `factor` times in both directions.
fn enlarged(image: &Image, factor: u32) -> Image {
    let pool = ooblex_core::BufferPool::default();
    let (width, height) = (image.width() * factor, image.height() * factor);
    let mut large = Image::alloc(image.format(), width, height, image.color(), &pool).expect("a picture");
    for index in 0..image.format().plane_count() {
        let from = image.plane(index).expect("plane");
        let mut to = large.plane_mut(index).expect("plane");
        for (y, row) in to.rows_mut().enumerate() {
            let from = from.row(y / factor as usize);
            row.iter_mut().enumerate().for_each(|(x, v)| *v = from[x / factor as usize]);
        }
    }
    large
}

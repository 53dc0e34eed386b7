//! `pose_detection`.

use ooblex_core::{AnnotationKind, ColorSpace, Image, Options};
use serde_json::Value;

use crate::support::*;

on_each_engine!(joints_lie_where_they_do_by_opencv, joints_of_the_larger_set, nobody_has_no_joints);

/// Joints that are seen clearly lie within 2 % of the picture's longer side, with scores that differ by a tenth; what is
/// not found has the score 0.
fn check(lab: &Lab, image: &Image, expected: &[Value], what: &str) {
    let frame = lab.look("pose_detection", Options::new(), image);
    let found = found(&frame);
    assert_eq!(found.len(), 1, "{what}");
    let (person, size) = (&found[0], image.width().max(image.height()) as f32);
    assert_eq!((person.points.len(), person.point_scores.len()), (17, 17));
    let mut seen = 0;
    for ((point, score), expected) in person.points.iter().zip(&person.point_scores).zip(expected) {
        let [x, y, clear] = numbers(expected)[..] else { panic!("{expected}") };
        assert!(
            (score - clear).abs() < 0.1 || (*score == 0.0 && clear < 0.35),
            "{what}: {score}, not {clear}"
        );
        assert!(*score == 0.0 || *score >= 0.25, "{what}: {score}");
        if clear > 0.4 {
            let off = (point[0] - x).hypot(point[1] - y) / size;
            assert!(off < 0.02, "{what}: {point:?} instead of {x} {y}");
            seen += 1;
        }
    }
    let clear = person.point_scores.iter().filter(|score| **score > 0.0);
    let mean = clear.clone().sum::<f32>() / clear.count() as f32;
    assert!(seen >= 6 && (person.score - mean).abs() < 1e-3, "{what}: {seen} joints, {}", person.score);
    let person = &frame.annotations[0];
    let about = (person.kind, &*person.label, &*person.model, person.bounds);
    assert_eq!(about, (AnnotationKind::Points, "person", "movenet_lightning_192", None));
}

fn joints_lie_where_they_do_by_opencv(lab: &Lab) {
    for (name, path) in [("astronaut.png", "models/astronaut.png"), ("gallery.png", "gallery.png")] {
        check(lab, &picture(path), whole(name, "movenet").as_array().expect("joints"), name);
    }
}

/// The whole picture is that of the exact golden, which the model's own runtime made, at another size.
fn joints_of_the_larger_set(lab: &Lab) {
    let golden_joints = json(&golden("models/movenet_lightning_192.json"));
    let joints = golden_joints["images"]["astronaut_192.png"]["keypoints_yxs"].as_array().expect("joints");
    let in_pixels = joints.iter().map(|joint| {
        let [y, x, score] = numbers(joint)[..] else { panic!("{joint}") };
        serde_json::json!([x * 512.0, y * 512.0, score])
    });
    check(lab, &picture("models/astronaut.png"), &in_pixels.collect::<Vec<_>>(), "astronaut");
    let Some(path) = shared("bikes_125.png", "joints_of_the_larger_set") else { return };
    // A cyclist in a picture that is 2.4 times as wide as high.
    let image = yuv(&open(&path), ColorSpace::JPEG);
    let cyclist = &found(&lab.look("pose", Options::new(), &image))[0];
    let nose = cyclist.points[0];
    assert!((nose[0] - 422.0).abs() < 12.0 && (nose[1] - 35.0).abs() < 12.0, "{nose:?}");
}

fn nobody_has_no_joints(lab: &Lab) {
    let frame = lab.look("pose_detection", Options::new(), &picture("models/coffee.png"));
    assert!(frame.annotations.is_empty(), "{:?}", frame.annotations);
}

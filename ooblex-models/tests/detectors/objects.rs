//! `object_detection`.

use ooblex_core::{AnnotationKind, BufferPool, ColorSpace, Image, Options, PixelFormat, convert};
use serde_json::Value;

use crate::support::*;

on_each_engine!(
    things_lie_where_they_do_by_opencv,
    things_of_the_larger_set,
    red_and_blue_are_not_exchanged,
    a_higher_confidence_finds_less,
);

/// What the model must be told apart: person, dining table.
fn label(class: &Value) -> &str {
    match class.as_u64() {
        Some(0) => "person",
        Some(3) => "motorcycle",
        Some(27) => "tie",
        Some(60) => "dining table",
        other => panic!("class {other:?}"),
    }
}

fn check(found: &[Found], expected: &[Value], what: &str) {
    let boxes: Vec<_> = expected.iter().map(|e| (numbers(&e["box"]), numbers(&e["score"])[0])).collect();
    assert_found(found, &boxes, 0.95, 0.03, what);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.label, label(&expected["class"]), "{what}");
    }
}

fn things_lie_where_they_do_by_opencv(lab: &Lab) {
    for (name, path) in [
        ("astronaut.png", "models/astronaut.png"),
        ("gallery.png", "gallery.png"),
        ("coffee.png", "models/coffee.png"),
    ] {
        let frame = lab.look("object_detection", Options::new(), &picture(path));
        let expected = whole(name, "nanodet");
        check(&found(&frame), expected.as_array().expect("things"), name);
        let thing = &frame.annotations[0];
        assert_eq!((thing.kind, &*thing.model), (AnnotationKind::Box, "nanodet_g_416"));
    }
}

/// A cyclist on whom the model also sees a motorcycle, in a picture that is 2.4 times as wide as high.
fn things_of_the_larger_set(lab: &Lab) {
    let Some(path) = shared("nanodet_g_416.json", "things_of_the_larger_set") else { return };
    let image = yuv(&open(&path.with_file_name("bikes_125.png")), ColorSpace::JPEG);
    let frame = lab.look("object_detection", Options::new().with("min_confidence", 0.38), &image);
    // 416/640 as large, in the middle of a square of 416.
    let (scale, top) = (640.0 / 416.0, 119.0);
    let golden = json(&path);
    let expected = golden["images"]["bikes_125_416lb.png"].as_array().expect("things");
    let expected: Vec<_> = expected
        .iter()
        .filter(|thing| numbers(&thing["score"])[0] > 0.38)
        .map(|thing| {
            let b = numbers(&thing["box_px_xyxy"]);
            let corners = vec![b[0] * scale, (b[1] - top) * scale, b[2] * scale, (b[3] - top) * scale];
            (corners, numbers(&thing["score"])[0])
        })
        .collect();
    assert_found(&found(&frame), &expected, 0.9, 0.05, "bikes");
    assert!(frame.annotations.iter().all(|thing| &*thing.label == "person"));
}

/// The picture with red and blue exchanged gives another score; this one gives that of the reference.
fn red_and_blue_are_not_exchanged(lab: &Lab) {
    let rgb = open(&golden("gallery.png"));
    let plane = rgb.plane(0).expect("packed");
    let swapped: Vec<u8> = plane
        .rows()
        .flatten()
        .copied()
        .collect::<Vec<_>>()
        .chunks(3)
        .flat_map(|p| [p[2], p[1], p[0]])
        .collect();
    let (width, height) = (rgb.width(), rgb.height());
    let swapped = Image::from_vec(PixelFormat::Rgb, width, height, ColorSpace::JPEG, swapped);
    let score = |image: &Image| found(&lab.look("object_detection", Options::new(), image))[0].score;
    let expected = numbers(&whole("gallery.png", "nanodet")[0]["score"])[0];
    let (right, wrong) = (score(&rgb), score(&swapped.expect("a picture")));
    assert!((right - expected).abs() < 0.02 && (wrong - expected).abs() > 0.03, "{right} {wrong} {expected}");
    let bgr = convert::convert(&rgb, PixelFormat::Bgr, ColorSpace::JPEG, &BufferPool::default());
    assert!((score(&bgr.expect("converts")) - right).abs() < 1e-3);
}

fn a_higher_confidence_finds_less(lab: &Lab) {
    let image = picture("models/coffee.png");
    let look =
        |least: f64| found(&lab.look("object_detect", Options::new().with("min_confidence", least), &image));
    let (many, one) = (look(0.05), look(0.5));
    assert!((2..=100).contains(&many.len()) && one.len() == 1 && look(0.6).is_empty());
    assert!(many.windows(2).all(|pair| pair[1].score <= pair[0].score));
    assert!(many.iter().all(|thing| thing.label != "toilet"), "the class that the model confuses");
    for (i, a) in many.iter().enumerate() {
        for b in many[..i].iter().filter(|b| b.label == a.label) {
            assert!(overlap(&a.corners, &b.corners) <= 0.6, "one thing twice: {a:?} {b:?}");
        }
    }
}

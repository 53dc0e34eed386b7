//! `face_detection`.

use ooblex_core::testing::{frame_of, process_one};
use ooblex_core::{
    AnnotationKind, BufferPool, Clock, ColorSpace, Options, PixelFormat, ProcessContext, convert,
};
use serde_json::Value;

use crate::support::*;

on_each_engine!(
    large_faces_lie_where_mediapipe_finds_them,
    small_faces_lie_where_centerface_finds_them,
    faces_of_the_larger_set,
    small_faces_of_the_larger_set,
    formats_and_colour_spaces_do_not_matter,
    what_is_asked_for_is_done,
);

fn expected(faces: &Value, corners: &str) -> Vec<(Vec<f32>, f32)> {
    let faces = faces.as_array().expect("faces");
    faces.iter().map(|face| (numbers(&face[corners]), numbers(&face["score"])[0])).collect()
}

/// MediaPipe takes single pixels where we average: its landmarks are up to a fourteenth of the face off from those that its
/// model finds in a good resize, and its boxes less. Eyes exchanged would be half a face apart.
fn check_mediapipe(lab: &Lab, path: &std::path::Path, faces: &Value, what: &str) {
    let frame = lab.look("face_detection", Options::new(), &yuv(&open(path), ColorSpace::JPEG));
    let found = found(&frame);
    assert_found(&found, &expected(faces, "box_px_xyxy"), 0.9, 0.03, what);
    for (face, expected) in found.iter().zip(faces.as_array().expect("faces")) {
        assert_points(face, &expected["keypoints_px"], 0.075, what);
    }
}

fn large_faces_lie_where_mediapipe_finds_them(lab: &Lab) {
    let golden_faces = json(&golden("models/blazeface_short_128.mediapipe.json"));
    check_mediapipe(
        lab,
        &golden("models/astronaut.png"),
        &golden_faces["images"]["astronaut.png"],
        "astronaut",
    );
    check_mediapipe(lab, &golden("models/coffee.png"), &serde_json::json!([]), "coffee");
    let frame = lab.look("face_detection", Options::new(), &picture("models/astronaut.png"));
    let face = &frame.annotations[0];
    assert_eq!((face.kind, &*face.label, &*face.model), (AnnotationKind::Box, "face", "blazeface_short_128"));
    assert_eq!((face.points.len(), face.point_scores.len()), (6, 0));
}

/// With half the colour, which is what video has, the model sees a slightly longer face.
fn small_faces_lie_where_centerface_finds_them(lab: &Lab) {
    for (name, path) in [
        ("astronaut.png", "models/astronaut.png"),
        ("gallery.png", "gallery.png"),
        ("coffee.png", "models/coffee.png"),
    ] {
        let expected_faces = whole(name, "centerface");
        for (image, least) in [(open(&golden(path)), 0.97), (picture(path), 0.9)] {
            let frame = lab.look("face_detection", Options::new().with("model", "centerface"), &image);
            let found = found(&frame);
            assert_found(&found, &expected(&expected_faces, "box"), least, 0.02, name);
            for (face, expected) in found.iter().zip(expected_faces.as_array().expect("faces")) {
                assert_points(face, &expected["points"], 0.02, name);
            }
            assert!(frame.annotations.iter().all(|a| &*a.model == "centerface" && a.points.len() == 5));
        }
    }
}

fn faces_of_the_larger_set(lab: &Lab) {
    let Some(path) = shared("blazeface_short_128.mediapipe.json", "faces_of_the_larger_set") else { return };
    for (name, faces) in json(&path)["images"].as_object().expect("pictures") {
        check_mediapipe(lab, &path.with_file_name(name), faces, name);
    }
}

fn small_faces_of_the_larger_set(lab: &Lab) {
    let Some(path) = shared("centerface_dyn.json", "small_faces_of_the_larger_set") else { return };
    for (name, faces) in json(&path)["images"].as_object().expect("pictures") {
        let image = yuv(&open(&path.with_file_name(name)), ColorSpace::JPEG);
        let frame = lab.look("face_detection", Options::new().with("model", "centerface"), &image);
        // A face of 20 pixels: half a pixel is 5 % of the area.
        assert_found(&found(&frame), &expected(faces, "box_px_xyxy"), 0.85, 0.05, name);
    }
}

fn formats_and_colour_spaces_do_not_matter(lab: &Lab) {
    let rgb = open(&golden("models/astronaut.png"));
    let reference = found(&lab.look("face_detection", Options::new(), &rgb));
    let expected: Vec<_> = reference.iter().map(|face| (face.corners.to_vec(), face.score)).collect();
    assert_eq!(expected.len(), 1);
    let pool = BufferPool::default();
    for format in PixelFormat::ALL.into_iter().filter(|format| *format != PixelFormat::Gray8) {
        for color in [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709] {
            let image = convert::convert(&rgb, format, color, &pool).expect("converts");
            let frame = lab.look("face_detection", Options::new(), &image);
            assert_found(&found(&frame), &expected, 0.97, 0.01, &format!("{format:?} {color:?}"));
        }
    }
}

fn what_is_asked_for_is_done(lab: &Lab) {
    let astronaut = picture("models/astronaut.png");
    let count = |options: Options| lab.look("face_detection", options, &astronaut).annotations.len();
    assert_eq!(count(Options::new().with("min_detection_confidence", 0.95)), 0, "the face has 0.92");
    assert_eq!(count(Options::new().with("min_confidence", 0.9)), 1);
    // A face of 45 pixels is one of 11 in an input of 128.
    let options = || Options::new().with("model", "centerface");
    let mut canvas = convert::reduce(&astronaut, 2, &BufferPool::default()).expect("reduces");
    assert_eq!(lab.look("face_detection", options(), &canvas).annotations.len(), 1);
    canvas = convert::reduce(&canvas, 2, &BufferPool::default()).expect("reduces");
    let found = |input_size: i64| {
        lab.look("face_detection", options().with("input_size", input_size), &canvas).annotations.len()
    };
    assert_eq!((found(640), found(1920)), (1, 1), "nothing is enlarged");

    let (clock, pool) = (Clock::system(), BufferPool::default());
    let mut cx = ProcessContext::new(&clock, &pool).with_generation(7);
    let mut frame = frame_of(astronaut);
    lab.build("FaceOn", &Options::new()).process(&mut frame, &mut cx).expect("processes");
    assert_eq!(frame.annotations[0].generation, 7);
}

#[test]
fn a_trembling_face_is_steadied() {
    let lab = Lab::rten();
    let astronaut = picture("gallery.png");
    let jitter = |smooth: f64| {
        let options = Options::new().with("smooth", smooth).with("draw", false);
        let mut processor = lab.build("face_detection", &options);
        let mut lefts = Vec::new();
        for i in 0..12u64 {
            // Noise of one level on every pixel.
            let mut image = astronaut.clone();
            let mut random = ooblex_core::testing::Random::new(i);
            for row in image.plane_mut(0).expect("luma").rows_mut() {
                row.iter_mut().for_each(|v| *v = v.saturating_add(random.below(9) as u8));
            }
            let mut frame = frame_of(image);
            process_one(&mut processor, &mut frame).expect("processes");
            lefts.push(found(&frame)[0].corners[0]);
        }
        lefts.windows(2).map(|pair| (pair[0] - pair[1]).abs()).sum::<f32>()
    };
    let (plain, steadied) = (jitter(0.0), jitter(1.0));
    assert!(plain > 0.0 && steadied * 5.0 < plain, "{plain} to {steadied}");
}

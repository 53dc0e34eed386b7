//! `emotion`.

use ooblex_core::{AnnotationKind, ColorSpace, Options};

use crate::support::*;

on_each_engine!(the_astronaut_is_happy, emotions_of_the_larger_set, grey_is_as_good_as_colour);

fn the_astronaut_is_happy(lab: &Lab) {
    for path in ["models/astronaut.png", "gallery.png"] {
        let frame = lab.look("emotion", Options::new(), &picture(path));
        let found = found(&frame);
        assert_eq!((found.len(), &*found[0].label), (1, "happy"), "{path}");
        assert!(found[0].score > 0.99, "{path}: {}", found[0].score);
        let face = &frame.annotations[0];
        assert_eq!((face.kind, &*face.model), (AnnotationKind::Box, "emotion_minixception_64"));
    }
    let frame = lab.look("emotion", Options::new(), &picture("models/astronaut.png"));
    let expected = whole("astronaut.png", "emotion");
    assert!(overlap(&found(&frame)[0].corners, &numbers(&expected[0]["box"])) > 0.9);
    assert!(lab.look("emotion", Options::new(), &picture("models/coffee.png")).annotations.is_empty());
}

/// Surprise or fear, which the model itself cannot tell apart on this face.
fn emotions_of_the_larger_set(lab: &Lab) {
    let Some(path) = shared("carphone_060.png", "emotions_of_the_larger_set") else { return };
    let frame = lab.look("emotion", Options::new(), &yuv(&open(&path), ColorSpace::JPEG));
    let found = found(&frame);
    assert_eq!((found.len(), &*found[0].label), (1, "surprise"));
    assert!((found[0].score - 0.7).abs() < 0.15, "{}", found[0].score);
}

fn grey_is_as_good_as_colour(lab: &Lab) {
    let pool = ooblex_core::BufferPool::default();
    let rgb = open(&golden("models/astronaut.png"));
    let grey = ooblex_core::convert::convert(&rgb, ooblex_core::PixelFormat::Gray8, ColorSpace::BT601, &pool);
    let frame = lab.look("emotion", Options::new(), &grey.expect("converts"));
    assert_eq!(&*frame.annotations[0].label, "happy");
}

use std::sync::Arc;

use ooblex_core::testing::{Random, conformance, frame_of, process_one, random_image};
use ooblex_core::{
    BufferPool, ColorSpace, Encoded, Image, ImageCodec, Mask, Picture, PictureDecoder, PixelFormat, StreamId,
    Want, convert,
};

use super::*;

const PLAIN: OverlayStyle =
    OverlayStyle { color: [255, 0, 0], width_px: 2, labels: false, points: true, edges: &[] };

fn face(bounds: [f32; 4]) -> Annotation {
    Annotation::new(AnnotationKind::Box, "face", 0.97, "test").with_bounds(bounds)
}

fn points(points: &[[f32; 2]]) -> Annotation {
    Annotation::new(AnnotationKind::Points, "face", 0.9, "test").with_points(points.to_vec())
}

fn mask(width: u32, height: u32, values: Vec<u8>) -> Annotation {
    let mask = Mask { width, height, values: values.into() };
    Annotation::new(AnnotationKind::Mask, "person", 1.0, "test").with_mask(mask)
}

/// A grey picture after drawing, as planes.
fn drawn(
    overlay: Overlay,
    annotations: &[Annotation],
    (width, height): (u32, u32),
    color: ColorSpace,
) -> [Vec<Vec<u8>>; 3] {
    let mut image =
        Image::alloc(PixelFormat::I420, width, height, color, &BufferPool::default()).expect("a picture");
    (0..3).for_each(|i| image.plane_mut(i).expect("plane").fill(100));
    let out = run(overlay, annotations, image);
    [0, 1, 2].map(|i| out.plane(i).expect("plane").rows().map(<[u8]>::to_vec).collect())
}

fn run(mut overlay: Overlay, annotations: &[Annotation], image: Image) -> Image {
    let mut frame = frame_of(image);
    frame.annotations = annotations.to_vec();
    assert_eq!(process_one(&mut overlay, &mut frame).expect("draws"), Verdict::Emit);
    assert_eq!(frame.annotations.len(), annotations.len(), "drawing leaves the data alone");
    frame.image.pixels().expect("pixels").clone()
}

/// Columns and rows of a plane that changed: left, top, and the first ones beyond.
fn changed(plane: &[Vec<u8>]) -> Option<[usize; 4]> {
    let columns = |x: usize| plane.iter().any(|row| row[x] != 100);
    let rows: Vec<usize> = (0..plane.len()).filter(|y| plane[*y].iter().any(|v| *v != 100)).collect();
    let columns: Vec<usize> = (0..plane[0].len()).filter(|x| columns(*x)).collect();
    Some([*columns.first()?, *rows.first()?, columns.last()? + 1, rows.last()? + 1])
}

#[test]
fn a_box_is_drawn_where_it_is_and_chroma_ends_with_it() {
    let [y, u, v] = drawn(Overlay::new(PLAIN), &[face([0.25, 0.25, 0.5, 0.5])], (64, 48), ColorSpace::JPEG);
    // The lines' middle is on the border of the box: 16 to 48, 12 to 36; the outside is even.
    assert_eq!(changed(&y), Some([16, 12, 50, 38]));
    assert_eq!((changed(&u), changed(&v)), (Some([8, 6, 25, 19]), Some([8, 6, 25, 19])));
    // Red of BT.601 in full range.
    assert_eq!(
        (y[12][30], y[13][30], y[14][30], y[20][16], y[20][17], y[20][18]),
        (76, 76, 100, 76, 76, 100)
    );
    assert_eq!((u[6][12], v[6][12], u[7][9], v[7][9], v[7][8]), (85, 255, 100, 100, 255));
}

#[test]
fn colour_reaches_the_last_odd_column_and_row() {
    let [y, _, v] = drawn(Overlay::new(PLAIN), &[face([0.5, 0.5, 0.49, 0.49])], (33, 21), ColorSpace::JPEG);
    assert_eq!((y[20][32], v[10][16]), (76, 255), "cut by the border");
    let style = OverlayStyle { width_px: 3, ..PLAIN };
    let [y, _, v] = drawn(Overlay::new(style), &[face([0.25, 0.25, 0.5, 0.5])], (64, 48), ColorSpace::JPEG);
    // Three columns of luma are two of chroma.
    assert_eq!(
        (&y[24][13..19], &v[12][6..10]),
        (&[100, 76, 76, 76, 100, 100][..], &[100, 255, 255, 100][..])
    );
}

#[test]
fn colours_are_right_in_every_space() {
    for color in [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709] {
        for rgb in [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [255, 128, 0]] {
            let style = OverlayStyle { color: rgb, width_px: 8, ..PLAIN };
            let image = random_image(PixelFormat::I420, 64, 64, color, 0, 1);
            let out = run(Overlay::new(style), &[face([0.25, 0.25, 0.5, 0.5])], image);
            let out = convert::convert(&out, PixelFormat::Rgb, ColorSpace::JPEG, &BufferPool::default());
            let out = out.expect("converts");
            let pixel = &out.plane(0).expect("plane").row(16)[32 * 3..][..3];
            assert!(pixel.iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= 3), "{color:?} {rgb:?} {pixel:?}");
        }
    }
}

#[test]
fn nothing_to_draw_decodes_nothing() {
    struct Never;
    impl PictureDecoder for Never {
        fn decode(&self, _: &Encoded, _: Want, _: &BufferPool) -> Result<Image, BoxError> {
            Err("decoded".into())
        }
    }
    let nan = f32::NAN;
    let nothing = [
        vec![],
        vec![face([1.0, 0.0, 0.2, 0.2]), face([0.2, -0.5, 0.2, 0.4]), face([0.2, 0.2, -0.1, 0.1])],
        vec![face([nan, 0.2, 0.2, 0.2]), face([0.2, 0.2, f32::INFINITY, 0.2]), face([0.1, 0.1, 0.1, nan])],
        // The line from the third to the fourth passes the upper right corner.
        vec![points(&[[nan, 0.5], [0.5, f32::INFINITY], [1.5, 0.5], [0.5, -0.6], [nan, nan]])],
        vec![points(&[[0.5, 0.5], [0.6, 0.6]]).with_point_scores(vec![0.0, f32::NAN])],
        vec![Annotation::new(AnnotationKind::Box, "face", 1.0, "other").with_bounds([0.1; 4])],
        vec![mask(2, 2, vec![0; 4]), mask(2, 2, vec![255; 3]), mask(0, 0, vec![])],
        vec![Annotation::new(AnnotationKind::Box, "face", 1.0, "test")],
    ];
    for annotations in nothing {
        let encoded = Encoded { codec: ImageCodec::Jpeg, data: Default::default(), width: 640, height: 480 };
        let picture = Picture::encoded(encoded, Arc::new(Never), BufferPool::default());
        let mut frame = Frame::new(StreamId::default(), 1, std::time::Instant::now(), picture);
        frame.annotations = annotations;
        let style = OverlayStyle { labels: true, edges: &[(0, 1), (2, 3), (4, 9)], ..PLAIN };
        let mut overlay = Overlay::new(style).only_model("test");
        process_one(&mut overlay, &mut frame).expect("nothing to do");
        assert!(frame.image.as_encoded().is_some(), "{:?}", frame.annotations);
        frame.annotations.push(face([0.1, 0.1, 0.1, 0.1]));
        assert!(process_one(&mut overlay, &mut frame).is_err(), "a box takes pixels");
    }
}

#[test]
fn lines_have_no_gaps_and_discs_are_round() {
    const LINES: &[(u16, u16)] = &[(0, 1), (1, 2), (0, 2), (0, 7)];
    let style = OverlayStyle { width_px: 1, points: false, edges: LINES, ..PLAIN };
    let found = points(&[[0.1, 0.1], [0.9, 0.3], [0.3, 0.9]]);
    let [y, ..] = drawn(Overlay::new(style), &[found], (80, 80), ColorSpace::JPEG);
    assert_eq!(changed(&y), Some([7, 7, 73, 73]), "soft borders");
    // How much of the ink a row of pixels has got.
    let ink = |v: &mut dyn Iterator<Item = u8>| v.map(|v| f32::from(100 - v) / 24.0).sum::<f32>();
    for i in 9..71 {
        assert!(y.iter().any(|row| row[i] < 90) && y[i].iter().any(|v| *v < 90), "column and row {i}");
    }
    // Three lines end within the first columns; further right the upper one is alone above the diagonal.
    for x in 30..60 {
        let column = ink(&mut y[..26].iter().map(|row| row[x]));
        assert!((0.9..1.15).contains(&column), "column {x}: {column}");
    }
    let style = OverlayStyle { width_px: 5, ..PLAIN };
    let [y, u, v] = drawn(Overlay::new(style), &[points(&[[0.5, 0.5]])], (40, 40), ColorSpace::JPEG);
    assert_eq!((changed(&y), changed(&v)), (Some([15, 15, 25, 25]), Some([7, 7, 13, 13])));
    let area = ink(&mut y.iter().flatten().copied());
    assert!((76.0..81.0).contains(&area), "{area}, not 25 pi");
    assert_eq!((u[10][10], v[10][10]), (85, 255));
}

#[test]
fn lines_of_a_small_figure_are_thin() {
    const FAN: &[(u16, u16)] = &[(0, 1), (0, 2), (1, 2)];
    let draw = |size: f32| {
        let style = OverlayStyle { width_px: 4, points: false, edges: FAN, ..PLAIN };
        let found = points(&[[0.2, 0.2], [0.2 + size, 0.2], [0.2, 0.2 + size]]);
        let [y, ..] = drawn(Overlay::new(style), &[found], (100, 100), ColorSpace::JPEG);
        y[10..22]
            .iter()
            .map(|row| (100 - u32::from(row[20 + (50.0 * size) as usize])) as f32 / 24.0)
            .sum::<f32>()
    };
    assert!((3.8..4.2).contains(&draw(0.6)), "{}", draw(0.6));
    assert!((1.3..1.7).contains(&draw(0.08)), "{}: a sixth of 9 pixels", draw(0.08));
}

#[test]
fn labels_stand_above_and_stay_inside() {
    let style = OverlayStyle { labels: true, points: false, ..PLAIN };
    let draw = |bounds| drawn(Overlay::new(style), &[face(bounds)], (160, 120), ColorSpace::JPEG);
    let [y, u, _] = draw([0.25, 0.5, 0.5, 0.25]);
    // Nine characters of six dots and three more; twelve rows, right above the line at 60.
    assert_eq!(changed(&y[..60]), Some([40, 48, 40 + 57, 60]));
    assert!(y[48..60].iter().flatten().any(|v| *v == 255) && y[48][42] == 25);
    assert_eq!(u[24][22], 128, "no colour on the ground");
    for bounds in [[0.9, -0.2, 0.5, 0.4], [-0.4, 0.9, 0.5, 0.5], [-1.0, -1.0, 3.0, 3.0]] {
        assert!(draw(bounds)[0].iter().flatten().any(|v| *v == 255), "{bounds:?}");
    }
    let statement = |text: &str| Annotation::new(AnnotationKind::Label, text, f32::NAN, "test");
    let [y, ..] = drawn(Overlay::new(style), &[statement("a"), statement("b")], (160, 120), ColorSpace::JPEG);
    assert_eq!(changed(&y), Some([0, 0, 9, 24]), "two lines without scores");
}

#[test]
fn large_pictures_get_thicker_lines() {
    for (size, width) in [((1280, 720), 2), ((1920, 1080), 2), ((1440, 2560), 4), ((3840, 2160), 6)] {
        let [y, ..] = drawn(Overlay::new(PLAIN), &[face([0.25, 0.25, 0.5, 0.5])], size, ColorSpace::BT709);
        let middle = &y[size.1 as usize / 2];
        assert_eq!(middle.iter().filter(|v| **v != 100).count(), 2 * width, "{size:?}");
    }
}

#[test]
fn masks_are_mixed_in_smoothly() {
    let values = vec![0, 0, 255, 255, 0, 0, 255, 255];
    let annotation = mask(4, 2, values);
    let draw =
        |overlay: Overlay| drawn(overlay, std::slice::from_ref(&annotation), (63, 31), ColorSpace::JPEG);
    let [y, u, v] = draw(Overlay::new(PLAIN));
    // Half of (76, 85, 255) on 100.
    assert_eq!((y[0][0], y[30][62], u[15][31], v[15][31]), (100, 88, 93, 178));
    assert!(v.iter().all(|row| row.is_sorted()), "from left to right");
    assert!((110..170).contains(&v[8][15]), "between: {}", v[8][15]);
    assert_eq!(changed(&draw(Overlay::new(PLAIN).masks(false))[0]), None);
}

#[test]
fn anything_conforms() {
    const EDGES: &[(u16, u16)] = &[(0, 1), (1, 2), (7, 300)];
    struct WithFindings(Overlay, Random);
    impl FrameProcessor for WithFindings {
        fn process(
            &mut self,
            frame: &mut Frame,
            cx: &mut ProcessContext<'_>,
        ) -> Result<Verdict, ProcessError> {
            let Self(overlay, random) = self;
            let mut number = || match random.below(20) {
                0 => f32::NAN,
                1 => 1e30,
                2 => f32::NEG_INFINITY,
                n => n as f32 / 8.0 - 1.0,
            };
            frame.annotations.push(face([number(), number(), number(), number()]));
            frame.annotations.push(points(&[[number(), number()], [number(), number()], [0.5, 0.5]]));
            frame.annotations.push(mask(3, 1, vec![0, 200, 255]));
            frame.annotations.push(Annotation::new(AnnotationKind::Label, "é\n", number(), "test"));
            let gray = frame.image.pixels()?.format() == PixelFormat::Gray8;
            let verdict = overlay.process(frame, cx);
            assert_eq!(frame.image.pixels()?.format() == PixelFormat::Gray8, gray);
            verdict
        }
    }
    let style = OverlayStyle { width_px: 3, labels: true, edges: EDGES, ..PLAIN };
    conformance(|| WithFindings(Overlay::new(style), Random::new(8)), 600).expect("conforms");
}

use ooblex_core::testing::random_image;
use ooblex_core::{BufferPool, ColorSpace, PixelFormat, convert};
use proptest::prelude::*;

use super::*;
use crate::simd::tests::without_simd;

const SPACES: [ColorSpace; 3] = [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709];

/// Plain 0 to 255, so that differences are in steps of 8 bits.
fn plain(width: usize, height: usize, components: Components, layout: Layout) -> InputSpec {
    InputSpec { layout, components, scale: [1.0; 3], ..InputSpec::rgb01(width, height) }
}

fn rgb(width: usize, height: usize) -> InputSpec {
    plain(width, height, Components::Rgb, Layout::Nchw)
}

fn filled(spec: InputSpec, image: &Image) -> Vec<f32> {
    let mut tensor = Tensor::default();
    Preprocess::new(spec).fill(image, &mut tensor).expect("host memory");
    assert_eq!(tensor.shape(), spec.shape());
    tensor.f32().to_vec()
}

/// Mean and largest difference.
fn apart(a: &[f32], b: &[f32]) -> (f32, f32) {
    assert_eq!(a.len(), b.len());
    let all = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    (all.clone().sum::<f32>() / a.len() as f32, all.fold(0.0, f32::max))
}

/// The astronaut's golden picture, upright, as full-range I420.
fn astronaut() -> Image {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/astronaut.input.png");
    let packed = image::open(path).expect("a golden picture").into_luma8();
    let (stride, data) = (packed.width() as usize, packed.as_raw());
    let (luma, half) = (stride * 243, stride / 2);
    let planes = [(&data[..], stride), (&data[luma..], stride), (&data[luma + half..], stride)];
    Image::from_planes(PixelFormat::I420, 321, 243, ColorSpace::JPEG, &planes, &BufferPool::default())
        .expect("a golden picture")
}

fn span(start: f64, length: f64, out: usize) -> Span {
    Span { start, step: length / out as f64 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Weights are rounded to 8 bits down a column: with random pixels that is at most a step.
    #[test]
    fn every_picture_is_filled_as_the_reference_says(
        format in prop::sample::select(PixelFormat::ALL.to_vec()),
        color in prop::sample::select(SPACES.to_vec()),
        (width, height) in (1u32..300, 1u32..200),
        (tw, th) in (1usize..70, 1usize..60),
        components in prop::sample::select(vec![Components::Rgb, Components::Bgr, Components::Luma]),
        layout in prop::sample::select(vec![Layout::Nchw, Layout::Nhwc]),
        padding in 0usize..40, seed in any::<u64>(),
    ) {
        let image = random_image(format, width, height, color, padding, seed);
        let spec = plain(tw, th, components, layout);
        let (across, down) = (span(0.0, width.into(), tw), span(0.0, height.into(), th));
        let expected = reference::planes(&spec, &image, across, down);
        let (mean, most) = apart(&filled(spec, &image), &expected);
        prop_assert!(mean < 0.3 && most < 1.5, "mean {} most {}", mean, most);
    }

    #[test]
    fn every_part_is_filled_as_the_reference_says(
        format in prop::sample::select(PixelFormat::ALL.to_vec()),
        (left, top, w, h) in (-30.0f32..90.0, -30.0f32..90.0, 1.0f32..120.0, 1.0f32..120.0), seed in any::<u64>(),
    ) {
        let image = random_image(format, 101, 77, ColorSpace::BT601, 3, seed);
        let spec = rgb(20, 16);
        let mut tensor = Tensor::default();
        let placement = Preprocess::new(spec).fill_rect(&image, [left, top, w, h], &mut tensor).expect("host memory");
        let ([left, w], [top, h]) = (part(left, w, 101), part(top, h, 77));
        let expected = reference::planes(&spec, &image, span(left, w, 20), span(top, h, 16));
        let (mean, most) = apart(tensor.f32(), &expected);
        prop_assert!(mean < 0.3 && most < 1.5, "mean {} most {}", mean, most);
        let [x, y] = placement.point([20.0, 16.0]);
        prop_assert!((f64::from(x) * 101.0 - left - w).abs() < 1e-3 && (f64::from(y) * 77.0 - top - h).abs() < 1e-3);
    }

    #[test]
    fn the_result_does_not_depend_on_the_processor(
        format in prop::sample::select(PixelFormat::ALL.to_vec()),
        (width, height) in (1u32..300, 1u32..100), (tw, th) in (1usize..50, 1usize..50),
        square in (-50.0f32..300.0, -50.0f32..150.0, 0.5f32..400.0, -4.0f32..4.0), seed in any::<u64>(),
    ) {
        let image = random_image(format, width, height, ColorSpace::BT709, 3, seed);
        let square = Square { center: [square.0, square.1], side: square.2, angle: square.3 };
        let run = || {
            let (mut tensor, mut turned) = (Tensor::default(), Tensor::zeros(DType::I32, &[0]));
            let mut preprocess = Preprocess::new(rgb(tw, th));
            preprocess.fill(&image, &mut tensor).expect("host memory");
            preprocess.fill_square(&image, &square, &mut turned).expect("host memory");
            (tensor, turned)
        };
        prop_assert_eq!(run(), without_simd(run));
    }

    #[test]
    fn nothing_panics_on_nonsense(
        numbers in prop::array::uniform4(prop_oneof![any::<f32>(), -1e3f32..1e3]), (width, height) in (1u32..40, 1u32..40),
    ) {
        let image = random_image(PixelFormat::Nv12, width, height, ColorSpace::JPEG, 0, 1);
        let mut preprocess = Preprocess::new(rgb(8, 8));
        let mut tensor = Tensor::default();
        preprocess.fill_rect(&image, numbers, &mut tensor).expect("host memory");
        let [x, y, side, angle] = numbers;
        preprocess.fill_square(&image, &Square { center: [x, y], side, angle }, &mut tensor).expect("host memory");
        prop_assert!(tensor.f32().iter().all(|v| (0.0..=255.0).contains(v)));
    }
}

/// On a real picture resizing planes and resizing RGB are nearly the same. Chroma is interpolated in the one and repeated
/// in the other, and colours that RGB cannot hold are cut off after or before averaging.
#[test]
fn a_picture_looks_as_if_resized_in_rgb() {
    let image = astronaut();
    for (width, height) in [(32, 24), (64, 64), (128, 97), (200, 150), (321, 243), (416, 300)] {
        let spec = rgb(width, height);
        let mut tensor = Tensor::default();
        let placement = Preprocess::new(spec).fill(&image, &mut tensor).expect("host memory");
        let (mean, _) = apart(tensor.f32(), &reference::over_rgb(&spec, &image, &placement, 2.0));
        assert!(mean < 1.2, "{width}x{height}: {mean}");
    }
}

#[test]
fn a_turned_square_looks_as_if_turned_in_rgb() {
    let image = astronaut();
    for (side, angle) in [(60.0, 0.0), (96.0, 0.4), (150.0, -0.7), (240.0, 3.0), (500.0, 1.2)] {
        let spec = rgb(96, 96);
        let square = Square { center: [130.0, 70.0], side, angle };
        let mut tensor = Tensor::default();
        let placement = Preprocess::new(spec).fill_square(&image, &square, &mut tensor).expect("host memory");
        let (mean, _) = apart(tensor.f32(), &reference::over_rgb(&spec, &image, &placement, 2.0));
        assert!(mean < 2.5, "{side} {angle}: {mean}");
        let middle = placement.point([48.0, 48.0]);
        assert!((middle[0] * 321.0 - 130.0).abs() < 0.01 && (middle[1] * 243.0 - 70.0).abs() < 0.01);
    }
}

#[test]
fn a_picture_of_the_right_size_is_taken_as_it_is() {
    for (format, components) in [(PixelFormat::Rgb, Components::Rgb), (PixelFormat::Gray8, Components::Luma)]
    {
        let image = random_image(format, 33, 17, ColorSpace::JPEG, 5, 2);
        let tensor = filled(plain(33, 17, components, Layout::Nhwc), &image);
        let bytes = image.to_packed().expect("host memory");
        assert!(tensor.iter().zip(&bytes).all(|(v, b)| (v - f32::from(*b)).abs() < 1e-3), "{format:?}");
    }
}

#[test]
fn a_letterbox_is_centred_and_black_before_normalisation() {
    let image = random_image(PixelFormat::I420, 300, 200, ColorSpace::BT601, 0, 3);
    let spec = InputSpec {
        fit: Fit::Letterbox,
        mean: [127.5; 3],
        scale: [1.0 / 127.5; 3],
        ..plain(128, 128, Components::Rgb, Layout::Nchw)
    };
    let mut tensor = Tensor::default();
    let placement = Preprocess::new(spec).fill(&image, &mut tensor).expect("host memory");
    // 300x200 becomes 128x85, with 21 rows above and 22 below.
    let inner = InputSpec { fit: Fit::Stretch, height: 85, ..spec };
    let expected = filled(inner, &image);
    for (c, plane) in tensor.f32().chunks(128 * 128).enumerate() {
        assert!(plane[..21 * 128].iter().chain(&plane[106 * 128..]).all(|v| *v == -1.0));
        assert_eq!(plane[21 * 128..106 * 128], expected[c * 85 * 128..(c + 1) * 85 * 128]);
    }
    assert_eq!(placement.point([0.0, 21.0]).map(|v| (v * 1000.0).round()), [0.0, 0.0]);
    assert_eq!(
        placement.rect([0.0, 21.0, 128.0, 85.0]).map(|v| (v * 1000.0).round()),
        [0.0, 0.0, 1000.0, 1000.0]
    );
}

#[test]
fn extreme_pictures_keep_a_pixel() {
    let spec = InputSpec { fit: Fit::Letterbox, ..rgb(128, 128) };
    for (width, height) in [(65_535, 1), (1, 65_535), (1, 1), (4000, 3)] {
        let image = random_image(PixelFormat::I420, width, height, ColorSpace::JPEG, 0, 1);
        assert!(filled(spec, &image).iter().any(|v| *v > 0.0), "{width}x{height}");
    }
}

#[test]
fn whole_numbers_are_the_rounded_ones() {
    let image = random_image(PixelFormat::I420, 90, 50, ColorSpace::BT709, 0, 9);
    let spec = plain(24, 16, Components::Rgb, Layout::Nhwc);
    let mut tensor = Tensor::zeros(DType::I32, &[1]);
    Preprocess::new(spec).fill(&image, &mut tensor).expect("host memory");
    let exact = filled(spec, &image);
    assert!(tensor.i32().iter().zip(exact).all(|(v, e)| *v == e.round_ties_even() as i32));
}

#[test]
fn sizes_may_change_from_picture_to_picture() {
    let mut preprocess = Preprocess::new(rgb(40, 30));
    let mut tensor = Tensor::default();
    let pool = BufferPool::default();
    for (format, width, height, tw, th) in [
        (PixelFormat::I420, 300, 200, 40, 30),
        (PixelFormat::I420, 300, 200, 70, 31),
        (PixelFormat::Rgba, 31, 20, 70, 31),
        (PixelFormat::Nv12, 31, 20, 8, 8),
        (PixelFormat::Gray8, 300, 200, 40, 30),
        (PixelFormat::I420, 300, 200, 40, 30),
    ] {
        let image = random_image(PixelFormat::I420, width, height, ColorSpace::JPEG, 0, 4);
        let image = convert::convert(&image, format, ColorSpace::JPEG, &pool).expect("converts");
        preprocess.set_size(tw, th);
        preprocess.fill(&image, &mut tensor).expect("host memory");
        assert_eq!(tensor.f32(), filled(rgb(tw, th), &image));
    }
}

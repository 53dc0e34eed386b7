use proptest::prelude::*;

use super::*;
use crate::image::PlaneLayout;
use crate::pixel::Rotation;

const SPACES: [ColorSpace; 3] = [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709];

fn pool() -> BufferPool {
    BufferPool::default()
}

fn solid(rgb: [u8; 3], width: u32, height: u32) -> Image {
    let data = rgb.repeat((width * height) as usize);
    Image::from_vec(PixelFormat::Rgb, width, height, ColorSpace::JPEG, data).expect("valid")
}

/// Published 8-bit values of the primaries (ITU-R BT.601-7 and BT.709-6 limited; JFIF full).
#[test]
fn primaries_have_their_published_values() {
    let cases = [
        (ColorSpace::JPEG, [255, 0, 0], [76, 85, 255]),
        (ColorSpace::JPEG, [0, 255, 0], [150, 44, 21]),
        (ColorSpace::JPEG, [0, 0, 255], [29, 255, 107]),
        (ColorSpace::BT601, [255, 255, 255], [235, 128, 128]),
        (ColorSpace::BT601, [255, 0, 0], [81, 90, 240]),
        (ColorSpace::BT601, [0, 0, 255], [41, 240, 110]),
        (ColorSpace::BT709, [255, 0, 0], [63, 102, 240]),
        (ColorSpace::BT709, [0, 255, 0], [173, 42, 26]),
        (ColorSpace::BT709, [0, 0, 0], [16, 128, 128]),
    ];
    for (color, rgb, yuv) in cases {
        let out = convert(&solid(rgb, 2, 2), PixelFormat::I420, color, &pool()).expect("host");
        let got = [0, 1, 2].map(|i| out.plane(i).expect("plane").row(0)[0]);
        for (a, b) in got.iter().zip(yuv) {
            assert!(a.abs_diff(b) <= 1, "{color:?} {rgb:?}: {got:?} is not {yuv:?}");
        }
    }
}

#[test]
fn limited_range_expands_to_the_extremes() {
    let table = luma_table(ColorRange::Limited, ColorRange::Full);
    assert_eq!([table[16], table[235], table[0], table[255]], [0, 255, 0, 255]);
    let table = chroma_table(ColorRange::Limited, ColorRange::Full);
    assert_eq!([table[16], table[128], table[240]], [1, 128, 255]);
}

#[test]
fn a_range_change_is_not_a_relabelling() {
    let pool = pool();
    let white = convert(&solid([255; 3], 3, 3), PixelFormat::I420, ColorSpace::BT601, &pool).expect("host");
    let full = convert(&white, PixelFormat::I420, ColorSpace::JPEG, &pool).expect("host");
    assert_eq!(full.plane(0).expect("plane").row(2)[2], 255);
    assert_eq!(full.color(), ColorSpace::JPEG);
}

#[test]
fn rotation_moves_the_corner() {
    let data = vec![1, 2, 3, 4, 5, 6];
    let image = Image::from_vec(PixelFormat::Gray8, 3, 2, ColorSpace::JPEG, data).expect("valid");
    let turn = |rotation, mirror| {
        let out = rotate(&image, rotation, mirror, &pool()).expect("host");
        (out.width(), out.to_packed().expect("host"))
    };
    assert_eq!(turn(Rotation::Clockwise90, false), (2, vec![4, 1, 5, 2, 6, 3]));
    assert_eq!(turn(Rotation::Half, false), (3, vec![6, 5, 4, 3, 2, 1]));
    assert_eq!(turn(Rotation::Clockwise270, false), (2, vec![3, 6, 2, 5, 1, 4]));
    assert_eq!(turn(Rotation::None, true), (3, vec![3, 2, 1, 6, 5, 4]));
    assert_eq!(turn(Rotation::Clockwise90, true), (2, vec![6, 3, 5, 2, 4, 1]));
}

#[test]
fn reducing_takes_the_mean_and_rounds_sides_up() {
    let data = vec![0, 10, 4, 20, 30, 8, 1, 3, 255];
    let image = Image::from_vec(PixelFormat::Gray8, 3, 3, ColorSpace::JPEG, data).expect("valid");
    let out = reduce(&image, 2, &pool()).expect("host");
    assert_eq!((out.width(), out.height()), (2, 2));
    assert_eq!(out.to_packed().expect("host"), [15, 6, 2, 255]);
    assert!(matches!(reduce(&image, 3, &pool()), Err(ImageError::Reduction(3))));
}

#[test]
fn reducing_never_reads_beyond_odd_chroma() {
    for (w, h) in [(1, 1), (2, 2), (3, 3), (5, 9), (17, 16)] {
        let image = Image::black(w, h, &pool()).expect("valid");
        for n in [2, 4, 8] {
            assert_eq!(reduce(&image, n, &pool()).expect("host").width(), w.div_ceil(n.into()));
        }
    }
}

fn formats() -> impl Strategy<Value = PixelFormat> {
    prop::sample::select(PixelFormat::ALL.to_vec())
}

fn smooth(format: PixelFormat, color: ColorSpace, width: u32, height: u32, seed: [u8; 3]) -> Image {
    convert(&solid(seed, width, height), format, color, &pool()).expect("host")
}

proptest! {
    /// A picture of one colour survives a round trip through any format within the stated error: 1 a step, two
    /// steps of quantization each way, scaled by at most 2.13 (blue from U), so 4 in any component.
    #[test]
    fn round_trip_of_one_colour(rgb: [u8; 3], via in formats(), space in 0usize..3, w in 1u32..20, h in 1u32..20) {
        prop_assume!(via != PixelFormat::Gray8);
        let color = SPACES[space];
        let there = smooth(via, color, w, h, rgb);
        let back = convert(&there, PixelFormat::Rgb, color, &pool()).expect("host");
        for px in back.to_packed().expect("host").chunks(3) {
            for c in 0..3 {
                prop_assert!(px[c].abs_diff(rgb[c]) <= 4, "{via:?} {color:?} {rgb:?} came back as {px:?}");
            }
        }
    }

    /// Padding between rows changes nothing.
    #[test]
    fn padding_is_invisible(seed: u8, from in formats(), to in formats(), w in 1u32..33, h in 1u32..9, pad in 0usize..7) {
        let mut layout = Vec::new();
        let mut offset = 0;
        for plane in 0..from.plane_count() {
            let stride = from.row_bytes(plane, w) + pad;
            layout.push(PlaneLayout { offset, stride });
            offset += stride * from.rows(plane, h);
        }
        let bytes: Vec<u8> = (0..offset).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
        let padded = Image::from_buffer(from, w, h, ColorSpace::BT601, bytes.into(), &layout).expect("valid");
        let packed = Image::from_vec(from, w, h, ColorSpace::BT601, padded.to_packed().expect("host")).expect("valid");
        let a = convert(&padded, to, ColorSpace::JPEG, &pool()).expect("host");
        let b = convert(&packed, to, ColorSpace::JPEG, &pool()).expect("host");
        prop_assert_eq!(a.to_packed().expect("host"), b.to_packed().expect("host"));
    }

    /// Luma of any RGB value is within 1 of the exact formula.
    #[test]
    fn luma_is_within_one(r: u8, g: u8, b: u8, space in 0usize..3) {
        let color = SPACES[space];
        let (kr, kb) = weights(color.matrix);
        let exact = kr * f64::from(r) + (1.0 - kr - kb) * f64::from(g) + kb * f64::from(b);
        let exact = if color.range == ColorRange::Limited { 16.0 + exact * 219.0 / 255.0 } else { exact };
        let out = smooth(PixelFormat::Gray8, color, 1, 1, [r, g, b]);
        let got = f64::from(out.plane(0).expect("plane").row(0)[0]);
        prop_assert!((got - exact).abs() <= 1.0, "{got} against {exact}");
    }
}

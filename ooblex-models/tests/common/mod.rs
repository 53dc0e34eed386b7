//! Golden pictures and how results are compared with them.
#![allow(dead_code)] // Each test binary uses some of it.

use std::path::PathBuf;

use ooblex_core::testing::{frame_of, process_one};
use ooblex_core::{
    BufferPool, ColorRange, ColorSpace, Frame, HostBuffer, Image, Options, PixelFormat, PlaneLayout, Registry,
};

/// Name, width, height and colour space of the three pictures; see `scripts/golden/make_effects.py`.
pub(crate) const PICTURES: [(&str, u32, u32, ColorSpace); 3] = [
    ("astronaut", 321, 243, ColorSpace::JPEG),
    ("coffee", 256, 170, ColorSpace::BT601),
    ("chelsea", 199, 151, ColorSpace::BT709),
];

fn png(name: &str) -> (usize, Vec<u8>) {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.png")].iter().collect();
    let image = image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_luma8();
    (image.width() as usize, image.into_raw())
}

/// A golden I420 picture with the padding that its PNG has.
pub(crate) fn i420(name: &str, width: u32, height: u32, color: ColorSpace) -> Image {
    let (stride, data) = png(name);
    let (luma, half) = (stride * height as usize, stride / 2);
    let planes = [(0, stride), (luma, stride), (luma + half, stride)];
    let at: Vec<(&[u8], usize)> = planes.iter().map(|&(offset, stride)| (&data[offset..], stride)).collect();
    Image::from_planes(PixelFormat::I420, width, height, color, &at, &BufferPool::default())
        .expect("a golden")
}

/// A golden full-range luma picture.
pub(crate) fn luma(name: &str) -> Vec<u8> {
    png(name).1
}

/// The same picture with `padding` extra bytes in every row, filled with noise that must not matter.
pub(crate) fn repad(image: &Image, padding: usize) -> Image {
    let (mut data, mut layout) = (Vec::new(), Vec::new());
    for index in 0..image.format().plane_count() {
        let plane = image.plane(index).expect("host memory");
        layout.push(PlaneLayout { offset: data.len(), stride: plane.row_bytes() + padding });
        for (y, row) in plane.rows().enumerate() {
            data.extend_from_slice(row);
            data.extend((0..padding).map(|i| (y * 37 + i * 101) as u8));
        }
    }
    let buffer = HostBuffer::from(data);
    Image::from_buffer(image.format(), image.width(), image.height(), image.color(), buffer, &layout)
        .expect("the same picture")
}

/// A frame's result after one effect.
pub(crate) fn apply(effect: &str, options: &Options, image: Image) -> Image {
    apply_to(effect, options, frame_of(image))
}

/// See [`apply`], with a frame of the caller's.
pub(crate) fn apply_to(effect: &str, options: &Options, mut frame: Frame) -> Image {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let mut processor = registry.build(effect, options).expect("builds");
    process_one(&mut processor, &mut frame).expect("processes");
    frame.image.pixels().expect("pixels").clone()
}

/// Visible bytes of one plane.
pub(crate) fn plane(image: &Image, index: usize) -> Vec<u8> {
    image.plane(index).expect("host memory").rows().flatten().copied().collect()
}

/// Visible luma at full range.
pub(crate) fn full_luma(image: &Image) -> Vec<u8> {
    let table = ooblex_core::convert::luma_table(image.color().range, ColorRange::Full);
    plane(image, 0).into_iter().map(|v| table[usize::from(v)]).collect()
}

/// How far two planes are apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference {
    pub(crate) mean: f64,
    /// 99 of 100 samples differ by at most this.
    pub(crate) most: u8,
    pub(crate) max: u8,
}

pub(crate) fn difference(a: &[u8], b: &[u8]) -> Difference {
    assert_eq!(a.len(), b.len());
    let mut all: Vec<u8> = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).collect();
    all.sort_unstable();
    let mean = all.iter().map(|&d| f64::from(d)).sum::<f64>() / all.len() as f64;
    Difference { mean, most: all[(all.len() - 1) * 99 / 100], max: all[all.len() - 1] }
}

/// F1 of edge pixels: the harmonic mean of precision and recall; 0 if nothing was found.
pub(crate) fn f1(found: &[u8], wanted: &[u8]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let both = found.iter().zip(wanted).filter(|(a, b)| **a > 127 && **b > 127).count() as f64;
    let count = |edges: &[u8]| edges.iter().filter(|v| **v > 127).count() as f64;
    let (found, wanted) = (count(found), count(wanted));
    if both == 0.0 { 0.0 } else { 2.0 * both / (found + wanted) }
}

/// Structural similarity (Wang, Bovik, Sheikh and Simoncelli, 2004) over 8x8 windows, every fourth pixel.
pub(crate) fn ssim(a: &[u8], b: &[u8], width: usize) -> f64 {
    assert_eq!(a.len(), b.len());
    let height = a.len() / width;
    let (c1, c2) = ((0.01 * 255.0f64).powi(2), (0.03 * 255.0f64).powi(2));
    let (mut sum, mut count) = (0.0, 0);
    for top in (0..height.saturating_sub(7)).step_by(4) {
        for left in (0..width.saturating_sub(7)).step_by(4) {
            let pairs = (0..64).map(|i| {
                let at = (top + i / 8) * width + left + i % 8;
                (f64::from(a[at]), f64::from(b[at]))
            });
            let (mut ma, mut mb, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (a, b) in pairs {
                ma += a / 64.0;
                mb += b / 64.0;
                aa += a * a / 64.0;
                bb += b * b / 64.0;
                ab += a * b / 64.0;
            }
            let (va, vb, cov) = (aa - ma * ma, bb - mb * mb, ab - ma * mb);
            sum += (2.0 * ma * mb + c1) * (2.0 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
            count += 1;
        }
    }
    sum / f64::from(count)
}

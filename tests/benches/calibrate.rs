//! How fast is this machine? One figure to scale others by: libjpeg-turbo encoding a 720p picture from YUV planes.
//!
//! `cargo bench -p ooblex-tests --bench calibrate`. Figures in the documentation were taken where this costs 2.25 ms,
//! so a machine that needs twice that may take twice as long for everything else.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use turbojpeg::{Compressor, OutputBuf, Subsamp, YuvImage};

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const REFERENCE_MS: f64 = 2.25;

fn main() {
    let pixels = picture();
    let image =
        YuvImage { pixels: &pixels[..], width: WIDTH, align: 1, height: HEIGHT, subsamp: Subsamp::Sub2x2 };
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(85).unwrap();
    let mut out = OutputBuf::new_owned();
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 50 || start.elapsed().as_secs() < 3 {
        let begun = Instant::now();
        compressor.compress_yuv(image.as_deref(), &mut out).unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let (min, median) = (times[0], times[times.len() / 2]);
    println!("one 1280x720 picture, 4:2:0, quality 85, {} kB, {} runs", out.len() / 1000, times.len());
    println!(
        "min {min:.2} ms, median {median:.2} ms: {:.2} times the reference of {REFERENCE_MS} ms",
        median / REFERENCE_MS
    );
}

/// Planes that cost what a photograph costs: about 150 kB. Smooth shapes with edges, and a little noise.
fn picture() -> Vec<u8> {
    let mut state = 1u32;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as f64 / 255.0 - 0.5
    };
    let mut pixels = Vec::with_capacity(WIDTH * HEIGHT * 3 / 2);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (u, v) = (x as f64 / 40.0, y as f64 / 30.0);
            let edges = if (u.sin() + v.cos() + (u * v / 9.0).sin()) > 0.3 { 40.0 } else { 0.0 };
            pixels.push((110.0 + 50.0 * (u / 3.0).sin() * (v / 4.0).cos() + edges + 12.0 * noise()) as u8);
        }
    }
    for plane in 0..2 {
        for y in 0..HEIGHT / 2 {
            for x in 0..WIDTH / 2 {
                let phase = (x + plane * y) as f64 / 90.0;
                pixels.push((128.0 + 40.0 * phase.sin() + 4.0 * noise()) as u8);
            }
        }
    }
    pixels
}

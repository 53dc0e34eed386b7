//! Every effect against OpenCV's result on three free pictures; see `scripts/golden/make_effects.py`.
//!
//! Both see the same pixels, so the tolerances are about the effects. They are the worst of the three pictures with
//! some room; a difference of 1 is rounding.
#![allow(clippy::print_stdout)] // The measured figures, shown on request.

mod common;

use common::*;
use ooblex_core::testing::frame_of;
use ooblex_core::{ColorRange, Image, Options, PixelFormat};

/// Largest mean difference and largest difference of 99 % of the samples, for luma and for chroma.
struct Tolerance {
    luma: (f64, u8),
    chroma: (f64, u8),
}

/// Runs `effect` on every picture, with several paddings, and compares all planes with the golden.
fn check(effect: &str, options: Options, golden: &str, tolerance: Tolerance) {
    for (name, width, height, color) in PICTURES {
        let input = i420(&format!("{name}.input"), width, height, color);
        let wanted = i420(&format!("{name}.{golden}"), width, height, color);
        let mut first: Option<Image> = None;
        for padding in [0, 1, 29] {
            let mut frame = frame_of(repad(&input, padding));
            frame.sequence = 0;
            let got = apply_to(effect, &options, frame);
            assert_eq!((got.width(), got.height(), got.color()), (width, height, color), "{effect} {name}");
            assert_eq!(got.format(), PixelFormat::I420, "{effect} {name}");
            if let Some(first) = &first {
                let same = first.to_packed().expect("host") == got.to_packed().expect("host");
                assert!(same, "{effect} {name}: padding {padding} changed the result");
                continue;
            }
            for index in 0..3 {
                let found = difference(&plane(&got, index), &plane(&wanted, index));
                let (mean, most) = if index == 0 { tolerance.luma } else { tolerance.chroma };
                println!("{effect} {name} plane {index}: {found:?}");
                assert!(found.mean <= mean && found.most <= most, "{effect} {name} plane {index}: {found:?}");
            }
            first = Some(got);
        }
    }
}

#[test]
fn blur_is_opencvs_gaussian() {
    let tolerance = || Tolerance { luma: (0.25, 1), chroma: (0.2, 1) };
    check("blur", Options::new(), "blur", tolerance());
    check("blur", Options::new().with("strength", 21), "blur", tolerance());
    check("blur", Options::new().with("strength", 7), "blur_7", tolerance());
    check("blur", Options::new().with("strength", 6), "blur_7", tolerance());
}

#[test]
fn sepia_is_the_matrix_in_rgb_order() {
    check("sepia", Options::new(), "sepia", Tolerance { luma: (0.7, 3), chroma: (0.6, 6) });
}

#[test]
fn pixelate_is_the_mean_of_blocks() {
    check("pixelate", Options::new(), "pixelate", Tolerance { luma: (0.6, 2), chroma: (0.8, 3) });
}

#[test]
fn invert_is_the_negative() {
    check("invert", Options::new(), "invert", Tolerance { luma: (0.5, 1), chroma: (0.5, 1) });
}

#[test]
fn mirror_exchanges_left_and_right() {
    // Chroma of an odd width covers other pairs of pixels once mirrored.
    check("mirror", Options::new(), "mirror", Tolerance { luma: (0.5, 1), chroma: (1.5, 15) });
}

#[test]
fn emboss_saturates() {
    check("emboss", Options::new(), "emboss", Tolerance { luma: (1.6, 15), chroma: (1.2, 13) });
}

#[test]
fn sharpen_is_the_filter_with_centre_nine() {
    check("sharpen", Options::new(), "sharpen", Tolerance { luma: (2.3, 23), chroma: (1.8, 18) });
}

#[test]
fn vintage_is_grain_vignette_and_tint() {
    check("vintage", Options::new(), "vintage", Tolerance { luma: (0.8, 2), chroma: (0.8, 3) });
}

/// Runs an effect that gives luma alone.
fn gray(
    effect: &str,
    options: &Options,
    (name, width, height, color): (&str, u32, u32, ooblex_core::ColorSpace),
) -> Vec<u8> {
    let input = i420(&format!("{name}.input"), width, height, color);
    let plain = apply(effect, options, input.clone());
    assert_eq!((plain.format(), plain.width(), plain.height()), (PixelFormat::Gray8, width, height));
    let padded = apply(effect, options, repad(&input, 7));
    assert_eq!(plain.to_packed().expect("host"), padded.to_packed().expect("host"), "{effect} {name}");
    full_luma(&plain)
}

#[test]
fn edges_are_opencvs_canny() {
    for picture in PICTURES {
        let name = picture.0;
        for (golden, options) in [
            ("edge_detection", Options::new()),
            ("edge_detection_50_150", Options::new().with("low", 50).with("high", 150)),
        ] {
            let got = gray("edge_detection", &options, picture);
            let wanted = luma(&format!("{name}.{golden}"));
            let score = f1(&got, &wanted);
            println!(
                "{golden} {name}: F1 {score}, {} pixels differ",
                got.iter().zip(&wanted).filter(|(a, b)| a != b).count()
            );
            assert!(score >= 0.98, "{golden} {name}: F1 {score}");
            assert!(f1(&vec![0; got.len()], &wanted) < 0.98, "a blank picture must not pass");
        }
    }
}

#[test]
fn the_edge_score_fails_what_it_must() {
    let wanted = luma("astronaut.edge_detection");
    assert_eq!(f1(&wanted, &wanted), 1.0);
    assert_eq!(f1(&vec![0; wanted.len()], &wanted), 0.0);
    assert!(f1(&vec![255; wanted.len()], &wanted) < 0.5);
    assert!(f1(&luma("astronaut.edge_detection_50_150"), &wanted) < 0.95, "thresholds must matter");
    let blank = vec![0; wanted.len()];
    assert_eq!(f1(&blank, &blank), 0.0, "nothing found is never a success");
}

#[test]
fn a_blank_picture_has_no_edges() {
    for range in [ColorRange::Full, ColorRange::Limited] {
        for value in [0, 16, 128, 235, 255] {
            let mut color = PICTURES[0].3;
            color.range = range;
            let mut image = ooblex_core::testing::random_image(PixelFormat::I420, 65, 33, color, 0, 1);
            image.plane_mut(0).expect("luma").fill(value);
            let options = Options::new().with("low", 0).with("high", 0);
            assert!(plane(&apply("edge_detection", &options, image), 0).iter().all(|&v| v == 0));
        }
    }
}

#[test]
fn limited_luma_is_expanded_before_edges_are_sought() {
    // A step of 45 limited-range steps is 52 full-range ones: magnitude 208, above 200 only when expanded.
    let row: Vec<u8> = (0..32).map(|x| if x < 16 { 60 } else { 105 }).collect();
    let edges = |color| {
        let image = Image::from_vec(PixelFormat::Gray8, 32, 8, color, row.repeat(8)).expect("a picture");
        plane(&apply("edge_detection", &Options::new(), image), 0).iter().filter(|&&v| v == 255).count()
    };
    assert_eq!(edges(ooblex_core::ColorSpace::BT601), 8);
    assert_eq!(edges(ooblex_core::ColorSpace::JPEG), 0);
}

#[test]
fn grayscale_is_luma() {
    for picture in PICTURES {
        assert_eq!(gray("grayscale", &Options::new(), picture), luma(&format!("{}.grayscale", picture.0)));
    }
}

#[test]
fn sketch_is_a_colour_dodge() {
    for picture in PICTURES {
        let got = gray("sketch", &Options::new(), picture);
        let found = difference(&got, &luma(&format!("{}.sketch", picture.0)));
        println!("sketch {}: {found:?}", picture.0);
        assert!(found.mean <= 0.3 && found.most <= 3, "{}: {found:?}", picture.0);
    }
}

/// Structural similarity of luma and mean difference of chroma.
fn similarity(effect: &str, golden: &str, least: f64, chroma: f64) {
    for (name, width, height, color) in PICTURES {
        let input = i420(&format!("{name}.input"), width, height, color);
        let wanted = i420(&format!("{name}.{golden}"), width, height, color);
        let got = apply(effect, &Options::new(), input.clone());
        let score = |image: &Image| ssim(&full_luma(image), &full_luma(&wanted), width as usize);
        let colors = [1, 2].map(|i| difference(&plane(&got, i), &plane(&wanted, i)).mean);
        println!(
            "{effect} {name}: SSIM {:.4} (untouched {:.4}), chroma {colors:.2?}",
            score(&got),
            score(&input)
        );
        assert!(score(&got) >= least, "{effect} {name}: {}", score(&got));
        assert!(score(&got) > score(&input) + 0.01, "{effect} {name}: no better than doing nothing");
        assert!(colors.iter().all(|&mean| mean <= chroma), "{effect} {name}: {colors:?}");
    }
}

#[test]
fn cartoon_resembles_the_bilateral_filter_with_lines() {
    similarity("cartoon", "cartoon", 0.97, 1.0);
}

#[test]
fn denoise_resembles_non_local_means() {
    similarity("denoise", "denoise", 0.92, 2.0);
}

/// Peak signal-to-noise ratio in dB.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
    let mean = a.iter().zip(b).map(square).sum::<f64>() / a.len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

#[test]
fn denoise_brings_a_noisy_picture_closer_to_the_clean_one() {
    let [clean, noisy, reference] =
        ["grayscale", "noisy", "noisy_denoise"].map(|name| luma(&format!("chelsea.{name}")));
    let (_, width, height, _) = PICTURES[2];
    let full = ooblex_core::ColorSpace::JPEG;
    let image = Image::from_vec(PixelFormat::Gray8, width, height, full, noisy.clone()).expect("a picture");
    let score = |strength: i64| {
        let got = apply("denoise", &Options::new().with("strength", strength), image.clone());
        (psnr(&plane(&got, 0), &clean), ssim(&plane(&got, 0), &reference, width as usize))
    };
    let (before, opencv) = (psnr(&noisy, &clean), psnr(&reference, &clean));
    let (ours, similar) = score(10);
    println!("noisy {before:.2} dB, ours {ours:.2}, OpenCV {opencv:.2}; SSIM to OpenCV {similar:.4}");
    assert!(
        ours > before + 4.5 && ours >= opencv,
        "noisy {before:.2} dB, ours {ours:.2}, OpenCV {opencv:.2}"
    );
    assert!(similar >= 0.96, "{similar}");
    assert!(score(3).0 < ours - 3.0, "strength must matter");
}

//! Processors that tell the person from the background, on a picture of an astronaut (NASA, public domain).

#[path = "common/people.rs"]
mod people;

use std::path::Path;
use std::sync::Arc;

use ooblex_core::testing::{conformance, frame_of, process_one, random_image};
use ooblex_core::{
    AnnotationKind, BoxError, BufferPool, ColorSpace, Encoded, FailurePolicy, Frame, Image, ImageCodec,
    Options, Picture, PictureDecoder, PixelFormat, Registry, StreamId, Want, convert,
};
use ooblex_models::Chain;
use ooblex_models::manager::{ModelCard, ModelFile, Models, SELFIE_GENERAL, SELFIE_LANDSCAPE};
use ooblex_models::processors::{Backgrounds, register_backgrounds};
use people::*;

/// Effects with options, and whether they protect privacy.
fn kinds() -> [(&'static str, Options, bool); 6] {
    [
        ("background_blur", Options::new(), true),
        ("background_remove", Options::new(), true),
        ("background_remove", Options::new().with("mode", "alpha"), true),
        ("background_replace", Options::new(), true),
        ("background_replace", Options::new().with("color", "#204060"), true),
        ("segmentation", Options::new(), false),
    ]
}

/// Far from the person: on the flag, on the wall, on the shuttle. Shares of a picture that shows all of the astronaut.
const BEHIND: [(f32, f32); 4] = [(0.03, 0.12), (0.70, 0.08), (0.85, 0.25), (0.95, 0.45)];
/// The forehead, the chest.
const PERSON: [(f32, f32); 2] = [(0.44, 0.13), (0.30, 0.70)];

fn at(image: &Image, (x, y): (f32, f32)) -> [u8; 3] {
    pixel(image, (x * image.width() as f32) as usize, (y * image.height() as f32) as usize)
}

fn apart(a: [u8; 3], b: [u8; 3]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0)
}

#[test]
fn they_conform() {
    for (effect, options, _) in kinds() {
        conformance(|| build(effect, &options), 60).unwrap_or_else(|e| panic!("{effect}: {e}"));
    }
}

#[test]
fn the_mask_marks_the_person() {
    for size in [(512, 512), (1280, 720), (640, 480), (360, 640)] {
        let frame = processed(&mut *build("segmentation", &Options::new()), &astronaut(Some(size)));
        let [found] = &frame.annotations[..] else { panic!("{size:?}: {:?}", frame.annotations) };
        assert_eq!((found.kind, &*found.label), (AnnotationKind::Mask, "person"));
        let wide = size.0 * 4 >= size.1 * 5;
        let (model, mask_size) =
            if wide { (SELFIE_LANDSCAPE, (256, 144)) } else { (SELFIE_GENERAL, (256, 256)) };
        let mask = found.mask.as_ref().expect("a mask");
        assert_eq!((&*found.model, (mask.width, mask.height)), (model, mask_size), "{size:?}");
        let value = |(x, y): (f32, f32)| {
            mask.values
                [(y * mask.height as f32) as usize * mask.width as usize + (x * mask.width as f32) as usize]
        };
        assert_eq!(BEHIND.map(value), [0; 4], "{size:?}");
        assert_eq!(PERSON.map(value), [255; 2], "{size:?}");
        let [left, top, width, height] = found.bounds.expect("a box");
        assert!(left < 0.1 && top < 0.05 && left + width > 0.7 && top + height > 0.98, "{:?}", found.bounds);
        assert!(found.score > 0.99);
    }
}

#[test]
fn nobody_is_found_where_nobody_is() {
    for size in [(640, 360), (300, 300)] {
        let mut wall = as_yuv(&astronaut(Some(size)), ColorSpace::BT601);
        (0..3).for_each(|i| wall.plane_mut(i).expect("host").fill([120, 120, 132][i]));
        let frame = processed(&mut *build("segmentation", &Options::new()), &wall);
        assert!(frame.annotations.is_empty(), "{:?}", frame.annotations);
        let green = as_rgb(&applied("background_remove", &Options::new(), &wall));
        for y in 0..size.1 as usize {
            assert!((0..size.0 as usize).all(|x| apart(pixel(&green, x, y), [0, 255, 0]) < 3));
        }
    }
}

#[test]
fn the_person_stays_as_it_is_and_the_background_does_not() {
    for color in [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709] {
        let image = as_yuv(&astronaut(Some((1280, 720))), color);
        let before = as_rgb(&image);
        for (effect, options, _) in kinds() {
            let result = applied(effect, &options, &image);
            assert_eq!((result.width(), result.height()), (1280, 720));
            let after = as_rgb(&result);
            let change = |place| apart(at(&before, place), at(&after, place));
            if effect == "segmentation" {
                assert!(
                    PERSON.map(change).iter().all(|c| *c > 20) && BEHIND.map(change).iter().all(|c| *c <= 1)
                );
            } else {
                // What passes through RGBA is rounded once.
                assert!(PERSON.map(change).iter().all(|c| *c <= 2), "{effect} {color:?}");
            }
            let wanted = match (effect, options.is_empty()) {
                ("background_remove", true) => Some([0, 255, 0]),
                ("background_remove", false) => Some([0; 3]),
                ("background_replace", false) => Some([0x20, 0x40, 0x60]),
                _ => None,
            };
            if let Some(wanted) = wanted {
                let most = BEHIND.map(|place| apart(at(&after, place), wanted));
                assert!(most.iter().all(|c| *c <= 2), "{effect} {color:?}: {most:?}");
            }
        }
    }
}

/// Mean difference of neighbouring pixels in a part of the luma plane, given by shares.
fn detail(image: &Image, [left, top, right, bottom]: [f32; 4]) -> f32 {
    let (w, h) = (image.width() as f32, image.height() as f32);
    let (columns, rows) =
        ((left * w) as usize..(right * w) as usize, (top * h) as usize..(bottom * h) as usize);
    let count = (columns.len() * rows.len()) as f32;
    let plane = image.plane(0).expect("host");
    let row = |y: usize| -> u32 {
        plane.row(y)[columns.clone()].windows(2).map(|pair| u32::from(pair[0].abs_diff(pair[1]))).sum()
    };
    rows.map(row).sum::<u32>() as f32 / count
}

#[test]
fn the_blur_takes_detail_from_the_background_alone_and_more_the_stronger_it_is() {
    let image = as_yuv(&astronaut(Some((1280, 720))), ColorSpace::BT601);
    let (shuttle, face) = ([0.72, 0.05, 0.95, 0.6], [0.38, 0.12, 0.5, 0.25]);
    let blurred =
        |strength: i64| applied("background_blur", &Options::new().with("strength", strength), &image);
    let [weak, default, strong] = [5, 40, 100].map(|strength| detail(&blurred(strength), shuttle));
    let before = detail(&image, shuttle);
    assert!(
        before > 1.2 * weak && weak > 2.0 * default && default > 1.5 * strong,
        "{before} {weak} {default} {strong}"
    );
    assert!((detail(&blurred(40), face) / detail(&image, face) - 1.0).abs() < 0.01);
}

#[test]
fn blurred_surroundings_have_nothing_of_the_persons_colours() {
    // The suit is orange, the wall beside it grey: red less blue says how much of it has spread.
    let image = as_yuv(&astronaut(Some((1280, 720))), ColorSpace::JPEG);
    let blurred = as_rgb(&applied("background_blur", &Options::new().with("strength", 100), &image));
    let wall = at(&blurred, (0.72, 0.93));
    let orange = i32::from(wall[0]) - i32::from(wall[2]);
    assert!(orange < 40, "{wall:?}");
}

#[test]
fn fully_transparent_pixels_are_black() {
    let image = as_yuv(&astronaut(Some((640, 480))), ColorSpace::BT601);
    let result = applied("background_remove", &Options::new().with("mode", "alpha"), &image);
    assert_eq!(result.format(), PixelFormat::Rgba);
    let (mut nothing, mut everything) = (0, 0);
    for pixel in result.plane(0).expect("host").rows().flat_map(|row| row.chunks_exact(4)) {
        match pixel[3] {
            0 => {
                assert_eq!(pixel, [0; 4]);
                nothing += 1;
            }
            255 => everything += 1,
            _ => {}
        }
    }
    let pixels = 640 * 480;
    assert!(nothing > pixels / 3 && everything > pixels / 3, "{nothing} {everything}");
}

#[test]
fn a_picture_that_the_operator_offers_is_put_behind() {
    let mut backgrounds = Backgrounds::new();
    let row = [[250u8, 200, 10].repeat(64), [10, 60, 200].repeat(64)].concat();
    let beach = Image::from_vec(PixelFormat::Rgb, 128, 64, ColorSpace::JPEG, row.repeat(64));
    backgrounds.add("beach", beach.expect("a picture")).expect("a good name");
    let (mut registry, models) = (Registry::new(), Models::default());
    ooblex_models::register_with(&mut registry, &models);
    register_backgrounds(&mut registry, &models, &backgrounds);
    let build = |image: &str| registry.build("background_replace", &Options::new().with("image", image));
    let error = build("/etc/passwd").err().expect("refused").to_string();
    assert!(error.starts_with("option \"image\" is \"/etc/passwd\"; allowed: none, beach"), "{error}");
    let mut processor = build("beach").expect("builds");
    for size in [(1280, 720), (400, 400)] {
        let image = as_yuv(&astronaut(Some(size)), ColorSpace::BT709);
        let after = as_rgb(processed(&mut *processor, &image).image.pixels().expect("pixels"));
        assert!(
            apart(at(&after, (0.02, 0.1)), [250, 200, 10]) < 4
                && apart(at(&after, (0.97, 0.1)), [10, 60, 200]) < 4
        );
        let before = as_rgb(&image);
        assert!(PERSON.iter().all(|place| apart(at(&before, *place), at(&after, *place)) <= 1));
    }
}

#[test]
fn everything_is_blank_when_anything_fails() {
    for (effect, options, private) in kinds() {
        let (mut registry, models) = (Registry::new(), Models::default());
        for name in [SELFIE_LANDSCAPE, SELFIE_GENERAL] {
            models.add(ModelCard::new(name, "broken").file(ModelFile::onnx(b"no model")));
        }
        ooblex_models::register_with(&mut registry, &models);
        let policy = if private { FailurePolicy::Blank } else { FailurePolicy::Pass };
        assert_eq!(registry.resolve(effect).expect(effect).on_failure, policy, "{effect}");
        let mut processor = registry.build(effect, &options).expect("builds");
        assert_eq!(processor.on_failure(), policy, "{effect}");
        assert!(processor.warm_up().is_err(), "{effect}");
        for size in [(1280, 720), (300, 300)] {
            let mut frame = frame_of(random_image(PixelFormat::I420, size.0, size.1, ColorSpace::JPEG, 0, 1));
            // An error: the frame is the runner's to blank, and nothing says that it may be shown.
            assert!(process_one(&mut processor, &mut frame).is_err(), "{effect} {size:?}");
        }
    }
}

#[test]
fn names_of_the_python_project_mean_these() {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    for (alias, name) in [
        ("selfie_segment", "background_blur"),
        ("blur_background", "background_blur"),
        ("BackgroundBlurOn", "background_blur"),
        ("BlurOn", "background_blur"),
        ("BackgroundRemoveOn", "background_remove"),
        ("background_removal", "background_remove"),
        ("BackgroundReplaceOn", "background_replace"),
    ] {
        assert_eq!(registry.resolve(alias).expect(alias).name, name);
    }
}

#[test]
fn they_chain_with_effects_and_drawing_comes_last() {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let image = as_yuv(&astronaut(Some((640, 360))), ColorSpace::BT601);
    let run = |text: &str| {
        let chain = Chain::parse(text, &registry).expect(text);
        let mut processor = chain.build(&registry, &Default::default()).expect(text);
        (processor.on_failure(), processed(&mut *processor, &image).image.pixels().expect("pixels").clone())
    };
    let (policy, edges) = run("background_blur|edge_detection");
    assert_eq!((policy, edges.format()), (FailurePolicy::Blank, PixelFormat::Gray8));
    let lines = |image: &Image, [left, right, bottom]: [f32; 3]| {
        let (columns, rows) = ((left * 640.0) as usize..(right * 640.0) as usize, (bottom * 360.0) as usize);
        let rows = image.plane(0).expect("host").rows().take(rows);
        rows.map(|row| row[columns.clone()].iter().filter(|v| **v > 0).count()).sum::<usize>()
    };
    let plain = run("edge_detection").1;
    let shuttle = [0.72, 1.0, 0.45];
    assert!(lines(&plain, shuttle) > 300 && lines(&edges, shuttle) < 30, "no edges in the blur");
    assert!(lines(&edges, [0.2, 0.6, 1.0]) > 800, "edges of the person");
    // Mirrored after it was found, and coloured after that.
    let tinted = as_rgb(&run("segmentation|mirror").1);
    let plain = as_rgb(&run("mirror").1);
    let change = |place| apart(at(&tinted, place), at(&plain, place));
    assert!(change((0.7, 0.7)) > 20 && change((0.05, 0.1)) <= 1);
}

/// Decodes to a picture that it holds, and counts nothing else.
struct Held(Image);

impl PictureDecoder for Held {
    fn decode(&self, _: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
        Ok(match want {
            Want::Reduced(n) => convert::reduce(&self.0, n, pool)?,
            Want::Luma => convert::convert(&self.0, PixelFormat::Gray8, self.0.color(), pool)?,
            _ => self.0.clone(),
        })
    }
}

#[test]
fn a_compressed_picture_stays_compressed_if_nothing_is_drawn() {
    let image = as_yuv(&astronaut(Some((1280, 720))), ColorSpace::JPEG);
    let encoded = Encoded { codec: ImageCodec::Jpeg, data: Default::default(), width: 1280, height: 720 };
    let picture = Picture::encoded(encoded, Arc::new(Held(image)), BufferPool::default());
    let run = |draw: bool| {
        let mut frame = Frame::new(StreamId::default(), 1, std::time::Instant::now(), picture.clone());
        let mut processor = build("segmentation", &Options::new().with("draw", draw));
        process_one(&mut processor, &mut frame).expect("processes");
        assert_eq!(frame.annotations.len(), 1);
        (frame.image.as_encoded().is_some(), frame.image.counts())
    };
    let (kept, counts) = run(false);
    assert_eq!((kept, counts.decoded_full, counts.decoded_reduced), (true, 0, 1));
    let (kept, counts) = run(true);
    assert_eq!((kept, counts.decoded_full, counts.decoded_reduced, counts.rgb_conversions), (false, 1, 0, 0));
}

/// How far block means of the mask are from the golden's: at most, and on average.
fn off(model: &str, json: &Path, picture: &str, image: &Image) -> (f64, f64) {
    let text = std::fs::read_to_string(json).unwrap_or_else(|e| panic!("{}: {e}", json.display()));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let wanted: Vec<Vec<f64>> =
        serde_json::from_value(json["images"][picture]["grid8_mean"].clone()).expect("a golden");
    let frame = processed(&mut *build("segmentation", &Options::new().with("edge", 1)), image);
    assert_eq!(&*frame.annotations[0].model, model);
    let mask = mask_of(&frame);
    let (w, h) = (mask.width as usize / 8, mask.height as usize / 8);
    let block = |n: usize| {
        let (left, top) = (n % 8 * w, n / 8 * h);
        let values = (0..w * h).map(|i| f64::from(mask.values[(top + i / w) * 8 * w + left + i % w]));
        values.sum::<f64>() / (w * h) as f64 / 255.0
    };
    let off = (0..64).map(|n| (block(n) - wanted[n / 8][n % 8]).abs());
    (off.clone().fold(0.0, f64::max), off.sum::<f64>() / 64.0)
}

/// MediaPipe's masks are soft, ours are hardened by a smoothstep, here the softest one: hence up to 0.05 in a block, and
/// 0.008 on average, even at the model's own size.
#[test]
fn masks_equal_those_of_mediapipe_on_pictures_of_the_models_size() {
    for (model, picture) in
        [("selfie_general_256", "astronaut_256.png"), ("selfie_landscape_144x256", "astronaut_256x144.png")]
    {
        let json = golden(&format!("{model}.json"));
        let (most, mean) = off(model, &json, picture, &open(&golden(picture), None));
        assert!(most <= 0.05 && mean <= 0.008, "{model}: {most:.4} {mean:.4}");
    }
}

/// With our own resize. The wide one was enlarged before, so it is not quite the picture of the golden; still, red and
/// blue the wrong way round are told from it.
#[test]
fn masks_equal_those_of_mediapipe_on_whole_pictures() {
    let json = golden("selfie_general_256.json");
    let (most, mean) = off("selfie_general_256", &json, "astronaut_256.png", &astronaut(None));
    assert!(most <= 0.05 && mean <= 0.008, "square: {most:.4} {mean:.4}");
    let json = golden("selfie_landscape_144x256.json");
    let wide = |image: &Image| off("selfie_landscape_144x256", &json, "astronaut_256x144.png", image);
    let mut image = astronaut(Some((1024, 576)));
    let (most, mean) = wide(&image);
    assert!(most <= 0.16 && mean <= 0.016, "wide: {most:.4} {mean:.4}");
    for row in image.plane_mut(0).expect("host").rows_mut() {
        row.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
    }
    assert!(wide(&image).1 > 0.02, "the order of colours matters");
}

#[test]
#[allow(clippy::print_stdout)]
fn masks_equal_those_of_mediapipe_on_another_picture() {
    let (Some(picture), Some(json)) =
        (shared("models/golden/carphone_060.png"), shared("models/golden/selfie_general_256.json"))
    else {
        println!(
            "SKIPPED masks_equal_those_of_mediapipe_on_another_picture: no ../shared with carphone_060.png"
        );
        return;
    };
    let (most, mean) = off("selfie_general_256", &json, "carphone_060_256.png", &open(&picture, None));
    assert!(most <= 0.05 && mean <= 0.008, "{most:.4} {mean:.4}");
}

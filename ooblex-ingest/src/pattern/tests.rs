use ooblex_core::{BufferPool, ColorSpace, FrameSource, convert, testing::random_image};
use proptest::prelude::*;

use super::*;
use crate::file::Pace;

const MARK: Mark = Mark { counter: 0xDEAD_BEEF, timecode_ms: 0x0192_3456_789A };

fn read_image(image: &Image) -> Option<Mark> {
    read(&image.plane(0).expect("plane"))
}

fn pattern(width: u32, height: u32) -> Image {
    let pool = BufferPool::default();
    let mut image = random_image(PixelFormat::I420, width, height, ColorSpace::JPEG, 3, 1);
    draw(&mut image, MARK).expect("host memory");
    convert::convert(&image, PixelFormat::I420, ColorSpace::JPEG, &pool).expect("host memory")
}

#[test]
fn what_was_drawn_is_read_in_every_format_and_size() {
    for format in PixelFormat::ALL {
        for (width, height) in [(160, 120), (161, 121), (333, 217), (640, 480), (1280, 720), (120, 1000)] {
            for color in [ColorSpace::JPEG, ColorSpace::BT601] {
                let mut image = random_image(format, width, height, color, 5, 2);
                draw(&mut image, MARK).expect("host memory");
                let luma = convert::convert(&image, PixelFormat::Gray8, color, &BufferPool::default());
                let luma = luma.expect("host memory");
                assert_eq!(read_image(&luma), Some(MARK), "{format:?} {width}x{height}");
            }
        }
    }
}

#[test]
fn the_rest_of_the_picture_is_left_alone() {
    let before = random_image(PixelFormat::I420, 160, 120, ColorSpace::JPEG, 0, 3);
    let mut after = before.clone();
    draw(&mut after, MARK).expect("host memory");
    for y in 0..100 {
        assert_eq!(before.plane(0).expect("plane").row(y), after.plane(0).expect("plane").row(y));
    }
    for y in 0..50 {
        assert_eq!(before.plane(2).expect("plane").row(y), after.plane(2).expect("plane").row(y));
    }
}

#[test]
fn no_mark_reads_as_nothing() {
    for seed in 0..200 {
        let image = random_image(PixelFormat::Gray8, 160, 120, ColorSpace::JPEG, 0, seed);
        assert_eq!(read_image(&image), None);
    }
    for value in [0, 16, 128, 255] {
        let mut image = random_image(PixelFormat::Gray8, 64, 48, ColorSpace::JPEG, 0, 0);
        image.plane_mut(0).expect("plane").fill(value);
        assert_eq!(read_image(&image), None);
    }
    for (width, height) in [(1, 1), (3, 50), (50, 3), (31, 23)] {
        let image = random_image(PixelFormat::Gray8, width, height, ColorSpace::JPEG, 0, 0);
        assert_eq!(read_image(&image), None, "tiny pictures do not panic");
    }
}

/// Paints cell (row, column) black or white.
fn paint(image: &mut Image, row: usize, column: usize, value: u8) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut plane = image.plane_mut(0).expect("plane");
    for y in height * (20 + row) / 24..height * (21 + row) / 24 {
        plane.row_mut(y)[width * column / 32..width * (column + 1) / 32].fill(value);
    }
}

#[test]
fn every_flipped_cell_is_noticed() {
    let good = pattern(320, 240);
    for row in 0..4 {
        for column in 2..30 {
            let mut flipped = good.clone();
            let white = Mark::cell(&MARK.to_bytes(), row, column);
            paint(&mut flipped, row, column, if white { 0 } else { 255 });
            assert_eq!(read_image(&flipped), None, "row {row} column {column}");
        }
    }
}

proptest! {
    #[test]
    fn many_flipped_cells_never_give_another_number(
        counter: u32,
        timecode_ms in 0u64..1 << 48,
        cells in prop::collection::vec((0usize..4, 0usize..32, any::<bool>()), 1..20),
    ) {
        let mark = Mark { counter, timecode_ms };
        let mut image = random_image(PixelFormat::Gray8, 160, 120, ColorSpace::JPEG, 0, 0);
        draw(&mut image, mark).expect("host memory");
        for (row, column, white) in cells {
            paint(&mut image, row, column, if white { 255 } else { 0 });
        }
        prop_assert!(read_image(&image).is_none_or(|read| read == mark));
    }
}

#[cfg(feature = "turbojpeg")]
mod compressed {
    use super::*;

    /// Through JPEG at quality 50 with 4:2:0, decoded by `Want::Luma`.
    fn through_jpeg(image: &Image) -> Image {
        let mut rgb = convert::convert(image, PixelFormat::Rgb, image.color(), &BufferPool::default());
        let rgb = rgb.as_mut().expect("host memory").to_packed().expect("host memory");
        let (width, height) = (image.width() as usize, image.height() as usize);
        let format = turbojpeg::PixelFormat::RGB;
        let picture = turbojpeg::Image { pixels: &rgb[..], width, pitch: 3 * width, height, format };
        let jpeg = turbojpeg::compress(picture, 50, turbojpeg::Subsamp::Sub2x2).expect("compresses");
        let limits = crate::picture::PictureLimits::default();
        let jpeg = bytes::Bytes::from(jpeg.to_vec());
        let mut picture =
            crate::picture::accept(jpeg, &limits, &BufferPool::default()).expect("a sound picture");
        picture.luma().expect("decodes")
    }

    #[tokio::test]
    async fn the_mark_survives_jpeg_and_half_size() {
        let pool = BufferPool::default();
        for (width, height) in [(160, 120), (175, 131), (320, 240), (640, 480), (1280, 720)] {
            let mut source = TestPattern::new(width, height, 30).expect("valid").pace(Pace::AsFast);
            for counter in 1..=20 {
                let mut frame = source.next_frame().await.expect("works").expect("goes on");
                let image = frame.image.pixels().expect("pixels").clone();
                let original = read_image(&image).expect("readable");
                assert_eq!(original.counter, counter);
                let once = through_jpeg(&image);
                assert_eq!(read_image(&once), Some(original), "{width}x{height} after JPEG");
                let half = convert::reduce(&image, 2, &pool).expect("reduces");
                assert_eq!(read_image(&half), Some(original), "{width}x{height} at half size");
                assert_eq!(
                    read_image(&through_jpeg(&half)),
                    Some(original),
                    "{width}x{height} at half size after JPEG"
                );
                let twice = through_jpeg(&convert::reduce(&once, 2, &pool).expect("reduces"));
                assert_eq!(
                    read_image(&twice),
                    Some(original),
                    "{width}x{height} after JPEG, half size, JPEG"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_source_keeps_time_and_skips_what_it_missed() {
    let mut source = TestPattern::new(160, 120, 20).expect("valid");
    let began = tokio::time::Instant::now();
    for n in 0..5 {
        let frame = source.next_frame().await.expect("works").expect("goes on");
        assert_eq!(began.elapsed().as_millis(), n * 50);
        assert_eq!(frame.pts.map(|t| t.ticks), Some(n as i64 * 4500));
    }
    tokio::time::advance(std::time::Duration::from_millis(330)).await;
    let late = source.next_frame().await.expect("works").expect("goes on");
    assert_eq!((late.sequence, late.pts.map(|t| t.ticks)), (6, Some(10 * 4500)));
    let next = source.next_frame().await.expect("works").expect("goes on");
    assert_eq!(began.elapsed().as_millis(), 550);
    assert_eq!(next.pts.map(|t| t.ticks), Some(11 * 4500));
}

#[tokio::test]
async fn it_ends_after_the_frames_asked_for_and_moves_meanwhile() {
    let mut source = TestPattern::new(160, 120, 30).expect("valid").pace(Pace::AsFast).frames(3);
    let mut pictures = Vec::new();
    while let Some(mut frame) = source.next_frame().await.expect("works") {
        assert!(frame.captured.is_some());
        pictures.push(frame.image.pixels().expect("pixels").to_packed().expect("host memory"));
    }
    assert_eq!(pictures.len(), 3);
    // The upper part differs too: the disc moves.
    assert_ne!(pictures[0][..160 * 100], pictures[1][..160 * 100]);
}

#[test]
fn sizes_and_rates_are_checked() {
    for (width, height, fps) in [(159, 120, 30), (160, 119, 30), (160, 120, 0), (160, 120, 1001)] {
        assert!(TestPattern::new(width, height, fps).is_err());
    }
    assert!(TestPattern::new(160, 4000, 1000).is_ok());
}

use std::time::Duration;

use ooblex_core::{ColorRange, ColorSpace, Image, PixelFormat};

use super::*;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn temporary(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("writes");
    (folder, path)
}

fn refused(path: impl AsRef<Path>) -> String {
    FileSource::open(path, Pace::AsFast).err().expect("refused").to_string()
}

async fn all(mut source: FileSource) -> Vec<(Option<i64>, Image)> {
    let mut images = Vec::new();
    while let Some(mut frame) = source.next_frame().await.expect("plays") {
        images.push((frame.pts.map(|t| t.ticks), frame.image.pixels().expect("pixels").clone()));
    }
    images
}

fn planes(image: &Image) -> Vec<Vec<u8>> {
    let rows = |n| image.plane(n).expect("plane").rows().flatten().copied().collect();
    (0..image.format().plane_count()).map(rows).collect()
}

/// A Y4M of `count` pictures; picture n has luma n and the given chroma bytes.
fn y4m(parameters: &str, count: u8, luma: usize, chroma: &[u8]) -> Vec<u8> {
    let mut out = format!("YUV4MPEG2 {parameters}\n").into_bytes();
    for n in 0..count {
        out.extend_from_slice(b"FRAME Ip\n");
        out.extend(std::iter::repeat_n(n, luma));
        out.extend_from_slice(chroma);
    }
    out
}

#[test]
fn what_cannot_be_played_is_refused_with_a_reason() {
    let (_a, empty) = temporary("empty.mp4", b"");
    let (_b, text) = temporary("notes.mp4", b"just some text, not a clip");
    let (_c, bare) = temporary("x.txt", b"");
    assert!(refused("/nowhere/clip.mp4").contains("/nowhere/clip.mp4: No such file"));
    assert!(refused(&empty).ends_with("the file is empty"));
    assert!(refused(&text).contains("not a clip that can be played"));
    assert!(refused(bare.parent().expect("folder")).contains("no picture here"));
    let (_d, p10) = temporary("x.y4m", b"YUV4MPEG2 W2 H2 F30:1 C420p10\n");
    assert!(refused(&p10).contains("C420p10"));
}

#[tokio::test]
async fn y4m_is_brought_to_420() {
    // 3 x 3: luma 9 bytes; chroma 2 x 2 for 4:2:0, 2 x 3 for 4:2:2, 3 x 3 for 4:4:4.
    let cases: [(&str, &[u8], &[u8]); 3] = [
        ("C420jpeg", &[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4]),
        ("C422", &[10, 20, 30, 40, 50, 60, 1, 1, 1, 1, 1, 1], &[20, 30, 50, 60]),
        ("C444", &[10, 20, 30, 30, 40, 50, 70, 80, 90, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[25, 40, 75, 90]),
    ];
    for (sampling, chroma, u) in cases {
        let (_dir, path) = temporary("x.y4m", &y4m(&format!("W3 H3 F25:2 {sampling}"), 3, 9, chroma));
        let source = FileSource::open(&path, Pace::AsFast).expect("opens");
        assert_eq!(source.rate.get(), 25);
        let images = all(source).await;
        assert_eq!(images.len(), 3);
        for (n, (ticks, image)) in images.iter().enumerate() {
            assert_eq!(*ticks, Some(2 * n as i64));
            assert_eq!((image.format(), image.color()), (PixelFormat::I420, ColorSpace::BT601));
            let planes = planes(image);
            assert_eq!(planes[0], [n as u8; 9]);
            assert_eq!(planes[1], u, "{sampling}");
        }
    }
    let (_dir, path) = temporary("x.y4m", &y4m("W4 H2 F30:1 Cmono XCOLORRANGE=FULL", 1, 8, &[]));
    let images = all(FileSource::open(&path, Pace::AsFast).expect("opens")).await;
    assert_eq!((images[0].1.format(), images[0].1.color().range), (PixelFormat::Gray8, ColorRange::Full));
}

#[tokio::test]
async fn a_cut_y4m_fails_after_its_whole_pictures() {
    let mut content = y4m("W4 H4 F30:1", 3, 16, &[0; 8]);
    content.truncate(content.len() - 1);
    let (_dir, path) = temporary("x.y4m", &content);
    let mut source = FileSource::open(&path, Pace::AsFast).expect("opens");
    assert!(source.next_frame().await.expect("whole").is_some());
    assert!(source.next_frame().await.expect("whole").is_some());
    let error = source.next_frame().await.expect_err("cut");
    assert!(matches!(&error, SourceError::Fatal(e) if e.to_string().contains("inside a picture")), "{error}");
    assert!(source.next_frame().await.expect("over").is_none());
}

#[tokio::test]
async fn a_folder_plays_in_order_and_stays_compressed() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, from) in
        [("c.png", "upright.png"), ("a.JPG", "plain.jpg"), ("b.webp", "lossy.webp"), ("notes.txt", "make.py")]
    {
        std::fs::copy(data(from), folder.path().join(name)).expect("copies");
    }
    std::fs::write(folder.path().join("bad.jpeg"), b"\xFF\xD8 no").expect("writes");
    let fps = NonZeroU32::new(5).expect("not zero");
    let mut source = FileSource::open(folder.path(), Pace::AsFast).expect("opens").fps(fps).expect("opens");
    let mut seen = Vec::new();
    loop {
        match source.next_frame().await {
            Ok(Some(frame)) => {
                let codec = frame.image.as_encoded().expect("compressed").codec.to_string();
                seen.push((codec, frame.pts.map(|t| (t.ticks, t.rate.get()))));
            }
            Ok(None) => break,
            Err(SourceError::Frame(error)) => {
                assert!(error.to_string().contains("bad.jpeg"), "{error}");
                seen.push(("bad".into(), None));
            }
            Err(other) => panic!("{other}"),
        }
    }
    let expected = [("JPEG", Some((0, 5))), ("WebP", Some((1, 5))), ("bad", None), ("PNG", Some((3, 5)))];
    assert_eq!(seen, expected.map(|(name, time)| (name.to_owned(), time)));
}

#[tokio::test]
async fn a_folder_without_one_good_picture_ends_instead_of_spinning() {
    let (_dir, path) = temporary("bad.jpg", b"\xFF\xD8 no");
    let folder = path.parent().expect("folder");
    let mut source = FileSource::open(folder, Pace::AsFast).expect("opens").repeat(Repeat::Forever);
    assert!(matches!(source.next_frame().await, Err(SourceError::Frame(_))));
    assert!(matches!(source.next_frame().await, Err(SourceError::Fatal(_))));
    assert!(source.next_frame().await.expect("over").is_none());
    source.reopen().await.expect("opens again");
    assert!(matches!(source.next_frame().await, Err(SourceError::Frame(_))));
}

#[tokio::test]
async fn repeating_goes_on_counting() {
    let (_dir, path) = temporary("x.y4m", &y4m("W2 H2 F30:1", 3, 4, &[0; 2]));
    let mut source = FileSource::open(&path, Pace::AsFast).expect("opens").repeat(Repeat::Forever);
    for n in 0..10 {
        let mut frame = source.next_frame().await.expect("plays").expect("for ever");
        assert_eq!((frame.sequence, frame.pts.map(|t| t.ticks)), (n + 1, Some(n as i64)));
        assert_eq!(planes(frame.image.pixels().expect("pixels"))[0], [(n % 3) as u8; 4]);
    }
}

/// Lets the reading thread fill the queue with what there is of `total` pictures; the paused clock stands still
/// meanwhile.
async fn read_ahead(source: &FileSource, total: u64) {
    for _ in 0..10_000 {
        let counts = source.events.as_ref().map(|e| e.counts()).unwrap_or_default();
        if counts.delivered + counts.waiting >= total.min(counts.delivered + AHEAD as u64) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the thread reads nothing");
}

#[tokio::test(start_paused = true)]
async fn real_time_keeps_time_and_skips_rather_than_drifts() {
    let (_dir, path) = temporary("x.y4m", &y4m("W2 H2 F20:1", 50, 4, &[0; 2]));
    let mut source = FileSource::open(&path, Pace::RealTime).expect("opens");
    let shown = async |source: &mut FileSource| {
        let frame = source.next_frame().await.expect("plays").expect("goes on");
        assert!(frame.captured.is_some());
        frame.pts.map(|t| t.ticks).expect("timed")
    };
    let began = Tick::now();
    for n in 0..4 {
        assert_eq!(shown(&mut source).await, n);
        assert_eq!(began.elapsed(), Duration::from_millis(50 * n as u64));
    }
    // 120 ms late: pictures 4 and 5 are due, only the later one is shown, and then the clip is on time again.
    read_ahead(&source, u64::MAX).await;
    tokio::time::advance(Duration::from_millis(120)).await;
    assert_eq!(shown(&mut source).await, 5);
    assert_eq!(source.skipped(), 1);
    assert_eq!(shown(&mut source).await, 6);
    assert_eq!(began.elapsed(), Duration::from_millis(300));
    // Ten seconds late: what waits is skipped, but the clip does not race through what it missed.
    read_ahead(&source, u64::MAX).await;
    tokio::time::advance(Duration::from_secs(10)).await;
    let resumed = shown(&mut source).await;
    let at = Tick::now();
    read_ahead(&source, u64::MAX).await;
    assert_eq!(shown(&mut source).await, resumed + 1);
    assert_eq!(at.elapsed(), Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_loses_no_picture() {
    let (_dir, path) = temporary("x.y4m", &y4m("W2 H2 F1:1", 5, 4, &[0; 2]));
    let mut source = FileSource::open(&path, Pace::RealTime).expect("opens").repeat(Repeat::Once);
    let mut shown = Vec::new();
    for _ in 0..100 {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        // Asked once and dropped, whether it was ready or not.
        if let std::task::Poll::Ready(frame) = source.next_frame().as_mut().poll(&mut cx) {
            shown.extend(frame.expect("plays").map(|frame| frame.pts.map(|t| t.ticks)));
        }
        read_ahead(&source, 5).await;
        tokio::time::advance(Duration::from_millis(300)).await;
    }
    assert_eq!(shown, (0..5).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_reading_thread_ends_with_its_source() {
    let (_dir, path) = temporary("x.y4m", &y4m("W2 H2 F30:1", 3, 4, &[0; 2]));
    let mut source = FileSource::open(&path, Pace::AsFast).expect("opens").repeat(Repeat::Forever);
    source.next_frame().await.expect("plays");
    let file = || {
        let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == path)).count()
    };
    if cfg!(target_os = "linux") {
        assert_eq!(file(), 1);
        drop(source);
        for _ in 0..5000 {
            if file() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the file is still open");
    }
}

#[cfg(not(feature = "h264"))]
#[test]
fn without_h264_the_missing_feature_is_named() {
    assert!(refused(data("pan.mp4")).contains("feature `h264`"));
}

#[cfg(feature = "h264")]
mod h264 {
    use super::*;

    /// Adler-32 (RFC 1950), as ffmpeg's `framecrc` prints it, which begins at 0 instead of 1.
    fn checksum(planes: &[Vec<u8>]) -> u32 {
        let (mut a, mut b) = (0u32, 0u32);
        for &byte in planes.iter().flatten() {
            a = (a + u32::from(byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        b << 16 | a
    }

    fn expected(name: &str) -> Vec<u32> {
        let text = std::fs::read_to_string(data(name)).expect("is there");
        let number = |line: &str| {
            let (_, sum) = line.split_once(" 0x").expect("two columns");
            u32::from_str_radix(sum, 16).expect("a number")
        };
        text.lines().map(number).collect()
    }

    #[tokio::test]
    async fn every_picture_is_the_one_that_ffmpeg_decodes() {
        for (name, count) in
            [("pan", 30), ("reordered", 30), ("fragmented", 30), ("full_range", 3), ("edited", 15)]
        {
            let source = FileSource::open(data(&format!("{name}.mp4")), Pace::AsFast).expect(name);
            let rate = i64::from(source.rate.get());
            let images = all(source).await;
            let sums: Vec<_> = images.iter().map(|(_, image)| checksum(&planes(image))).collect();
            assert_eq!(sums, expected(&format!("{name}.crc")), "{name}");
            assert_eq!(sums.len(), count, "{name}");
            for (n, (ticks, image)) in images.iter().enumerate() {
                assert_eq!(*ticks, Some(n as i64 * rate / 30), "{name}");
                assert_eq!((image.width(), image.height()), (160, 120));
            }
        }
    }

    #[tokio::test]
    async fn range_and_matrix_come_from_the_stream() {
        for (name, color) in [
            ("pan.mp4", ColorSpace::BT601),
            ("full_range.mp4", ColorSpace { range: ColorRange::Full, ..ColorSpace::BT709 }),
        ] {
            let images = all(FileSource::open(data(name), Pace::AsFast).expect("opens")).await;
            assert_eq!(images[0].1.color(), color, "{name}");
        }
    }

    #[tokio::test]
    async fn a_clip_repeats_without_a_seam() {
        for name in ["pan", "reordered", "edited"] {
            let once = expected(&format!("{name}.crc"));
            let mut source = FileSource::open(data(&format!("{name}.mp4")), Pace::AsFast)
                .expect("opens")
                .repeat(Repeat::Forever);
            let step = i64::from(source.rate.get()) / 30;
            for n in 0..2 * once.len() + 3 {
                let mut frame = source.next_frame().await.expect("plays").expect("for ever");
                assert_eq!(frame.pts.map(|t| t.ticks), Some(n as i64 * step), "{name}");
                let sum = checksum(&planes(frame.image.pixels().expect("pixels")));
                assert_eq!(sum, once[n % once.len()], "{name} picture {n}");
            }
        }
    }

    #[test]
    fn other_codecs_are_named() {
        let error = refused(data("mpeg4.mp4"));
        assert!(error.contains("no H.264 track") && error.contains("libx264"), "{error}");
    }

    #[tokio::test]
    async fn damage_never_panics_and_never_hangs() {
        let good = std::fs::read(data("reordered.mp4")).expect("is there");
        let mut random = ooblex_core::testing::Random::new(11);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("damaged.mp4");
        for round in 0..300 {
            let mut damaged = good.clone();
            if round % 3 == 0 {
                damaged.truncate(random.below(good.len() as u64) as usize);
            } else {
                // The index lies at the end of the file.
                let from = if round % 3 == 1 { good.len() - 1500 } else { 0 };
                for _ in 0..8 {
                    let at = from + random.below((good.len() - from) as u64) as usize;
                    damaged[at] = random.next_u64() as u8;
                }
            }
            std::fs::write(&path, &damaged).expect("writes");
            let Ok(mut source) = FileSource::open(&path, Pace::AsFast) else { continue };
            for _ in 0..200 {
                match source.next_frame().await {
                    Ok(Some(_)) | Err(SourceError::Frame(_)) => {}
                    _ => break,
                }
            }
        }
    }

    #[tokio::test]
    async fn after_damage_it_goes_on_at_the_next_key_frame() {
        let mut damaged = std::fs::read(data("pan.mp4")).expect("is there");
        let source = FileSource::open(data("pan.mp4"), Pace::AsFast).expect("opens");
        drop(source);
        // Wipe some hundred bytes inside the first group of pictures (key frames at 0, 10 and 20).
        let mdat = damaged.windows(4).position(|w| w == b"mdat").expect("is there");
        damaged[mdat + 3800..mdat + 4100].fill(0xAA);
        let (_dir, path) = temporary("x.mp4", &damaged);
        let mut source = FileSource::open(&path, Pace::AsFast).expect("opens");
        let (mut lost, mut last) = (0, Vec::new());
        loop {
            match source.next_frame().await {
                Ok(Some(mut frame)) => {
                    last.push(checksum(&planes(frame.image.pixels().expect("pixels"))));
                }
                Ok(None) => break,
                Err(SourceError::Frame(_)) => lost += 1,
                Err(other) => panic!("{other}"),
            }
        }
        let whole = expected("pan.crc");
        assert!(lost >= 1, "the damage was noticed");
        assert_eq!(last[last.len() - 10..], whole[20..], "the last group is whole");
    }

    /// Clips of other origin, which only the developers' machines have.
    #[tokio::test]
    async fn foreign_clips_play_whole_and_in_order() {
        let clips = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/clips");
        for (name, count, size) in [
            ("bikes", 250, (640, 272)),
            ("bigbuckbunny", 132, (1280, 720)),
            ("carphone_pristine", 120, (176, 144)),
        ] {
            let path = clips.join(format!("{name}.mp4"));
            if !path.exists() {
                #[allow(clippy::print_stderr)]
                {
                    eprintln!("SKIPPED: {name}.mp4 is not here");
                }
                continue;
            }
            let mut source = FileSource::open(&path, Pace::AsFast).expect(name);
            let (mut frames, mut last) = (0, None);
            while let Some(frame) = source.next_frame().await.expect(name) {
                let now = frame.pts.map(|t| t.ticks);
                assert!(now > last, "{name}: {now:?} after {last:?}");
                assert_eq!((frame.image.width(), frame.image.height()), size);
                (frames, last) = (frames + 1, now);
            }
            assert_eq!(frames, count, "{name}");
        }
    }
}

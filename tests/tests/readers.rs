//! The programs that people read streams with: FFmpeg, VLC and OpenCV.

use std::process::Command;
use std::time::{Duration, Instant};

use ooblex_tests::mark::{self, Mark, Rgb};
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::{Server, root};
use ooblex_tests::tools::{find, output, python, raw_pictures, start, wait_for_bytes};
use ooblex_tests::{PATIENCE, skip};

/// Checks that the marks of one publisher came in order and that nothing old was shown. Repeats are what an idle
/// stream sends; a publisher at 30 a second leaves room for few.
fn check_order(marks: &[Option<Mark>], id: u8, accepted: u32) {
    let counters: Vec<u32> = marks
        .iter()
        .map(|mark| {
            let mark = mark.expect("every picture is whole");
            assert_eq!(mark.id, id, "a picture of another stream");
            mark.counter
        })
        .collect();
    assert!(counters.is_sorted(), "in order: {counters:?}");
    let repeats = counters.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(repeats * 10 <= counters.len(), "{repeats} repeats: {counters:?}");
    assert!(*counters.last().unwrap() < accepted, "not before it was sent");
    let (first, last) = (counters[0], *counters.last().unwrap());
    let spread = (last - first + 1) as usize;
    // Newest wins: on a busy machine frames may be left out, but most must come.
    assert!(counters.len() * 2 >= spread, "{} of {spread} pictures", counters.len());
}

#[test]
fn ffmpeg_reads_a_stream_while_the_effect_is_switched() {
    let Some(ffmpeg) = find("ffmpeg") else { skip!("ffmpeg is not installed") };
    let server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "cam", 5, Plan::default());
    server.wait_for_stream("cam", "a stream", |_| true);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.rgb");
    let mut command = Command::new(ffmpeg);
    command
        .args(["-hide_banner", "-loglevel", "warning", "-i", &server.url("/cam.mjpg"), "-frames:v", "150"])
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-flush_packets", "1"])
        .arg(&file);
    let mut process = start(&mut command, folder.path(), "ffmpeg");
    let frame = 320 * 240 * 3;
    wait_for_bytes(&file, 20 * frame, PATIENCE);
    server.set_effect("cam", "grayscale");
    wait_for_bytes(&file, 80 * frame, PATIENCE);
    server.set_effect("cam", "none");
    let code = process.finish(PATIENCE, folder.path(), "ffmpeg");
    let written = output(folder.path(), "ffmpeg");
    assert_eq!(code, 0, "{written}");
    for complaint in ["error", "invalid", "corrupt", "overread"] {
        assert!(!written.to_lowercase().contains(complaint), "{written}");
    }
    let accepted = publisher.accepted();
    drop(publisher);

    let pictures = raw_pictures(&std::fs::read(&file).unwrap(), 320, 240);
    assert_eq!(pictures.len(), 150);
    let marks: Vec<_> = pictures.iter().map(Rgb::mark).collect();
    check_order(&marks, 5, accepted);
    // Colour, then none, then colour again: each switch happens once, between two frames.
    let colourful: Vec<bool> = pictures.iter().map(|picture| picture.colourfulness() > 20.0).collect();
    let switches = colourful.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((colourful[0], switches, colourful[149]), (true, 2, true), "{colourful:?}");
    let grey: Vec<f64> =
        pictures.iter().zip(&colourful).filter(|(_, c)| !**c).map(|(p, _)| p.colourfulness()).collect();
    assert!(grey.len() > 10 && grey.iter().all(|value| *value < 3.0), "{grey:?}");
}

#[test]
fn ffmpeg_reads_the_demo_clip() {
    let Some(ffmpeg) = find("ffmpeg") else { skip!("ffmpeg is not installed") };
    let server = Server::start(&["--demo"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.rgb");
    let started = Instant::now();
    let mut command = Command::new(ffmpeg);
    command
        .args(["-hide_banner", "-loglevel", "warning", "-i", &server.url("/stream.mjpg"), "-frames:v", "60"])
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24"])
        .arg(&file);
    let code = start(&mut command, folder.path(), "ffmpeg").finish(PATIENCE, folder.path(), "ffmpeg");
    assert_eq!(code, 0, "{}", output(folder.path(), "ffmpeg"));
    // Thirty a second, as the clip was filmed: not as fast as the machine can.
    assert!(started.elapsed() > Duration::from_secs_f64(1.5), "{:?}", started.elapsed());
    let pictures = raw_pictures(&std::fs::read(&file).unwrap(), 640, 480);
    assert_eq!(pictures.len(), 60);
    let clip = clip_pictures();
    let mut last = None;
    let mut moved = 0;
    for picture in &pictures {
        // Which frame of the clip is it? The best one must be very near: colours and levels are right, too.
        let distances = clip.iter().map(|frame| distance(picture, frame));
        let (best, error) = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert!(error < 6.0, "off by {error:.1} levels from the nearest frame {best}");
        // The clip moves to and fro, so that a frame on the way back may look like one on the way there: only steps
        // are counted, not their direction.
        moved += usize::from(last.is_some_and(|last| last != best));
        last = Some(best);
    }
    assert!(moved > 30, "the picture moved {moved} times in 60");
}

/// The frames of the demo clip, decoded by FFmpeg.
fn clip_pictures() -> Vec<Rgb> {
    let output = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-i"])
        .arg(ooblex_tests::server::demo_clip())
        .args([
            "-vf",
            "scale=out_range=full:out_color_matrix=bt601",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-",
        ])
        .output()
        .unwrap();
    assert!(output.status.success());
    raw_pictures(&output.stdout, 640, 480)
}

/// Mean difference of every 37th value.
fn distance(a: &Rgb, b: &Rgb) -> f64 {
    let pairs = a.data.iter().zip(&b.data).step_by(37);
    let count = pairs.len();
    pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / count as f64
}

#[test]
fn vlc_shows_the_stream() {
    let Some(vlc) = find("cvlc") else { skip!("VLC is not installed") };
    let server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "cam", 7, Plan::default());
    server.wait_for_stream("cam", "a stream", |_| true);
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("vlc");
    std::fs::create_dir(&pictures).unwrap();
    // The unprivileged user must be able to reach its folder.
    make_passable(folder.path());
    let mut command = Command::new(root().join("scripts/as-user.sh"));
    command.arg(&pictures).arg(vlc).args([
        "-I",
        "dummy",
        "--no-audio",
        "--vout=dummy",
        "--video-filter=scene",
    ]);
    command.args(["--scene-format=png", "--scene-ratio=1", "--scene-prefix=s", "--no-video-title-show"]);
    command.arg(format!("--scene-path={}", pictures.display())).arg(server.url("/cam.mjpg"));
    let process = start(&mut command, folder.path(), "vlc");
    let saved = || {
        let mut names: Vec<_> = std::fs::read_dir(&pictures)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "png"))
            .collect();
        names.sort();
        names
    };
    let begun = Instant::now();
    while saved().len() < 60 {
        assert!(
            begun.elapsed() < 2 * PATIENCE,
            "{} pictures:\n{}",
            saved().len(),
            output(folder.path(), "vlc")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(process);
    let accepted = publisher.accepted();
    drop(publisher);
    let mut names = saved();
    // The last one may be half written.
    names.pop();
    let decoded: Vec<Rgb> = names
        .iter()
        .map(|path| {
            let picture = image::load_from_memory(&std::fs::read(path).unwrap()).unwrap().to_rgb8();
            Rgb {
                width: picture.width() as usize,
                height: picture.height() as usize,
                data: picture.into_raw(),
            }
        })
        .collect();
    // VLC shows a picture again when no new one is due: only order and content are asked of it.
    let marks: Vec<Mark> =
        decoded.iter().map(|picture| picture.mark().expect("every picture is whole")).collect();
    assert!(marks.iter().all(|mark| mark.id == 7) && marks.is_sorted(), "{marks:?}");
    assert!(marks.last().unwrap().counter < accepted);
    let distinct = 1 + marks.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(distinct >= 20, "only {distinct} different pictures: {marks:?}");
    for (seen, sent) in decoded[0].field().iter().zip(mark::colour(7)) {
        assert!((seen - f64::from(sent)).abs() < 12.0, "{seen} instead of {sent}");
    }
}

#[cfg(unix)]
fn make_passable(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn opencv_reads_the_stream() {
    let Some(python) = python() else { skip!("no .venv with OpenCV; scripts/setup.sh test makes it") };
    let server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "cam", 8, Plan::default());
    server.wait_for_stream("cam", "a stream", |_| true);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.arg(root().join("tests/python/read_stream.py")).args([&server.url("/cam.mjpg"), "60"]);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let code = start(&mut command, folder.path(), "opencv").finish(2 * PATIENCE, folder.path(), "opencv");
    assert_eq!(code, 0, "{}", output(folder.path(), "opencv"));
    let accepted = publisher.accepted();
    drop(publisher);
    let text = std::fs::read_to_string(folder.path().join("opencv.out")).unwrap();
    let mut marks = Vec::new();
    for line in text.lines() {
        let frame: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(frame["shape"], serde_json::json!([240, 320, 3]));
        let number = |at: usize| frame["mark"][at].as_u64();
        marks.push(
            number(0).zip(number(1)).map(|(id, counter)| Mark { id: id as u8, counter: counter as u32 }),
        );
        for (channel, sent) in mark::colour(8).into_iter().enumerate() {
            let seen = frame["field"][channel].as_f64().unwrap();
            assert!((seen - f64::from(sent)).abs() < 6.0, "{seen} instead of {sent}");
        }
    }
    assert_eq!(marks.len(), 60);
    check_order(&marks, 8, accepted);
}

#[test]
fn clips_from_outside_the_repository_play() {
    let clips = root().join("../shared/clips");
    if !clips.is_dir() {
        skip!("no ../shared/clips beside the checkout");
    }
    for (name, width, height) in
        [("carphone_pristine", 176, 144), ("bikes", 640, 272), ("bigbuckbunny", 1280, 720)]
    {
        let clip = clips.join(format!("{name}.mp4"));
        let server = Server::start(&[
            "--source",
            &format!("clip={}", clip.display()),
            "--model-name",
            "edge_detection",
        ]);
        let mut viewer = ooblex_tests::multipart::Viewer::open(server.addr, "/clip.mjpg");
        let parts = viewer.until("the clip", |part| part.picture().width == width);
        assert_eq!(parts.last().unwrap().picture().height, height, "{name}");
        let first = viewer.next();
        let moved = (0..60).any(|_| viewer.next().body != first.body);
        assert!(moved, "{name} stands still");
    }
}

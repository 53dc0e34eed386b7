//! Watches an MJPEG stream as many viewers and measures what arrives, and what it costs the server.
//!
//! ```text
//! mjpeg_load URL [--viewers N] [--seconds S] [--pid SERVER] [--upload URL] [--fps F] [--jpeg FILE]... [--bytes N]
//! ```
//!
//! With `--upload` it posts pictures over one kept-alive connection at `--fps` (30), the given files in turn, or 720p
//! pictures of `--bytes` (152,000) made for the purpose. Everything runs on one thread of this process, so that the
//! server's figures are its own. Only part headers are looked at; on Linux the kernel is told to throw bodies away, because
//! copying some GB a second would keep this thread, not the server, from keeping up.
#![allow(clippy::print_stdout)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ooblex_core::testing::Random;
use ooblex_core::{BoxError, BufferPool, ColorSpace, Image, PixelFormat};
use ooblex_mjpeg::encode::jpeg_encoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Options {
    url: String,
    viewers: usize,
    seconds: f64,
    pid: Option<u32>,
    upload: Option<String>,
    fps: f64,
    jpegs: Vec<Vec<u8>>,
    bytes: usize,
}

fn options() -> Result<Options, BoxError> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("give the URL of a stream")?;
    let mut options = Options {
        url,
        viewers: 1,
        seconds: 10.0,
        pid: None,
        upload: None,
        fps: 30.0,
        jpegs: Vec::new(),
        bytes: 152_000,
    };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--viewers" => options.viewers = value.parse()?,
            "--seconds" => options.seconds = value.parse()?,
            "--pid" => options.pid = Some(value.parse()?),
            "--upload" => options.upload = Some(value),
            "--fps" => options.fps = value.parse()?,
            "--jpeg" => options.jpegs.push(std::fs::read(value)?),
            "--bytes" => options.bytes = value.parse()?,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    if options.upload.is_some() && options.jpegs.is_empty() {
        options.jpegs = pictures(options.bytes)?;
    }
    Ok(options)
}

/// Eight 720p pictures of about this many bytes: blurred noise whose strength is searched for.
fn pictures(bytes: usize) -> Result<Vec<Vec<u8>>, BoxError> {
    let mut encoder = jpeg_encoder()?;
    let mut draw = |seed: u64, strength: i32| -> Result<Vec<u8>, BoxError> {
        let mut random = Random::new(seed);
        let mut image = Image::alloc(PixelFormat::I420, 1280, 720, ColorSpace::JPEG, &BufferPool::new(0))?;
        for (index, mut plane) in image.i420_mut()?.into_iter().enumerate() {
            let width = plane.row_bytes();
            for y in 0..plane.row_count() {
                let row = plane.row_mut(y);
                for (x, v) in row.iter_mut().enumerate() {
                    let noise = (random.next_u64() >> 40) as i32 % 256 - 128;
                    let base = if index == 0 { 40 + (x * 160 / width) as i32 } else { 128 };
                    *v = (base + noise * strength / 1000).clamp(0, 255) as u8;
                }
            }
        }
        Ok(encoder.encode(&image, 85)?.to_vec())
    };
    let (mut low, mut high) = (0, 1000);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if draw(1, middle)?.len() < bytes { low = middle } else { high = middle }
    }
    (1..=8).map(|seed| draw(seed, high)).collect()
}

/// Host with port, and path, of a plain HTTP URL.
fn parts_of(url: &str) -> Result<(String, String), BoxError> {
    let rest = url.strip_prefix("http://").ok_or("only http:// is known")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((host.to_owned(), format!("/{path}")))
}

#[derive(Default)]
struct Viewer {
    frames: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    sequence: u64,
    disorder: u64,
    gaps: Vec<Duration>,
}

#[derive(Default)]
struct Shared {
    measuring: bool,
    /// When the upload of a picture began, by sequence number.
    begun: HashMap<u64, Instant>,
    latencies: Vec<Duration>,
    /// What went wrong, and how often.
    failures: HashMap<String, u32>,
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 1 << 20]);
}

/// Takes at most `n` bytes that have arrived and throws them away; 0 at the end of the stream.
#[cfg(target_os = "linux")]
fn discard(stream: &TcpStream, n: usize, _: &mut [u8]) -> std::io::Result<usize> {
    // `MSG_TRUNC` of tcp(7): the bytes are discarded rather than copied, so the buffer need only have the length.
    const MSG_TRUNC: i32 = 0x20;
    let mut nowhere: Vec<u8> = Vec::with_capacity(n);
    let nowhere = nowhere.spare_capacity_mut();
    stream.try_io(tokio::io::Interest::READABLE, || {
        socket2::SockRef::from(stream).recv_with_flags(&mut nowhere[..n], MSG_TRUNC)
    })
}

#[cfg(not(target_os = "linux"))]
fn discard(stream: &TcpStream, n: usize, scratch: &mut [u8]) -> std::io::Result<usize> {
    stream.try_read(&mut scratch[..n.min(scratch.len())])
}

async fn watch(
    host: String,
    path: String,
    viewer: Rc<RefCell<Viewer>>,
    shared: Rc<RefCell<Shared>>,
) -> Result<(), BoxError> {
    let mut stream = TcpStream::connect(&host).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    // Bytes of a head that are not complete yet; then how much of a picture is still to come.
    let (mut head, mut body, mut sequence): (Vec<u8>, usize, u64) = (Vec::new(), 0, 0);
    let mut in_response_head = true;
    loop {
        stream.readable().await?;
        let ended = SCRATCH.with_borrow_mut(|scratch| -> Result<bool, BoxError> {
            // Of a body all but its last byte, whose arrival is told from the data below.
            let read = if body > 1 { discard(&stream, body - 1, scratch) } else { stream.try_read(scratch) };
            let read = match read {
                Ok(0) => return Ok(true),
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            if body > 1 {
                body -= read;
                return Ok(false);
            }
            let mut data = &scratch[..read];
            while !data.is_empty() {
                if body > 0 {
                    let n = body.min(data.len());
                    (body, data) = (body - n, &data[n..]);
                    if body == 0 {
                        arrived(sequence, &viewer, &shared);
                    }
                    continue;
                }
                let before = head.len();
                head.extend_from_slice(&data[..data.len().min(1024)]);
                let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n").map(|i| i + 4) else {
                    data = &data[head.len() - before..];
                    continue;
                };
                data = &data[end - before..];
                let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
                let number = |name: &str| {
                    let line = text.lines().find_map(|line| line.strip_prefix(name));
                    line.and_then(|value| value.trim().parse::<u64>().ok())
                };
                if std::mem::take(&mut in_response_head) {
                    if !text.contains(" 200 ") {
                        return Err(format!("the server said {}", text.lines().next().unwrap_or("")).into());
                    }
                } else {
                    let length = number("content-length:").ok_or("a part without a length")?;
                    sequence = number("x-ooblex-sequence:").unwrap_or(0);
                    body = length as usize + b"\r\n--frame\r\n".len();
                }
                head.clear();
            }
            Ok(false)
        })?;
        if ended {
            return Err("the server closed the stream".into());
        }
    }
}

fn arrived(sequence: u64, viewer: &RefCell<Viewer>, shared: &RefCell<Shared>) {
    let now = Instant::now();
    let mut shared = shared.borrow_mut();
    if !shared.measuring {
        return;
    }
    if let Some(begun) = shared.begun.get(&sequence).copied() {
        shared.latencies.push(now - begun);
    }
    let mut viewer = viewer.borrow_mut();
    viewer.disorder += u64::from(sequence <= viewer.sequence);
    viewer.sequence = sequence;
    viewer.frames += 1;
    viewer.first.get_or_insert(now);
    if let Some(last) = viewer.last.replace(now) {
        viewer.gaps.push(now - last);
    }
}

async fn upload(
    url: String,
    fps: f64,
    jpegs: Vec<Vec<u8>>,
    shared: Rc<RefCell<Shared>>,
) -> Result<(), BoxError> {
    let (host, path) = parts_of(&url)?;
    let mut stream = TcpStream::connect(&host).await?;
    stream.set_nodelay(true)?;
    let requests: Vec<Vec<u8>> = jpegs
        .iter()
        .map(|jpeg| {
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", jpeg.len());
            [head.as_bytes(), jpeg].concat()
        })
        .collect();
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / fps));
    let mut answer = [0; 4096];
    // The answer names the number, but a viewer may be faster: numbers rise by one, so the next is known.
    let mut expected = None;
    for request in requests.iter().cycle() {
        tick.tick().await;
        let begun = Instant::now();
        if let Some(sequence) = expected {
            shared.borrow_mut().begun.insert(sequence, begun);
        }
        stream.write_all(request).await?;
        let n = stream.read(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer[..n]).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            return Err(format!("the upload was answered by {text}").into());
        }
        let sequence =
            text.lines().find_map(|l| l.strip_prefix("x-ooblex-sequence:")).map(|v| v.trim().parse::<u64>());
        expected = sequence.transpose()?.map(|n| n + 1);
    }
    Ok(())
}

/// CPU time of all threads, and resident memory now and at its peak in KiB.
fn usage(pid: u32) -> Result<(Duration, u64, u64), BoxError> {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let line = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += line.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    Ok((Duration::from_nanos(nanos), kib("VmRSS:"), kib("VmHWM:")))
}

fn quantile(sorted: &[Duration], q: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * q).round() as usize;
    sorted.get(index).map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0)
}

async fn run(options: Options) -> Result<(), BoxError> {
    let shared = Rc::new(RefCell::new(Shared::default()));
    let (host, path) = parts_of(&options.url)?;
    let noting = shared.clone();
    let fail = |what: &'static str| {
        let noting = noting.clone();
        move |error: BoxError| {
            *noting.borrow_mut().failures.entry(format!("{what}: {error}")).or_default() += 1
        }
    };
    if let Some(url) = options.upload.clone() {
        let task = upload(url, options.fps, options.jpegs.clone(), shared.clone());
        let fail = fail("upload");
        tokio::task::spawn_local(async move { task.await.unwrap_or_else(fail) });
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let viewers: Vec<Rc<RefCell<Viewer>>> = (0..options.viewers).map(|_| Rc::default()).collect();
    for viewer in &viewers {
        let task = watch(host.clone(), path.clone(), viewer.clone(), shared.clone());
        let fail = fail("viewer");
        tokio::task::spawn_local(async move { task.await.unwrap_or_else(fail) });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    shared.borrow_mut().measuring = true;
    let before = options.pid.map(usage).transpose()?;
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
    shared.borrow_mut().measuring = false;
    let spent = start.elapsed();
    let after = options.pid.map(usage).transpose()?;

    let frames: u64 = viewers.iter().map(|v| v.borrow().frames).sum();
    let disorder: u64 = viewers.iter().map(|v| v.borrow().disorder).sum();
    let slowest = viewers.iter().map(|v| v.borrow().frames).min().unwrap_or(0);
    let mut gaps: Vec<Duration> = viewers.iter().flat_map(|v| v.borrow().gaps.clone()).collect();
    gaps.sort_unstable();
    let mut latencies = std::mem::take(&mut shared.borrow_mut().latencies);
    latencies.sort_unstable();
    let seconds = spent.as_secs_f64();
    println!(
        "{} viewers, {frames} frames: {:.2} fps each, slowest {:.2}; repeated or out of order {disorder}",
        options.viewers,
        frames as f64 / seconds / options.viewers.max(1) as f64,
        slowest as f64 / seconds,
    );
    println!(
        "gaps: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        quantile(&gaps, 0.5),
        quantile(&gaps, 0.99),
        quantile(&gaps, 1.0)
    );
    for (what, times) in &shared.borrow().failures {
        println!("{times} times {what}");
    }
    if !latencies.is_empty() {
        println!(
            "from upload to viewer: p50 {:.2} ms, p99 {:.2} ms",
            quantile(&latencies, 0.5),
            quantile(&latencies, 0.99)
        );
    }
    if let (Some((cpu_before, ..)), Some((cpu_after, rss, peak))) = (before, after) {
        let cpu = cpu_after.saturating_sub(cpu_before);
        println!(
            "server: {:.1} us of CPU a delivered frame, {:.1} % of one core, {:.1} MB resident, {:.1} at its peak",
            cpu.as_secs_f64() * 1e6 / frames.max(1) as f64,
            cpu.as_secs_f64() * 100.0 / seconds,
            rss as f64 / 1024.0,
            peak as f64 / 1024.0,
        );
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let options = options()?;
    ooblex_http::raise_file_limit()?;
    if let Some(jpeg) = options.jpegs.first() {
        println!("{} pictures, the first of {} bytes", options.jpegs.len(), jpeg.len());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(options))
}

//! Publishes 720p30 over a WebSocket, views what becomes of it on the same one, and prints how long that takes:
//!
//! ```sh
//! cargo run --release -p ooblex-live --example live_load -- 127.0.0.1:8081 20 h264 edge_detection
//! ```
//!
//! Address of a server, seconds, kind, effect; all but the first have defaults. Pictures are encoded before the clock
//! starts, as by a camera that costs nothing, and decoded when they come back; ages are from just before a picture is
//! sent to just after it was decoded.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::{SinkExt, StreamExt};
use ooblex_core::{BoxError, BufferPool, ColorSpace, Image, PixelFormat};
use ooblex_ingest::decode::{self, VideoCodec};
use ooblex_ingest::pattern::{self, Mark};
use ooblex_live::protocol::{HEADER_LEN, Header};
use ooblex_live::{Codec, LADDER, encode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const SIZE: (u32, u32) = (1280, 720);
const EVERY: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// Pictures of one round: the first is a key frame, and the last is followed by the first.
const ROUND: u32 = 90;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let seconds: u64 = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let codec: Codec = arguments.next().unwrap_or_else(|| "h264".to_owned()).parse()?;
    let effect = arguments.next().unwrap_or_else(|| "edge_detection".to_owned());
    let pictures = round(codec)?;
    let mut request = format!("ws://{address}/ws/live?stream=load").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "ooblex.live.1".parse()?);
    let (mut socket, _) = tokio_tungstenite::connect_async_with_config(request, None, true).await?;
    let kinds = json!({"codecs": [codec.as_str()]});
    let hello = json!({"type": "hello", "publish": kinds, "view": kinds, "effect": effect});
    socket.send(Message::Text(hello.to_string().into())).await?;

    let mut screen = decode::open(
        if codec == Codec::Vp8 { VideoCodec::Vp8 } else { VideoCodec::H264 },
        BufferPool::new(4),
    )?;
    let mut tick = tokio::time::interval(EVERY);
    let (mut sequence, mut open, mut window, mut held_back) = (0_u64, 0_usize, 0_usize, 0_u64);
    let (mut needs_key, mut bytes, mut ages, mut decoded) = (false, [0_u64; 2], Vec::new(), Vec::new());
    let (mut at, mut dropped, mut quality) = (0_usize, 0_u64, String::new());
    let begun = Instant::now();
    let cpu = cpu_time();
    while begun.elapsed() < Duration::from_secs(seconds) {
        tokio::select! {
            _ = tick.tick(), if window > 0 => {
                if open >= window {
                    held_back += 1;
                    continue;
                }
                if std::mem::take(&mut needs_key) {
                    at = 0;
                }
                let (is_key, data) = &pictures[at];
                at = (at + 1) % pictures.len();
                (sequence, open) = (sequence + 1, open + 1);
                let header = Header { codec, is_key: *is_key, sequence, captured_us: now_us() };
                let message = [&header.encode()[..], data].concat();
                bytes[0] += message.len() as u64;
                socket.send(Message::Binary(message.into())).await?;
            }
            message = socket.next() => match message.ok_or("the server is gone")?? {
                Message::Text(text) => {
                    let said: Value = serde_json::from_str(&text)?;
                    match said["type"].as_str().unwrap_or_default() {
                        "welcome" => window = said["publish"]["window"].as_u64().unwrap_or(1) as usize,
                        "ack" => {
                            open = open.saturating_sub(1);
                            dropped += u64::from(said["frame"].is_null());
                        }
                        "key" => needs_key = true,
                        "quality" => quality = text.to_string(),
                        "error" | "end" => println!("{text}"),
                        _ => {}
                    }
                }
                Message::Binary(message) => {
                    let header = Header::decode(&message)?;
                    bytes[1] += message.len() as u64;
                    decoded.clear();
                    screen.decode(&message[HEADER_LEN..], 0, &mut decoded)?;
                    let age = now_us().saturating_sub(header.captured_us) as f64 / 1e3;
                    let ack = json!({"type": "ack", "seq": header.sequence, "age_ms": age, "shown": true});
                    socket.send(Message::Text(ack.to_string().into())).await?;
                    ages.push(age);
                }
                Message::Close(frame) => return Err(format!("closed: {frame:?}").into()),
                _ => {}
            },
        }
    }
    let took = begun.elapsed().as_secs_f64();
    ages.sort_by(f64::total_cmp);
    let of = |percent: usize| ages.get((ages.len().max(1) - 1) * percent / 100).copied().unwrap_or(f64::NAN);
    println!("quality   {quality}");
    println!(
        "sent      {sequence} of {} pictures, held back {held_back}, not used {dropped}",
        sequence + held_back
    );
    println!("shown     {} pictures, {:.1} a second", ages.len(), ages.len() as f64 / took);
    println!("age       p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", of(50), of(99), of(100));
    println!("bytes     {:.2} MB a minute up, {:.2} down", rate(bytes[0], took), rate(bytes[1], took));
    println!("own CPU   {:.0} % of one core", (cpu_time() - cpu) / took * 100.0);
    socket.close(None).await?;
    Ok(())
}

/// Pictures of a moving pattern, encoded.
fn round(codec: Codec) -> Result<Vec<(bool, bytes::Bytes)>, BoxError> {
    let mut encoder = encode::open(codec, LADDER[0])?;
    let pool = BufferPool::new(2);
    let mut pictures = Vec::new();
    for n in 0..ROUND {
        let mut image = Image::alloc(PixelFormat::I420, SIZE.0, SIZE.1, ColorSpace::BT601, &pool)?;
        for plane in 0..3 {
            let shift = n as usize * 3;
            let mut pixels = image.plane_mut(plane)?;
            for (y, row) in pixels.rows_mut().enumerate() {
                for (x, value) in row.iter_mut().enumerate() {
                    let wave = ((x + shift) / 16 + y / 16) % 8 * 20 + (x * 7 + y * 13) % 11;
                    *value = 50 + wave as u8;
                }
            }
        }
        pattern::draw(&mut image, Mark { counter: n, timecode_ms: 0 })?;
        let at = EVERY * n;
        if let Some(encoded) = encoder.encode(&image, at, n == 0)? {
            pictures.push((encoded.is_key, encoded.data));
        }
    }
    Ok(pictures)
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds * 60.0
}

/// Seconds of processor time that this process has used; 0 where that is not known.
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time, in hundredths of a second on every Linux.
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

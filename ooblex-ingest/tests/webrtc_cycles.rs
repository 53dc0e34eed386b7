//! Sessions that come and go leave nothing behind: no memory, descriptor, task or thread. Alone in its binary, for
//! all of these are counted for the whole process.
//!
//! `OOBLEX_CYCLES=1000` runs as many cycles; the heap in use after the last is compared with that after the 50th.
#![cfg(all(feature = "whip", feature = "h264", target_os = "linux", target_env = "gnu"))]
#![allow(clippy::print_stdout, reason = "what was measured")]

#[allow(dead_code, reason = "shared by other tests")]
mod publisher;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::testing::CollectingSink;
use ooblex_core::{BoxError, FrameSink, PassThrough, StreamId};
use ooblex_ingest::ice::IceServers;
use ooblex_ingest::webrtc::{PublishRequest, PublisherId, WebRtc, WebRtcConfig};
use publisher::{Codec, Pattern, Publisher, SOON};

#[derive(Clone, Default)]
struct Sinks(Arc<Mutex<Option<CollectingSink>>>);

impl StreamFactory for Sinks {
    fn effect(&self, _stream: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 0, Box::new(PassThrough))
    }
    fn sinks(&self, _stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        let sink = CollectingSink::default();
        *self.0.lock().expect("lock") = Some(sink.clone());
        vec![Box::new(sink)]
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    tasks: usize,
}

fn held() -> Held {
    let count = |folder| std::fs::read_dir(folder).expect("procfs").count();
    Held {
        descriptors: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
    }
}

/// Bytes of the C heap in use, which is also that of Rust: arenas and what was mapped for large blocks.
#[allow(unsafe_code, reason = "the C library alone knows")]
fn heap() -> usize {
    #[repr(C)]
    struct Info([usize; 10]);
    unsafe extern "C" {
        fn mallinfo2() -> Info;
    }
    // SAFETY: glibc from 2.33 on has it; it takes nothing and returns ten words by value (mallinfo2(3)).
    let info = unsafe { mallinfo2() };
    // `hblkhd` and `uordblks`.
    info.0[4] + info.0[7]
}

/// Waits until everything that ends in the background has ended.
async fn settled(start: Held) -> Held {
    let deadline = Instant::now() + SOON;
    loop {
        let now = held();
        if now == start || Instant::now() > deadline {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One session; how long after the offer it was answered, connected, and showed a picture.
async fn cycle(webrtc: &WebRtc, sinks: &Sinks, tell: bool) -> [Duration; 3] {
    let request =
        PublishRequest { stream: StreamId::default(), publisher: PublisherId::of_key(b"me"), address: None };
    let mut publisher = Publisher::new(Codec::H264).await;
    let offer = publisher.offer().await;
    let mut pattern = Pattern::new(320, 240);
    let first = pattern.unit();
    let asked = Instant::now();
    let published = webrtc.publish(&offer, request).await.expect("published");
    let answered = asked.elapsed();
    publisher.accept(&published.answer).await;
    publisher.connected().await;
    let connected = asked.elapsed();
    publisher.send(&first).await;
    let seen = || sinks.0.lock().expect("lock").as_ref().map_or(0, |sink| sink.frames().len());
    let before = Instant::now();
    let mut sent = Instant::now();
    while seen() == 0 {
        assert!(before.elapsed() < SOON, "no picture came");
        tokio::time::sleep(Duration::from_millis(1)).await;
        // Our side may have been connected a little later, and the first one lost.
        if sent.elapsed() > Duration::from_millis(50) {
            sent = Instant::now();
            pattern.force_keyframe();
            publisher.send(&pattern.unit()).await;
        }
    }
    let shown = asked.elapsed();
    // Half of them say goodbye over HTTP, half just close.
    if tell {
        assert!(webrtc.close(&published.id).await);
        publisher.close().await;
    } else {
        publisher.close().await;
        while !webrtc.sessions().is_empty() {
            assert!(before.elapsed() < SOON, "the session did not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    *sinks.0.lock().expect("lock") = None;
    [answered, connected, shown]
}

#[tokio::test]
async fn sessions_leave_nothing_behind() {
    let cycles = std::env::var("OOBLEX_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(40usize);
    let sinks = Sinks::default();
    let hub = Hub::new(HubConfig::default(), sinks.clone());
    let mut config = WebRtcConfig::default();
    config.network.loopback = true;
    config.network.bind = vec!["127.0.0.1".parse().expect("address")];
    let webrtc = WebRtc::new(hub, config, IceServers::default());
    // What is made once and kept, like tables of the codec and the name of the local zone.
    cycle(&webrtc, &sinks, true).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (start, begun) = (held(), Instant::now());
    let (mut after_first, first) = (0, 50.min(cycles / 2));
    let mut times = Vec::new();
    for n in 1..=cycles {
        times.push(cycle(&webrtc, &sinks, n % 2 == 0).await);
        if n == first {
            assert_eq!(settled(start).await, start, "after {n} cycles");
            after_first = heap();
        }
    }
    assert_eq!(settled(start).await, start, "after {cycles} cycles");
    let grown = heap() as i64 - after_first as i64;
    println!("{cycles} cycles in {:?}: heap grew by {grown} bytes since the {first}th", begun.elapsed());
    for (place, what) in ["answered", "connected", "first picture"].iter().enumerate() {
        let mut all: Vec<_> = times.iter().map(|times| times[place]).collect();
        all.sort_unstable();
        println!("{what} after {:?} (median), {:?} (worst)", all[all.len() / 2], all[all.len() - 1]);
    }
    assert!(grown < 1 << 20, "the heap in use grew by {grown} bytes");

    // Offers that are refused, by us or by the implementation beneath, leave nothing either.
    let good = Publisher::new(Codec::H264).await;
    let good = { good }.offer().await;
    let quiet = held();
    let before = Instant::now();
    for (text, n) in [
        (String::new(), 20),
        ("v=0\r\n".to_owned(), 20),
        (good.replace("a=fingerprint", "a=nothing"), 20),
        (good.replace("H264", "H999"), 20),
        (good.replace("a=mid:0", "a=mid:"), 20),
        (format!("{good}{}", "m=video 9 UDP/TLS/RTP/SAVPF 1\r\n".repeat(300)), 20),
        (format!("{good}{}", "a=x\r\n".repeat(30_000)), 20),
        // Passes our checks; the implementation beneath cannot read it.
        (good.replace("o=- ", "o=x "), 20),
        (good.replace("t=0 0", "t=a b"), 20),
        (good.replace("c=IN IP4", "c=ON IP9"), 20),
    ] {
        for _ in 0..n {
            let request = PublishRequest {
                stream: StreamId::default(),
                publisher: PublisherId::of_key(b"me"),
                address: None,
            };
            match webrtc.publish(&text, request).await {
                Ok(published) => assert!(webrtc.close(&published.id).await, "{text}"),
                Err(error) => {
                    let problem = ooblex_http::Problem::from(error);
                    assert!((400..500).contains(&problem.status().as_u16()), "{}", problem.to_json());
                }
            }
        }
    }
    let each = before.elapsed() / 200;
    assert!(each < Duration::from_millis(200), "{each:?}");
    assert_eq!(settled(quiet).await, quiet, "after refused offers");
    assert!(webrtc.sessions().is_empty());
}

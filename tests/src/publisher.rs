//! A publisher that uploads marked pictures at a steady rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http::Connection;
use crate::jpeg;
use crate::mark::{self, Mark};

/// What a publisher sends.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Pictures a second.
    pub fps: u32,
    /// Fill the lower half with noise, which makes large files.
    pub noisy: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { width: 320, height: 240, fps: 30, noisy: false }
    }
}

impl Plan {
    /// The picture of that count.
    pub fn picture(&self, id: u8, counter: u32) -> Vec<u8> {
        let mut picture = mark::draw(Mark { id, counter }, self.width, self.height);
        if self.noisy {
            let start = picture.data.len() / 2;
            let mut state = counter.wrapping_mul(2_654_435_761) | 1;
            for value in &mut picture.data[start..] {
                // xorshift32: noise only has to be hard to compress.
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                *value = (state >> 24) as u8;
            }
        }
        jpeg::encode(&picture, 85)
    }
}

/// A thread that posts pictures on one connection until it is stopped.
#[derive(Debug)]
pub struct Publisher {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU32>,
    thread: Option<JoinHandle<Vec<Sent>>>,
}

/// One accepted upload.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// The counter in the mark.
    pub counter: u32,
    /// The sequence number that the server gave it.
    pub sequence: u64,
    /// When its upload began.
    pub at: Instant,
}

impl Publisher {
    /// Begins to publish with counters from 0.
    pub fn start(addr: SocketAddr, stream: &str, id: u8, plan: Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicU32::new(0));
        let target = format!("/upload?stream={stream}");
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&accepted));
        let thread = std::thread::spawn(move || {
            let mut connection = Connection::open(addr).unwrap();
            let start = Instant::now();
            let mut log = Vec::new();
            for counter in 0.. {
                let due = start + Duration::from_secs(1) * counter / plan.fps;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let picture = plan.picture(id, counter);
                let at = Instant::now();
                let answer = connection.request("POST", &target, &[], &picture).unwrap().expect(200);
                let sequence = answer.header("X-Ooblex-Sequence").unwrap().parse().unwrap();
                log.push(Sent { counter, sequence, at });
                count.store(counter + 1, Ordering::SeqCst);
            }
            log
        });
        Self { stop, accepted, thread: Some(thread) }
    }

    /// How many pictures the server has accepted; the newest accepted counter is one less.
    pub fn accepted(&self) -> u32 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Ends and answers what was accepted, in order.
    ///
    /// # Panics
    /// When an upload was refused or the connection broke.
    #[track_caller]
    pub fn stop(mut self) -> Vec<Sent> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().expect("every upload is accepted")
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.expect("every upload is accepted");
            }
        }
    }
}

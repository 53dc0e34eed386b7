//! What the integration tests stand on: the real server as a process, byte-exact clients, marked pictures, and the
//! programs that people read streams with.
//!
//! Everything here is blocking and uses plain sockets: the tests must see every byte that the server sends, and must
//! not share a network stack with it.

// Helpers of tests: a broken expectation is a failed test.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

pub mod browser;
pub mod child;
pub mod coturn;
pub mod firefox;
pub mod frames;
pub mod http;
pub mod jpeg;
pub mod link;
pub mod mark;
pub mod multipart;
pub mod netns;
pub mod notebook;
pub mod pattern;
pub mod peers;
pub mod problem;
pub mod proxy;
pub mod publisher;
pub mod sdp;
pub mod server;
pub mod spies;
pub mod tools;
pub mod tunnel;
pub mod untls;
pub mod ws;

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it. Generous: the machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Says that a test did not run and why, in the form that `scripts/test_results.py` counts, and leaves the test.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::print_skip(&format!($($reason)*));
        return;
    }};
}

/// Prints the line of [`skip!`] for the running test.
pub fn print_skip(reason: &str) {
    let thread = std::thread::current();
    println!("SKIPPED {}: {reason}", thread.name().unwrap_or("?"));
}

/// Asks until `probe` answers something, at most for [`PATIENCE`].
///
/// # Panics
/// When nothing came; `what` says what was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_for_up_to(PATIENCE, what, probe)
}

/// The same, at most for `patience`.
///
/// # Panics
/// When nothing came.
#[track_caller]
pub fn wait_for_up_to<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! What the machinery itself costs: source, one no-op processor, one sink, 720p pictures from a pool.
//!
//! Prints CPU microseconds and allocations a frame, for frames as fast as they go and for 300 a second.

#![allow(clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use support::{Counting, allocations, null_pipeline};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// CPU time of this process so far. `/proc/self/schedstat` counts one thread only, `stat` all of them in ticks of
/// 10 ms (proc(5)).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    runtime.block_on(null_pipeline(1_000, None));
    for (name, frames, pace) in
        [("as fast as it goes", 100_000, None), ("300 a second", 1_500, Some(Duration::from_micros(3_333)))]
    {
        let (cpu, counts) = (cpu_time(), allocations());
        assert_eq!(runtime.block_on(null_pipeline(frames, pace)), frames);
        let (cpu, now) = (cpu_time() - cpu, allocations());
        println!(
            "null pipeline, {name}: {:.1} us CPU, {:.2} allocations, {} pixel-sized in {frames} frames",
            cpu.as_secs_f64() * 1e6 / frames as f64,
            (now.0 - counts.0) as f64 / frames as f64,
            now.1 - counts.1,
        );
    }
}

//! In steady state the null pipeline allocates no pixels and at most the two boxed futures of the async traits.

mod support;

use support::{Counting, allocations, null_pipeline};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_frame_costs_two_boxed_futures_and_no_pixels() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    // What a short run costs is start-up; a long run adds only what each frame costs.
    let measure = |frames| {
        let before = allocations();
        assert_eq!(runtime.block_on(null_pipeline(frames, None)), frames);
        let after = allocations();
        (after.0 - before.0, after.1 - before.1)
    };
    measure(100);
    let (short, short_pixels) = measure(100);
    let (long, long_pixels) = measure(5_100);
    let (each, pixels) = (long - short, long_pixels - short_pixels.min(long_pixels));
    assert!(each <= 2 * 5_000 + 50, "{each} allocations for 5000 frames");
    assert!(each >= 2 * 5_000 - 50, "the two boxed futures must be seen, or nothing is counted: {each}");
    // As many as may be under way at once, whatever the number of frames.
    assert!(pixels <= 16, "{pixels} pixel-sized allocations in 5000 frames");
}

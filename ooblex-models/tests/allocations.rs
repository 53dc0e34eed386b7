//! In steady state no effect allocates pixels: results come from the pool, scratch memory stays in the processor. Filling
//! a model's input allocates nothing at all.
#![allow(unsafe_code)] // A counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ooblex_core::testing::random_image;
use ooblex_core::{
    BufferPool, Clock, ColorSpace, Frame, Image, Options, Picture, PixelFormat, ProcessContext, Registry,
    StreamId,
};
use ooblex_models::Tensor;
use ooblex_models::preprocess::{Fit, InputSpec, Preprocess, Square};

/// A few rows of the picture below; scratch rows may be this large, but they are kept.
const LARGE: usize = 2048;

static LARGE_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes to `System` unchanged; the counters do not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        if layout.size() >= LARGE {
            LARGE_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` above with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counters are of the whole process: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

#[test]
fn filling_a_model_s_input_allocates_nothing_in_steady_state() {
    let _one = ONE.lock();
    let spec = InputSpec { fit: Fit::Letterbox, ..InputSpec::rgb01(128, 128) };
    let (mut preprocess, mut tensor) = (Preprocess::new(spec), Tensor::default());
    for format in PixelFormat::ALL {
        let image = random_image(format, 641, 359, ColorSpace::BT709, 5, 1);
        let mut run = |round: u32| {
            preprocess.fill(&image, &mut tensor).expect("host memory");
            let turn = (round % 5) as f32;
            preprocess
                .fill_rect(&image, [20.0 * turn, 30.0, 150.0, 200.0], &mut tensor)
                .expect("host memory");
            let square = Square { center: [300.0, 200.0], side: 100.0 + 50.0 * turn, angle: turn };
            preprocess.fill_square(&image, &square, &mut tensor).expect("host memory");
        };
        (0..5).for_each(&mut run);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..50).for_each(&mut run);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before, "{format:?}");
    }
}

#[test]
fn no_effect_allocates_pixels_in_steady_state() {
    let _one = ONE.lock();
    let counts = || (LARGE_ALLOCATIONS.load(Ordering::Relaxed), ALLOCATIONS.load(Ordering::Relaxed));
    let before = counts().0;
    drop(std::hint::black_box(vec![1u8; LARGE]));
    assert_eq!(counts().0, before + 1, "large allocations are seen");

    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let (pool, clock) = (BufferPool::new(8), Clock::system());
    let stream = StreamId::default();
    // Engines allocate as they please.
    for spec in registry.kinds().filter(|kind| kind.needs_model.is_none()) {
        let mut processor = registry.build(&spec.name, &Options::new()).expect("builds");
        let mut run = |sequence: u64| {
            let mut image =
                Image::alloc(PixelFormat::I420, 640, 360, ColorSpace::BT601, &pool).expect("a picture");
            for index in 0..3 {
                for (y, row) in image.plane_mut(index).expect("plane").rows_mut().enumerate() {
                    row.iter_mut().enumerate().for_each(|(x, v)| *v = ((x * 7) ^ (y * 5)) as u8);
                }
            }
            let picture = Picture::new(image, pool.clone());
            let mut frame = Frame::new(stream.clone(), sequence, Instant::now(), picture);
            processor.process(&mut frame, &mut ProcessContext::new(&clock, &pool)).expect("processes");
        };
        // Rings and stacks have grown to their size after a few frames.
        (1..4).for_each(&mut run);
        let before = counts();
        (4..14).for_each(&mut run);
        let after = counts();
        assert_eq!(after.0, before.0, "{}: large allocations in ten frames", spec.name);
        // Handles: the picture itself, its planes, a result.
        assert!(
            after.1 - before.1 <= 10 * 12,
            "{}: {} allocations in ten frames",
            spec.name,
            after.1 - before.1
        );
    }
}

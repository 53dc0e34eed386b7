//! In steady state no processor allocates pixels: results come from the pool, scratch memory stays in the processor. Filling
//! a model's input allocates nothing at all.
#![allow(unsafe_code)] // A counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use ooblex_core::testing::random_image;
use ooblex_core::{
    BufferPool, Clock, ColorSpace, Frame, FrameProcessor, Image, Options, Picture, PixelFormat,
    ProcessContext, Registry, StreamId,
};
use ooblex_models::Tensor;
use ooblex_models::preprocess::{Fit, InputSpec, Preprocess, Square};

/// A few rows of the pictures below; scratch rows may be this large, but they are kept.
const LARGE: usize = 2048;
/// What models find may take more: 468 points, a list of boxes. The smallest mask takes 36 kB, a picture far more.
const LARGE_FINDING: usize = 16 << 10;

thread_local! {
    /// Of this thread: engines run models on threads of their own, and allocate there as they please.
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { all: 0, large: 0, large_findings: 0 }) };
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Counts {
    all: u64,
    large: u64,
    large_findings: u64,
}

struct Counting;

// SAFETY: every call goes to `System` unchanged; the counters do not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut counts = COUNTS.get();
        counts.all += 1;
        counts.large += u64::from(layout.size() >= LARGE);
        counts.large_findings += u64::from(layout.size() >= LARGE_FINDING);
        COUNTS.set(counts);
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

/// What this thread allocates while `work` is done.
fn counted(work: impl FnOnce()) -> Counts {
    let before = COUNTS.get();
    work();
    let after = COUNTS.get();
    Counts {
        all: after.all - before.all,
        large: after.large - before.large,
        large_findings: after.large_findings - before.large_findings,
    }
}

/// Processes copies of `image` that come from a pool.
fn run(processor: &mut dyn FrameProcessor, image: &Image, pool: &BufferPool, sequence: u64) {
    let clock = Clock::system();
    let (width, height) = (image.width(), image.height());
    let mut copy = Image::alloc(image.format(), width, height, image.color(), pool).expect("a picture");
    for index in 0..image.format().plane_count() {
        let (mut to, from) = (copy.plane_mut(index).expect("plane"), image.plane(index).expect("plane"));
        to.rows_mut().zip(from.rows()).for_each(|(to, from)| to.copy_from_slice(from));
    }
    let picture = Picture::new(copy, pool.clone());
    let mut frame = Frame::new(StreamId::default(), sequence, Instant::now(), picture);
    processor.process(&mut frame, &mut ProcessContext::new(&clock, pool)).expect("processes");
}

#[test]
fn large_allocations_are_seen() {
    let counts = counted(|| drop(std::hint::black_box(vec![1u8; LARGE_FINDING])));
    assert_eq!(counts, Counts { all: 1, large: 1, large_findings: 1 });
}

#[test]
fn no_effect_allocates_pixels_in_steady_state() {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let pool = BufferPool::new(8);
    let mut image = Image::alloc(PixelFormat::I420, 640, 360, ColorSpace::BT601, &pool).expect("a picture");
    for index in 0..3 {
        for (y, row) in image.plane_mut(index).expect("plane").rows_mut().enumerate() {
            row.iter_mut().enumerate().for_each(|(x, v)| *v = ((x * 7) ^ (y * 5)) as u8);
        }
    }
    for spec in registry.kinds().filter(|kind| kind.needs_model.is_none()) {
        let mut processor = registry.build(&spec.name, &Options::new()).expect("builds");
        // Rings and stacks have grown to their size after a few frames.
        (1..4).for_each(|i| run(&mut processor, &image, &pool, i));
        let counts = counted(|| (4..14).for_each(|i| run(&mut processor, &image, &pool, i)));
        assert_eq!(counts.large, 0, "{}: {counts:?} in ten frames", spec.name);
        // Handles: the picture itself, its planes, a result.
        assert!(counts.all <= 10 * 12, "{}: {counts:?} in ten frames", spec.name);
    }
}

/// With a picture in which everything is found that these look for.
#[cfg(all(feature = "effects", feature = "overlay", feature = "rten"))]
#[test]
fn no_processor_with_a_model_allocates_pixels_in_steady_state() {
    use ooblex_core::convert;
    use ooblex_models::engine::EngineKind;
    use ooblex_models::manager::{Models, ModelsConfig};

    let mut config = ModelsConfig::default();
    config.engine = Some(EngineKind::Rten);
    let mut registry = Registry::new();
    ooblex_models::register_with(&mut registry, &Models::new(config));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/models/astronaut.png");
    let rgb = image::open(path).expect("a golden picture").into_rgb8();
    let rgb = Image::from_vec(PixelFormat::Rgb, rgb.width(), rgb.height(), ColorSpace::JPEG, rgb.into_raw());
    let pool = BufferPool::new(8);
    let image = convert::convert(&rgb.expect("a picture"), PixelFormat::I420, ColorSpace::BT601, &pool);
    let image = image.expect("converts");
    for spec in registry.kinds().filter(|kind| kind.needs_model.is_some()) {
        let mut processor = registry.build(&spec.name, &Options::new()).expect("builds");
        processor.warm_up().expect("loads");
        (1..4).for_each(|i| run(&mut processor, &image, &pool, i));
        let counts = counted(|| (4..8).for_each(|i| run(&mut processor, &image, &pool, i)));
        assert_eq!(counts.large_findings, 0, "{}: {counts:?} in four frames", spec.name);
    }
}

#[test]
fn filling_a_model_s_input_allocates_nothing_in_steady_state() {
    let spec = InputSpec { fit: Fit::Letterbox, ..InputSpec::rgb01(128, 128) };
    let (mut preprocess, mut tensor) = (Preprocess::new(spec), Tensor::default());
    for format in PixelFormat::ALL {
        let image = random_image(format, 641, 359, ColorSpace::BT709, 5, 1);
        let mut fill = |round: u32| {
            preprocess.fill(&image, &mut tensor).expect("host memory");
            let turn = (round % 5) as f32;
            preprocess
                .fill_rect(&image, [20.0 * turn, 30.0, 150.0, 200.0], &mut tensor)
                .expect("host memory");
            let square = Square { center: [300.0, 200.0], side: 100.0 + 50.0 * turn, angle: turn };
            preprocess.fill_square(&image, &square, &mut tensor).expect("host memory");
        };
        (0..5).for_each(&mut fill);
        assert_eq!(counted(|| (0..50).for_each(&mut fill)).all, 0, "{format:?}");
    }
}

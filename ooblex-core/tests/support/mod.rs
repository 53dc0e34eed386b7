//! A global allocator that counts, and the null pipeline that is measured with it.
#![allow(unsafe_code, missing_docs, unreachable_pub)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use ooblex_core::prelude::*;

/// Anything at least this large could hold pixels of a small picture.
pub const PIXEL_SIZED: usize = 16 * 1024;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static PIXEL_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Counts what it hands out by way of the system's allocator.
pub struct Counting;

// SAFETY: every call goes to `System` unchanged; the counters do not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        if layout.size() >= PIXEL_SIZED {
            PIXEL_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` above with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Allocations so far: all, and those large enough for pixels.
pub fn allocations() -> (u64, u64) {
    (ALLOCATIONS.load(Ordering::Relaxed), PIXEL_ALLOCATIONS.load(Ordering::Relaxed))
}

/// Sends `frames` 720p pictures through source, a no-op processor and a sink; returns how many arrived.
/// `pace` is the pause between two frames.
pub async fn null_pipeline(frames: u64, pace: Option<std::time::Duration>) -> u64 {
    struct Source {
        left: u64,
        stream: StreamId,
        pool: BufferPool,
        pace: Option<tokio::time::Interval>,
    }

    #[async_trait]
    impl FrameSource for Source {
        async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
            if let Some(pace) = &mut self.pace {
                pace.tick().await;
            }
            if self.left == 0 {
                return Ok(None);
            }
            self.left -= 1;
            let image = Image::alloc(PixelFormat::I420, 1280, 720, ColorSpace::JPEG, &self.pool)
                .map_err(|e| SourceError::Fatal(e.into()))?;
            let picture = Picture::new(image, self.pool.clone());
            Ok(Some(Frame::new(self.stream.clone(), 0, std::time::Instant::now(), picture)))
        }
    }

    let arrived = std::sync::Arc::new(AtomicU64::new(0));
    let count = arrived.clone();
    let stream = StreamId::default();
    let source =
        Source { left: frames, stream, pool: BufferPool::new(16), pace: pace.map(tokio::time::interval) };
    let pipeline = Pipeline::builder(StreamId::default())
        .mode(Mode::Lossless)
        .source(source)
        .sink(sink_fn(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }))
        .start()
        .expect("starts");
    pipeline.finished().await;
    arrived.load(Ordering::Relaxed)
}

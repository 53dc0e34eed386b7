//! Host memory for pixels, the pool it comes back to, and the handle for device memory.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::BoxError;

/// A pool of pixel buffers: a frame's memory returns here when its last clone goes.
///
/// Cheap to clone; all clones share the same buffers. Buffers are handed out with whatever they held before, so
/// whoever takes one writes every visible byte.
#[derive(Clone)]
pub struct BufferPool(Arc<PoolInner>);

struct PoolInner {
    /// Buffers nobody else refers to, in their reference-counted boxes so that these are reused, too. An idle
    /// buffer does not refer to its pool.
    idle: Mutex<Vec<Arc<HostBuffer>>>,
    max_idle: usize,
    allocated: AtomicU64,
    reused: AtomicU64,
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Buffers that had to be allocated.
    pub allocated: u64,
    /// Requests served from an idle buffer.
    pub reused: u64,
    /// Buffers waiting now.
    pub idle: usize,
}

impl BufferPool {
    /// A pool that keeps at most `max_idle` unused buffers; more are freed on return.
    pub fn new(max_idle: usize) -> Self {
        Self(Arc::new(PoolInner {
            idle: Mutex::new(Vec::with_capacity(max_idle.min(64))),
            max_idle,
            allocated: AtomicU64::new(0),
            reused: AtomicU64::new(0),
        }))
    }

    /// A buffer of exactly `len` bytes, content unspecified. Allocates only when no idle buffer fits.
    pub fn take(&self, len: usize) -> HostBuffer {
        let mut buffer = self.take_data(len).map_or_else(Vec::new, |mut shared| {
            // Invariant: idle buffers have one owner.
            Arc::get_mut(&mut shared).map(|b| std::mem::take(&mut b.data)).unwrap_or_default()
        });
        buffer.resize(len, 0);
        HostBuffer { data: buffer, pool: Some(self.clone()) }
    }

    /// The same in a box that can be shared. In steady state nothing at all is allocated.
    pub(crate) fn take_shared(&self, len: usize) -> SharedBuffer {
        let mut shared =
            self.take_data(len).unwrap_or_else(|| Arc::new(HostBuffer { data: Vec::new(), pool: None }));
        // Invariant: idle buffers have one owner.
        if let Some(buffer) = Arc::get_mut(&mut shared) {
            buffer.data.resize(len, 0);
            buffer.pool = Some(self.clone());
        }
        SharedBuffer(shared)
    }

    fn take_data(&self, len: usize) -> Option<Arc<HostBuffer>> {
        let mut idle = self.0.lock();
        let fits = |b: &Arc<HostBuffer>| {
            b.data.capacity() >= len && b.data.capacity() <= len.saturating_mul(2).saturating_add(4096)
        };
        let found = idle.iter().rposition(fits).map(|i| idle.swap_remove(i));
        let counter = if found.is_some() { &self.0.reused } else { &self.0.allocated };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Counters and the number of idle buffers.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            allocated: self.0.allocated.load(Ordering::Relaxed),
            reused: self.0.reused.load(Ordering::Relaxed),
            idle: self.0.lock().len(),
        }
    }
}

impl Default for BufferPool {
    /// A pool that keeps up to 8 idle buffers.
    fn default() -> Self {
        Self::new(8)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BufferPool").field(&self.stats()).finish()
    }
}

impl PoolInner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<HostBuffer>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, buffer: Arc<HostBuffer>) {
        let mut idle = self.lock();
        if self.max_idle == 0 {
            return;
        }
        // A picture size that is no longer used leaves first.
        let oldest = (idle.len() >= self.max_idle).then(|| idle.remove(0));
        idle.push(buffer);
        drop(idle);
        drop(oldest);
    }
}

/// Bytes of a picture in host memory; returns to its pool when dropped.
#[derive(Debug)]
pub struct HostBuffer {
    data: Vec<u8>,
    pool: Option<BufferPool>,
}

impl HostBuffer {
    /// The pool this buffer came from, if any.
    pub fn pool(&self) -> Option<&BufferPool> {
        self.pool.as_ref()
    }
}

impl From<Vec<u8>> for HostBuffer {
    /// Wraps `data` without copying; it belongs to no pool.
    fn from(data: Vec<u8>) -> Self {
        Self { data, pool: None }
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.0.give_back(Arc::new(Self { data: std::mem::take(&mut self.data), pool: None }));
        }
    }
}

/// A buffer that images share. The last one gives buffer and box back to the pool.
#[derive(Clone, Debug)]
pub(crate) struct SharedBuffer(Arc<HostBuffer>);

impl SharedBuffer {
    pub(crate) fn get_mut(&mut self) -> Option<&mut HostBuffer> {
        Arc::get_mut(&mut self.0)
    }

    pub(crate) fn owners(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl From<HostBuffer> for SharedBuffer {
    fn from(buffer: HostBuffer) -> Self {
        Self(Arc::new(buffer))
    }
}

impl std::ops::Deref for SharedBuffer {
    type Target = HostBuffer;
    fn deref(&self) -> &HostBuffer {
        &self.0
    }
}

impl Drop for SharedBuffer {
    fn drop(&mut self) {
        // When two last owners go at the same moment neither is alone; the buffer's own drop then returns the bytes.
        let Some(pool) = Arc::get_mut(&mut self.0).and_then(|buffer| buffer.pool.take()) else { return };
        pool.0.give_back(self.0.clone());
    }
}

impl std::ops::Deref for HostBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.data
    }
}

impl std::ops::DerefMut for HostBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }
}

/// Where the pixels of an image live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Memory {
    /// Ordinary memory, readable by the CPU.
    Host,
    /// Accelerator memory: must be copied before the CPU can read it.
    Device,
    /// Memory that both can read.
    Unified,
}

/// Pixels held by an accelerator. Implemented by the crate that owns the device; core only carries the handle.
pub trait DeviceBuffer: Send + Sync + fmt::Debug + 'static {
    /// [`Memory::Device`] or [`Memory::Unified`].
    fn memory(&self) -> Memory;

    /// Bytes held.
    fn len(&self) -> usize;

    /// Whether it holds nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies everything into `host`, which is [`len`](Self::len) bytes long.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn copy_to_host(&self, host: &mut [u8]) -> Result<(), BoxError>;

    /// For the owning crate to find its own type again.
    fn as_any(&self) -> &dyn std::any::Any;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_is_used_again() {
        let pool = BufferPool::new(2);
        drop(pool.take(1000));
        let again = pool.take(900);
        assert_eq!(again.len(), 900);
        assert_eq!(pool.stats(), PoolStats { allocated: 1, reused: 1, idle: 0 });
    }

    #[test]
    fn a_much_larger_buffer_is_not_wasted_on_a_small_request() {
        let pool = BufferPool::new(2);
        drop(pool.take(1_000_000));
        drop(pool.take(100));
        assert_eq!(pool.stats().allocated, 2);
    }

    #[test]
    fn idle_buffers_are_bounded_and_the_oldest_leaves() {
        let pool = BufferPool::new(2);
        let taken: Vec<_> = [10_000, 20_000, 40_000].map(|n| pool.take(n)).into();
        drop(taken);
        assert_eq!(pool.stats().idle, 2);
        drop(pool.take(40_000));
        assert_eq!(pool.stats().allocated, 3, "the newest size is still there");
    }

    #[test]
    fn a_pool_of_zero_keeps_nothing() {
        let pool = BufferPool::new(0);
        drop(pool.take(10));
        assert_eq!(pool.stats().idle, 0);
    }
}

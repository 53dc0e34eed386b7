//! Which pictures of a stream may still be shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether a frame may still be shown. A pipeline gives it to every frame that it processes.
///
/// When somebody chooses an effect that protects privacy ([`FailurePolicy::Blank`](crate::FailurePolicy::Blank)),
/// pictures that an earlier effect let pass must not be shown any more, wherever they are kept by then. A sink that
/// keeps pictures, or has them wait, asks again before each use:
///
/// ```
/// # use ooblex_core::Frame;
/// struct Newest(Option<Frame>);
///
/// impl Newest {
///     fn get(&self) -> Option<&Frame> {
///         self.0.as_ref().filter(|frame| frame.clearance.holds())
///     }
/// }
/// ```
///
/// Cloning shares it, and asking costs one atomic load. A frame that never was in a pipeline may be shown.
#[derive(Clone, Debug, Default)]
pub struct Clearance {
    generation: u64,
    floor: Option<Arc<AtomicU64>>,
}

impl Clearance {
    /// Whether the frame may be shown now. Once this is false it stays so.
    pub fn holds(&self) -> bool {
        self.floor.as_ref().is_none_or(|floor| self.generation >= floor.load(Ordering::Acquire))
    }

    /// Number of the effect that the frame was given to; 0 before.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The oldest generation of a stream's effect whose pictures may be shown.
#[derive(Debug, Default)]
pub(crate) struct Floor(Arc<AtomicU64>);

impl Floor {
    /// Withdraws the clearance of everything before `generation`.
    pub(crate) fn raise(&self, generation: u64) {
        self.0.fetch_max(generation, Ordering::AcqRel);
    }

    /// The clearance of what the effect with that number gives.
    pub(crate) fn clearance(&self, generation: u64) -> Clearance {
        Clearance { generation, floor: Some(self.0.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clearance_is_withdrawn_for_good() {
        assert!(Clearance::default().holds());
        let floor = Floor::default();
        let (old, new) = (floor.clearance(3), floor.clearance(4));
        assert!(old.holds() && new.holds());
        floor.raise(4);
        floor.raise(2);
        assert!(!old.holds() && !old.clone().holds() && new.holds());
        assert_eq!((old.generation(), new.generation()), (3, 4));
    }
}

//! Results that do not flicker: boxes that stand still while the thing does, masks with steady edges.
//!
//! | What | For |
//! |---|---|
//! | [`Tracker`] | boxes and points |
//! | [`MaskSmoother`] | masks |
//! | [`Smooth`] | any processor that annotates: both at once, by one knob |

mod follow;
mod mask;
mod tracker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ooblex_core::{
    Annotation, BatchHint, BoxError, FailurePolicy, Frame, FrameProcessor, ProcessContext, ProcessError,
    Verdict,
};

pub use self::mask::MaskSmoother;
pub use self::tracker::Tracker;

/// Masks of more classes than this are passed on as they come.
const MOST_MASKS: usize = 32;
/// After a pause of this length the picture is another one.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// Steadies what a processor finds, before anything is drawn: boxes and points by a [`Tracker`], masks by a
/// [`MaskSmoother`] for each label. Annotations that came with the frame are left alone.
///
/// Drawing that the processor would do itself is taken from it and done afterwards, or given away by
/// [`take_overlay`](FrameProcessor::take_overlay).
pub struct Smooth<P> {
    inner: P,
    strength: f32,
    tracker: Tracker,
    masks: Vec<MaskTrack>,
    overlay: Option<Box<dyn FrameProcessor>>,
    last: Option<Instant>,
    /// This frame's findings, while they are worked on.
    found: Vec<Annotation>,
}

/// The mask of one class.
struct MaskTrack {
    label: Arc<str>,
    model: Arc<str>,
    smoother: MaskSmoother,
}

impl<P: FrameProcessor> Smooth<P> {
    /// Steadies what `inner` finds; `strength` from 0, off, to 1, strongest.
    pub fn new(mut inner: P, strength: f32) -> Self {
        let overlay = inner.take_overlay();
        let tracker = Tracker::new(strength);
        Self { inner, strength, tracker, masks: Vec::new(), overlay, last: None, found: Vec::new() }
    }

    fn steady(&mut self, annotations: &mut Vec<Annotation>, before: usize, now: Instant) {
        if self.last.replace(now).is_some_and(|last| now.saturating_duration_since(last) > PAUSE) {
            self.tracker.reset();
            self.masks.clear();
        }
        self.found.extend(annotations.drain(before.min(annotations.len())..));
        self.tracker.update(&mut self.found, now);
        for annotation in &mut self.found {
            let Some(mask) = &mut annotation.mask else { continue };
            let known =
                self.masks.iter().position(|m| m.label == annotation.label && m.model == annotation.model);
            let at = match known {
                Some(at) => at,
                None if self.masks.len() < MOST_MASKS => {
                    let (label, model) = (annotation.label.clone(), annotation.model.clone());
                    self.masks.push(MaskTrack { label, model, smoother: MaskSmoother::new(self.strength) });
                    self.masks.len() - 1
                }
                None => continue,
            };
            self.masks[at].smoother.update_mask(mask);
        }
        annotations.append(&mut self.found);
    }
}

impl<P: FrameProcessor> FrameProcessor for Smooth<P> {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let before = frame.annotations.len();
        let verdict = self.inner.process(frame, cx)?;
        if self.strength > 0.0 {
            self.steady(&mut frame.annotations, before, cx.now);
        }
        match (&mut self.overlay, verdict) {
            (Some(overlay), Verdict::Emit) => overlay.process(frame, cx),
            _ => Ok(verdict),
        }
    }

    fn batch_hint(&self) -> BatchHint {
        self.inner.batch_hint()
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        self.inner.warm_up()
    }

    fn on_failure(&self) -> FailurePolicy {
        self.inner.on_failure()
    }

    fn steps(&self) -> Vec<String> {
        self.inner.steps()
    }

    fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
        self.overlay.take()
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::{frame_of, process_one, random_image};
    use ooblex_core::{AnnotationKind, ColorSpace, Mask, PixelFormat, processor_fn};

    use super::*;

    /// Finds a box and a mask that tremble, and would draw by filling the picture with the box's left edge.
    struct Trembling {
        frame: u32,
        draws: bool,
    }

    fn tint() -> Box<dyn FrameProcessor> {
        Box::new(processor_fn(|frame, _| {
            let left = frame.annotations.last().and_then(|a| a.bounds).map_or(0.0, |b| b[0]);
            frame.image.pixels_mut()?.plane_mut(0)?.fill((left * 1024.0 - 200.0) as u8);
            Ok(Verdict::Emit)
        }))
    }

    impl FrameProcessor for Trembling {
        fn process(
            &mut self,
            frame: &mut Frame,
            _: &mut ProcessContext<'_>,
        ) -> Result<Verdict, ProcessError> {
            self.frame += 1;
            let odd = self.frame % 2;
            let mask = Mask { width: 2, height: 2, values: Arc::from([100 + 9 * odd as u8; 4]) };
            frame.annotations.push(Annotation::new(AnnotationKind::Mask, "hair", 1.0, "m").with_mask(mask));
            // Numbers that a computer adds without rounding.
            let bounds = [0.25 + odd as f32 / 1024.0, 0.25, 0.5, 0.5];
            frame
                .annotations
                .push(Annotation::new(AnnotationKind::Box, "face", 1.0, "m").with_bounds(bounds));
            Ok(Verdict::Emit)
        }
        fn on_failure(&self) -> FailurePolicy {
            FailurePolicy::Blank
        }
        fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
            std::mem::take(&mut self.draws).then(tint)
        }
    }

    fn frame() -> Frame {
        frame_of(random_image(PixelFormat::Gray8, 4, 4, ColorSpace::JPEG, 0, 1))
    }

    #[test]
    fn boxes_and_masks_stand_still_and_what_was_there_is_left_alone() {
        let mut smooth = Smooth::new(Trembling { frame: 0, draws: false }, 0.5);
        assert_eq!(smooth.on_failure(), FailurePolicy::Blank);
        let mut first = None;
        for i in 0..6 {
            let mut frame = frame();
            let earlier = Annotation::new(AnnotationKind::Box, "face", 1.0, "m").with_bounds([
                0.01 * i as f32,
                0.2,
                0.4,
                0.4,
            ]);
            frame.annotations.push(earlier.clone());
            process_one(&mut smooth, &mut frame).expect("processes");
            assert_eq!((frame.annotations.len(), &frame.annotations[0]), (3, &earlier));
            let found = frame.annotations.split_off(1);
            assert_eq!(first.get_or_insert(found.clone()), &found);
        }
    }

    #[test]
    fn strength_zero_changes_nothing() {
        let mut smooth = Smooth::new(Trembling { frame: 0, draws: false }, 0.0);
        let mut found = |_: u32| {
            let mut frame = frame();
            process_one(&mut smooth, &mut frame).expect("processes");
            frame.annotations
        };
        assert_ne!(found(1), found(2));
    }

    #[test]
    fn drawing_sees_steadied_boxes_or_is_given_away() {
        let luma =
            |frame: &mut Frame| frame.image.pixels().expect("pixels").plane(0).expect("host").row(0)[0];
        let mut smooth = Smooth::new(Trembling { frame: 0, draws: true }, 0.5);
        let mut drawn = |_: u32| {
            let mut frame = frame();
            process_one(&mut smooth, &mut frame).expect("processes");
            luma(&mut frame)
        };
        assert_eq!([drawn(1), drawn(2), drawn(3)], [57; 3]);
        let mut overlay = smooth.take_overlay().expect("an overlay");
        assert!(smooth.take_overlay().is_none());
        let mut frame = frame();
        let untouched = luma(&mut frame);
        process_one(&mut smooth, &mut frame).expect("processes");
        assert_eq!(luma(&mut frame), untouched);
        process_one(&mut overlay, &mut frame).expect("draws");
        assert_eq!(luma(&mut frame), 57);
    }
}

//! Making effects ready off the hot path, within limits: build, warm up, rehearse.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use ooblex_core::hub::Stream;
use ooblex_core::pipeline::{Effect, Sample};
use ooblex_core::{
    BoxError, FailurePolicy, Frame, FrameProcessor, Image, Options, Picture, Registry, caught,
};

use super::{Selection, SwitchError};

/// How long an effect may take to be built and warmed up. Large models on slow disks take their time.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long it may take for the frame that it is tried on.
const REHEARSED_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait for a frame to try it on, at most.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(250);

/// Whether a chain takes too long to be built where a stream begins.
pub(super) fn needs_model(registry: &Registry, selection: &Selection) -> bool {
    !selection.chain.models(registry).is_ok_and(|models| models.is_empty())
}

/// What a stream runs until the effect is ready.
pub(super) fn pending(registry: &Registry, selection: &Selection) -> Effect {
    Effect::pending(selection.chain.to_string(), selection.generation, policy(registry, selection))
}

/// Builds and warms up, here and now: for effects without a model.
pub(super) fn at_once(registry: &Registry, selection: &Selection) -> Result<Effect, SwitchError> {
    let processor = build(registry, selection)?;
    let effect = Effect::prepare(selection.chain.to_string(), selection.generation, processor);
    Ok(effect.map_err(|e| not_ready(selection, e))?.at_least(policy(registry, selection)))
}

/// Checks names and parameters as building does; loads no model.
pub(super) fn check(registry: &Registry, selection: &Selection) -> Result<(), SwitchError> {
    if needs_model(registry, selection) {
        limited(registry, selection, |registry, selection| build(registry, selection).map(drop))
    } else {
        at_once(registry, selection).map(drop)
    }
}

/// Builds and warms up. Blocks, but not for ever: what hangs is left behind with its thread.
pub(super) fn ready(registry: &Registry, selection: &Selection) -> Result<Effect, SwitchError> {
    limited(registry, selection, at_once)
}

/// Tries an effect on a frame like those of the stream: the one that was asked for, if one has come or comes soon, or
/// else a black one of their size. Blocks likewise.
pub(super) fn rehearsed(
    mut effect: Effect,
    selection: &Selection,
    stream: &Stream,
    asked: Sample,
) -> Result<Effect, SwitchError> {
    if effect.is_free() {
        return Ok(effect);
    }
    let Some(frame) = like_those_of(stream, asked) else { return Ok(effect) };
    let rehearsal = within(REHEARSED_WITHIN, move || effect.rehearse(frame).map(|()| effect));
    rehearsal
        .and_then(|result| result)
        .map_err(|error| not_ready(selection, format!("in a rehearsal: {error}").into()))
}

fn like_those_of(stream: &Stream, asked: Sample) -> Option<Frame> {
    let last = stream.pipeline().input().last_at()?;
    // From a stream that stands still none comes.
    let patience = if last.elapsed() < SAMPLE_PATIENCE { SAMPLE_PATIENCE } else { Duration::ZERO };
    // A damaged picture says nothing about the effect.
    let readable = |frame: &Frame| frame.image.clone().pixels().is_ok();
    asked.wait(patience).filter(readable).or_else(|| {
        let (width, height) = stream.stats().size();
        let black = Image::black(width, height, stream.pool()).ok()?;
        let picture = Picture::new(black, stream.pool().clone());
        Some(Frame::new(stream.id().clone(), 0, Instant::now(), picture))
    })
}

fn build(registry: &Registry, selection: &Selection) -> Result<Box<dyn FrameProcessor>, SwitchError> {
    let params: BTreeMap<&str, Options> =
        selection.params.iter().map(|(n, o)| (n.as_str(), o.clone())).collect();
    let built = caught(|| Ok(selection.chain.build(registry, &params)));
    Ok(built.map_err(|panic| not_ready(selection, panic))??)
}

/// What is not known is taken for the strictest.
pub(super) fn policy(registry: &Registry, selection: &Selection) -> FailurePolicy {
    selection.chain.on_failure(registry).unwrap_or(FailurePolicy::Blank)
}

fn not_ready(selection: &Selection, source: BoxError) -> SwitchError {
    SwitchError::WarmUp { effect: selection.chain.to_string(), source }
}

fn limited<T: Send + 'static>(
    registry: &Registry,
    selection: &Selection,
    work: fn(&Registry, &Selection) -> Result<T, SwitchError>,
) -> Result<T, SwitchError> {
    let (theirs, selected) = (registry.clone(), selection.clone());
    let done = within(READY_WITHIN, move || work(&theirs, &selected));
    done.map_err(|error| not_ready(selection, error))?
}

/// Runs `work` on a thread of its own, and waits for it no longer than `limit`.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BoxError> {
    let (done, wait) = mpsc::sync_channel(1);
    // A result that nobody waits for any more is dropped there.
    let run = move || drop(done.send(work()));
    std::thread::Builder::new().name("ooblex-prepare".into()).spawn(run)?;
    wait.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => format!("it did not return within {limit:?}").into(),
        RecvTimeoutError::Disconnected => "its thread panicked".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_or_panics_is_left_behind() {
        assert_eq!(within(Duration::from_secs(20), || 7).ok(), Some(7));
        let (release, released) = mpsc::channel::<()>();
        let hangs = within(Duration::from_millis(10), move || released.recv());
        assert_eq!(hangs.expect_err("hangs").to_string(), "it did not return within 10ms");
        drop(release);
        let panics = within(Duration::from_secs(20), || panic!("on purpose"));
        assert_eq!(panics.map(|()| 0).expect_err("panics").to_string(), "its thread panicked");
    }
}

//! Which engine runs models, and why that one.

use std::path::Path;
use std::sync::Arc;

use super::{Engine, EngineError, EngineKind};

/// An engine, and how it came to be that one.
#[derive(Clone)]
#[non_exhaustive]
pub struct Choice {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// What to say about it.
    pub report: EngineReport,
}

impl Choice {
    /// An engine that somebody hands in.
    pub(crate) fn given(engine: Arc<dyn Engine>) -> Self {
        Self::of(engine, "given", Vec::new())
    }

    fn of(engine: Arc<dyn Engine>, reason: &str, passed_over: Vec<PassedOver>) -> Self {
        let (kind, version, place) = (engine.kind(), engine.version(), engine.place());
        Self { engine, report: EngineReport { kind, version, place, reason: reason.into(), passed_over } }
    }
}

/// What is said about the engine: to the log, to `/health` and by `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineReport {
    /// Which one it is.
    pub kind: EngineKind,
    /// Version of its library.
    pub version: String,
    /// Where the library was found; `None` if it is compiled in.
    pub place: Option<String>,
    /// Why this one.
    pub reason: String,
    /// The faster ones that are not there, and why.
    pub passed_over: Vec<PassedOver>,
}

/// An engine that would have been faster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// Which one.
    pub kind: EngineKind,
    /// Why it could not be used.
    pub reason: String,
}

/// Opens the engine `wanted`, or the fastest that is there; `onnxruntime` is where ONNX Runtime's library lies, if the
/// user said so.
///
/// # Errors
/// [`EngineError::Unavailable`]: the engine that was asked for is not there, or the library that was named cannot be
/// used (what the user named is never silently replaced), or this build has no engine at all.
pub fn choose(wanted: Option<EngineKind>, onnxruntime: Option<&Path>) -> Result<Choice, EngineError> {
    choose_by(wanted, onnxruntime.is_some(), |kind| open(kind, onnxruntime))
}

/// [`choose`] with the opening handed in; `named` tells whether the user named ONNX Runtime's library.
fn choose_by(
    wanted: Option<EngineKind>,
    named: bool,
    open: impl Fn(EngineKind) -> Result<Arc<dyn Engine>, EngineError>,
) -> Result<Choice, EngineError> {
    if let Some(kind) = wanted {
        return Ok(Choice::of(open(kind)?, "asked for", Vec::new()));
    }
    let mut passed_over = Vec::new();
    for kind in EngineKind::ALL {
        match open(kind) {
            Ok(engine) => return Ok(Choice::of(engine, "the fastest that is there", passed_over)),
            Err(error) if named && kind == EngineKind::Onnx => return Err(error),
            Err(EngineError::Unavailable { reason, .. }) => passed_over.push(PassedOver { kind, reason }),
            Err(error) => passed_over.push(PassedOver { kind, reason: error.to_string() }),
        }
    }
    let reason = "this build has no engine at all; enable the feature `rten` of ooblex-models".into();
    Err(EngineError::Unavailable { kind: EngineKind::Rten, reason })
}

/// Opens the engine of that kind; `onnxruntime` is where ONNX Runtime's library lies, if the user said so.
///
/// # Errors
/// [`EngineError::Unavailable`] with the feature to enable, or with what is missing.
#[allow(unused_variables)] // The path, without the feature `onnx`.
pub fn open(kind: EngineKind, onnxruntime: Option<&Path>) -> Result<Arc<dyn Engine>, EngineError> {
    match kind {
        #[cfg(feature = "onnx")]
        EngineKind::Onnx => Ok(Arc::new(super::ort::Onnx::open(onnxruntime)?)),
        #[cfg(feature = "rten")]
        EngineKind::Rten => Ok(Arc::new(super::rten::Rten::default())),
        #[cfg(feature = "candle")]
        EngineKind::Candle => Ok(Arc::new(super::candle::Candle)),
        #[cfg(feature = "torch")]
        EngineKind::Torch => Ok(Arc::new(super::torch::Torch)),
        #[allow(unreachable_patterns)]
        kind => Err(EngineError::Unavailable {
            kind,
            reason: format!("this build lacks it; enable the feature `{kind}` of ooblex-models"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{LoadOptions, Session, Weights};

    struct Fake(EngineKind);

    impl Engine for Fake {
        fn kind(&self) -> EngineKind {
            self.0
        }
        fn version(&self) -> String {
            "7".into()
        }
        fn load(&self, _: &Weights, _: &LoadOptions) -> Result<Box<dyn Session>, EngineError> {
            Err(EngineError::Run { reason: "a fake".into() })
        }
    }

    fn only(there: &'static [EngineKind]) -> impl Fn(EngineKind) -> Result<Arc<dyn Engine>, EngineError> {
        move |kind| {
            if there.contains(&kind) {
                return Ok(Arc::new(Fake(kind)));
            }
            Err(EngineError::Unavailable { kind, reason: format!("no {kind}") })
        }
    }

    #[test]
    fn auto_takes_the_fastest_and_says_why_not_a_faster_one() {
        use EngineKind::{Candle, Onnx, Rten, Torch};
        for (there, kind, passed_over) in [
            (&[Onnx, Rten, Torch, Candle][..], Onnx, &[][..]),
            (&[Candle, Torch, Rten], Rten, &[Onnx]),
            (&[Candle, Torch], Torch, &[Onnx, Rten]),
            (&[Candle], Candle, &[Onnx, Rten, Torch]),
        ] {
            let choice = choose_by(None, false, only(there)).expect("one is there");
            assert_eq!((choice.engine.kind(), choice.report.kind), (kind, kind));
            let told: Vec<_> =
                passed_over.iter().map(|&kind| PassedOver { kind, reason: format!("no {kind}") }).collect();
            assert_eq!(choice.report.passed_over, told);
        }
        assert!(choose_by(None, false, only(&[])).is_err());
    }

    #[test]
    fn what_the_user_asks_for_is_not_replaced() {
        let rten: &[EngineKind] = &[EngineKind::Rten];
        assert!(choose_by(Some(EngineKind::Onnx), false, only(rten)).is_err());
        // A library that was named and cannot be used.
        assert!(choose_by(None, true, only(rten)).is_err());
        let choice = choose_by(Some(EngineKind::Rten), false, only(&EngineKind::ALL)).expect("there");
        assert_eq!((choice.report.kind, choice.report.reason.as_str()), (EngineKind::Rten, "asked for"));
    }
}

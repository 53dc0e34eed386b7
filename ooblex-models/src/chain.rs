//! Effects in order: `blur|edge_detection`.

use std::collections::BTreeMap;
use std::fmt;

use ooblex_core::{
    BoxError, FailurePolicy, Frame, FrameProcessor, Options, ProcessContext, ProcessError, Registry,
    RegistryError, Verdict,
};

/// One or more effects of a registry, in order.
///
/// Written as names or aliases joined by `|`, `+` or blanks (a `+` in a URL's query decodes to a blank). Shown
/// with canonical names joined by `|`.
///
/// ```
/// use ooblex_core::{Options, Registry};
/// use ooblex_models::Chain;
///
/// let mut registry = Registry::new();
/// ooblex_models::register(&mut registry);
/// let chain = Chain::parse("BlurOn|nothing", &registry);
/// assert!(chain.is_err());
/// let chain = Chain::parse("blur + EdgeOn", &registry)?;
/// assert_eq!(chain.to_string(), "blur|edge_detection");
/// let processor = chain.build(&registry, &[("edge_detection", Options::new().with("low", 50))].into())?;
/// # Ok::<(), ooblex_models::ChainError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    steps: Vec<String>,
}

/// Why a chain could not be read or built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No name at all.
    #[error("the effect is empty; use `none` for no effect")]
    Empty,
    /// Two joints without a name between them, or one at an end.
    #[error("chain {0:?} has an empty step; write effects joined by `|`, `+` or blanks")]
    EmptyStep(String),
    /// More steps than [`Chain::MAX_STEPS`].
    #[error("chain has {0} steps; at most {max} are allowed", max = Chain::MAX_STEPS)]
    TooLong(usize),
    /// Parameters for an effect that is not in the chain.
    #[error("parameters given for {name:?}, which is not in the chain {chain}")]
    NotInChain {
        /// The effect that the parameters name.
        name: String,
        /// The chain.
        chain: Chain,
    },
    /// An effect or one of its options is wrong.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Chain {
    /// Most steps in a chain: each costs time and a place in the frame's latency trace.
    pub const MAX_STEPS: usize = 8;
    /// The kind that draws annotations. A chain without it draws at its end what its steps found.
    const OVERLAY: &'static str = "overlay";

    /// Reads `text`; names are looked up in `registry`.
    ///
    /// # Errors
    /// [`ChainError`]; unknown names come with the list of known ones.
    pub fn parse(text: &str, registry: &Registry) -> Result<Self, ChainError> {
        if text.trim().is_empty() {
            return Err(ChainError::Empty);
        }
        let mut names = Vec::new();
        for part in text.split(['|', '+']) {
            let before = names.len();
            names.extend(part.split_whitespace());
            if names.len() == before {
                return Err(ChainError::EmptyStep(text.to_owned()));
            }
        }
        if names.len() > Self::MAX_STEPS {
            return Err(ChainError::TooLong(names.len()));
        }
        let steps = names.into_iter().map(|name| Ok(registry.resolve(name)?.name.clone()));
        Ok(Self { steps: steps.collect::<Result<_, RegistryError>>()? })
    }

    /// Canonical names in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = &str> {
        self.steps.iter().map(String::as_str)
    }

    /// Builds the processor. `params` are options by effect name or alias; an effect that occurs twice gets the
    /// same options twice.
    ///
    /// A chain of one effect is that effect's own processor; a longer one notes each step in the frame's trace
    /// and fails as strictly as its strictest step. What steps draw ([`FrameProcessor::take_overlay`]) is drawn by a
    /// further steps at the end, unless the chain has the step `overlay` in a place of its own.
    ///
    /// # Errors
    /// [`ChainError::NotInChain`] or [`ChainError::Registry`].
    pub fn build(
        &self,
        registry: &Registry,
        params: &BTreeMap<&str, Options>,
    ) -> Result<Box<dyn FrameProcessor>, ChainError> {
        let mut by_step: BTreeMap<&str, &Options> = BTreeMap::new();
        for (&name, options) in params {
            let spec = registry.resolve(name)?;
            match self.steps.iter().find(|step| **step == spec.name) {
                Some(step) => by_step.insert(step, options),
                None => return Err(ChainError::NotInChain { name: name.to_owned(), chain: self.clone() }),
            };
        }
        let none = Options::new();
        let mut built = Vec::with_capacity(self.steps.len());
        let mut overlays = Vec::new();
        for step in &self.steps {
            let options = by_step.get(step.as_str()).copied().unwrap_or(&none);
            let mut processor = registry.build(step, options)?;
            overlays.extend(processor.take_overlay());
            built.push((step.clone(), processor));
        }
        // Drawn last, so that no later effect treats the drawing as a part of the picture; or where the user says.
        if !overlays.is_empty() && !self.steps.iter().any(|step| step == Self::OVERLAY) {
            built.extend(overlays.into_iter().map(|overlay| (Self::OVERLAY.to_owned(), overlay)));
        }
        // Invariant: a chain has at least one step.
        Ok(if built.len() == 1 { built.remove(0).1 } else { Box::new(Steps(built)) })
    }

    /// What viewers see while the chain is not ready or after it failed: the strictest policy of its steps.
    ///
    /// # Errors
    /// [`RegistryError::UnknownKind`] if the registry is not the one that the chain was read with.
    pub fn on_failure(&self, registry: &Registry) -> Result<FailurePolicy, RegistryError> {
        self.steps.iter().try_fold(FailurePolicy::Pass, |policy, step| {
            Ok(policy.strictest(registry.resolve(step)?.on_failure))
        })
    }

    /// The models that its steps need, in order.
    ///
    /// # Errors
    /// As for [`on_failure`](Self::on_failure).
    pub fn models<'a>(&self, registry: &'a Registry) -> Result<Vec<&'a str>, RegistryError> {
        let specs = self.steps.iter().map(|step| registry.resolve(step)).collect::<Result<Vec<_>, _>>()?;
        Ok(specs.into_iter().filter_map(|spec| spec.needs_model.as_deref()).collect())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.steps.join("|"))
    }
}

/// Processors in order.
struct Steps(Vec<(String, Box<dyn FrameProcessor>)>);

impl FrameProcessor for Steps {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        for (number, (name, step)) in self.0.iter_mut().enumerate() {
            let verdict = step.process(frame, cx).map_err(|error| within(name, error))?;
            // Invariant: `Chain::parse` allows fewer steps than a byte can count.
            cx.mark_step(frame, number as u8);
            if verdict != Verdict::Emit {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        self.0.iter_mut().try_for_each(|(_, step)| step.warm_up())
    }

    fn on_failure(&self) -> FailurePolicy {
        self.0.iter().fold(FailurePolicy::Pass, |policy, (_, step)| policy.strictest(step.on_failure()))
    }

    fn steps(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    fn is_free(&self) -> bool {
        self.0.iter().all(|(_, step)| step.is_free())
    }
}

/// Says in which step an error happened.
fn within(step: &str, error: ProcessError) -> ProcessError {
    match error {
        ProcessError::Fatal(error) => ProcessError::Fatal(format!("{step}: {error}").into()),
        other => ProcessError::Frame(format!("{step}: {}", other.inner()).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ooblex_core::testing::{frame_of, process_one, random_image};
    use ooblex_core::{Clock, ColorSpace, KindSpec, PassThrough, PixelFormat, Stage, processor_fn};

    use super::*;

    struct Blanks;

    impl FrameProcessor for Blanks {
        fn process(&mut self, _: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
            Err(ProcessError::Fatal("broken".into()))
        }
        fn on_failure(&self) -> FailurePolicy {
            FailurePolicy::Blank
        }
    }

    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry.add(KindSpec::new("none", ""), |_: &Options| Ok::<_, BoxError>(PassThrough));
        registry.add(KindSpec::new("private", "").aliases(&["PrivateOn"]), |_: &Options| {
            Ok::<_, BoxError>(Blanks)
        });
        for (name, value) in [("black", 0u8), ("white", 255)] {
            registry.add(KindSpec::new(name, ""), move |_: &Options| {
                Ok::<_, BoxError>(processor_fn(move |frame, _| {
                    frame.image.pixels_mut()?.plane_mut(0)?.fill(value);
                    Ok(Verdict::Emit)
                }))
            });
        }
        registry.register("step", |options: &Options| options.get_or("size", 3u8).map(|_| PassThrough));
        registry.add(KindSpec::new("drop", ""), |_: &Options| {
            Ok::<_, BoxError>(processor_fn(|_, _| Ok(Verdict::Drop)))
        });
        registry
    }

    fn frame() -> Frame {
        frame_of(random_image(PixelFormat::Gray8, 4, 4, ColorSpace::JPEG, 0, 1))
    }

    #[test]
    fn every_joint_means_the_same() {
        let registry = registry();
        for text in ["black|white|none", "black+white+none", "black white none", " black | WHITE +none "] {
            let chain = Chain::parse(text, &registry).expect(text);
            assert_eq!(chain.to_string(), "black|white|none");
            assert_eq!(chain.steps().len(), 3);
        }
        assert_eq!(Chain::parse("privateon", &registry).expect("alias").to_string(), "private");
    }

    #[test]
    fn wrong_chains_are_refused_with_the_reason() {
        let registry = registry();
        let error = |text: &str| Chain::parse(text, &registry).expect_err(text).to_string();
        assert_eq!(error("  "), "the effect is empty; use `none` for no effect");
        for text in ["black||white", "|black", "black+", "black | + white"] {
            assert!(error(text).contains("has an empty step"), "{text}: {}", error(text));
        }
        assert!(
            error("black|whiet").starts_with("unknown effect \"whiet\"; known: none, private, black, white")
        );
        assert_eq!(error(&["none"; 9].join("+")), "chain has 9 steps; at most 8 are allowed");
        assert!(Chain::parse(&["none"; 8].join("+"), &registry).is_ok());
    }

    #[test]
    fn parameters_reach_their_step_or_are_refused() {
        let registry = registry();
        let chain = Chain::parse("step|black", &registry).expect("chain");
        let build = |name, options| chain.build(&registry, &[(name, options)].into()).map(|_| ());
        build("STEP", Options::new().with("size", 200)).expect("a good option");
        let error = build("step", Options::new().with("size", 300)).expect_err("too large").to_string();
        assert!(error.contains("300"), "{error}");
        let error = build("white", Options::new()).expect_err("absent").to_string();
        assert_eq!(error, "parameters given for \"white\", which is not in the chain step|black");
        assert!(matches!(build("grey", Options::new()), Err(ChainError::Registry(_))));
    }

    #[test]
    fn steps_run_in_order_and_are_traced() {
        let registry = registry();
        for (text, expected) in [("black|white", 255), ("white|black", 0)] {
            let chain = Chain::parse(text, &registry).expect("chain");
            let mut processor = chain.build(&registry, &BTreeMap::new()).expect("builds");
            assert_eq!(processor.steps(), text.split('|').collect::<Vec<_>>());
            let mut frame = frame();
            let (clock, pool) = (Clock::manual(frame.received), frame.image.pool().clone());
            clock.advance(Duration::from_millis(1));
            let mut cx = ProcessContext::new(&clock, &pool);
            processor.process(&mut frame, &mut cx).expect("processes");
            assert_eq!(frame.image.pixels().expect("pixels").plane(0).expect("plane").row(3)[3], expected);
            let stages: Vec<Stage> = frame.trace.marks().iter().map(|mark| mark.0).collect();
            assert_eq!(stages, [Stage::Receive, Stage::Process(0), Stage::Process(1)]);
        }
    }

    #[test]
    fn a_dropped_frame_goes_no_further() {
        let registry = registry();
        let chain = Chain::parse("drop|private", &registry).expect("chain");
        let mut processor = chain.build(&registry, &BTreeMap::new()).expect("builds");
        assert_eq!(process_one(&mut processor, &mut frame()).expect("no error"), Verdict::Drop);
    }

    #[test]
    fn the_strictest_failure_policy_wins_and_the_error_names_the_step() {
        let registry = registry();
        let chain = Chain::parse("black|private|white", &registry).expect("chain");
        let mut processor = chain.build(&registry, &BTreeMap::new()).expect("builds");
        assert_eq!(processor.on_failure(), FailurePolicy::Blank);
        match process_one(&mut processor, &mut frame()) {
            Err(ProcessError::Fatal(error)) => assert_eq!(error.to_string(), "private: broken"),
            other => panic!("{other:?}"),
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused(text in "[a-z|+ ]{0,40}|(none|black|white|STEP)([|+ ](none|black|drop)){0,9}") {
            let registry = registry();
            if let Ok(chain) = Chain::parse(&text, &registry) {
                // What is shown can be read again and means the same.
                proptest::prop_assert_eq!(Chain::parse(&chain.to_string(), &registry).expect("canonical"), chain);
            }
        }
    }
}

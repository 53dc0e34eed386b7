//! The background out of focus, the person sharp.

use ooblex_core::{
    BoxError, FailurePolicy, Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, ProcessContext,
    ProcessError, Registry, Verdict,
};

use super::background::{Layer, Person, edge, edge_param, smooth, smooth_param};
use crate::kernels::blend::Grown;
use crate::kernels::gaussian::Weights;
use crate::kernels::grow::Grow;
use crate::kernels::surround::Surround;
use crate::manager::{ModelError, Models, SELFIE_LANDSCAPE};
use crate::planar::make_planar;

const STRENGTH: u8 = 40;
/// Standard deviation of the blur, as a share of the longer side, for each step of strength.
const PER_STEP: f64 = 0.0005;

/// Blurs everything but the person, by a Gaussian of a standard deviation of 2 % of the longer side.
///
/// The blur is made at a reduced size, of the background alone, so that the person's colours do not bleed into it. If
/// nobody is found, everything is blurred; if anything fails, nothing is shown.
pub struct BackgroundBlur {
    person: Person,
    layer: Layer,
    surround: Surround,
    grow: [Grow; 2],
    /// Standard deviation as a share of the longer side.
    sigma: f64,
    /// The kernel, and the deviation in samples that it is for.
    kernel: Option<(f64, Weights)>,
}

impl BackgroundBlur {
    /// `strength` from 1 to 100, 20 being a standard deviation of 1 % of the longer side. `smooth` and `edge` from 0 to
    /// 1: how much the mask is steadied, and how soft its edge is.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn new(models: &Models, strength: u8, smooth: f32, edge: f32) -> Result<Self, ModelError> {
        Ok(Self {
            person: Person::new(models, smooth, edge)?,
            layer: Layer::default(),
            surround: Surround::default(),
            grow: Default::default(),
            sigma: f64::from(strength.clamp(1, 100)) * PER_STEP,
            kernel: None,
        })
    }
}

impl FrameProcessor for BackgroundBlur {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let mask = self.person.find(frame, cx)?;
        let image = make_planar(&mut frame.image)?;
        let (width, height) = (image.width(), image.height());
        let layer = &mut self.layer;
        layer.keep_inside(&mask, width, height)?;
        let sigma = self.sigma * f64::from(width.max(height)) / f64::from(1u32 << layer.levels);
        let kernel = match &mut self.kernel {
            Some((known, kernel)) if *known == sigma => kernel,
            other => &mut other.insert((sigma, Weights::with_sigma(sigma))).1,
        };
        let blurred = self.surround.run(layer.simd, image, &layer.keep, layer.levels, kernel)?;
        let mut behind = Grown::new(blurred, layer.levels, &mut self.grow);
        layer.blend(image, &mut behind)?;
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.person.load()?)
    }

    fn on_failure(&self) -> FailurePolicy {
        FailurePolicy::Blank
    }
}

pub(super) fn register(registry: &mut Registry, models: &Models) {
    let spec = KindSpec::new("background_blur", "Background out of focus, person sharp")
        .aliases(&["selfie_segment", "blur_background", "BackgroundBlurOn", "BlurOn"])
        .param(ParamSpec::new(
            "strength",
            ParamType::Int(1..=100),
            STRENGTH,
            "how far out of focus the background is",
        ))
        .param(edge_param())
        .param(smooth_param())
        .needs_model(SELFIE_LANDSCAPE)
        .on_failure(FailurePolicy::Blank);
    let models = models.clone();
    registry.add(spec, move |options: &Options| -> Result<_, BoxError> {
        let strength = options.get_or("strength", STRENGTH)?;
        Ok(BackgroundBlur::new(&models, strength, smooth(options)?, edge(options)?)?)
    });
}

//! The person alone: in front of green, or of nothing.

use ooblex_core::{
    BoxError, FailurePolicy, Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, PixelFormat,
    PlaneMut, ProcessContext, ProcessError, Registry, Verdict,
};

use super::background::{Layer, Outline, Person, edge, edge_param, smooth, smooth_param};
use crate::color::Levels;
use crate::kernels::blend::Flat;
use crate::kernels::grid::{FRACTION, Grid};
use crate::kernels::grow::Grow;
use crate::manager::{ModelError, Models, SELFIE_LANDSCAPE};
use crate::simd::{Kernel, Lanes};

/// Names of the modes.
const MODES: [&str; 2] = ["green", "alpha"];
const GREEN: [u8; 3] = [0, 255, 0];

/// What the background becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Removal {
    /// Pure green, for a keyer.
    #[default]
    Green,
    /// Transparent: the frame becomes RGBA. Pixels that are fully transparent are black and those of the outline have
    /// the person's colours, because what shows JPEG ignores transparency.
    Alpha,
}

/// Takes the background away. If nobody is found, nothing is left; if anything fails, nothing is shown.
pub struct BackgroundRemove {
    person: Person,
    layer: Layer,
    outline: Outline,
    grow: Grow,
    removal: Removal,
}

impl BackgroundRemove {
    /// `smooth` and `edge` from 0 to 1: how much the mask is steadied, and how soft its edge is.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn new(models: &Models, removal: Removal, smooth: f32, edge: f32) -> Result<Self, ModelError> {
        let person = Person::new(models, smooth, edge)?;
        Ok(Self {
            person,
            layer: Layer::default(),
            outline: Outline::default(),
            grow: Grow::default(),
            removal,
        })
    }
}

impl FrameProcessor for BackgroundRemove {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let mask = self.person.find(frame, cx)?;
        self.layer.keep_inside(&mask, frame.image.width(), frame.image.height())?;
        let image = frame.image.make(PixelFormat::I420)?;
        self.outline.clean(&self.layer, image)?;
        match self.removal {
            Removal::Green => {
                let green = Levels::of(image.color()).yuv(GREEN);
                let height = image.height() as usize;
                self.layer.blend(image, &mut Flat::new(green, green, height))?;
            }
            Removal::Alpha => {
                let plane = frame.image.make(PixelFormat::Rgba)?.plane_mut(0)?;
                self.grow.set_levels(self.layer.levels);
                self.layer.simd.run(Cut { grow: &mut self.grow, keep: &self.layer.keep, plane });
            }
        }
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.person.load()?)
    }

    fn on_failure(&self) -> FailurePolicy {
        FailurePolicy::Blank
    }
}

/// Sets the alpha of RGBA pixels.
struct Cut<'a, 'b> {
    grow: &'a mut Grow,
    keep: &'a Grid,
    plane: PlaneMut<'b>,
}

impl Kernel for Cut<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        for (y, row) in self.plane.rows_mut().enumerate() {
            let keep = self.grow.row::<L>(self.keep, y);
            for (pixel, keep) in row.chunks_exact_mut(4).zip(keep) {
                let alpha = ((keep + (1 << (FRACTION - 1))) >> FRACTION) as u8;
                pixel[3] = alpha;
                if alpha == 0 {
                    pixel.fill(0);
                }
            }
        }
    }
}

pub(super) fn register(registry: &mut Registry, models: &Models) {
    let modes = ParamType::Choice(MODES.map(str::to_owned).into());
    let spec = KindSpec::new("background_remove", "The person alone, before green or before nothing")
        .aliases(&["background_removal", "BackgroundRemoveOn"])
        .param(ParamSpec::new("mode", modes, MODES[0], "what the background becomes"))
        .param(edge_param())
        .param(smooth_param())
        .needs_model(SELFIE_LANDSCAPE)
        .on_failure(FailurePolicy::Blank);
    let models = models.clone();
    registry.add(spec, move |options: &Options| -> Result<_, BoxError> {
        let mode = options.get_or("mode", MODES[0].to_owned())?;
        let removal = if mode == MODES[1] { Removal::Alpha } else { Removal::Green };
        Ok(BackgroundRemove::new(&models, removal, smooth(options)?, edge(options)?)?)
    });
}

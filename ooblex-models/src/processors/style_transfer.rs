//! The picture painted anew, in one of 26 styles or between two of them.

mod budget;
mod canvas;
mod styles;

use std::time::{Duration, Instant};

use ooblex_core::{
    BoxError, Frame, FrameProcessor, KindSpec, Mode, Options, ParamSpec, ParamType, ProcessContext,
    ProcessError, Registry, RegistryError, Verdict,
};

use self::budget::Budget;
use self::canvas::Canvas;
use self::styles::{Fade, NAMES, Trail, mixture};
use crate::manager::{ModelError, ModelHandle, Models, STYLE};
use crate::preprocess::{InputSpec, Preprocess};
use crate::smooth::PAUSE;

/// Number of the style, if nothing else is asked for.
const DEFAULT: usize = 24;
const FADE_MS: u64 = 500;
/// Share of the last painting in the new one: what keeps strokes from dancing.
const SMOOTH: f32 = 0.3;
/// Longer side of what the model paints, in pixels.
const SIZE: u32 = 320;
const SMALLEST: u32 = 64;
const LARGEST: u32 = 1024;
/// The least that the model's convolutions, which mirror borders, take on either side.
const LEAST: u32 = 16;
/// The automatic size is such that a painting takes no longer than this.
const TIME: Duration = Duration::from_millis(50);

/// How [`StyleTransfer`] paints.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StyleOptions {
    /// Number of the style, 0 to 25.
    pub style: usize,
    /// Number of the style to blend with.
    pub style2: usize,
    /// 0 for the first style alone to 1 for the second alone.
    pub blend: f32,
    /// How long it takes to morph from what the stream looked like before.
    pub fade: Duration,
    /// Share of the last painting in the new one, 0 to 1.
    pub smooth: f32,
    /// Longer side of what the model paints in pixels, 64 to 1024; `None` for what can be painted in 50 ms, as measured.
    pub size: Option<u32>,
}

impl Default for StyleOptions {
    /// The style `cyan_ink`, fading in half a second, at 320 pixels.
    fn default() -> Self {
        Self {
            style: DEFAULT,
            style2: DEFAULT,
            blend: 0.0,
            fade: Duration::from_millis(FADE_MS),
            smooth: SMOOTH,
            size: Some(SIZE),
        }
    }
}

/// Paints the picture at a reduced size and enlarges the painting, in YUV.
///
/// Strokes have a size in pixels, so they look the larger the smaller the picture is that the model works on. When
/// another `StyleTransfer` of the same registration takes a stream over, it begins where the last one left off.
pub struct StyleTransfer {
    handle: ModelHandle,
    preprocess: Preprocess,
    canvas: Canvas,
    fade: Fade,
    trail: Trail,
    smooth: f32,
    size: Option<u32>,
    budget: Budget,
    last: Option<Instant>,
}

impl StyleTransfer {
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn new(models: &Models, options: &StyleOptions) -> Result<Self, ModelError> {
        Self::with_trail(models, options, Trail::default())
    }

    fn with_trail(models: &Models, options: &StyleOptions, trail: Trail) -> Result<Self, ModelError> {
        let weights = mixture(options.style, options.style2, options.blend);
        Ok(Self {
            handle: models.handle(STYLE)?,
            preprocess: Preprocess::new(InputSpec::rgb01(LEAST as usize, LEAST as usize)),
            canvas: Canvas::default(),
            fade: Fade::new(weights, options.fade),
            trail,
            smooth: options.smooth.clamp(0.0, 1.0),
            size: options.size.map(|size| size.clamp(SMALLEST, LARGEST)),
            budget: Budget::default(),
            last: None,
        })
    }

    fn side(&self, mode: Mode) -> u32 {
        match (self.size, mode) {
            (Some(size), _) => size,
            (None, Mode::Live) => self.budget.side(),
            // Where no frame may be lost there is time.
            (None, _) => SIZE,
        }
    }
}

/// Sides of what is painted: multiples of 4, no larger than the picture itself, and never too small for the model.
fn working_size(width: u32, height: u32, side: u32) -> (usize, usize) {
    let scale = (side as f32 / width.max(height) as f32).min(1.0);
    let fit = |len: u32| ((len as f32 * scale / 4.0).round() as u32 * 4).max(LEAST) as usize;
    (fit(width), fit(height))
}

impl FrameProcessor for StyleTransfer {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        if self.last.replace(cx.now).is_some_and(|last| cx.now.saturating_duration_since(last) > PAUSE) {
            self.canvas.clear();
        }
        let weights = self.fade.at(cx.now, || self.trail.of(&frame.stream, cx.now));
        let image = frame.image.pixels()?;
        let (size, color) = ((image.width(), image.height()), image.color());
        let (width, height) = working_size(size.0, size.1, self.side(cx.mode));
        let spec = InputSpec::rgb01(width, height);
        if *self.preprocess.spec() != spec {
            self.preprocess = Preprocess::new(spec);
        }
        self.preprocess.fill(image, self.handle.input(0)?)?;
        self.handle.input(1)?.f32_mut().iter_mut().zip(weights).for_each(|(to, weight)| *to = weight);
        let begun = Instant::now();
        let painted = self.handle.run(cx.deadline)?.first().ok_or("the style model has no output")?;
        if painted.shape() != [1, 3, height, width] || painted.f32().len() != 3 * width * height {
            let reason =
                format!("the style model paints {:?}, not {height} rows of {width}", painted.shape());
            return Err(ProcessError::Frame(reason.into()));
        }
        let limit = cx.deadline.map_or(TIME, |at| at.saturating_duration_since(cx.now).min(TIME));
        self.budget.note(width * height, begun.elapsed(), limit);
        self.canvas.paint(painted.f32(), width, height, self.smooth);
        let picture = self.canvas.picture(size, color, cx.pool)?;
        frame.image.set(picture);
        self.trail.note(&frame.stream, weights, cx.now);
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        self.handle.load()?;
        Ok(())
    }
}

fn number(options: &Options, name: &str) -> Result<usize, RegistryError> {
    let style = options.get_or(name, NAMES[DEFAULT].to_owned())?;
    // Invariant: the registry lets none but these names through.
    Ok(NAMES.iter().position(|name| *name == style).unwrap_or(DEFAULT))
}

fn read(options: &Options) -> Result<StyleOptions, RegistryError> {
    Ok(StyleOptions {
        style: number(options, "style")?,
        style2: number(options, "style2")?,
        blend: options.get_or("blend", 0.0)?,
        fade: Duration::from_millis(options.get_or("fade_ms", FADE_MS)?),
        smooth: options.get_or("smooth", SMOOTH)?,
        size: Some(options.get_or("size", SIZE)?).filter(|size| *size > 0),
    })
}

pub(super) fn register(registry: &mut Registry, models: &Models) {
    let style = |name, what| {
        ParamSpec::new(name, ParamType::Choice(NAMES.map(String::from).into()), NAMES[DEFAULT], what)
    };
    let size = ParamType::Int(0..=LARGEST.into());
    let spec = KindSpec::new("style_transfer", "The picture painted anew, in one of 26 styles")
        .param(style("style", "name, or number from 0 to 25"))
        .param(style("style2", "style to blend with"))
        .param(ParamSpec::new(
            "blend",
            ParamType::Float(0.0..=1.0),
            0.0,
            "0 for `style` alone to 1 for `style2` alone",
        ))
        .param(
            ParamSpec::new(
                "fade_ms",
                ParamType::Int(0..=10_000),
                FADE_MS as i64,
                "how long another style fades in",
            )
            .unit("ms"),
        )
        .param(
            ParamSpec::new(
                "size",
                size,
                SIZE,
                "longer side of the painting, at least 64; 0 for what 50 ms allow",
            )
            .unit("px"),
        )
        .param(ParamSpec::new(
            "smooth",
            ParamType::Float(0.0..=0.95),
            SMOOTH,
            "share of the last painting, against dancing strokes",
        ))
        .needs_model(STYLE);
    let (models, trail) = (models.clone(), Trail::default());
    registry.add(spec, move |options: &Options| -> Result<_, BoxError> {
        Ok(StyleTransfer::with_trail(&models, &read(options)?, trail.clone())?)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_suit_the_model_and_the_picture() {
        for (width, height, side, wanted) in [
            (1280, 720, 320, (320, 180)),
            (720, 1280, 320, (180, 320)),
            (640, 480, 320, (320, 240)),
            (64, 48, 320, (64, 48)),
            (1, 1, 320, (16, 16)),
            (3840, 10, 320, (320, 16)),
            (853, 480, 320, (320, 180)),
        ] {
            assert_eq!(working_size(width, height, side), wanted, "{width}x{height}");
        }
        for width in 1..700 {
            let (w, h) = working_size(width, 333, 256);
            assert!(
                w % 4 == 0 && h % 4 == 0 && (16..=256).contains(&w) && (16..=256).contains(&h),
                "{width}"
            );
        }
    }
}

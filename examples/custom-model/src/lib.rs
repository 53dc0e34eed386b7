//! A processor in a crate of its own that depends on `ooblex-core` alone.
//!
//! A binary that offers it is one line: `ooblex_colab::App::new().with(ooblex_posterize::register).run()`, see
//! `examples/src/custom_binary.rs`.

use ooblex_core::prelude::*;

/// Quantizes each RGB channel in place; `step` is the level width in 8-bit units, 1..=255.
pub struct Posterize {
    step: u8,
}

impl FrameProcessor for Posterize {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        for row in frame.image.make_rgb()?.rows_mut() {
            for v in row {
                *v -= *v % self.step;
            }
        }
        Ok(Verdict::Emit)
    }
}

/// Adds `posterize` to a registry. Option `step`: 1..=255, default 48.
pub fn register(registry: &mut Registry) {
    registry.register("posterize", |options: &Options| match options.get_or("step", 48)? {
        0 => Err(BoxError::from("`step` must be at least 1")),
        step => Ok(Posterize { step }),
    });
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::{conformance, frame_of, process_one, random_image};

    use super::*;

    #[test]
    fn levels_are_multiples_of_the_step() {
        let mut registry = Registry::new();
        register(&mut registry);
        let mut posterize = registry.build("posterize", &Options::new().with("step", 50)).expect("builds");
        let mut frame = frame_of(random_image(PixelFormat::Rgb, 9, 5, ColorSpace::JPEG, 1, 7));
        process_one(&mut posterize, &mut frame).expect("processes");
        let levels = frame.image.pixels().expect("pixels").to_packed().expect("host");
        assert!(levels.iter().all(|v| v % 50 == 0) && levels.iter().any(|v| *v > 0));
        assert!(registry.build("posterize", &Options::new().with("step", 0)).is_err());
    }

    #[test]
    fn it_conforms() {
        conformance(|| Posterize { step: 48 }, 120).expect("conforms");
    }
}

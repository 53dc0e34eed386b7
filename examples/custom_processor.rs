//! A processor in 20 lines, as an effect of the whole server.
//!
//! `cargo run --release -p ooblex-examples --example custom_processor -- --demo --model-name threshold`, then open the
//! printed page.

use ooblex_core::prelude::*;

/// Paints luma black below `level` and white from there on, and takes the colour away.
struct Threshold {
    level: u8,
}

impl FrameProcessor for Threshold {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let [mut y, mut u, mut v] = frame.image.make_i420()?;
        for luma in y.rows_mut().flatten() {
            *luma = if *luma < self.level { 16 } else { 235 };
        }
        u.fill(128);
        v.fill(128);
        Ok(Verdict::Emit)
    }
}

fn register(registry: &mut Registry) {
    let level =
        ParamSpec::new("level", ParamType::Int(1..=255), 128, "luma that becomes white").unit("8-bit");
    let spec = KindSpec::new("threshold", "Black and white by brightness").param(level);
    registry.add(spec, |o: &Options| Ok::<_, BoxError>(Threshold { level: o.get_or("level", 128)? }));
}

fn main() -> std::process::ExitCode {
    ooblex_colab::App::new().with(register).run()
}

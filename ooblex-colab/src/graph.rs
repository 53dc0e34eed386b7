//! What every stream of the server is made of.

use ooblex_core::hub::{Beginning, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::{BoxError, FrameSink, StreamId};
use ooblex_mjpeg::MjpegHub;

use crate::effect::EffectControl;

/// Any source, the chosen effect, the MJPEG viewers.
pub(crate) struct Graph {
    pub(crate) effects: EffectControl,
    pub(crate) mjpeg: MjpegHub,
}

impl StreamFactory for Graph {
    fn effect(&self, stream: &StreamId) -> Result<Effect, BoxError> {
        Ok(self.effects.begin(stream)?)
    }

    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        vec![Box::new(self.mjpeg.sink(stream))]
    }
}

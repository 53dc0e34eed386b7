//! What every stream of the server is made of.

use std::sync::Arc;

use ooblex_core::hub::StreamFactory;
use ooblex_core::pipeline::Effect;
use ooblex_core::{BoxError, FrameSink, StreamId, StreamStats};
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

    fn sinks(&self, stream: &StreamId, stats: &Arc<StreamStats>) -> Vec<Box<dyn FrameSink>> {
        vec![Box::new(self.mjpeg.sink(stream, stats))]
    }
}

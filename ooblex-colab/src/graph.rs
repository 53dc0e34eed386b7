//! What every stream of the server is made of.

use std::sync::Arc;
use std::time::Instant;

use ooblex_core::hub::{Beginning, Stream, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::{BoxError, FrameSink, StreamId};
use ooblex_live::LiveHub;
use ooblex_mjpeg::MjpegHub;

use crate::annotations::AnnotationHub;
use crate::effect::EffectControl;

/// Any source, the chosen effect, the viewers of MJPEG and of video, and those who want data.
#[derive(Clone)]
pub(crate) struct Graph {
    pub(crate) effects: EffectControl,
    pub(crate) mjpeg: MjpegHub,
    pub(crate) live: LiveHub,
    pub(crate) annotations: AnnotationHub,
}

impl StreamFactory for Graph {
    fn effect(&self, stream: &StreamId) -> Result<Effect, BoxError> {
        Ok(self.effects.begin(stream)?)
    }

    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        vec![
            Box::new(self.annotations.sink(stream.id)),
            Box::new(self.mjpeg.sink(stream)),
            Box::new(self.live.sink(stream)),
        ]
    }

    fn begun(&self, stream: &Arc<Stream>) {
        self.effects.look_after(stream, Instant::now());
    }
}

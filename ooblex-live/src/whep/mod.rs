//! WebRTC viewers: what `/whep` shows.
//!
//! The connections are those of `ooblex-ingest`, which serves publishers over the same; this module gives them pictures
//! of the shared encoders and chooses the rung of the ladder that a viewer's way carries.

mod feed;
mod rung;

use ooblex_core::StreamId;
use ooblex_core::hub::Hub;
use ooblex_http::Problem;
use ooblex_ingest::decode::VideoCodec;
use ooblex_ingest::webrtc::{Broadcast, Feed};

use self::feed::StreamFeed;
use crate::codec::Codec;
use crate::encode;
use crate::output::LiveHub;

/// What WebRTC viewers can watch: the streams of a hub, through the encoders of a [`LiveHub`] whose sinks they have.
///
/// ```no_run
/// use std::sync::Arc;
/// use ooblex_core::hub::Hub;
/// use ooblex_ingest::webrtc::WebRtc;
/// use ooblex_live::{LiveHub, Whep};
///
/// fn with_viewers(webrtc: WebRtc, hub: Hub, live: LiveHub) -> WebRtc {
///     webrtc.with_broadcast(Arc::new(Whep::new(hub, live)))
/// }
/// ```
pub struct Whep {
    hub: Hub,
    live: LiveHub,
    codecs: Vec<VideoCodec>,
}

impl Whep {
    /// Starts nothing.
    pub fn new(hub: Hub, live: LiveHub) -> Self {
        // VP8 first: where a viewer takes both, the one without a patent question.
        let codecs = [VideoCodec::Vp8, VideoCodec::H264].into_iter();
        let codecs =
            codecs.filter(|codec| of_video(*codec).is_some_and(|c| encode::supported().contains(&c)));
        Self { hub, live, codecs: codecs.collect() }
    }
}

impl Broadcast for Whep {
    fn codecs(&self) -> &[VideoCodec] {
        &self.codecs
    }

    fn open(&self, stream: Option<&StreamId>, codec: VideoCodec) -> Result<Box<dyn Feed>, Problem> {
        let codec = of_video(codec).ok_or_else(|| {
            Problem::new(422, "offer_unsupported", format!("{codec} is not sent; ask for VP8 or H264"))
                .field("sdp")
        })?;
        if let Some(name) = stream {
            let live = |id: &StreamId| self.hub.get(id).is_some_and(|s| !s.pipeline().state().is_over());
            if !live(name) {
                let streams = self.hub.streams();
                let known = streams.iter().map(|s| s.id()).filter(|id| live(id)).map(|id| id.to_string());
                let problem = Problem::new(404, "unknown_stream", format!("there is no stream {name}"));
                return Err(problem.field("stream").value(name.as_str()).known(known));
            }
        }
        Ok(Box::new(StreamFeed::new(self.hub.clone(), self.live.clone(), stream.cloned(), codec)))
    }
}

fn of_video(codec: VideoCodec) -> Option<Codec> {
    match codec {
        VideoCodec::Vp8 => Some(Codec::Vp8),
        VideoCodec::H264 => Some(Codec::H264),
        _ => None,
    }
}

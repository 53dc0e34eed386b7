//! What WebRTC publishers may change: the effect of their own stream.

use std::time::Instant;

use async_trait::async_trait;
use ooblex_core::StreamId;
use ooblex_core::hub::Hub;
use ooblex_http::Problem;
use ooblex_ingest::whip::StreamControl;

use crate::effect::{EffectControl, Params, SwitchError};
use crate::routes::switch_problem;

/// Passes the wishes of publishers on to the effects.
pub(crate) struct PublisherControl {
    pub(crate) hub: Hub,
    pub(crate) effects: EffectControl,
}

impl PublisherControl {
    /// Builds effects on a thread that may block.
    async fn run(
        &self,
        effect: String,
        change: impl FnOnce(&EffectControl, &Hub) -> Result<(), SwitchError> + Send + 'static,
    ) -> Result<(), Problem> {
        let (effects, hub) = (self.effects.clone(), self.hub.clone());
        let task = tokio::task::spawn_blocking(move || {
            change(&effects, &hub).map_err(|e| switch_problem(&e, &effect, &Params::new()))
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "switching effects panicked");
            Err(Problem::new(500, "internal", "switching failed; the log says why"))
        })
    }
}

#[async_trait]
impl StreamControl for PublisherControl {
    async fn check(&self, chain: &str) -> Result<(), Problem> {
        self.effects.check(chain).map_err(|e| switch_problem(&e, chain, &Params::new()))
    }

    async fn set_effect(&self, stream: &StreamId, chain: &str) -> Result<(), Problem> {
        let (stream, effect) = (stream.clone(), chain.to_owned());
        self.run(chain.to_owned(), move |effects, hub| {
            effects.choose(hub, &stream, &effect, Params::new(), Instant::now()).map(drop)
        })
        .await
    }

    async fn enable(&self, stream: &StreamId, enabled: bool) -> Result<(), Problem> {
        let stream = stream.clone();
        self.run(String::new(), move |effects, hub| {
            effects.enable(hub, &stream, enabled, Instant::now()).map(drop)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::Registry;
    use ooblex_core::hub::HubConfig;
    use ooblex_live::{LiveConfig, LiveHub};
    use ooblex_mjpeg::{MjpegConfig, MjpegHub};

    use super::*;
    use crate::annotations::AnnotationHub;
    use crate::graph::Graph;

    #[tokio::test]
    async fn a_publisher_chooses_the_effect_of_its_own_stream() {
        let mut registry = Registry::new();
        ooblex_models::register(&mut registry);
        let effects = EffectControl::new(registry, "none").expect("none");
        let mjpeg = MjpegHub::new(MjpegConfig::default()).expect("starts");
        let hub = Hub::new(
            HubConfig::default(),
            Graph {
                effects: effects.clone(),
                mjpeg,
                live: LiveHub::new(LiveConfig::default()),
                annotations: AnnotationHub::default(),
            },
        );
        let control = PublisherControl { hub: hub.clone(), effects };
        let id = |name: &str| StreamId::new(name).expect("a name");
        for chain in ["seppia", "blur|seppia"] {
            let problem = control.check(chain).await.expect_err("unknown");
            assert_eq!((problem.status().as_u16(), problem.code()), (404, "unknown_effect"));
            let refused = control.set_effect(&id("cam"), chain).await.expect_err("unknown");
            assert_eq!(refused, problem);
        }
        assert_eq!(control.check("").await.expect_err("empty").status(), 422);
        control.check("blur + sepia").await.expect("known");
        control.set_effect(&id("cam"), "blur + sepia").await.expect("known");
        let cam = hub.publish(&id("cam"), "webrtc").expect("begins");
        let other = hub.publish(&id("other"), "webrtc").expect("begins");
        let active = |stream: &ooblex_core::hub::Stream| stream.pipeline().swap().active().name;
        assert_eq!((active(&cam), active(&other)), ("blur|sepia".into(), "none".into()));
        control.enable(&id("cam"), false).await.expect("off");
        assert_eq!(active(&cam), "none");
        control.enable(&id("cam"), true).await.expect("on");
        assert_eq!(active(&cam), "blur|sepia");
    }
}

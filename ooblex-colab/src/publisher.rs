//! What publishers that stay connected may change: the effect of their own stream.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use ooblex_core::StreamId;
use ooblex_core::hub::Hub;
use ooblex_http::Problem;
use ooblex_ingest::control::{Chosen, StreamControl};
use serde_json::{Map, Value};

use crate::effect::{EffectControl, Params, Selection, SwitchError};
use crate::routes::{read_params, switch_problem};

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
        params: Params,
        change: impl FnOnce(&EffectControl, &Hub) -> Result<Arc<Selection>, SwitchError> + Send + 'static,
    ) -> Result<Arc<Selection>, Problem> {
        let (effects, hub) = (self.effects.clone(), self.hub.clone());
        let task = tokio::task::spawn_blocking(move || {
            change(&effects, &hub).map_err(|e| switch_problem(&e, &effect, &params))
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

    async fn set_effect(
        &self,
        stream: &StreamId,
        chain: &str,
        params: Map<String, Value>,
    ) -> Result<Chosen, Problem> {
        let (stream, effect, params) = (stream.clone(), chain.to_owned(), read_params(params)?);
        let given = params.clone();
        let choose = move |effects: &EffectControl, hub: &Hub| {
            effects.choose(hub, &stream, &effect, given, Instant::now())
        };
        let selection = self.run(chain.to_owned(), params, choose).await?;
        Ok(Chosen { effect: selection.chain.to_string(), generation: selection.generation })
    }

    async fn enable(&self, stream: &StreamId, enabled: bool) -> Result<(), Problem> {
        let stream = stream.clone();
        let change =
            move |effects: &EffectControl, hub: &Hub| effects.enable(hub, &stream, enabled, Instant::now());
        self.run(String::new(), Params::new(), change).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::Registry;
    use ooblex_core::hub::HubConfig;
    use ooblex_live::{LiveConfig, LiveHub};
    use ooblex_mjpeg::{MjpegConfig, MjpegHub};
    use serde_json::json;

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
            let refused = control.set_effect(&id("cam"), chain, Map::new()).await.expect_err("unknown");
            assert_eq!(refused, problem);
        }
        assert_eq!(control.check("").await.expect_err("empty").status(), 422);
        control.check("blur + sepia").await.expect("known");
        let params = |value: Value| value.as_object().cloned().expect("an object");
        let given = params(json!({"blur": {"nonsense": 1}}));
        let refused = control.set_effect(&id("cam"), "blur", given).await.expect_err("unknown");
        assert_eq!((refused.status().as_u16(), refused.code()), (422, "unknown_parameter"));
        let chosen = control.set_effect(&id("cam"), "blur + sepia", params(json!({"sepia": {}}))).await;
        assert_eq!(chosen.expect("known").effect, "blur|sepia");
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

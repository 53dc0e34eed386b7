//! A build without WebRTC.

use axum::Router;
use axum::response::Response;
use ooblex_core::hub::Hub;
use ooblex_live::LiveHub;
use serde_json::{Value, json};

use crate::config::Config;
use crate::effect::EffectControl;

/// No publishers.
#[derive(Clone)]
pub(crate) struct Publishers;

impl Publishers {
    pub(crate) fn new(_: &Config, _: &Hub, _: &EffectControl, _: &LiveHub) -> Self {
        Self
    }

    pub(crate) fn router(&self) -> Option<Router> {
        None
    }

    pub(crate) fn absent(&self) -> Option<&'static str> {
        Some("this build has no WebRTC; enable the feature `whip` of ooblex-colab")
    }

    pub(crate) fn connected(&self) -> usize {
        0
    }

    pub(crate) fn status(&self) -> Value {
        json!({})
    }

    pub(crate) fn viewers_status(&self) -> Value {
        json!({})
    }

    pub(crate) fn ice_servers(&self) -> Value {
        json!({"iceServers": []})
    }

    pub(crate) fn begun(&self, _: &Response) -> Option<String> {
        None
    }

    pub(crate) fn lives(&self, _: &str) -> bool {
        false
    }

    pub(crate) async fn end(&self, _: &str) -> bool {
        false
    }

    pub(crate) async fn shutdown(&self) {}
}

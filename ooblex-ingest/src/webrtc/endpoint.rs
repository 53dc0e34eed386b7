//! The endpoint: all WebRTC sessions of a hub.

use std::sync::{Arc, OnceLock};

use ooblex_core::hub::Hub;

use super::{
    Fragment, PublishError, PublishRequest, Published, Restarted, SessionError, SessionId, SessionInfo,
    WebRtcConfig,
};
use crate::ice::IceServers;
use crate::whip::StreamControl;

/// Takes WebRTC publishers into a hub. Cheap to clone.
#[derive(Clone)]
pub struct WebRtc(Arc<Inner>);

struct Inner {
    hub: Hub,
    config: WebRtcConfig,
    ice: IceServers,
    control: OnceLock<Arc<dyn StreamControl>>,
}

impl WebRtc {
    /// An endpoint that feeds `hub`. `ice` says which STUN and TURN servers its own side uses.
    pub fn new(hub: Hub, config: WebRtcConfig, ice: IceServers) -> Self {
        Self(Arc::new(Inner { hub, config, ice, control: OnceLock::new() }))
    }

    /// Lets publishers choose the effect over their data channel. The first call decides.
    pub fn with_control(self, control: Arc<dyn StreamControl>) -> Self {
        let _ = self.0.control.set(control);
        self
    }

    /// The hub that it feeds.
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// Limits and times.
    pub fn config(&self) -> &WebRtcConfig {
        &self.0.config
    }

    /// The STUN and TURN servers.
    pub fn ice_servers(&self) -> &IceServers {
        &self.0.ice
    }

    /// Answers an offer: after this the server waits for the publisher's connectivity checks.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is left behind then.
    pub async fn publish(&self, _offer: &str, _request: PublishRequest) -> Result<Published, PublishError> {
        Err(PublishError::Network("this build has no WebRTC peer yet".into()))
    }

    /// Adds the publisher's candidates. `if_match` is the request's `If-Match`.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn trickle(
        &self,
        _id: &SessionId,
        _fragment: Fragment,
        _if_match: Option<&str>,
    ) -> Result<(), SessionError> {
        Err(SessionError::Unknown)
    }

    /// Replaces the ICE session, for a publisher that changed networks: `fragment` carries its new credentials.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn restart(&self, _id: &SessionId, _fragment: Fragment) -> Result<Restarted, SessionError> {
        Err(SessionError::Unknown)
    }

    /// Ends a session at once, and its stream unless another session has taken over; false if there is none.
    pub async fn close(&self, _id: &SessionId) -> bool {
        false
    }

    /// The state of a session; `None` if it has ended.
    pub fn session(&self, _id: &SessionId) -> Option<SessionInfo> {
        None
    }

    /// The state of all sessions.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        Vec::new()
    }

    /// Refuses new offers and ends every session.
    pub async fn shutdown(&self) {}
}

//! Beginning a session, as both kinds of offers do.

use std::sync::Arc;
use std::time::Duration;

use ooblex_core::StreamId;
use ooblex_http::Problem;
use serde_json::Map;

use super::Shared;
use crate::webrtc::{PublishRequest, Published, WebRtc};

/// An answer does not wait longer for an effect to be made ready: OBS gives up after 8 s, of which gathering
/// candidates may take 2. Until the effect is ready the stream has the one from before.
const EFFECT_PATIENCE: Duration = Duration::from_secs(3);

/// Whether a publisher gets its processed picture back on the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// Never.
    Nothing,
    /// If its offer asks for it.
    IfAsked,
}

/// Answers an offer. An effect that does not exist is refused before anything begins; one that cannot be made ready
/// ends the session again.
pub(super) async fn begin(
    shared: &Shared,
    offer: &str,
    request: PublishRequest,
    effect: Option<String>,
    back: Back,
) -> Result<Begun, Problem> {
    if let Some(effect) = &effect {
        shared.control.check(effect).await?;
    }
    let stream = request.stream.clone();
    let published = match back {
        Back::Nothing => shared.webrtc.publish(offer, request).await?,
        Back::IfAsked => shared.webrtc.publish_and_view(offer, request).await?,
    };
    let begun = Begun::new(&shared.webrtc, published);
    if let Some(effect) = effect {
        choose(shared, stream, effect).await?;
    }
    Ok(begun)
}

/// Chooses the effect within [`EFFECT_PATIENCE`], or goes on choosing it while the session begins.
async fn choose(shared: &Shared, stream: StreamId, effect: String) -> Result<(), Problem> {
    let control = Arc::clone(&shared.control);
    let mut task = tokio::spawn(async move {
        let chosen = control.set_effect(&stream, &effect, Map::new()).await;
        if let Err(problem) = &chosen {
            tracing::warn!(%stream, %problem, "the effect that a publisher chose is not applied");
        }
        chosen
    });
    match tokio::time::timeout(EFFECT_PATIENCE, &mut task).await {
        Ok(Ok(chosen)) => chosen.map(drop),
        Ok(Err(_)) => Err(Problem::new(500, "internal", "choosing the effect failed; the log says why")),
        Err(_) => Ok(()),
    }
}

/// A session that has begun. Unless its answer is taken, because the client went away or something else failed, the
/// session ends with this.
pub(super) struct Begun {
    webrtc: WebRtc,
    published: Option<Published>,
}

impl Begun {
    pub(super) fn new(webrtc: &WebRtc, published: Published) -> Self {
        Self { webrtc: webrtc.clone(), published: Some(published) }
    }

    /// What the client is answered; `None` the second time.
    pub(super) fn answer(&mut self) -> Option<Published> {
        self.published.take()
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(published) = self.published.take() {
            let webrtc = self.webrtc.clone();
            tokio::spawn(async move { webrtc.close(&published.id).await });
        }
    }
}

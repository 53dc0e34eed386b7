//! The endpoint's side of viewers: who is admitted, and which sessions there are.

use std::sync::Arc;
use std::time::Instant;

use ooblex_http::Problem;
use tokio::sync::{mpsc, oneshot};

use super::super::endpoint::{COMMANDS, WebRtc};
use super::super::negotiated::Negotiated;
use super::super::offer::Offer;
use super::super::peer::{Media, Peer};
use super::super::{OfferError, PublishError, Published, SessionId};
use super::{Broadcast, Sender, Showing, ViewRequest, ViewerHandle, ViewerInfo, Viewing};

impl WebRtc {
    /// Lets viewers watch what `broadcast` encodes. The first call decides.
    pub fn with_broadcast(self, broadcast: Arc<dyn Broadcast>) -> Self {
        let _ = self.0.broadcast.set(broadcast);
        self
    }

    /// Answers a viewer's offer: after this the server waits for the viewer's connectivity checks. Takes at most
    /// [`WebRtcConfig::gather_timeout`](super::super::WebRtcConfig::gather_timeout) and a little.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is left behind then, nor if the future is dropped.
    pub async fn view(&self, offer: &str, request: ViewRequest) -> Result<Published, PublishError> {
        let broadcast = self.0.broadcast.get().cloned().ok_or_else(|| {
            let detail = "nothing is encoded for WebRTC viewers here; watch /stream.mjpg";
            PublishError::Refused(Problem::new(404, "no_viewers", detail))
        })?;
        let offer = Offer::parse_viewer(offer, &self.0.config, broadcast.codecs())?;
        let (reply, answer) = oneshot::channel();
        let this = self.clone();
        // In a task of its own, as for publishers.
        tokio::spawn(async move {
            if let Err(Ok(unclaimed)) = reply.send(this.open_viewer(offer, request, &*broadcast).await) {
                this.close(&unclaimed.id).await;
            }
        });
        answer.await.unwrap_or_else(|_| {
            Err(OfferError::Unsupported("the offer cannot be processed".to_owned()).into())
        })
    }

    /// The state of a viewer's session; `None` if it has ended.
    pub fn viewer(&self, id: &SessionId) -> Option<ViewerInfo> {
        let viewer = self.table().viewer(id)?;
        Some(viewer.info(Instant::now()))
    }

    /// The state of all viewers' sessions, oldest first.
    pub fn viewers(&self) -> Vec<ViewerInfo> {
        let now = Instant::now();
        let mut all: Vec<_> = self.table().viewers().map(|viewer| viewer.info(now)).collect();
        all.sort_by_key(|info| std::cmp::Reverse(info.age));
        all
    }

    async fn open_viewer(
        &self,
        offer: Offer,
        request: ViewRequest,
        broadcast: &dyn Broadcast,
    ) -> Result<Published, PublishError> {
        let started = Instant::now();
        let no_random = || PublishError::Network("no random numbers".to_owned());
        let id = SessionId::random().ok_or_else(no_random)?;
        let sender = Sender::new(&offer, started).ok_or_else(no_random)?;
        // Invariant: a viewer's offer was reduced to a format with a codec.
        let codec = offer.sent.first().and_then(|format| format.codec).ok_or_else(no_random)?;
        let feed = broadcast.open(request.stream.as_ref(), codec).map_err(PublishError::Refused)?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let ViewRequest { stream, address } = request;
        let handle = Arc::new(ViewerHandle::new(stream, address, codec, started, commands));
        let place = self.reserve_viewer(id, handle.clone())?;
        let (network, ice, config) = (&self.0.network, self.0.ice.current(), &self.0.config);
        let (media, estimate) = Media::sent(&offer, &sender)?;
        let (peer, events, answer) = Peer::negotiate(&offer, media, network, &ice, config).await?;
        let published = Published { id, answer: answer.text.clone(), etag: answer.etag.clone() };
        tracing::info!(
            stream = handle.name(),
            %codec,
            after_ms = started.elapsed().as_millis() as u64,
            "WebRTC viewer's offer answered",
        );
        let viewing = Viewing {
            handle: handle.clone(),
            negotiated: Negotiated::new(peer, offer, answer, config.gather_timeout),
            events,
            commands: inbox,
            showing: Showing::new(sender, estimate, started),
            feed,
            connect_timeout: config.connect_timeout,
        };
        tokio::spawn(async move {
            let ended = viewing.run().await;
            drop(place);
            let info = handle.info(Instant::now());
            tracing::info!(
                stream = handle.name(),
                reason = ended.reason,
                after_s = info.age.as_secs(),
                pictures = info.counters.pictures,
                packets = info.counters.packets,
                "WebRTC viewer's session ended",
            );
            ended.clean_up().await;
        });
        Ok(published)
    }

    fn reserve_viewer(&self, id: SessionId, handle: Arc<ViewerHandle>) -> Result<Place, PublishError> {
        let mut table = self.table();
        table.admit_viewer(handle.address, &self.0.config)?;
        table.enter_viewer(id, handle);
        Ok(Place { endpoint: self.clone(), id })
    }
}

/// A viewer's place in the table, given back at its end, however that comes.
struct Place {
    endpoint: WebRtc,
    id: SessionId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.endpoint.table().remove_viewer(&self.id);
    }
}

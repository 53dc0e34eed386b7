//! The endpoint: all WebRTC sessions of a hub, publishers' ones in particular.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ooblex_core::StreamId;
use ooblex_core::hub::{Hub, HubError, Patience};
use tokio::sync::{mpsc, oneshot};

use super::decoder::ToHub;
use super::handle::{Command, SessionHandle, Shared};
use super::negotiated::Negotiated;
use super::network::Network;
use super::offer::Offer;
use super::peer::{Events, Media, Peer};
use super::table::Table;
use super::task::{Ended, Session};
use super::viewer::{Returning, Sender, Showing};
use super::{
    Broadcast, Fragment, KIND, OfferError, PublishError, PublishRequest, Published, Restarted, SessionError,
    SessionId, SessionInfo, WebRtcConfig,
};
use crate::control::StreamControl;
use crate::decode;
use crate::ice::IceServers;

/// Commands that may wait for a session.
pub(super) const COMMANDS: usize = 16;
/// A session that is told to end has this long to return what it holds before its teller goes on.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Takes WebRTC publishers into a hub, and serves viewers where there is a [`Broadcast`]. Cheap to clone.
///
/// Each session is a task that moves packets and a thread that decodes; both exist only as long as it. The stream
/// begins when its publisher has connected, and ends with its session, unless the publisher takes over with another
/// one before.
#[derive(Clone)]
pub struct WebRtc(pub(super) Arc<Inner>);

pub(super) struct Inner {
    hub: Hub,
    pub(super) config: WebRtcConfig,
    pub(super) ice: IceServers,
    pub(super) network: Network,
    pub(super) broadcast: OnceLock<Arc<dyn Broadcast>>,
    control: OnceLock<Arc<dyn StreamControl>>,
    table: Mutex<Table>,
}

impl WebRtc {
    /// An endpoint that feeds `hub`. `ice` says which STUN and TURN servers its own side uses.
    pub fn new(hub: Hub, config: WebRtcConfig, ice: IceServers) -> Self {
        let network = Network::new(config.network.clone());
        let (control, table) = (OnceLock::new(), Mutex::default());
        let broadcast = OnceLock::new();
        Self(Arc::new(Inner { hub, config, ice, network, broadcast, control, table }))
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

    /// Answers an offer: after this the server waits for the publisher's connectivity checks. Takes at most
    /// [`WebRtcConfig::gather_timeout`] and a little.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is left behind then, nor if the future is dropped.
    pub async fn publish(&self, offer: &str, request: PublishRequest) -> Result<Published, PublishError> {
        let offer = Offer::parse(offer, &self.0.config, decode::supported(), None)?;
        self.answer(offer, request).await
    }

    /// The same, and sends the processed picture back on the same connection if the offer asks for it (`a=sendrecv`, or a
    /// section of its own with `a=recvonly`) and there is a [`Broadcast`]. The answer says whether it does.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub async fn publish_and_view(
        &self,
        offer: &str,
        request: PublishRequest,
    ) -> Result<Published, PublishError> {
        let sendable = self.0.broadcast.get().map(|broadcast| broadcast.codecs());
        let offer = Offer::parse(offer, &self.0.config, decode::supported(), sendable)?;
        self.answer(offer, request).await
    }

    async fn answer(&self, offer: Offer, request: PublishRequest) -> Result<Published, PublishError> {
        let (reply, answer) = oneshot::channel();
        let this = self.clone();
        // In a task of its own: a caller that goes away half-way cannot leave half a session behind, and a panic
        // of the implementation beneath stays there.
        tokio::spawn(async move {
            if let Err(Ok(unclaimed)) = reply.send(this.open(offer, request).await) {
                this.close(&unclaimed.id).await;
            }
        });
        answer.await.unwrap_or_else(|_| {
            Err(OfferError::Unsupported("the offer cannot be processed".to_owned()).into())
        })
    }

    /// Adds the publisher's candidates. `if_match` is the request's `If-Match`, one entity tag with its quotes.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn trickle(
        &self,
        id: &SessionId,
        fragment: Fragment,
        if_match: Option<&str>,
    ) -> Result<(), SessionError> {
        let if_match = if_match.map(str::to_owned);
        self.ask(id, |reply| Command::Trickle { fragment, if_match, reply }).await
    }

    /// Replaces the ICE session, for a publisher that changed networks: `fragment` carries its new credentials.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn restart(&self, id: &SessionId, fragment: Fragment) -> Result<Restarted, SessionError> {
        self.ask(id, |reply| Command::Restart { fragment, reply }).await
    }

    /// Ends a session at once, and its stream unless another session has taken over; false if there is none.
    pub async fn close(&self, id: &SessionId) -> bool {
        let (commands, session) = {
            let mut table = self.table();
            let Some(commands) = table.commands(id) else { return false };
            table.remove_viewer(id);
            (commands, table.get(id))
        };
        // From here on it is unknown, whatever its task still has to do.
        if let Some(session) = session {
            self.forget(id, &session.stream);
        }
        end(commands, "it was told to").await;
        true
    }

    /// The state of a session; `None` if it has ended.
    pub fn session(&self, id: &SessionId) -> Option<SessionInfo> {
        let session = self.table().get(id)?;
        Some(session.info(Instant::now()))
    }

    /// The state of all sessions, oldest first.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let now = Instant::now();
        let mut all: Vec<_> = self.table().all().iter().map(|session| session.info(now)).collect();
        all.sort_by_key(|info| std::cmp::Reverse(info.age));
        all
    }

    /// Refuses new offers and ends every session.
    pub async fn shutdown(&self) {
        let all = {
            let mut table = self.table();
            table.close();
            table.all_commands()
        };
        futures::future::join_all(all.into_iter().map(|session| end(session, "shutting down"))).await;
    }

    async fn ask<T>(
        &self,
        id: &SessionId,
        command: impl FnOnce(oneshot::Sender<Result<T, SessionError>>) -> Command,
    ) -> Result<T, SessionError> {
        let commands = self.table().commands(id).ok_or(SessionError::Unknown)?;
        let (reply, answer) = oneshot::channel();
        commands.send(command(reply)).await.map_err(|_| SessionError::Unknown)?;
        answer.await.unwrap_or(Err(SessionError::Unknown))
    }

    /// Admits a checked offer, answers it and starts its session.
    async fn open(&self, offer: Offer, request: PublishRequest) -> Result<Published, PublishError> {
        let started = Instant::now();
        let id = SessionId::random().ok_or_else(|| PublishError::Network("no random numbers".to_owned()))?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let place = self.reserve(id, &request, commands, started)?;
        let Inner { network, ice, config, .. } = self.0.as_ref();
        let (media, showing) = media(&offer, started)?;
        let (peer, events, answer) = Peer::negotiate(&offer, media, network, &ice.current(), config).await?;
        let published = Published { id, answer: answer.text.clone(), etag: answer.etag.clone() };
        tracing::info!(
            stream = %request.stream,
            after_ms = started.elapsed().as_millis() as u64,
            "WebRTC offer answered",
        );
        let (handle, replaced) = place.keep();
        if let Some(replaced) = replaced {
            let commands = replaced.commands.clone();
            tokio::spawn(async move { end(commands, "its publisher took over with a new session").await });
        }
        let returning = showing.and_then(|showing| self.returning(&handle, &offer, showing));
        let negotiated = Negotiated::new(peer, offer, answer, config.gather_timeout);
        self.start(id, handle, negotiated, events, inbox, returning);
        Ok(published)
    }

    /// What brings the picture back to its publisher.
    fn returning(&self, handle: &Arc<SessionHandle>, offer: &Offer, showing: Showing) -> Option<Returning> {
        let codec = offer.sent.first()?.codec?;
        let (handle, broadcast) = (handle.clone(), self.0.broadcast.get()?.clone());
        Some(Returning { handle, broadcast, codec, changes: self.0.hub.watch(), showing })
    }

    fn start(
        &self,
        id: SessionId,
        handle: Arc<SessionHandle>,
        negotiated: Negotiated,
        events: Events,
        commands: mpsc::Receiver<Command>,
        returning: Option<Returning>,
    ) {
        let stalled_after = self.0.config.stalled_after;
        let output = ToHub {
            hub: self.0.hub.clone(),
            id: handle.stream.clone(),
            patience: Patience { stalled_after, idle_after: None },
            stream: None,
        };
        let control = self.0.control.get().cloned();
        let config = self.0.config.clone();
        let session = Session {
            handle: handle.clone(),
            negotiated,
            events,
            commands,
            config,
            control,
            output: Some(output),
            returning,
        };
        let this = self.clone();
        tokio::spawn(async move {
            let ended = session.run().await;
            this.ended(id, &handle, ended).await;
        });
    }

    async fn ended(&self, id: SessionId, handle: &SessionHandle, ended: Ended) {
        // First the stream, so that its viewers know at once; then what the session held.
        self.forget(&id, &handle.stream);
        let info = handle.info(Instant::now());
        tracing::info!(
            stream = %handle.stream,
            reason = ended.reason,
            after_s = info.age.as_secs(),
            packets = info.counters.packets,
            lost = info.counters.packets_lost,
            pictures = info.counters.frames_decoded,
            "WebRTC session ended",
        );
        ended.clean_up().await;
    }

    /// Removes a session, and ends its stream if it owned that.
    fn forget(&self, id: &SessionId, stream: &StreamId) {
        let mut table = self.table();
        // Under the lock: a publisher that takes over in this moment gets a stream of its own, not one that ends.
        if table.remove(id) && self.0.hub.get(stream).is_some_and(|s| s.kind() == KIND) {
            self.0.hub.end(stream);
        }
    }

    /// Makes room in the table for a session that is about to begin.
    fn reserve(
        &self,
        id: SessionId,
        request: &PublishRequest,
        commands: mpsc::Sender<Command>,
        now: Instant,
    ) -> Result<Place, PublishError> {
        let mut table = self.table();
        let replaced = table.admit(request, &self.0.config, now)?;
        self.check_hub(&table, &request.stream)?;
        let PublishRequest { stream, publisher, address } = request.clone();
        let handle =
            Arc::new(SessionHandle { stream, publisher, address, shared: Shared::new(now), commands });
        table.enter(id, handle.clone());
        Ok(Place { endpoint: self.clone(), id, handle, replaced, kept: false })
    }

    /// Whether the hub would take the stream. It begins later, when its publisher has connected; streams that are
    /// still to begin count, too.
    fn check_hub(&self, table: &Table, stream: &StreamId) -> Result<(), PublishError> {
        let live = self.0.hub.streams().into_iter().filter(|s| !s.pipeline().state().is_over());
        let live: Vec<_> = live.collect();
        if let Some(other) = live.iter().find(|other| other.id() == stream && other.kind() != KIND) {
            return Err(HubError::NameTaken { id: stream.clone(), kind: other.kind() }.into());
        }
        let mut names: BTreeSet<&StreamId> = live.iter().map(|s| s.id()).chain(table.streams()).collect();
        names.insert(stream);
        let limit = self.0.hub.config().max_streams;
        if names.len() > limit { Err(HubError::TooManyStreams { limit }.into()) } else { Ok(()) }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a publisher's connection carries, and what sends to it if its offer asks for that.
fn media(offer: &Offer, now: Instant) -> Result<(Media, Option<Showing>), PublishError> {
    if offer.sent.is_empty() {
        return Ok((Media::received(offer)?, None));
    }
    let sender = Sender::new(offer, now);
    let sender = sender.ok_or_else(|| PublishError::Network("no random numbers".to_owned()))?;
    let (media, estimate) = Media::both_ways(offer, &sender)?;
    Ok((media, Some(Showing::new(sender, estimate, now))))
}

/// Tells a session to end and waits until it has.
async fn end(session: mpsc::Sender<Command>, reason: &'static str) {
    let (done, ended) = oneshot::channel();
    if session.send(Command::Close { reason, done }).await.is_ok()
        && tokio::time::timeout(CLEAN_UP, ended).await.is_err()
    {
        tracing::warn!(reason, "a WebRTC session ends late");
    }
}

/// A session's place in the table while its offer is being answered; given back unless kept.
struct Place {
    endpoint: WebRtc,
    id: SessionId,
    handle: Arc<SessionHandle>,
    /// The session that it takes over from.
    replaced: Option<Arc<SessionHandle>>,
    kept: bool,
}

impl Place {
    fn keep(mut self) -> (Arc<SessionHandle>, Option<Arc<SessionHandle>>) {
        self.kept = true;
        (self.handle.clone(), self.replaced.take())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            self.endpoint.table().abandon(&self.id, self.replaced.as_ref());
        }
    }
}

//! One peer connection: made from a checked offer, answered, and watched.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rtc::peer_connection::configuration::interceptor_registry::Registry;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCDtlsTransportState, RTCIceCandidateInit};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, SettingEngine, SettingEngineBuilder,
};

use super::answer::Answer;
use super::network::{Network, OpenedNetwork};
use super::offer::Offer;
use super::socket::Session as NetworkSession;
use super::viewer::{self, Estimate, Sender};
use super::{NetworkConfig, OfferError, PublishError, WebRtcConfig, codec};
use crate::ice::IceServer;

/// Checks are this far apart: with the implementation's 200 ms it takes 207 ms to connect on loopback, so 31 ms.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Checks of one pair before it counts as failed: 4 s of them.
const CHECKS: u16 = 200;
/// No packet for this long means `disconnected`.
const DISCONNECTED: Duration = Duration::from_secs(3);
/// After this much more consent has expired: 30 s in all (RFC 7675 section 5.1).
const CONSENT: Duration = Duration::from_secs(27);
/// Consent is renewed this often.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Data channels that a peer may open before they are taken up.
const CHANNELS: usize = 4;
/// Tracks likewise.
const TRACKS: usize = 8;
/// Largest message of a data channel; commands are far smaller.
pub(super) const MAX_MESSAGE: usize = 16 * 1024;

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Connecting,
    Connected,
    Disconnected,
    /// Closed, or consent has expired.
    Over,
}

/// A peer connection. It is closed by [`Peer::close`]; dropping it, as a panic does, closes it later.
pub(super) struct Peer {
    connection: Arc<dyn PeerConnection>,
    gathered: watch::Receiver<bool>,
    closed: bool,
    /// Ports and relays of the session, which live as long as it.
    network: Arc<NetworkSession>,
}

/// What a peer connection tells.
pub(super) struct Events {
    pub(super) link: watch::Receiver<Link>,
    pub(super) tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    pub(super) channels: mpsc::Receiver<Arc<dyn DataChannel>>,
}

/// What a connection carries.
pub(super) struct Media {
    pub(super) engine: MediaEngine,
    pub(super) interceptors: Registry,
    /// What we send.
    pub(super) track: Option<Arc<dyn TrackLocal>>,
}

impl Media {
    /// The video of a publisher.
    ///
    /// # Errors
    /// [`PublishError::Offer`] if the implementation beneath does not take what the offer was reduced to.
    pub(super) fn received(offer: &Offer) -> Result<Self, PublishError> {
        let (engine, interceptors) = codec::engine(offer).map_err(unusable)?;
        Ok(Self { engine, interceptors, track: None })
    }

    /// The video of a publisher, and ours back to it, with the estimate of what the way there carries.
    ///
    /// # Errors
    /// As for [`received`](Self::received).
    pub(super) fn both_ways(offer: &Offer, sender: &Sender) -> Result<(Self, Estimate), PublishError> {
        let (engine, interceptors, estimate) = codec::engine_both_ways(offer).map_err(unusable)?;
        Ok((Self { engine, interceptors, track: Some(sender.track()) }, estimate))
    }

    /// Our video for a viewer, and the estimate of what its way carries.
    ///
    /// # Errors
    /// As for [`received`](Self::received).
    pub(super) fn sent(offer: &Offer, sender: &Sender) -> Result<(Self, Estimate), PublishError> {
        let (engine, interceptors, estimate) = viewer::engine(offer).map_err(unusable)?;
        Ok((Self { engine, interceptors, track: Some(sender.track()) }, estimate))
    }
}

fn unusable(error: webrtc::error::Error) -> PublishError {
    OfferError::Unsupported(format!("the offer's formats cannot be used: {error}")).into()
}

struct Handler {
    gathered: watch::Sender<bool>,
    link: watch::Sender<Link>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
    channels: mpsc::Sender<Arc<dyn DataChannel>>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let link = match state {
            RTCPeerConnectionState::Connected => Link::Connected,
            RTCPeerConnectionState::Disconnected => Link::Disconnected,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => Link::Over,
            _ => Link::Connecting,
        };
        self.link.send_if_modified(|now| std::mem::replace(now, link) != link);
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        // The driver waits for this call, so what does not fit is left alone.
        if self.channels.try_send(channel).is_err() {
            tracing::debug!("a data channel too many was ignored");
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        // Nobody polls an audio track: its packets end in a full channel, at no cost.
        if track.kind().await == RtpCodecKind::Video && self.tracks.try_send(track).is_err() {
            tracing::debug!("a video track too many was ignored");
        }
    }
}

impl Peer {
    /// Answers `offer` with a new connection.
    ///
    /// # Errors
    /// [`PublishError::Network`] if no socket can be opened, [`PublishError::Offer`] if the implementation beneath
    /// cannot answer.
    pub(super) async fn negotiate(
        offer: &Offer,
        media: Media,
        network: &Network,
        servers: &[IceServer],
        config: &WebRtcConfig,
    ) -> Result<(Self, Events, Answer), PublishError> {
        let opened = network.open(servers).map_err(|error| PublishError::Network(error.to_string()))?;
        let (peer, events) = Self::open(offer, media, opened, &config.network).await?;
        let refused = |why: String| OfferError::Unsupported(format!("the offer cannot be answered: {why}"));
        let answered = match peer.answer(offer, config.gather_timeout).await {
            Ok(text) => {
                Answer::new(&offer.text, text).ok_or_else(|| refused("not all of its sections".to_owned()))
            }
            Err(error) => Err(refused(error.to_string())),
        };
        match answered {
            Ok(answer) => Ok((peer, events, answer)),
            Err(error) => {
                peer.close().await;
                Err(error.into())
            }
        }
    }

    /// A connection for `offer`; nothing is sent yet.
    async fn open(
        offer: &Offer,
        media: Media,
        network: OpenedNetwork,
        config: &NetworkConfig,
    ) -> Result<(Self, Events), PublishError> {
        let refused = |error: webrtc::error::Error| PublishError::Network(error.to_string());
        let (gathered, has_gathered) = watch::channel(false);
        let (link, links) = watch::channel(Link::Connecting);
        let (track, tracks) = mpsc::channel(TRACKS);
        let (channel, channels) = mpsc::channel(CHANNELS);
        let handler = Handler { gathered, link, tracks: track, channels: channel };
        let Media { engine, interceptors, track } = media;
        let OpenedNetwork { runtime, udp_addrs, servers, session } = network;
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().with_ice_servers(servers).build())
            .with_media_engine(engine)
            .with_interceptor_registry(interceptors)
            .with_setting_engine(settings(offer, config.loopback))
            .with_handler(Arc::new(handler))
            .with_runtime(runtime)
            .with_udp_addrs(udp_addrs)
            .with_data_channel_send_buffer_limit(4 * MAX_MESSAGE)
            .build()
            .await
            .map_err(refused)?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        let peer = Self { connection, gathered: has_gathered, closed: false, network: session };
        if let Some(track) = track
            && let Err(error) = peer.connection.add_track(track).await
        {
            peer.close().await;
            return Err(refused(error));
        }
        Ok((peer, Events { link: links, tracks, channels }))
    }

    /// Answers `offer`; waits for candidates of our own up to `patience`.
    ///
    /// # Errors
    /// What the implementation beneath finds wrong with the offer.
    pub(super) async fn answer(
        &self,
        offer: &Offer,
        patience: Duration,
    ) -> Result<String, webrtc::error::Error> {
        let remote = RTCSessionDescription::offer(offer.text.clone())?;
        self.connection.set_remote_description(remote).await?;
        self.add_candidates(&offer.candidates).await;
        let answer = self.connection.create_answer(None).await?;
        let mut gathered = self.gathered.clone();
        gathered.mark_unchanged();
        self.connection.set_local_description(answer).await?;
        let complete = gathered.wait_for(|complete| *complete);
        let in_time = tokio::time::timeout(patience, complete).await.is_ok();
        if !in_time {
            tracing::info!("answering before all candidates are gathered: a STUN or TURN server is slow");
        }
        let local = self.connection.local_description().await;
        local.map(|local| local.sdp).ok_or(webrtc::error::Error::ErrNoRemoteDescription)
    }

    /// Adds candidates of the peer; those that cannot be used are left out.
    pub(super) async fn add_candidates(&self, candidates: &[String]) {
        for candidate in candidates {
            let init = RTCIceCandidateInit { candidate: candidate.clone(), ..Default::default() };
            if let Err(error) = self.connection.add_ice_candidate(init).await {
                tracing::debug!(%error, "a candidate was left out");
            }
        }
    }

    /// Whether the peer has closed its DTLS association. The implementation tells of it by no event: its connection
    /// state stays `connected` until ICE gets no more answers.
    pub(super) async fn is_closed_by_peer(&self) -> bool {
        let gone = |state| matches!(state, Ok(RTCDtlsTransportState::Closed | RTCDtlsTransportState::Failed));
        for receiver in self.connection.get_receivers().await {
            if let Ok(Some(transport)) = receiver.transport().await {
                return gone(transport.state().await);
            }
        }
        for sender in self.connection.get_senders().await {
            if let Ok(Some(transport)) = sender.transport().await {
                return gone(transport.state().await);
            }
        }
        false
    }

    /// Its sockets and servers.
    pub(super) fn network(&self) -> &NetworkSession {
        &self.network
    }

    /// Candidates and pairs as they are now.
    pub(super) async fn stats(&self, now: std::time::Instant) -> webrtc::peer_connection::RTCStatsReport {
        self.connection.get_stats(now, webrtc::peer_connection::StatsSelector::None).await
    }

    /// Ends the connection and returns what it holds.
    pub(super) async fn close(mut self) {
        self.closed = true;
        close(self.connection.as_ref()).await;
    }
}

/// The settings of a connection that answers `offer`.
pub(super) fn settings(offer: &Offer, loopback: bool) -> SettingEngine {
    // A publisher that insists on beginning the DTLS handshake must be waited for. Any other is answered `active`:
    // that saves a round trip, for the implementation beneath asks for a cookie when it is the server.
    let role = if offer.dtls_client { RTCDtlsRole::Server } else { RTCDtlsRole::Client };
    SettingEngineBuilder::new()
        .with_answering_dtls_role(role)
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS))
        .with_ice_timeouts(Some(DISCONNECTED), Some(CONSENT), Some(KEEPALIVE))
        // These hold back a side that chooses the pair, which is the publisher's part but for ICE-lite ones.
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(Duration::ZERO))
        .with_include_loopback_candidate(loopback)
        // Nothing is asked by multicast: names under `.local` were left out with the other unusable candidates.
        .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_MESSAGE as u32))
        .build()
}

async fn close(connection: &dyn PeerConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection was closed badly");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A connection that is only dropped leaves its task and its sockets behind.
        if !self.closed
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let connection = self.connection.clone();
            runtime.spawn(async move { close(connection.as_ref()).await });
        }
    }
}

/// Asks for key frames; false once the connection is gone.
pub(super) async fn request_keyframes(track: &dyn TrackRemote, ssrcs: &[u32]) -> bool {
    if ssrcs.is_empty() {
        return true;
    }
    let packet = |&media_ssrc| -> Box<dyn rtc::rtcp::Packet> {
        Box::new(PictureLossIndication { sender_ssrc: 0, media_ssrc })
    };
    track.write_rtcp(ssrcs.iter().map(packet).collect()).await.is_ok()
}

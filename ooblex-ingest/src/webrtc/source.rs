//! One publisher as a [`FrameSource`], for programs that have a use for frames but not for a hub.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use ooblex_core::{
    BoxError, BufferPool, Frame, FrameSource, QueuePolicy, QueueReceiver, QueueSender, Sent, SourceError,
    StreamId, queue,
};
use tokio::sync::mpsc;

use super::decoder::Output;
use super::handle::{Command, SessionHandle, Shared};
use super::negotiated::Negotiated;
use super::network::Network;
use super::offer::Offer;
use super::peer::{Media, Peer};
use super::task::Session;
use super::{PublishError, PublisherId, SessionInfo, WebRtcConfig};
use crate::decode;
use crate::ice::IceServer;

/// Pixel buffers that are kept for reuse.
const POOLED: usize = 8;

/// The frames of one WebRTC publisher, from its offer on.
///
/// The newest frame waits and is replaced by the next, so a slow reader sees fewer frames, never old ones. The source
/// ends when the publisher does; dropping it ends the connection.
///
/// ```no_run
/// use ooblex_core::prelude::*;
/// use ooblex_ingest::webrtc::{WebRtcConfig, WebRtcSource};
///
/// # async fn example(offer: String) -> Result<(), BoxError> {
/// let (mut source, answer) = WebRtcSource::answer(&offer, &WebRtcConfig::default(), &[]).await?;
/// // Bring `answer` to the publisher, by whatever way its offer came. Then:
/// while let Some(frame) = source.next_frame().await? {
///     println!("{}x{} after {:?}", frame.image.width(), frame.image.height(), frame.trace.total());
/// }
/// # Ok(())
/// # }
/// ```
pub struct WebRtcSource {
    frames: QueueReceiver<Frame>,
    handle: Arc<SessionHandle>,
    /// The session ends when nobody can command it any more.
    _commands: mpsc::Sender<Command>,
}

impl WebRtcSource {
    /// Answers `offer`: the source, and the SDP that its publisher waits for. Must be called on a Tokio runtime with
    /// I/O and time enabled. Takes up to [`WebRtcConfig::gather_timeout`] where `servers` are slow.
    ///
    /// # Errors
    /// [`PublishError`] for offers that cannot be received, or if no socket can be opened. Limits on the number of
    /// sessions do not apply.
    pub async fn answer(
        offer: &str,
        config: &WebRtcConfig,
        servers: &[IceServer],
    ) -> Result<(Self, String), PublishError> {
        let offer = Offer::parse(offer, config, decode::supported(), None)?;
        let started = Instant::now();
        let network = Network::new(config.network.clone());
        let (peer, events, answer) =
            Peer::negotiate(&offer, Media::received(&offer)?, &network, servers, config).await?;
        let text = answer.text.clone();
        let (commands, inbox) = mpsc::channel(1);
        let handle = Arc::new(SessionHandle {
            stream: StreamId::default(),
            publisher: PublisherId::of_address(Ipv4Addr::UNSPECIFIED.into()),
            address: None,
            shared: Shared::new(started),
            // The source alone commands its session.
            commands: mpsc::channel(1).0,
        });
        let (sender, frames) = queue(QueuePolicy::LatestWins);
        let session = Session {
            handle: handle.clone(),
            negotiated: Negotiated::new(peer, offer, answer, config.gather_timeout),
            events,
            commands: inbox,
            config: config.clone(),
            control: None,
            output: Some(ToQueue(sender)),
            returning: None,
        };
        tokio::spawn(async move { session.run().await.clean_up().await });
        Ok((Self { frames, handle, _commands: commands }, text))
    }

    /// How the connection is.
    pub fn info(&self) -> SessionInfo {
        self.handle.info(Instant::now())
    }
}

#[async_trait]
impl FrameSource for WebRtcSource {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        Ok(self.frames.recv().await)
    }
}

struct ToQueue(QueueSender<Frame>);

impl Output for ToQueue {
    fn open(&mut self) -> Result<BufferPool, BoxError> {
        Ok(BufferPool::new(POOLED))
    }

    fn push(&mut self, frame: Frame) -> bool {
        !matches!(self.0.try_send(frame), Sent::Closed(_))
    }

    fn lost(&mut self) {}
}

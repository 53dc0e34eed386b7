//! What the endpoint holds of a viewer's session.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ooblex_core::StreamId;
use tokio::sync::mpsc;

use super::super::SessionState;
use super::super::handle::Command;
use super::super::report::Route;
use super::{Feedback, ViewerCounters, ViewerInfo};
use crate::decode::VideoCodec;

/// Nothing to send for this long means `stalled`.
const STALLED: Duration = Duration::from_secs(5);

/// One viewer as the endpoint knows it.
pub(in super::super) struct ViewerHandle {
    pub(in super::super) stream: Option<StreamId>,
    pub(in super::super) address: Option<IpAddr>,
    pub(in super::super) codec: VideoCodec,
    pub(in super::super) created: Instant,
    /// To its task.
    pub(in super::super) commands: mpsc::Sender<Command>,
    connected: AtomicBool,
    status: Mutex<ViewerStatus>,
}

/// What is reported, as the session's task saw it last.
#[derive(Clone, Default)]
pub(super) struct ViewerStatus {
    pub(super) disconnected: bool,
    pub(super) ended: bool,
    pub(super) route: Route,
    pub(super) feedback: Feedback,
    pub(super) quality: (u32, u32),
    pub(super) last_picture: Option<Instant>,
    pub(super) counters: ViewerCounters,
}

impl ViewerHandle {
    pub(in super::super) fn new(
        stream: Option<StreamId>,
        address: Option<IpAddr>,
        codec: VideoCodec,
        created: Instant,
        commands: mpsc::Sender<Command>,
    ) -> Self {
        let (connected, status) = (AtomicBool::new(false), Mutex::default());
        Self { stream, address, codec, created, commands, connected, status }
    }

    /// The stream's name, or a word for the one that began last; for the log.
    pub(in super::super) fn name(&self) -> &str {
        self.stream.as_ref().map_or("(newest)", StreamId::as_str)
    }

    /// The viewer is reached; true the first time.
    pub(in super::super) fn on_connected(&self) -> bool {
        !self.connected.swap(true, Ordering::Relaxed)
    }

    pub(in super::super) fn has_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn status(&self) -> MutexGuard<'_, ViewerStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in super::super) fn info(&self, now: Instant) -> ViewerInfo {
        let status = self.status().clone();
        let state = match status.last_picture {
            _ if status.ended => SessionState::Ended,
            _ if !self.has_connected() => SessionState::Connecting,
            _ if status.disconnected => SessionState::Disconnected,
            None => SessionState::Waiting,
            Some(at) if now.saturating_duration_since(at) >= STALLED => SessionState::Stalled,
            Some(_) => SessionState::Live,
        };
        ViewerInfo {
            stream: self.stream.clone(),
            state,
            codec: self.codec,
            quality: status.quality,
            age: now.saturating_duration_since(self.created),
            path: status.route.path,
            failed: status.route.failed,
            servers: status.route.servers,
            held_back: status.route.held_back,
            estimate_kbps: status.feedback.estimate_kbps,
            loss: status.feedback.loss,
            counters: status.counters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_follows_what_was_sent() {
        let start = Instant::now();
        let viewer = ViewerHandle::new(None, None, VideoCodec::Vp8, start, mpsc::channel(1).0);
        let state = |s| viewer.info(start + Duration::from_secs(s)).state;
        assert_eq!(state(0), SessionState::Connecting);
        assert!(viewer.on_connected() && !viewer.on_connected());
        assert_eq!(state(1), SessionState::Waiting);
        viewer.status().last_picture = Some(start + Duration::from_secs(2));
        assert_eq!((state(2), state(7)), (SessionState::Live, SessionState::Stalled));
        viewer.status().disconnected = true;
        assert_eq!(state(3), SessionState::Disconnected);
        viewer.status().ended = true;
        assert_eq!(state(3), SessionState::Ended);
    }
}

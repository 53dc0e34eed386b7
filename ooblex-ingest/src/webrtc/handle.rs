//! What the endpoint holds of a running session: its state and the way to tell it something.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ooblex_core::StreamId;
use tokio::sync::{mpsc, oneshot};

use super::report::Route;
use super::{
    Fragment, PublisherId, Restarted, ReturnInfo, SessionCounters, SessionError, SessionInfo, SessionState,
};
use crate::decode::VideoCodec;

/// Something that a session is told. Every one is answered unless the session ends first.
pub(super) enum Command {
    /// End now.
    Close {
        /// For the log.
        reason: &'static str,
        done: oneshot::Sender<()>,
    },
    Trickle {
        fragment: Fragment,
        if_match: Option<String>,
        reply: oneshot::Sender<Result<(), SessionError>>,
    },
    Restart {
        fragment: Fragment,
        reply: oneshot::Sender<Result<Restarted, SessionError>>,
    },
}

/// One session as the endpoint knows it.
pub(super) struct SessionHandle {
    pub(super) stream: StreamId,
    pub(super) publisher: PublisherId,
    pub(super) address: Option<IpAddr>,
    pub(super) shared: Shared,
    /// To its task.
    pub(super) commands: mpsc::Sender<Command>,
}

impl SessionHandle {
    pub(super) fn info(&self, now: Instant) -> SessionInfo {
        self.shared.info(self.stream.clone(), now)
    }
}

/// What a session's task, its decoding thread and the endpoint share.
pub(super) struct Shared {
    created: Instant,
    /// Milliseconds from `created` to the last packet of the video, plus 1; 0 before the first.
    last_packet: AtomicU64,
    /// Likewise for the last picture.
    last_picture: AtomicU64,
    connected: AtomicBool,
    counters: Counters,
    status: Mutex<Status>,
}

#[derive(Default)]
struct Counters {
    bytes: AtomicU64,
    decoded: AtomicU64,
    skipped: AtomicU64,
    errors: AtomicU64,
}

/// What is reported, as the session's task saw it last.
#[derive(Clone, Default)]
pub(super) struct Status {
    pub(super) disconnected: bool,
    pub(super) ended: bool,
    pub(super) codec: Option<VideoCodec>,
    pub(super) route: Route,
    pub(super) problem: Option<String>,
    pub(super) packets: u64,
    pub(super) packets_lost: u64,
    pub(super) packets_dropped: u64,
    pub(super) frames: u64,
    pub(super) keyframe_requests: u64,
    pub(super) returned: Option<ReturnInfo>,
}

/// Nothing for this long while connected means `stalled` in reports; the stream's own patience says the same.
const STALLED: Duration = Duration::from_secs(5);
/// A publisher that answers no connectivity checks still counts as reached while its packets come: some answer hardly
/// any.
const UNREACHED: Duration = Duration::from_secs(1);

impl Shared {
    pub(super) fn new(created: Instant) -> Self {
        Self {
            created,
            last_packet: AtomicU64::new(0),
            last_picture: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            counters: Counters::default(),
            status: Mutex::default(),
        }
    }

    fn stamp(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.created).as_millis() as u64 + 1
    }

    fn since(&self, stamp: &AtomicU64, now: Instant) -> Option<Duration> {
        let stamp = stamp.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_duration_since(self.created + Duration::from_millis(stamp)))
    }

    pub(super) fn on_packet(&self, now: Instant, bytes: usize) {
        self.last_packet.store(self.stamp(now), Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn on_picture(&self, now: Instant) {
        self.last_picture.store(self.stamp(now), Ordering::Relaxed);
        self.counters.decoded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn on_skipped(&self, count: u64) {
        self.counters.skipped.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn on_decode_error(&self) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The peer is reached; true the first time.
    pub(super) fn on_connected(&self) -> bool {
        !self.connected.swap(true, Ordering::Relaxed)
    }

    pub(super) fn has_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn created(&self) -> Instant {
        self.created
    }

    /// Since the last packet of the video, or since the session began.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        let quiet = self.since(&self.last_packet, now);
        quiet.unwrap_or_else(|| now.saturating_duration_since(self.created))
    }

    pub(super) fn has_picture(&self) -> bool {
        self.last_picture.load(Ordering::Relaxed) > 0
    }

    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn info(&self, stream: StreamId, now: Instant) -> SessionInfo {
        let status = self.status().clone();
        let state = match self.since(&self.last_picture, now) {
            _ if status.ended => SessionState::Ended,
            _ if !self.has_connected() => SessionState::Connecting,
            _ if status.disconnected && self.silent_for(now) >= UNREACHED => SessionState::Disconnected,
            _ if self.silent_for(now) >= STALLED => SessionState::Stalled,
            None => SessionState::Waiting,
            Some(quiet) if quiet >= STALLED => SessionState::Stalled,
            Some(_) => SessionState::Live,
        };
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = SessionCounters {
            bytes: load(&self.counters.bytes),
            packets: status.packets,
            packets_lost: status.packets_lost,
            packets_dropped: status.packets_dropped,
            frames: status.frames,
            frames_decoded: load(&self.counters.decoded),
            frames_skipped: load(&self.counters.skipped),
            decode_errors: load(&self.counters.errors),
            keyframe_requests: status.keyframe_requests,
        };
        SessionInfo {
            stream,
            state,
            codec: status.codec,
            age: now.saturating_duration_since(self.created),
            silent: self.since(&self.last_packet, now),
            path: status.route.path,
            failed: status.route.failed,
            problem: status.problem,
            servers: status.route.servers,
            held_back: status.route.held_back,
            counters,
            returned: status.returned,
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::Arc;

    use super::*;
    use crate::webrtc::PublishRequest;

    /// A session without a task.
    pub(crate) fn handle(request: &PublishRequest, now: Instant) -> Arc<SessionHandle> {
        let PublishRequest { stream, publisher, address } = request.clone();
        let (commands, _) = mpsc::channel(1);
        Arc::new(SessionHandle { stream, publisher, address, shared: Shared::new(now), commands })
    }

    #[test]
    fn the_state_follows_what_has_come() {
        let start = Instant::now();
        let shared = Shared::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        let state = |ms| shared.info(StreamId::default(), at(ms)).state;
        assert_eq!(state(0), SessionState::Connecting);
        assert!(shared.on_connected() && !shared.on_connected());
        assert_eq!(state(20), SessionState::Waiting);
        shared.on_packet(at(30), 1_000);
        assert_eq!(state(40), SessionState::Waiting);
        shared.on_picture(at(50));
        assert_eq!(state(60), SessionState::Live);
        shared.status().disconnected = true;
        assert_eq!(state(70), SessionState::Live, "a publisher that answers no checks, but sends");
        assert_eq!(state(1_030), SessionState::Disconnected);
        shared.status().disconnected = false;
        assert_eq!(state(5_029), SessionState::Live);
        assert_eq!(state(5_030), SessionState::Stalled);
        shared.on_packet(at(6_000), 1_000);
        assert_eq!(state(6_000), SessionState::Stalled, "packets without pictures");
        let info = shared.info(StreamId::default(), at(6_500));
        assert_eq!((info.counters.bytes, info.silent), (2_000, Some(Duration::from_millis(500))));
        shared.status().ended = true;
        assert_eq!(state(6_500), SessionState::Ended);
    }
}

//! The task of one session. It moves packets and never decodes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt as _;
use rtc::rtcp::sender_report::SenderReport;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use super::decoder::{Output, Watched};
use super::handle::{Command, SessionHandle};
use super::negotiated::Negotiated;
use super::peer::{self, Events, Link, Peer};
use super::video::{Arrived, Video};
use super::viewer::Returning;
use super::{WebRtcConfig, channel, reports};
use crate::control::StreamControl;
use crate::live::{DecodeThread, Feedback, Pushed, Units};
use crate::picture::PictureLimits;
use crate::rtp::AssemblerConfig;

/// How often a session looks after itself.
const TICK: Duration = Duration::from_millis(100);
/// Reports are renewed every so many ticks.
const REPORT_TICKS: u32 = 10;
/// A silent publisher is asked for a key frame every so many ticks: harmless, and it shows whether the connection's
/// own task still lives.
const PROBE_TICKS: u32 = 30;
/// Packets that are taken in one go before anything else has its turn.
const BURST: usize = 64;

/// Data channels that are listened to, and the picture on its way back.
const MOST_TASKS: usize = 5;

/// A running session.
pub(super) struct Session<O> {
    pub(super) handle: Arc<SessionHandle>,
    pub(super) negotiated: Negotiated,
    pub(super) events: Events,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) config: WebRtcConfig,
    pub(super) control: Option<Arc<dyn StreamControl>>,
    /// Where pictures go; taken when the decoding thread starts.
    pub(super) output: Option<O>,
    /// What brings the picture back; taken when the connection is there.
    pub(super) returning: Option<Returning>,
}

/// How a session ended, and what is left to do.
pub(super) struct Ended {
    pub(super) reason: String,
    /// Told when everything is returned.
    pub(super) waiting: Option<oneshot::Sender<()>>,
    peer: Peer,
    thread: Option<DecodeThread>,
    tasks: JoinSet<()>,
}

impl Ended {
    /// Returns everything: the decoding thread, sockets, tasks.
    pub(super) async fn clean_up(self) {
        let Self { waiting, peer, thread, mut tasks, .. } = self;
        tasks.abort_all();
        peer.close().await;
        while tasks.join_next().await.is_some() {}
        if let Some(thread) = thread {
            thread.stop().await;
        }
        if let Some(waiting) = waiting {
            let _ = waiting.send(());
        }
    }
}

/// Why the loop ends.
struct Over {
    reason: String,
    waiting: Option<oneshot::Sender<()>>,
}

impl Over {
    fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), waiting: None }
    }
}

struct Running<O> {
    session: Session<O>,
    video: Video,
    units: Units,
    track: Option<Arc<dyn TrackRemote>>,
    thread: Option<DecodeThread>,
    tasks: JoinSet<()>,
    ticks: u32,
}

impl<O: Output> Session<O> {
    /// Runs until the session is over. What it held is in the result, to be returned by [`Ended::clean_up`].
    pub(super) async fn run(self) -> Ended {
        let video = Video::new(&self.negotiated.offer.video, AssemblerConfig::default());
        let mut running = Running {
            session: self,
            video,
            units: Units::default(),
            track: None,
            thread: None,
            tasks: JoinSet::new(),
            ticks: 0,
        };
        let over = running.run().await;
        let Running { session, units, thread, tasks, .. } = running;
        units.close();
        session.handle.shared.status().ended = true;
        Ended { reason: over.reason, waiting: over.waiting, peer: session.negotiated.peer, thread, tasks }
    }
}

impl<O: Output> Running<O> {
    async fn run(&mut self) -> Over {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            match self.turn(&mut tick).await {
                Ok(()) => {}
                Err(over) => return over,
            }
        }
    }

    /// Waits for one thing and deals with it.
    async fn turn(&mut self, tick: &mut tokio::time::Interval) -> Result<(), Over> {
        let wake = self.video.wake_at();
        let feedback = self.thread.as_ref().map(|thread| thread.feedback().clone());
        let track = self.track.clone();
        tokio::select! {
            event = poll(track.as_deref()), if track.is_some() => {
                // Whatever waits already costs no further wake-up.
                let mut next = event;
                for _ in 0..BURST {
                    self.track_event(next)?;
                    match poll(track.as_deref()).now_or_never() {
                        Some(event) => next = event,
                        None => break,
                    }
                }
            }
            changed = self.session.events.link.changed() => {
                let link = *self.session.events.link.borrow_and_update();
                self.link_changed(if changed.is_ok() { link } else { Link::Over }).await?;
            }
            Some(track) = self.session.events.tracks.recv(), if self.track.is_none() => {
                self.track = Some(track);
            }
            Some(data) = self.session.events.channels.recv() => {
                if let Some(control) = &self.session.control
                    && self.tasks.len() < MOST_TASKS
                {
                    let stream = self.session.handle.stream.clone();
                    self.tasks.spawn(channel::serve(data, stream, control.clone()));
                }
            }
            Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            command = self.session.commands.recv() => self.command(command).await?,
            () = wait(feedback.as_deref()), if feedback.is_some() => self.heed()?,
            () = until(wake), if wake.is_some() => {}
            _ = tick.tick() => self.tick().await?,
        }
        self.forward().await
    }

    /// Hands whole access units to the decoding thread and asks for key frames.
    async fn forward(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        while let Some(unit) = self.video.pop(now) {
            match self.units.push(unit, now) {
                Pushed::Queued | Pushed::Restarted(0) => {}
                Pushed::Restarted(dropped) => self.session.handle.shared.on_skipped(dropped),
                Pushed::Behind(dropped) => {
                    self.session.handle.shared.on_skipped(dropped);
                    self.video.require_keyframe();
                }
            }
        }
        let Some(track) = &self.track else { return Ok(()) };
        let ask = self.video.take_requests(now);
        if peer::request_keyframes(track.as_ref(), &ask).await {
            Ok(())
        } else {
            Err(Over::because("the connection is gone"))
        }
    }

    fn track_event(&mut self, event: Option<TrackRemoteEvent>) -> Result<(), Over> {
        let now = Instant::now();
        match event {
            Some(TrackRemoteEvent::OnRtpPacket(packet)) => {
                let header = &packet.header;
                let orientation =
                    self.session.negotiated.offer.orientation.and_then(|id| header.get_extension(id));
                self.session.handle.shared.on_packet(now, packet.payload.len());
                let arrived = Arrived {
                    ssrc: header.ssrc,
                    payload_type: header.payload_type,
                    sequence: header.sequence_number,
                    timestamp: header.timestamp,
                    marker: header.marker,
                    orientation: orientation.and_then(|bytes| bytes.first().copied()),
                    payload: packet.payload,
                };
                self.video.push(arrived, now);
            }
            Some(TrackRemoteEvent::OnRtcpPacket(packets)) => {
                let reports = packets.iter().filter_map(|p| p.as_any().downcast_ref::<SenderReport>());
                for report in reports {
                    if let Some(clock) = reports::clock(report, SystemTime::now()) {
                        self.video.clock(report.ssrc, clock);
                    }
                }
            }
            Some(TrackRemoteEvent::OnEnded) => self.track = None,
            Some(_) => {}
            None => return Err(Over::because("the connection is gone")),
        }
        Ok(())
    }

    async fn link_changed(&mut self, link: Link) -> Result<(), Over> {
        let handle = &self.session.handle;
        handle.shared.status().disconnected = link == Link::Disconnected;
        match link {
            Link::Connected => {
                if handle.shared.on_connected() {
                    let after_ms = handle.shared.created().elapsed().as_millis() as u64;
                    tracing::info!(stream = %handle.stream, after_ms, "WebRTC publisher connected");
                }
                self.start_thread()?;
                if let Some(returning) = self.session.returning.take() {
                    self.tasks.spawn(returning.run());
                }
                self.report().await;
            }
            Link::Disconnected => {
                tracing::debug!(stream = %handle.stream, "WebRTC publisher answers no connectivity checks");
                if self.session.negotiated.peer.is_closed_by_peer().await {
                    return Err(Over::because("the publisher closed the connection"));
                }
            }
            Link::Over if handle.shared.has_connected() => {
                return Err(Over::because("the publisher's consent has expired"));
            }
            Link::Over => {
                self.report().await;
                return Err(Over::because("no way to the publisher was found"));
            }
            Link::Connecting => {}
        }
        Ok(())
    }

    fn start_thread(&mut self) -> Result<(), Over> {
        let Some(output) = self.session.output.take() else { return Ok(()) };
        let handle = &self.session.handle;
        let (stream, limits) = (handle.stream.clone(), PictureLimits::default());
        let output = Watched::new(handle.clone(), output);
        let thread = DecodeThread::start("webrtc-decode", stream, limits, self.units.clone(), output);
        self.thread =
            Some(thread.map_err(|error| Over::because(format!("no thread to decode on: {error}")))?);
        Ok(())
    }

    /// Does what the decoding thread wants.
    fn heed(&mut self) -> Result<(), Over> {
        let Some(thread) = &self.thread else { return Ok(()) };
        if let Some(why) = thread.feedback().over() {
            return Err(Over::because(why));
        }
        if thread.feedback().take_keyframe() {
            self.video.require_keyframe();
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), Over> {
        self.ticks = self.ticks.wrapping_add(1);
        let now = Instant::now();
        let shared = &self.session.handle.shared;
        if !shared.has_connected() {
            if now.saturating_duration_since(shared.created()) >= self.session.config.connect_timeout {
                self.report().await;
                return Err(Over::because("the publisher never connected"));
            }
        } else if shared.silent_for(now) >= TICK {
            // A peer that closes says so, but the implementation only notes it; see there.
            if self.session.negotiated.peer.is_closed_by_peer().await {
                return Err(Over::because("the publisher closed the connection"));
            }
            if self.ticks.is_multiple_of(PROBE_TICKS) {
                self.video.ask_anyway();
            }
        }
        if self.ticks.is_multiple_of(REPORT_TICKS) {
            self.report().await;
        }
        Ok(())
    }

    async fn command(&mut self, command: Option<Command>) -> Result<(), Over> {
        match command {
            Some(Command::Close { reason, done }) => {
                return Err(Over { reason: reason.to_owned(), waiting: Some(done) });
            }
            Some(Command::Trickle { fragment, if_match, reply }) => {
                let _ = reply.send(self.session.negotiated.trickle(&fragment, if_match.as_deref()).await);
            }
            Some(Command::Restart { fragment, reply }) => {
                let restarted = self.session.negotiated.restart(&fragment).await;
                if restarted.is_ok() {
                    tracing::info!(stream = %self.session.handle.stream, "WebRTC publisher restarted ICE");
                }
                let _ = reply.send(restarted);
            }
            None => return Err(Over::because("nobody holds it any more")),
        }
        Ok(())
    }

    /// Renews what is reported about the session.
    async fn report(&mut self) {
        let stats = self.session.negotiated.peer.stats(Instant::now()).await;
        let discarded = stats.inbound_rtp_streams().map(|stream| stream.packets_discarded).sum();
        let counts = self.video.counts();
        let mut status = self.session.handle.shared.status();
        let negotiated = &self.session.negotiated;
        status.route.renew(&stats, negotiated.peer.network(), &negotiated.offer.candidates);
        status.codec = self.video.codec().or(status.codec);
        status.packets = counts.packets;
        status.packets_lost = counts.lost;
        status.packets_dropped = discarded;
        status.frames = counts.frames;
        status.keyframe_requests = counts.requests;
    }
}

async fn poll(track: Option<&dyn TrackRemote>) -> Option<TrackRemoteEvent> {
    match track {
        Some(track) => track.poll().await,
        None => std::future::pending().await,
    }
}

async fn wait(feedback: Option<&Feedback>) {
    match feedback {
        Some(feedback) => feedback.changed().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

//! The task of one viewer's session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::super::handle::Command;
use super::super::negotiated::Negotiated;
use super::super::peer::{Events, Link};
use super::listen::Heard;
use super::{Feed, FeedPicture, Showing, ViewerHandle};

/// How often a session looks after itself.
const TICK: Duration = Duration::from_millis(100);
/// The feed is told about the way every so many ticks.
const FEEDBACK_TICKS: u32 = 5;
/// Reports, ours and those to the viewer, every so many ticks.
const REPORT_TICKS: u32 = 10;

/// A running session.
pub(in super::super) struct Viewing {
    pub(in super::super) handle: Arc<ViewerHandle>,
    pub(in super::super) negotiated: Negotiated,
    pub(in super::super) events: Events,
    pub(in super::super) commands: mpsc::Receiver<Command>,
    pub(in super::super) showing: Showing,
    pub(in super::super) feed: Box<dyn Feed>,
    /// A session that has not connected after this long is removed.
    pub(in super::super) connect_timeout: Duration,
}

/// How a session ended.
pub(in super::super) struct Ended {
    pub(in super::super) reason: &'static str,
    /// Told when everything is returned.
    waiting: Option<oneshot::Sender<()>>,
    negotiated: Negotiated,
}

impl Ended {
    /// Closes the connection.
    pub(in super::super) async fn clean_up(self) {
        self.negotiated.peer.close().await;
        if let Some(waiting) = self.waiting {
            let _ = waiting.send(());
        }
    }
}

/// Why the loop ends.
struct Over(&'static str, Option<oneshot::Sender<()>>);

impl Over {
    fn because(reason: &'static str) -> Self {
        Self(reason, None)
    }
}

impl Viewing {
    /// Runs until the session is over.
    pub(in super::super) async fn run(mut self) -> Ended {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = 0u32;
        let Over(reason, waiting) = loop {
            let connected = self.handle.has_connected();
            let turn = tokio::select! {
                changed = self.events.link.changed() => {
                    let link = *self.events.link.borrow_and_update();
                    self.link_changed(if changed.is_ok() { link } else { Link::Over }).await
                }
                command = self.commands.recv() => self.command(command).await,
                heard = self.showing.heard(), if connected => self.heed(heard),
                picture = self.feed.next(), if connected => self.show(picture).await,
                _ = tick.tick() => {
                    ticks = ticks.wrapping_add(1);
                    self.tick(ticks).await
                }
            };
            if let Err(over) = turn {
                break over;
            }
        };
        self.handle.status().ended = true;
        Ended { reason, waiting, negotiated: self.negotiated }
    }

    async fn link_changed(&mut self, link: Link) -> Result<(), Over> {
        self.handle.status().disconnected = link == Link::Disconnected;
        match link {
            Link::Connected => {
                if self.handle.on_connected() {
                    let after_ms = self.handle.created.elapsed().as_millis() as u64;
                    tracing::info!(stream = self.handle.name(), after_ms, "WebRTC viewer connected");
                }
                self.report().await;
                Ok(())
            }
            Link::Disconnected if self.negotiated.peer.is_closed_by_peer().await => {
                Err(Over::because("the viewer closed the connection"))
            }
            Link::Over if self.handle.has_connected() => {
                Err(Over::because("the viewer's consent has expired"))
            }
            Link::Over => Err(Over::because("no way to the viewer was found")),
            Link::Disconnected | Link::Connecting => Ok(()),
        }
    }

    async fn command(&mut self, command: Option<Command>) -> Result<(), Over> {
        match command {
            Some(Command::Close { reason, done }) => return Err(Over(reason, Some(done))),
            Some(Command::Trickle { fragment, if_match, reply }) => {
                let _ = reply.send(self.negotiated.trickle(&fragment, if_match.as_deref()).await);
            }
            Some(Command::Restart { fragment, reply }) => {
                let _ = reply.send(self.negotiated.restart(&fragment).await);
            }
            None => return Err(Over::because("nobody holds it any more")),
        }
        Ok(())
    }

    async fn show(&mut self, picture: Option<FeedPicture>) -> Result<(), Over> {
        let Some(picture) = picture else { return Err(Over::because("the stream has ended")) };
        if !self.showing.show(&picture).await {
            return Err(Over::because("the connection is gone"));
        }
        let mut status = self.handle.status();
        status.last_picture = Some(Instant::now());
        status.counters = self.showing.counters();
        Ok(())
    }

    fn heed(&mut self, heard: Option<Heard>) -> Result<(), Over> {
        let Some(heard) = heard else { return Err(Over::because("the connection is gone")) };
        self.showing.heed(&heard, Some(&mut *self.feed), Instant::now());
        Ok(())
    }

    async fn tick(&mut self, ticks: u32) -> Result<(), Over> {
        let now = Instant::now();
        if !self.handle.has_connected() {
            let age = now.saturating_duration_since(self.handle.created);
            let late = age >= self.connect_timeout;
            return if late { Err(Over::because("the viewer never connected")) } else { Ok(()) };
        }
        if ticks.is_multiple_of(FEEDBACK_TICKS) {
            // A peer that closes says so, but the implementation only notes it; see there.
            if self.negotiated.peer.is_closed_by_peer().await {
                return Err(Over::because("the viewer closed the connection"));
            }
            let feedback = self.showing.feedback(now);
            self.feed.heed(&feedback, now);
            let mut status = self.handle.status();
            status.feedback = feedback;
            status.quality = self.feed.quality();
            status.counters = self.showing.counters();
        }
        if ticks.is_multiple_of(REPORT_TICKS) {
            self.showing.report(now).await;
            self.report().await;
        }
        Ok(())
    }

    /// Renews what is reported about the session.
    async fn report(&mut self) {
        let stats = self.negotiated.peer.stats(Instant::now()).await;
        let Negotiated { peer, offer, .. } = &self.negotiated;
        self.handle.status().route.renew(&stats, peer.network(), &offer.candidates);
    }
}

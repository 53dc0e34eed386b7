//! What a tunnel lets through: the answering side, which only those who know a number of the moment get to see.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::nonce::nonce;

/// The stream of the probe waits so long to hear that its beginning has arrived.
const WAITS: Duration = Duration::from_secs(5);
/// Bytes of randomness in a number.
const NONCE: usize = 16;

/// What is asked for; each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A stream, like MJPEG.
    Stream,
    /// A WebSocket.
    Socket,
    /// A page, as a browser asks for it.
    Page,
}

impl Step {
    pub(super) const ALL: [Self; 3] = [Self::Stream, Self::Socket, Self::Page];

    /// Its name in a path.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Socket => "socket",
            Self::Page => "page",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == name)
    }
}

/// The probe that is under way, if one is.
#[derive(Debug, Default)]
pub(super) struct Probes(Mutex<Option<Open>>);

#[derive(Debug)]
struct Open {
    nonce: String,
    left: Vec<Step>,
    progress: Arc<watch::Sender<Progress>>,
}

/// How far the stream of a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Open,
    /// Its beginning has arrived while it was open.
    Seen,
    /// It was ended without anybody having said so.
    GivenUp,
}

impl Probes {
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a probe; one before it is over. `None` if the system has no randomness.
    pub(super) fn begin(&self) -> Option<Ticket> {
        let nonce = nonce::<NONCE>()?;
        let progress = Arc::new(watch::Sender::new(Progress::Open));
        let open = Open { nonce: nonce.clone(), left: Step::ALL.to_vec(), progress: progress.clone() };
        *self.lock() = Some(open);
        Some(Ticket { nonce, progress })
    }

    /// Ends what was begun.
    pub(super) fn end(&self) {
        *self.lock() = None;
    }

    /// What to answer; `None` if nothing was asked.
    pub(super) fn take(&self, nonce: &str, step: Step) -> Option<Answer> {
        let mut open = self.lock();
        let open = open.as_mut().filter(|open| open.nonce == nonce)?;
        let at = open.left.iter().position(|left| *left == step)?;
        open.left.remove(at);
        Some(Answer(open.progress.clone()))
    }
}

/// Who probes.
pub(super) struct Ticket {
    pub(super) nonce: String,
    progress: Arc<watch::Sender<Progress>>,
}

impl Ticket {
    /// The beginning of the stream has arrived: whether the stream was still open.
    pub(super) fn seen(&self) -> bool {
        self.progress.send_if_modified(|progress| {
            let is_open = *progress == Progress::Open;
            if is_open {
                *progress = Progress::Seen;
            }
            is_open
        })
    }
}

/// Leave to answer one request of a probe.
pub(crate) struct Answer(Arc<watch::Sender<Progress>>);

impl Answer {
    /// Waits until the beginning of the stream has arrived, or long enough.
    pub(crate) async fn seen(self) {
        let mut progress = self.0.subscribe();
        let arrived = progress.wait_for(|progress| *progress == Progress::Seen);
        if tokio::time::timeout(WAITS, arrived).await.is_err() {
            self.0.send_if_modified(|progress| {
                let is_open = *progress == Progress::Open;
                if is_open {
                    *progress = Progress::GivenUp;
                }
                is_open
            });
        }
    }
}

/// What was found out about a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    /// Whether the server was reached by its public address.
    pub(super) reached: bool,
    /// Whether WebSockets pass; unknown if the server was not reached.
    pub(super) websocket: Option<bool>,
    /// Whether the beginning of a streamed answer arrives before its end.
    pub(super) stream: Option<bool>,
    /// Whether browsers are shown a page of the tunnel's own first.
    pub(super) interstitial: Option<bool>,
    /// What is wrong, for people.
    pub(super) reasons: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_good_for_each_step_once() {
        let probes = Probes::default();
        assert!(probes.take("", Step::Page).is_none());
        let ticket = probes.begin().expect("randomness");
        assert_eq!(ticket.nonce.len(), 32);
        assert!(probes.take("00000000000000000000000000000000", Step::Page).is_none());
        for step in Step::ALL {
            assert!(probes.take(&ticket.nonce, step).is_some(), "{step:?}");
            assert!(probes.take(&ticket.nonce, step).is_none(), "{step:?} again");
        }
        let next = probes.begin().expect("randomness");
        assert_ne!(next.nonce, ticket.nonce);
        probes.end();
        assert!(probes.take(&next.nonce, Step::Page).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_counts_as_seen_only_while_it_is_open() {
        let probes = Probes::default();
        let ticket = probes.begin().expect("randomness");
        let answer = probes.take(&ticket.nonce, Step::Stream).expect("a number");
        assert!(ticket.seen());
        answer.seen().await;
        let ticket = probes.begin().expect("randomness");
        let answer = probes.take(&ticket.nonce, Step::Stream).expect("a number");
        answer.seen().await;
        assert!(!ticket.seen(), "nobody said so in time");
    }
}

//! Switching effects for a publisher: one at a time, and of those that wait only the last.

use std::sync::Arc;

use ooblex_core::StreamId;
use ooblex_http::Problem;
use ooblex_ingest::control::{Chosen, StreamControl};
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

/// A wish of a publisher.
pub(super) struct Wish {
    pub(super) effect: String,
    pub(super) params: Map<String, Value>,
    pub(super) id: Value,
}

/// What came of a wish.
pub(super) struct Switched {
    pub(super) id: Value,
    pub(super) outcome: Result<Chosen, Problem>,
}

pub(super) struct Effects {
    control: Arc<dyn StreamControl>,
    stream: StreamId,
    running: Option<JoinHandle<Switched>>,
    waiting: Option<Wish>,
}

impl Effects {
    pub(super) fn new(control: Arc<dyn StreamControl>, stream: StreamId) -> Self {
        Self { control, stream, running: None, waiting: None }
    }

    /// Takes a wish; gives back the one that it replaces.
    pub(super) fn wish(&mut self, wish: Wish) -> Option<Switched> {
        if self.running.is_none() {
            self.begin(wish);
            return None;
        }
        self.waiting.replace(wish).map(|replaced| {
            let problem =
                Problem::new(409, "superseded", "a later effect was chosen before this one could be");
            Switched { id: replaced.id, outcome: Err(problem) }
        })
    }

    /// What came of the wish that is worked on. Cancel-safe.
    pub(super) async fn done(&mut self) -> Switched {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let switched = running.await.unwrap_or_else(|_| Switched {
            id: Value::Null,
            outcome: Err(Problem::new(500, "internal", "choosing the effect failed; the log says why")),
        });
        self.running = None;
        if let Some(next) = self.waiting.take() {
            self.begin(next);
        }
        switched
    }

    fn begin(&mut self, wish: Wish) {
        let (control, stream) = (self.control.clone(), self.stream.clone());
        self.running = Some(tokio::spawn(async move {
            let Wish { effect, params, id } = wish;
            Switched { id, outcome: control.set_effect(&stream, &effect, params).await }
        }));
    }
}

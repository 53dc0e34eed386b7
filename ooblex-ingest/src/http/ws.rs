//! `GET /ws/upload`: one picture a binary message, one reply each.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use ooblex_core::pipeline::Pushed;
use ooblex_core::{DropReason, StreamId};
use ooblex_http::Problem;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::Target;
use super::publish::Publisher;

/// A peer from which nothing came for this long, not even a pong, is gone.
const IDLE: Duration = Duration::from_secs(60);
const PING_EVERY: Duration = Duration::from_secs(20);
/// A peer that does not take a reply for this long is gone.
const STALLED: Duration = Duration::from_secs(10);
/// How long the closing handshake may take.
const CLOSING: Duration = Duration::from_secs(1);
/// Messages looked at in one turn, so that a flood of small ones cannot keep replies from being sent.
const MAX_AT_ONCE: usize = 32;
/// A message up to this many times too large is still read, so that the peer gets to see why it is refused.
const READ_LIMITS: usize = 2;

/// RFC 6455 section 7.4.1, and the registry of close codes.
mod code {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const SIZE: u16 = 1009;
    pub(super) const TRY_LATER: u16 = 1013;
}

pub(super) async fn upload(
    State(publisher): State<Publisher>,
    Target(id): Target,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|e| Problem::new(400, "not_a_websocket", e.body_text().to_lowercase()))?;
    let limit = publisher.limits.max_bytes;
    let upgrade = upgrade.max_message_size(limit).max_frame_size(limit.saturating_mul(READ_LIMITS));
    Ok(upgrade.on_upgrade(move |socket| Session { publisher, id, socket }.run()))
}

struct Session {
    publisher: Publisher,
    id: StreamId,
    socket: WebSocket,
}

/// Why a session ends.
enum End {
    /// The peer is gone or has closed.
    Gone,
    /// It is closed with this code and reason.
    Close(u16, String),
}

/// What came in one turn.
#[derive(Default)]
struct Turn {
    newest: Option<Bytes>,
    superseded: usize,
    texts: usize,
    end: Option<End>,
}

impl Session {
    async fn run(mut self) {
        let End::Close(code, reason) = self.serve().await else { return };
        tracing::debug!(stream = %self.id, code, %reason, "upload socket closed");
        let frame = CloseFrame { code, reason: reason.into() };
        let closing = async {
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        let _ = timeout(CLOSING, closing).await;
    }

    async fn serve(&mut self) -> End {
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let first = tokio::select! {
                message = self.socket.recv() => message,
                _ = ping.tick() => {
                    if heard.elapsed() >= IDLE {
                        return End::Close(code::GOING_AWAY, format!("silent for {} s", IDLE.as_secs()));
                    }
                    if let Err(end) = self.send(Message::Ping(Bytes::new())).await {
                        return end;
                    }
                    continue;
                }
            };
            heard = Instant::now();
            let turn = self.gather(first);
            if let Err(end) = self.answer(turn).await {
                return end;
            }
        }
    }

    /// Takes further messages that have arrived already: of several pictures only the newest is worth its work.
    fn gather(&mut self, first: Option<Result<Message, axum::Error>>) -> Turn {
        let mut turn = Turn::default();
        let mut next = Some(first);
        for _ in 0..MAX_AT_ONCE {
            let Some(message) = next.take().or_else(|| self.socket.recv().now_or_never()) else { break };
            match message {
                Some(Ok(Message::Binary(data))) => {
                    turn.superseded += usize::from(turn.newest.replace(data).is_some());
                }
                Some(Ok(Message::Text(_))) => turn.texts += 1,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => turn.end = Some(End::Gone),
                Some(Err(error)) => turn.end = Some(self.failed(&error)),
            }
            if turn.end.is_some() {
                break;
            }
        }
        turn
    }

    fn failed(&self, error: &axum::Error) -> End {
        // axum does not export the error type of its WebSocket library; a test holds this text in place.
        if error.to_string().starts_with("Space limit exceeded") {
            let limit = self.publisher.limits.max_bytes;
            return End::Close(code::SIZE, format!("a message may have {limit} bytes"));
        }
        End::Gone
    }

    /// Replies to everything that came in one turn, in order, the newest picture last.
    async fn answer(&mut self, turn: Turn) -> Result<(), End> {
        for _ in 0..turn.texts {
            let detail = "a text message came; send each picture as one binary message";
            self.reply(error(&Problem::new(400, "not_a_picture", detail))).await?;
        }
        for _ in 0..turn.superseded {
            self.reply(json!({"type": "ack", "seq": null, "dropped": true})).await?;
        }
        if let Some(data) = turn.newest {
            self.publish(data).await?;
        }
        // Counted last: the first pictures of a stream may come before there is one.
        if let Some(stream) = self.publisher.hub.get(&self.id) {
            for _ in 0..turn.superseded {
                stream.pipeline().input().lost(DropReason::Superseded);
            }
        }
        turn.end.map_or(Ok(()), Err)
    }

    async fn publish(&mut self, data: Bytes) -> Result<(), End> {
        let problem = match self.publisher.publish(&self.id, data, None).await {
            Ok(Pushed::Queued(seq)) => return self.reply(json!({"type": "ack", "seq": seq})).await,
            Ok(Pushed::Dropped(seq, _)) => {
                return self.reply(json!({"type": "ack", "seq": seq, "dropped": true})).await;
            }
            Ok(other) => return self.reply(json!({"type": "ack", "seq": other.sequence()})).await,
            Err(problem) => problem,
        };
        self.reply(error(&problem)).await?;
        match problem.status().as_u16() {
            429 => Err(End::Close(code::TRY_LATER, problem.detail().to_owned())),
            409 => Err(End::Close(code::POLICY, problem.detail().to_owned())),
            503 => Err(End::Close(code::GOING_AWAY, problem.detail().to_owned())),
            _ => Ok(()),
        }
    }

    async fn reply(&mut self, reply: Value) -> Result<(), End> {
        self.send(Message::Text(reply.to_string().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(STALLED, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// A problem document as a reply: its `type` gives way to that of the reply.
fn error(problem: &Problem) -> Value {
    let mut value = problem.to_value();
    value["type"] = "error".into();
    value
}

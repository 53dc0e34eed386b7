//! One socket from its hello to its close. It moves messages; pictures are decoded and encoded elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::SplitStream;
use ooblex_http::{Allowance, Problem};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::Shared;
use super::begin::{self, Agreed, Entry, Refused};
use super::climb::Limits;
use super::effects::{Effects, Switched, Wish};
use super::limits::{TEXTS_A_SECOND, texts};
use super::outbox::{Outbox, Stuck};
use super::publish::{Became, Publish, Reply};
use super::view::{Seen, View, micros};
use crate::protocol::{ClientMessage, Close, CloseCode, HEADER_LEN, Header, ServerMessage, problem_text};

/// How often a session looks after itself.
const TICK: Duration = Duration::from_millis(100);
/// Statistics are sent every so many ticks.
const STATS_TICKS: u32 = 10;
/// A client is asked for a sign of life every so many ticks, and the first time at once.
const PING_TICKS: u32 = 100;
/// A client from which nothing came for this long is gone.
const IDLE: Duration = Duration::from_secs(30);
/// A picture that waits behind a message that has not left for this long is too late.
const LATE: Duration = Duration::from_millis(50);
/// How long the closing handshake may take.
const CLOSING: Duration = Duration::from_secs(1);

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client is gone; whether it said so.
    Gone { ended: bool },
    /// It is closed.
    Close(Close),
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

impl From<Stuck> for End {
    fn from(_: Stuck) -> Self {
        Self::Gone { ended: false }
    }
}

/// What an error of the WebSocket library means. Its type is not exported; tests hold these texts in place.
pub(super) fn failed(error: &axum::Error) -> End {
    let text = error.to_string();
    if text.starts_with("Space limit exceeded") {
        Close::new(CloseCode::Size, "the message is too large; see max_bytes in welcome").into()
    } else if text.starts_with("UTF-8") {
        Close::new(CloseCode::Text, "a text message is not UTF-8").into()
    } else {
        End::Gone { ended: false }
    }
}

fn stopped() -> End {
    Close::new(CloseCode::Restart, "the server ends; connect again").into()
}

/// Serves one socket.
pub(super) async fn serve(shared: Arc<Shared>, entry: Entry, mut socket: WebSocket) {
    let config = &shared.config;
    let seat = shared.seats.take(entry.caller, config.max_sessions, config.max_sessions_per_caller);
    let seat = match seat {
        Ok(seat) => seat,
        Err(limit) => {
            let reason = format!("{limit} live connections are open, the limit; close one, or try later");
            return close(&mut socket, &Close::new(CloseCode::TryLater, reason)).await;
        }
    };
    let mut stopping = shared.stopping.subscribe();
    let said = tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => Err(Refused::End(stopped())),
        said = begin::hello(&mut socket, config.hello_within) => said,
    };
    let agreed = match said {
        Ok(hello) => begin::agree(&shared, &entry, hello).await,
        Err(refused) => Err(refused),
    };
    match agreed {
        Ok(agreed) => Session::new(shared.clone(), socket, agreed).run().await,
        Err(refused) => {
            shared.counters.refused.increment();
            refuse(&mut socket, refused).await;
        }
    }
    drop(seat);
}

async fn refuse(socket: &mut WebSocket, refused: Refused) {
    let reason = match refused {
        Refused::End(End::Gone { .. }) => return,
        Refused::End(End::Close(reason)) => reason,
        Refused::Problem(problem) => {
            let text = problem_text(&problem, &Value::Null);
            if !matches!(timeout(CLOSING, socket.send(Message::Text(text.into()))).await, Ok(Ok(()))) {
                return;
            }
            Close::new(code_of(&problem), problem.detail())
        }
    };
    close(socket, &reason).await;
}

/// How a socket is closed for a problem.
fn code_of(problem: &Problem) -> CloseCode {
    match problem.status().as_u16() {
        404 => CloseCode::Normal,
        422 if problem.code() == "no_common_kind" => CloseCode::Kind,
        429 => CloseCode::TryLater,
        503 if problem.code() == "shutting_down" => CloseCode::Restart,
        500.. => CloseCode::Failed,
        _ => CloseCode::Policy,
    }
}

async fn close(socket: &mut WebSocket, close: &Close) {
    let frame = CloseFrame { code: close.code.number(), reason: close.reason().into() };
    let closing = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = timeout(CLOSING, closing).await;
}

struct Session {
    shared: Arc<Shared>,
    inbound: SplitStream<WebSocket>,
    outbox: Outbox,
    publish: Option<Publish>,
    view: Option<View>,
    effects: Option<Effects>,
    texts: Allowance,
    tick: Interval,
    ticks: u32,
    streams: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    begun: Instant,
    heard: Instant,
    /// Ends when the session does.
    _viewing: Option<Viewing>,
}

/// Counts a viewer as long as it lives.
struct Viewing(Arc<Shared>);

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.viewing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a session waits for.
enum Happened {
    Message(Option<Result<Message, axum::Error>>),
    Written(Result<(), Stuck>),
    Became(Option<Became>),
    Feedback,
    Seen(Seen),
    Switched(Switched),
    Streams,
    Tick,
    TakenOver,
    Stopping,
}

impl Session {
    fn new(shared: Arc<Shared>, socket: WebSocket, agreed: Agreed) -> Self {
        let Agreed { publish, view, effects, welcome } = agreed;
        let (sink, inbound) = socket.split();
        let now = Instant::now();
        let mut outbox = Outbox::new(sink);
        // Invariant: it is empty.
        let _ = outbox.push(Message::Text(welcome.to_text().into()), now);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let viewing = view.as_ref().map(|_| {
            shared.viewing.fetch_add(1, Ordering::Relaxed);
            Viewing(shared.clone())
        });
        Self {
            streams: shared.hub.watch(),
            stopping: shared.stopping.subscribe(),
            shared,
            inbound,
            outbox,
            publish,
            view,
            effects,
            texts: texts(now),
            tick,
            ticks: 0,
            begun: now,
            heard: now,
            _viewing: viewing,
        }
    }

    async fn run(mut self) {
        // Before the publisher's first picture is read, so that the viewer sees it.
        let mut going = self.attach();
        let end = loop {
            match going {
                Ok(()) => going = self.turn().await,
                Err(end) => break end,
            }
        };
        // When the server stops, streams end; of the two reasons that a viewer may hear first, this is the one to tell.
        let end = match end {
            End::Close(_) if *self.stopping.borrow() => stopped(),
            end => end,
        };
        // Encoders need not wait for the close.
        self.view = None;
        let ended = match &end {
            End::Gone { ended } => *ended,
            End::Close(close) => {
                let expected = matches!(close.code, CloseCode::Normal | CloseCode::Restart);
                if !expected {
                    self.shared.counters.refused.increment();
                }
                tracing::debug!(code = close.code.number(), reason = close.reason(), "live socket closed");
                true
            }
        };
        if let Some(publish) = self.publish.take() {
            publish.stop(ended).await;
        }
        if let End::Close(close) = &end {
            let closing = async {
                if self.outbox.close(close).await.is_ok() {
                    while let Some(Ok(_)) = self.inbound.next().await {}
                }
            };
            let _ = timeout(CLOSING, closing).await;
        }
    }

    /// Waits for one thing and deals with it.
    async fn turn(&mut self) -> Result<(), End> {
        let happened = self.wait().await;
        let now = Instant::now();
        match happened {
            Happened::Message(message) => self.message(message, now),
            Happened::Written(written) => Ok(written?),
            Happened::Became(None) | Happened::Feedback => self.look_after_publisher(now),
            Happened::Became(Some(became)) => {
                let mut replies = Vec::new();
                if let Some(publish) = &mut self.publish {
                    publish.settle(became, now, &mut replies);
                }
                self.reply(replies, now)
            }
            Happened::Seen(seen) => self.show(seen, now),
            Happened::Switched(Switched { id, outcome: Ok(chosen) }) => {
                let (effect, generation) = (chosen.effect, chosen.generation);
                self.say(&ServerMessage::Effect { effect, generation, id }, now)
            }
            Happened::Switched(Switched { id, outcome: Err(problem) }) => self.complain(&problem, &id, now),
            Happened::Streams => self.attach(),
            Happened::Tick => self.tick(now),
            Happened::TakenOver => {
                Err(Close::new(CloseCode::Normal, "another connection publishes this stream now").into())
            }
            Happened::Stopping => Err(stopped()),
        }
    }

    async fn wait(&mut self) -> Happened {
        let Self { inbound, outbox, publish, view, effects, tick, streams, stopping, .. } = self;
        let writing = !outbox.is_idle();
        let showing = !writing || outbox.stuck_for(Instant::now()) >= LATE;
        let waiting = view.as_ref().is_some_and(View::is_waiting);
        let (became, takeover, feedback) = match publish {
            Some(publish) => {
                let feedback = publish.thread_feedback();
                (Some(&mut publish.became), Some(&mut publish.claim.takeover), Some(feedback))
            }
            None => (None, None, None),
        };
        tokio::select! {
            message = inbound.next() => Happened::Message(message),
            written = outbox.drive(), if writing => Happened::Written(written),
            became = or_never(became.map(|b| b.recv())) => Happened::Became(became),
            () = or_never(feedback.as_ref().map(|f| f.changed())) => Happened::Feedback,
            _ = or_never(takeover) => Happened::TakenOver,
            seen = or_never(view.as_mut().map(View::next)), if showing => Happened::Seen(seen),
            switched = or_never(effects.as_mut().map(Effects::done)) => Happened::Switched(switched),
            _ = streams.changed(), if waiting => Happened::Streams,
            _ = stopping.wait_for(|stopping| *stopping) => Happened::Stopping,
            _ = tick.tick() => Happened::Tick,
        }
    }

    fn message(&mut self, message: Option<Result<Message, axum::Error>>, now: Instant) -> Result<(), End> {
        self.heard = now;
        match message {
            Some(Ok(Message::Binary(data))) => self.picture(data, now),
            Some(Ok(Message::Text(text))) => self.text(&text, now),
            Some(Ok(Message::Ping(_))) => Ok(()),
            Some(Ok(Message::Pong(payload))) => {
                if let (Ok(sent), Some(view)) = (payload[..].try_into(), &mut self.view) {
                    let passed = now.saturating_duration_since(self.begun);
                    let sent = Duration::from_micros(u64::from_be_bytes(sent));
                    view.measured(passed.saturating_sub(sent), now);
                }
                Ok(())
            }
            // Without a code, as pages close by default, or 1001: the page is left.
            Some(Ok(Message::Close(frame))) => {
                Err(End::Gone { ended: frame.is_none_or(|frame| matches!(frame.code, 1000 | 1001)) })
            }
            Some(Err(error)) => Err(failed(&error)),
            None => Err(End::Gone { ended: false }),
        }
    }

    fn picture(&mut self, message: Bytes, now: Instant) -> Result<(), End> {
        let Some(publish) = &mut self.publish else {
            return Err(
                Close::new(CloseCode::Kind, "a picture came, but hello said nothing of publishing").into()
            );
        };
        let header = Header::decode(&message);
        let header = header.map_err(|error| Close::new(CloseCode::Protocol, error.to_string()))?;
        let most = self.shared.config.pictures.max_bytes;
        if message.len() - HEADER_LEN > most {
            return Err(Close::new(CloseCode::Size, format!("a picture may have {most} bytes")).into());
        }
        self.shared.counters.received.increment();
        self.shared.counters.received_bytes.add(message.len() as u64);
        let mut replies = Vec::new();
        publish.picture(header, message.slice(HEADER_LEN..), now, &mut replies)?;
        self.reply(replies, now)
    }

    fn text(&mut self, text: &str, now: Instant) -> Result<(), End> {
        if !self.texts.take(now) {
            let reason = format!("too many messages; at most {} a second are read", TEXTS_A_SECOND);
            return Err(Close::new(CloseCode::TryLater, reason).into());
        }
        let message = ClientMessage::parse(text).map_err(|e| Close::new(CloseCode::Text, e.to_string()))?;
        match (message, &mut self.view) {
            (ClientMessage::Hello(_), _) => {
                Err(Close::new(CloseCode::Protocol, "hello came a second time; open another connection")
                    .into())
            }
            (ClientMessage::Ping { t }, _) => {
                self.say(&ServerMessage::Pong { t, time: micros(SystemTime::now()) }, now)
            }
            (ClientMessage::Effect { effect, params, id }, _) => self.wish(Wish { effect, params, id }, now),
            (ClientMessage::Ack { seq, age_ms, shown }, Some(view)) => {
                Ok(view.acked(seq, age_ms, shown, now)?)
            }
            (ClientMessage::Key, Some(view)) => {
                view.request_key();
                Ok(())
            }
            (ClientMessage::Rate { max_kbps, max_height }, Some(view)) => {
                view.limit(Limits { max_kbps, max_height }, now);
                Ok(())
            }
            (ClientMessage::Ack { .. } | ClientMessage::Key | ClientMessage::Rate { .. }, None) => {
                Err(Close::new(CloseCode::Protocol, "this is for viewers, but hello said nothing of viewing")
                    .into())
            }
        }
    }

    fn wish(&mut self, wish: Wish, now: Instant) -> Result<(), End> {
        let Some(effects) = &mut self.effects else {
            let detail =
                "only a publisher switches the effect of its stream here; use POST /streams/{name}/effect";
            return self.complain(&Problem::new(403, "right_missing", detail), &wish.id, now);
        };
        match effects.wish(wish) {
            Some(Switched { id, outcome: Err(problem) }) => self.complain(&problem, &id, now),
            _ => Ok(()),
        }
    }

    fn show(&mut self, seen: Seen, now: Instant) -> Result<(), End> {
        let free = self.outbox.is_idle();
        let Some(view) = &mut self.view else { return Ok(()) };
        let due = view.take(seen, free, now)?;
        let over = view.is_over();
        due.messages.iter().try_for_each(|message| self.say(message, now))?;
        if let Some(picture) = due.picture {
            self.outbox.push(Message::Binary(picture), now)?;
        }
        // A publisher hears of the end of its stream otherwise.
        if over && self.publish.is_none() {
            return Err(Close::new(CloseCode::Normal, "the stream has ended").into());
        }
        self.attach()
    }

    fn attach(&mut self) -> Result<(), End> {
        let Some(view) = &mut self.view else { return Ok(()) };
        Ok(view.attach(&self.shared.hub)?)
    }

    fn look_after_publisher(&mut self, now: Instant) -> Result<(), End> {
        let mut replies = Vec::new();
        if let Some(publish) = &mut self.publish {
            publish.look_after(now, &mut replies)?;
        }
        self.reply(replies, now)
    }

    fn tick(&mut self, now: Instant) -> Result<(), End> {
        if self.outbox.stuck_for(now) >= self.shared.config.stalled_after {
            return Err(End::Gone { ended: false });
        }
        if now.saturating_duration_since(self.heard) >= IDLE {
            return Err(End::Gone { ended: false });
        }
        if self.ticks.is_multiple_of(PING_TICKS) {
            let passed = now.saturating_duration_since(self.begun).as_micros() as u64;
            self.outbox.push(Message::Ping(passed.to_be_bytes().to_vec().into()), now)?;
        }
        self.ticks = self.ticks.wrapping_add(1);
        self.look_after_publisher(now)?;
        if let Some(view) = &mut self.view {
            let stalled_after = self.shared.config.stalled_after;
            if view.unacknowledged_for(now) >= stalled_after {
                let seconds = stalled_after.as_secs();
                let reason = format!("no picture was acknowledged for {seconds} s; send an ack for each");
                return Err(Close::new(CloseCode::Protocol, reason).into());
            }
            view.resume(now);
            view.look(now);
            if self.ticks.is_multiple_of(STATS_TICKS) {
                let stats = view.stats();
                self.say(&stats, now)?;
            }
        }
        self.attach()
    }

    fn reply(&mut self, replies: Vec<Reply>, now: Instant) -> Result<(), End> {
        replies.into_iter().try_for_each(|reply| match reply {
            Reply::Say(message) => self.say(&message, now),
            Reply::Problem(problem) => self.complain(&problem, &Value::Null, now),
        })
    }

    fn complain(&mut self, problem: &Problem, id: &Value, now: Instant) -> Result<(), End> {
        Ok(self.outbox.push(Message::Text(problem_text(problem, id).into()), now)?)
    }

    fn say(&mut self, message: &ServerMessage, now: Instant) -> Result<(), End> {
        Ok(self.outbox.push(Message::Text(message.to_text().into()), now)?)
    }
}

/// Waits for what there is; for ever if there is nothing.
async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_close_tells_what_to_do() {
        let code = |status, code| code_of(&Problem::new(status, code, "")).number();
        for (status, problem, number) in [
            (404, "unknown_stream", 1000),
            (422, "no_common_kind", 1003),
            (422, "bad_params", 1008),
            (403, "right_missing", 1008),
            (409, "name_taken", 1008),
            (429, "too_many_streams", 1013),
            (500, "stream_failed", 1011),
            (503, "shutting_down", 1012),
            (503, "busy", 1011),
        ] {
            assert_eq!(code(status, problem), number, "{status} {problem}");
        }
    }
}

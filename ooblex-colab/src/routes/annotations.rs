//! `GET /streams/{name}/annotations`: the newest findings once, or as they come.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ooblex_core::StreamId;
use ooblex_http::Problem;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{AppState, fresh, problem};
use crate::annotations::Newest;

const EVENT_STREAM: &str = "text/event-stream";
/// Comments and pings keep proxies from closing a stream in which nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A peer that does not take a message for this long is gone.
const STALLED: Duration = Duration::from_secs(10);
/// A stream that has begun has its first frame within this time, or it is not there to be asked about.
const PATIENCE: Duration = Duration::from_secs(1);
/// A peer has nothing to say here.
const MAX_MESSAGE: usize = 4096;
/// RFC 6455 section 7.4.1.
const NORMAL_CLOSURE: u16 = 1000;
/// Nginx keeps what it passes on in a buffer unless told otherwise.
const NO_BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

pub(super) async fn annotations(
    State(app): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let id = super::stream_of(name)?;
    let mut newest = app.annotations().newest(&id).ok_or_else(|| unknown(&app, &id))?;
    if let Ok(upgrade) = upgrade {
        let upgrade = upgrade.max_message_size(MAX_MESSAGE);
        return Ok(upgrade.on_upgrade(move |socket| serve(socket, newest)));
    }
    if wants_events(&headers) {
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
        let sse = Sse::new(events(newest)).keep_alive(keep_alive);
        return Ok(([NO_BUFFERING], fresh(sse)).into_response());
    }
    let first = newest.wait_for(|found| found.as_ref().is_some_and(|found| found.may_be_told()));
    let found = timeout(PATIENCE, first).await.ok().and_then(Result::ok).and_then(|found| found.clone());
    let found =
        found.ok_or_else(|| Problem::new(503, "no_frame", format!("stream {id} has no frame yet")))?;
    Ok(fresh(Json(&*found)))
}

fn unknown(app: &AppState, id: &StreamId) -> Problem {
    let streams = app.hub().streams().into_iter();
    let live = streams.filter(|stream| !stream.pipeline().state().is_over());
    problem::unknown_stream(id.as_str(), live.map(|stream| stream.id().clone()))
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(EVENT_STREAM)))
}

/// The next findings as JSON with their sequence number; `None` when the stream has ended. Whoever is slow gets the
/// newest and misses those between.
async fn next(newest: &mut Newest) -> Option<(u64, String)> {
    loop {
        newest.changed().await.ok()?;
        let found = newest.borrow_and_update().clone().filter(|found| found.may_be_told());
        if let Some(found) = found {
            // Invariant: strings, numbers and lists always serialize.
            return Some((found.sequence, serde_json::to_string(&*found).unwrap_or_default()));
        }
    }
}

fn events(mut newest: Newest) -> impl stream::Stream<Item = Result<Event, Infallible>> + Send {
    newest.mark_changed();
    stream::unfold(newest, async |mut newest| {
        let (sequence, json) = next(&mut newest).await?;
        Some((Ok(Event::default().id(sequence.to_string()).data(json)), newest))
    })
}

async fn serve(mut socket: WebSocket, mut newest: Newest) {
    newest.mark_changed();
    let mut ping = interval(KEEP_ALIVE);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            _ = ping.tick() => Message::Ping(Default::default()),
            found = next(&mut newest) => match found {
                Some((_, json)) => Message::Text(json.into()),
                None => {
                    let reason = "the stream has ended".into();
                    Message::Close(Some(CloseFrame { code: NORMAL_CLOSURE, reason }))
                }
            },
        };
        let over = matches!(message, Message::Close(_));
        let sent = timeout(STALLED, socket.send(message)).await;
        if over || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

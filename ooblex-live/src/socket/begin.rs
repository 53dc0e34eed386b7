//! From the hello of a client to its session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, WebSocket};
use ooblex_core::StreamId;
use ooblex_core::hub::{HubError, Patience, Stream};
use ooblex_http::Problem;
use ooblex_ingest::decode::{self, VideoCodec};
use tokio::time::timeout;

use super::climb::Limits;
use super::effects::{Effects, Wish};
use super::owners::{Claim, Wanted};
use super::publish::Publish;
use super::session::{End, failed};
use super::view::{Target, View};
use super::{KIND, Shared};
use crate::protocol::{ClientMessage, Close, CloseCode, Hello, Kinds, Publishing, ServerMessage, Viewing};
use crate::{Codec, encode};

/// How long a session may wait for its first effect before pictures pass without it.
const EFFECT_PATIENCE: Duration = Duration::from_secs(2);
/// How long the connection before may take to let go of the stream.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);
/// A stream is stalled after this long without a picture.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// What is known of a client before it says hello.
pub(super) struct Entry {
    pub(super) stream: Option<StreamId>,
    pub(super) caller: Option<u64>,
    pub(super) may_publish: bool,
    pub(super) may_view: bool,
}

/// What a client and the server have agreed on.
pub(super) struct Agreed {
    pub(super) publish: Option<Publish>,
    pub(super) view: Option<View>,
    pub(super) effects: Option<Effects>,
    pub(super) welcome: ServerMessage,
}

/// Why there is no session: a problem that the client is told first, if it has no right code of its own.
pub(super) enum Refused {
    Problem(Problem),
    End(End),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

fn protocol(reason: impl Into<String>) -> Refused {
    Refused::End(End::Close(Close::new(CloseCode::Protocol, reason)))
}

/// Waits for the hello.
pub(super) async fn hello(socket: &mut WebSocket, within: Duration) -> Result<Hello, Refused> {
    let reading = async {
        loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => break Ok(text),
                Some(Ok(Message::Binary(_))) => break Err(protocol("a picture came before hello")),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => break Err(Refused::End(End::Gone { ended: true })),
                Some(Err(error)) => break Err(Refused::End(failed(&error))),
            }
        }
    };
    let late = || protocol(format!("no hello came within {} s", within.as_secs()));
    let text = timeout(within, reading).await.map_err(|_| late())??;
    match ClientMessage::parse(&text) {
        Ok(ClientMessage::Hello(hello)) => Ok(hello),
        Ok(_) => Err(protocol("something else came before hello")),
        Err(error) => Err(Refused::End(End::Close(Close::new(CloseCode::Text, error.to_string())))),
    }
}

/// Gives a client what it asks for, or says why not.
pub(super) async fn agree(shared: &Arc<Shared>, entry: &Entry, hello: Hello) -> Result<Agreed, Refused> {
    if hello.publish.is_none() && hello.view.is_none() {
        return Err(protocol("hello must name what it publishes, or views"));
    }
    if hello.publish.is_some() && !entry.may_publish {
        return Err(Problem::new(403, "right_missing", "nothing is published here; use /ws/live").into());
    }
    if hello.view.is_some() && !entry.may_view {
        let detail = "this token does not give the right to view; leave `view` out of hello";
        return Err(Problem::new(403, "right_missing", detail).field("view").into());
    }
    let sends = hello.publish.map(|p| kind("publish", &p.codecs, decodes)).transpose()?;
    let shows = match &hello.view {
        Some(view) => Some(kind("view", &view.codecs, |codec| encode::supported().contains(&codec))?),
        None => None,
    };
    let (mut publish, mut effects, mut target) = (None, None, None);
    let (mut stream, mut resume, mut publishing) = (None, None, None);
    if let Some(codec) = sends {
        let token = hello.resume.as_deref();
        let wanted = Wanted { stream: entry.stream.as_ref(), token, caller: entry.caller };
        if let Some(effect) = &hello.effect {
            shared.control.check(effect).await?;
        }
        let mut claim = shared.owners.claim(wanted, Instant::now())?;
        let id = claim.stream.clone();
        let mut choosing = Effects::new(shared.control.clone(), id.clone());
        let opened = async {
            if let Some(before) = claim.before.take() {
                let _ = timeout(RELEASE_PATIENCE, before).await;
            }
            if let Some(effect) = hello.effect {
                choosing.wish(Wish { effect, params: hello.params, id: serde_json::Value::Null });
                if let Ok(switched) = timeout(EFFECT_PATIENCE, choosing.done()).await {
                    switched.outcome?;
                }
            }
            open(shared, &id).await
        };
        let opened = match opened.await {
            Ok(opened) => opened,
            Err(problem) => {
                claim.end();
                return Err(problem.into());
            }
        };
        publishing = Some(Publishing {
            codec: codec.as_str(),
            window: shared.config.window,
            max_bytes: shared.config.pictures.max_bytes,
        });
        resume = Some(claim.token.clone());
        publish = Some(start(claim, codec, opened, shared)?);
        target = Some(Target::Named(id.clone()));
        (stream, effects) = (Some(id), Some(choosing));
    }
    let mut viewing = None;
    let view = shows.map(|codec| {
        let limits = hello.view.as_ref().map(|v| Limits { max_kbps: v.max_kbps, max_height: v.max_height });
        let named = || entry.stream.clone().map_or(Target::Newest, Target::Named);
        let budget = shared.config.budget;
        viewing = Some(Viewing { codec: codec.as_str(), budget_ms: budget.as_millis() as u64 });
        let (live, counters) = (shared.live.clone(), shared.counters.clone());
        let target = target.take().unwrap_or_else(named);
        View::new(live, target, codec, limits.unwrap_or_default(), budget, counters, Instant::now())
    });
    if publish.is_none() {
        stream = entry.stream.clone().or_else(|| shared.hub.newest().map(|stream| stream.id().clone()));
        if let Some(named) = &entry.stream {
            let live = shared.hub.get(named).filter(|stream| !stream.pipeline().state().is_over());
            if live.is_none() {
                let problem = Problem::new(404, "unknown_stream", format!("there is no stream {named}"));
                return Err(problem.field("stream").value(named.as_str()).into());
            }
        }
    }
    let welcome = ServerMessage::Welcome {
        stream: stream.map(|stream| stream.to_string()),
        resume,
        time: super::view::micros(std::time::SystemTime::now()),
        publish: publishing,
        view: viewing,
    };
    Ok(Agreed { publish, view, effects, welcome })
}

/// Whether this build decodes a kind.
fn decodes(codec: Codec) -> bool {
    match codec {
        Codec::H264 => decode::supported().contains(&VideoCodec::H264),
        Codec::Vp8 => decode::supported().contains(&VideoCodec::Vp8),
        Codec::Jpeg => true,
    }
}

fn kind(field: &'static str, kinds: &Kinds, known: impl Fn(Codec) -> bool) -> Result<Codec, Problem> {
    kinds.choose(&known).ok_or_else(|| {
        let known = Codec::ALL.into_iter().filter(|codec| known(*codec)).map(|c| c.as_str().to_owned());
        let known: Vec<String> = known.collect();
        let detail = format!("none of the kinds in `{field}` is known here; there are {}", known.join(", "));
        Problem::new(422, "no_common_kind", detail).field(format!("{field}.codecs")).known(known)
    })
}

/// Begins the stream, or finds the one that waits for its publisher. Effects are built on a thread that may block.
async fn open(shared: &Arc<Shared>, id: &StreamId) -> Result<Arc<Stream>, Problem> {
    let (hub, id) = (shared.hub.clone(), id.clone());
    let patience = Patience { stalled_after: STALLED_AFTER, idle_after: None };
    let opening = tokio::task::spawn_blocking(move || hub.publish_with(&id, KIND, patience));
    let opened = opening.await.map_err(|e| Problem::new(500, "internal", e.to_string()))?;
    opened.map_err(|error| {
        let detail = error.to_string();
        match error {
            HubError::TooManyStreams { limit } => {
                Problem::new(429, "too_many_streams", detail).limit(limit as u64)
            }
            HubError::NameTaken { .. } => Problem::new(409, "name_taken", detail),
            HubError::ShuttingDown => Problem::new(503, "shutting_down", detail),
            _ => Problem::new(500, "stream_failed", detail),
        }
    })
}

fn start(claim: Claim, codec: Codec, stream: Arc<Stream>, shared: &Shared) -> Result<Publish, Problem> {
    Publish::start(claim, codec, stream, &shared.config)
        .map_err(|error| Problem::new(500, "internal", format!("no thread to decode on: {error}")))
}

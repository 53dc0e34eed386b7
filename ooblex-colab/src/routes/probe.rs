//! `GET /tunnel/probe/{nonce}/{step}`: answers by which the server finds out what its tunnel lets through.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use http::header;
use ooblex_http::Problem;

use super::{AppState, fresh};
use crate::tunnel::{Answer, Step};

/// As for MJPEG: tunnels go by the type when they decide what to hold back.
const STREAM: &str = "multipart/x-mixed-replace; boundary=frame";
const BEGINNING: &str = "--frame\r\nContent-Type: text/plain\r\n\r\nooblex\r\n--frame";
const END: &str = "--\r\n";
/// The message of a probe is short, and comes at once.
const LONGEST: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn probe(
    State(app): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(404, "unknown_probe", "no such probe is under way");
    let Path((nonce, step)) = path.map_err(|_| unknown())?;
    let step = Step::named(&step).ok_or_else(unknown)?;
    let answer = app.tunnel().probed(&nonce, step).ok_or_else(unknown)?;
    match (step, upgrade) {
        (Step::Stream, _) => Ok(streamed(answer)),
        (Step::Page, _) => Ok(fresh("ooblex")),
        (Step::Socket, Ok(upgrade)) => Ok(upgrade.max_message_size(LONGEST).on_upgrade(echo)),
        (Step::Socket, Err(_)) => {
            Err(Problem::new(400, "no_upgrade", "the tunnel took the upgrade to a WebSocket away"))
        }
    }
}

/// A beginning, and the rest once that has arrived.
fn streamed(answer: Answer) -> Response {
    let rest = stream::once(async move {
        answer.seen().await;
        Ok::<_, Infallible>(Bytes::from_static(END.as_bytes()))
    });
    let beginning = stream::iter([Ok(Bytes::from_static(BEGINNING.as_bytes()))]);
    let headers =
        [(header::CONTENT_TYPE, STREAM), (header::HeaderName::from_static("x-accel-buffering"), "no")];
    fresh((headers, Body::from_stream(beginning.chain(rest))).into_response())
}

/// Sends one message back.
async fn echo(mut socket: WebSocket) {
    let exchange = async {
        while let Some(Ok(message)) = socket.recv().await {
            if let Message::Text(_) = message {
                let _ = socket.send(message).await;
                // The close is answered, or the peer goes.
                let _ = socket.recv().await;
                return;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, exchange).await;
}

//! Tokens: what a page may know of them, and replacing and taking them back while the server runs.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Json};
use ooblex_http::{Line, Problem};
use serde_json::{Value, json};

use super::{AppState, fresh};
use crate::access::{Ended, Identity, Kind, Right, TAG_LIFE};

/// `GET /access`: what whoever asks may do, and the tokens for addresses that its page shows.
///
/// Whoever has a token that lasts gets the one of links, which gives no more; one that ends soon gets nothing that lasts.
pub(super) async fn access(
    State(app): State<AppState>,
    Extension(identity): Extension<Identity>,
) -> Response {
    let access = app.access();
    let rights: Vec<&str> = [Right::View, Right::Publish, Right::Control]
        .into_iter()
        .filter(|right| identity.rights.allow(*right))
        .map(Right::as_str)
        .collect();
    let link = identity.lasting.and_then(|_| access.link());
    let tag =
        identity.lasting.filter(|_| access.guards_viewing()).and_then(|kind| access.tag(kind, app.now()));
    fresh(Json(json!({
        "guarded": access.is_guarded(),
        "rights": rights,
        "link": link.map(|token| token.expose().to_owned()),
        "tag": tag.map(|token| json!({"token": token.expose(), "expires_s": TAG_LIFE})),
    })))
}

/// `POST /tokens/{kind}/rotate`: from now on a new token counts.
pub(super) async fn rotate(
    State(app): State<AppState>,
    line: Option<Extension<Line>>,
    kind: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    change(&app, line, kind_of(kind)?, true).await
}

/// `POST /tokens/{kind}/revoke`: from now on none counts.
pub(super) async fn revoke(
    State(app): State<AppState>,
    line: Option<Extension<Line>>,
    kind: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let kind = kind_of(kind)?;
    if kind == Kind::Control {
        let detail = "without a control token nobody could change anything again; rotate it instead";
        return Err(Problem::new(409, "control_needed", detail).field("kind").value("control"));
    }
    change(&app, line, kind, false).await
}

fn kind_of(name: Result<Path<String>, PathRejection>) -> Result<Kind, Problem> {
    let Path(name) = name.map_err(|e| Problem::new(400, "bad_name", e.body_text()).field("kind"))?;
    Kind::of(&name).ok_or_else(|| {
        let known = Kind::ALL.map(|kind| kind.as_str().to_owned());
        let detail = format!("there are no tokens called {name:?}");
        Problem::new(404, "unknown_token", detail).field("kind").value(name.as_str()).known(known)
    })
}

async fn change(
    app: &AppState,
    line: Option<Extension<Line>>,
    kind: Kind,
    renew: bool,
) -> Result<Response, Problem> {
    let (token, ended) = app.access().replace(kind, renew)?;
    let own = line.map(|Extension(line)| line.id());
    let (connections, sessions) = end(app, ended, own).await;
    let what = if renew { "a token was replaced" } else { "a token was taken back" };
    tracing::info!(kind = kind.as_str(), connections, sessions, "{what}");
    let token = token.map_or(Value::Null, |token| token.expose().into());
    let told =
        json!({"kind": kind.as_str(), "token": token, "connections": connections, "sessions": sessions});
    Ok(fresh(Json(told)))
}

/// Ends what was let in, except for the connection that asked; tells how many.
async fn end(app: &AppState, ended: Ended, own: Option<u64>) -> (usize, usize) {
    let others = ended.lines.iter().filter(|line| Some(line.id()) != own);
    let connections = others.map(|line| line.hang_up()).count();
    let sessions = ended.sessions.iter().map(|id| app.publishers().end(id));
    let sessions = futures::future::join_all(sessions).await.into_iter().filter(|ended| *ended).count();
    (connections, sessions)
}

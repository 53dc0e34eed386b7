//! `POST /webrtc/offer`: an offer and its answer as browsers write session descriptions in JSON.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use ooblex_http::{MayView, Problem};
use serde_json::{Map, Value, json};

use super::begin::{Back, Begun};
use super::request::{not_blank, one_stream, parameters, publish_request, view_request};
use super::{Shared, begin};
use crate::http::body;
use crate::webrtc::only_receives;

/// Keys that name the effect; the last two are what others call it.
const EFFECT_KEYS: [&str; 3] = ["model", "effect", "model_name"];
/// Bytes of JSON for one byte of SDP: `\r\n` becomes `\\r\\n`.
const ESCAPED: usize = 2;
/// Room for the other keys.
const SLACK: usize = 4096;

/// `POST /webrtc/offer` and `/offer`.
pub(super) async fn offer(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let query = parameters(&parts)?;
    let limit = shared.webrtc.config().max_offer_bytes.saturating_mul(ESCAPED).saturating_add(SLACK);
    let body = body::collect(&parts.headers, body, limit).await?;
    let Offer { sdp, model, stream } = read(&body)?;
    let stream = one_stream("the body", stream, "the query", query.stream)?;
    let effect = not_blank(model).or(not_blank(query.effect));
    let may_view = MayView::of_request(&parts.extensions);
    let mut begun = if only_receives(&sdp) {
        check_viewer(may_view, effect)?;
        let request = view_request(&shared, &parts.extensions, stream);
        Begun::new(&shared.webrtc, shared.webrtc.view(&sdp, request).await?)
    } else {
        let request = publish_request(&shared, &parts.extensions, stream.unwrap_or_default());
        let back = if may_view { Back::IfAsked } else { Back::Nothing };
        begin::begin(&shared, &sdp, request, effect, back).await?
    };
    let Some(published) = begun.answer() else { return Err(Problem::new(500, "internal", "no answer")) };
    let answer = json!({"sdp": published.answer, "type": "answer", "pc_id": published.id.to_string()});
    let mut response = answer.to_string().into_response();
    response.extensions_mut().insert(published.id);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whether an offer that only asks for video may have it.
fn check_viewer(may_view: bool, effect: Option<String>) -> Result<(), Problem> {
    if !may_view {
        let detail = "the offer asks for video, but this token does not give the right to view";
        return Err(Problem::new(403, "right_missing", detail).field("token").limit("view"));
    }
    let Some(effect) = effect else { return Ok(()) };
    let detail =
        "the offer only asks for video, and whoever publishes that chooses its effect; leave `effect` out";
    Err(Problem::new(422, "effect_of_another", detail).field("effect").value(effect))
}

struct Offer {
    sdp: String,
    model: Option<String>,
    stream: Option<String>,
}

/// Reads the body. Keys that mean nothing here are not looked at: pages send what their servers knew.
fn read(body: &[u8]) -> Result<Offer, Problem> {
    let example = r#"{"sdp":"v=0...","type":"offer"}"#;
    if body.trim_ascii().is_empty() {
        return Err(Problem::new(400, "empty_body", format!("body is empty; send {example}")).field("body"));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|e| Problem::new(400, "malformed_json", format!("body is not JSON: {e}")).field("body"))?;
    let Value::Object(mut object) = value else {
        return Err(Problem::wrong_type("body", &format!("an object like {example}"), &value));
    };
    let sdp = text(&mut object, "sdp")?.ok_or_else(|| missing("sdp"))?;
    let kind = text(&mut object, "type")?.ok_or_else(|| missing("type"))?;
    if kind != "offer" {
        let shown: String = kind.chars().take(64).collect();
        return Err(Problem::new(
            422,
            "not_an_offer",
            format!("type is {shown:?}; only offers are answered"),
        )
        .field("type")
        .value(shown)
        .limit("offer"));
    }
    let mut model = None;
    for key in EFFECT_KEYS {
        let Some(name) = text(&mut object, key)? else { continue };
        if model.as_ref().is_some_and(|before| *before != name) {
            let detail = format!("body names the effect twice, the second time as `{key}`; leave one out");
            return Err(Problem::new(400, "duplicate_key", detail).field(key));
        }
        model = Some(name);
    }
    Ok(Offer { sdp, model, stream: text(&mut object, "stream")? })
}

/// A value that must be text if it is there; `null` is as good as absent.
fn text(object: &mut Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Problem::wrong_type(key, "text", &other)),
    }
}

fn missing(key: &'static str) -> Problem {
    Problem::new(400, "missing_key", format!("body has no key `{key}`")).field(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_read() {
        let read = |text: &str| read(text.as_bytes()).map(|o| (o.sdp, o.model, o.stream));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read(r#"{"sdp":"v=0","type":"offer"}"#), Ok(("v=0".to_owned(), None, None)));
        let all = r#"{"type":"offer","sdp":"v=0\r\n","model":"blur","effect":"blur","stream":"cam","video_transform":1}"#;
        assert_eq!(read(all), Ok(("v=0\r\n".to_owned(), some("blur"), some("cam"))));
        assert_eq!(
            read(r#"{"type":"offer","sdp":"","model":null,"model_name":"a|b"}"#),
            Ok((String::new(), some("a|b"), None))
        );
    }

    #[test]
    fn what_is_no_offer_is_refused() {
        for (body, status, code, field) in [
            ("", 400, "empty_body", "body"),
            ("v=0", 400, "malformed_json", "body"),
            ("[]", 400, "wrong_type", "body"),
            ("{}", 400, "missing_key", "sdp"),
            (r#"{"sdp":"v=0"}"#, 400, "missing_key", "type"),
            (r#"{"sdp":7,"type":"offer"}"#, 400, "wrong_type", "sdp"),
            (r#"{"sdp":"v=0","type":"answer"}"#, 422, "not_an_offer", "type"),
            (r#"{"sdp":"v=0","type":"offer","stream":[]}"#, 400, "wrong_type", "stream"),
            (r#"{"sdp":"v=0","type":"offer","model":"a","effect":"b"}"#, 400, "duplicate_key", "effect"),
        ] {
            let problem = read(body.as_bytes()).err().unwrap_or_else(|| panic!("{body} was read"));
            assert_eq!((problem.status().as_u16(), problem.code()), (status, code), "{body}");
            assert_eq!(problem.to_value()["field"], field, "{body}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(read(deep.as_bytes()).err().expect("refused").code(), "malformed_json");
    }
}

//! What a request says beside its body: stream, effect, media type, sender, and where the router is mounted.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{NestedPath, OriginalUri, Path, Query};
use axum::http::request::Parts;
use http::{Extensions, HeaderMap, Uri, header};
use ooblex_core::StreamId;
use ooblex_http::{Caller, Problem};
use serde::Deserialize;

use super::Shared;
use crate::webrtc::{PublishRequest, PublisherId, ViewRequest};

const X_TRANSFORM_TYPE: &str = "x-transform-type";

/// Parameters of a query. Others are not looked at: a URL may carry what is meant for somebody else.
#[derive(Default, Deserialize)]
pub(super) struct Parameters {
    pub(super) stream: Option<String>,
    pub(super) effect: Option<String>,
}

/// The stream and the effect that a request names.
pub(super) struct Target {
    pub(super) stream: StreamId,
    /// A chain; `None` for what the stream has anyway.
    pub(super) effect: Option<String>,
}

impl Target {
    /// The stream is named by the path or by `?stream=`, the effect by `?effect=` or else by `X-Transform-Type`.
    ///
    /// # Errors
    /// 400 for a bad name, for two different names, and for a query that cannot be read.
    pub(super) fn of(
        parts: &Parts,
        path: Option<Result<Path<String>, PathRejection>>,
    ) -> Result<Self, Problem> {
        let Parameters { stream, effect } = parameters(parts)?;
        let stream = Self::named(path, stream)?.unwrap_or_default();
        Ok(Self { stream, effect: not_blank(effect).or(transform_type(&parts.headers)?) })
    }

    /// The stream alone, of a viewer; `None` if the request names none.
    ///
    /// # Errors
    /// As for [`of`](Self::of).
    pub(super) fn stream(
        parts: &Parts,
        path: Option<Result<Path<String>, PathRejection>>,
    ) -> Result<Option<StreamId>, Problem> {
        let stream = parameters(parts)?.stream;
        Self::named(path, stream)
    }

    fn named(
        path: Option<Result<Path<String>, PathRejection>>,
        query: Option<String>,
    ) -> Result<Option<StreamId>, Problem> {
        let path = match path {
            None => None,
            Some(Ok(Path(name))) => Some(name),
            Some(Err(e)) => {
                return Err(Problem::new(400, "bad_name", e.body_text().to_lowercase()).field("stream"));
            }
        };
        one_stream("the path", path, "the query", query)
    }
}

/// What the query says.
pub(super) fn parameters(parts: &Parts) -> Result<Parameters, Problem> {
    let query: Result<Query<Parameters>, QueryRejection> = Query::try_from_uri(&parts.uri);
    query.map(|Query(p)| p).map_err(|e| Problem::new(400, "bad_query", e.body_text().to_lowercase()))
}

/// The stream's name from two places that must not disagree; `None` if neither has one.
pub(super) fn one_stream(
    first: &str,
    a: Option<String>,
    second: &str,
    b: Option<String>,
) -> Result<Option<StreamId>, Problem> {
    let name = match (a, b) {
        (Some(a), Some(b)) if a != b => {
            let detail = format!("{first} names the stream {a:?} and {second} {b:?}; leave one out");
            return Err(Problem::new(400, "two_names", detail).field("stream").value(b));
        }
        (a, b) => a.or(b),
    };
    let Some(name) = name else { return Ok(None) };
    StreamId::new(&name)
        .map(Some)
        .map_err(|e| Problem::new(400, "bad_name", e.to_string()).field("stream").value(name))
}

/// An effect that is given but blank is none: OBS keeps an empty field of a URL.
pub(super) fn not_blank(effect: Option<String>) -> Option<String> {
    effect.filter(|effect| !effect.trim().is_empty())
}

fn transform_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(X_TRANSFORM_TYPE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        let detail = "X-Transform-Type is not the name of an effect";
        Problem::new(400, "bad_effect", detail).field("X-Transform-Type")
    })?;
    Ok(not_blank(Some(text.to_owned())))
}

/// Whether the body has the media type, whatever its parameters.
pub(super) fn has_type(headers: &HeaderMap, expected: &str) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected)
}

/// 415, naming what was expected.
pub(super) fn wrong_type(headers: &HeaderMap, expected: &'static str) -> Problem {
    let given = headers.get(header::CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let shown: String = given.as_deref().unwrap_or("absent").chars().take(100).collect();
    Problem::new(415, "unsupported_type", format!("the Content-Type is {shown}; send {expected}"))
        .field("Content-Type")
        .value(shown)
        .limit(expected)
}

/// Who asks to publish `stream`. Addresses of this machine are exempt from limits per address: a tunnel or proxy
/// makes everybody look like it.
pub(super) fn publish_request(shared: &Shared, extensions: &Extensions, stream: StreamId) -> PublishRequest {
    match Caller::of_request(extensions, &shared.key) {
        Some(caller) => PublishRequest {
            stream,
            publisher: PublisherId::of_key(&caller.publisher.to_le_bytes()),
            address: Some(caller.address).filter(|address| !address.is_loopback()),
        },
        // Without sockets there is no telling callers apart.
        None => PublishRequest { stream, publisher: PublisherId::of_key(b"unknown"), address: None },
    }
}

/// Who asks to watch. Addresses of this machine are exempt, as for publishers.
pub(super) fn view_request(
    shared: &Shared,
    extensions: &Extensions,
    stream: Option<StreamId>,
) -> ViewRequest {
    let caller = Caller::of_request(extensions, &shared.key);
    let address = caller.map(|caller| caller.address).filter(|address| !address.is_loopback());
    ViewRequest { stream, address }
}

/// What stands before the router's own paths outside, when an axum router nests it: `/live` for
/// `Router::new().nest("/live", whip::router(..))`. Whoever takes away a part of the path by other means has to put
/// it back in front of `Location`.
pub(super) fn mounted_at(extensions: &Extensions, uri: &Uri) -> String {
    let original = extensions.get::<NestedPath>().and_then(|_| extensions.get::<OriginalUri>());
    let prefix = original.and_then(|OriginalUri(original)| original.path().strip_suffix(uri.path()));
    prefix.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn target(uri: &str, transform: Option<&'static str>) -> Result<(String, Option<String>), Problem> {
        let mut request = Request::post(uri);
        if let Some(value) = transform {
            request = request.header(X_TRANSFORM_TYPE, HeaderValue::from_static(value));
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let name =
            uri.strip_prefix("/whip/").map(|rest| rest.split('?').next().unwrap_or_default().to_owned());
        Target::of(&parts, name.map(|n| Ok(Path(n)))).map(|t| (t.stream.to_string(), t.effect))
    }

    #[test]
    fn a_request_names_its_stream_and_effect() {
        let ok = |stream: &str, effect: Option<&str>| Ok((stream.to_owned(), effect.map(str::to_owned)));
        assert_eq!(target("/whip", None), ok("default", None));
        assert_eq!(target("/whip?stream=cam&other=%FF", None), ok("cam", None));
        assert_eq!(target("/whip/cam?stream=cam&effect=blur%7Csepia", None), ok("cam", Some("blur|sepia")));
        assert_eq!(target("/whip/cam?effect=blur+sepia", Some("invert")), ok("cam", Some("blur sepia")));
        assert_eq!(target("/whip/cam?effect=", Some("invert")), ok("cam", Some("invert")));
        assert_eq!(target("/whip/cam?effect=%20", Some(" ")), ok("cam", None));
    }

    #[test]
    fn bad_names_are_refused() {
        for (uri, code) in [
            ("/whip/cam?stream=dog", "two_names"),
            ("/whip/a.b", "bad_name"),
            ("/whip?stream=", "bad_name"),
            ("/whip?stream=snapshot", "bad_name"),
            ("/whip?stream=a&stream=b", "bad_query"),
        ] {
            let problem = target(uri, None).expect_err(uri);
            assert_eq!((problem.status().as_u16(), problem.code()), (400, code), "{uri}");
        }
    }

    #[test]
    fn parameters_of_a_media_type_do_not_matter() {
        let is = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            has_type(&headers, "application/sdp")
        };
        assert!(is("application/sdp") && is("Application/SDP; charset=utf-8"));
        assert!(!is("application/sdpx") && !is("text/plain") && !is(""));
        assert!(!has_type(&HeaderMap::new(), "application/sdp"));
    }
}

//! `POST /upload`, `/upload_frame` and `/frame`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use ooblex_core::StreamId;
use ooblex_core::pipeline::Pushed;
use ooblex_http::Problem;

use super::publish::Publisher;
use super::{Target, body};

const X_STREAM: HeaderName = HeaderName::from_static("x-ooblex-stream");
const X_SEQUENCE: HeaderName = HeaderName::from_static("x-ooblex-sequence");
const X_CAPTURED_MS: HeaderName = HeaderName::from_static("x-ooblex-captured-ms");
/// Room beside the digits for line ends and a data-URL prefix.
const TEXT_SLACK: usize = 1024;

/// A raw JPEG, PNG or WebP body.
pub(super) async fn raw(
    State(publisher): State<Publisher>,
    Target(id): Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let captured = captured(&headers)?;
    let data = body::collect(&headers, body, publisher.limits.max_bytes).await?;
    Ok(accepted(&id, publisher.publish(&id, data, captured).await?))
}

/// The same as base64 text.
pub(super) async fn base64(
    State(publisher): State<Publisher>,
    Target(id): Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let captured = captured(&headers)?;
    // Four digits for three bytes, and line ends after as few as eight digits.
    let limit = publisher.limits.max_bytes.div_ceil(3).saturating_mul(5).saturating_add(TEXT_SLACK);
    let text = body::collect(&headers, body, limit).await?;
    let data = decode(&text)?;
    Ok(accepted(&id, publisher.publish(&id, data, captured).await?))
}

fn accepted(id: &StreamId, pushed: Pushed) -> Response {
    let mut response = (StatusCode::OK, "OK").into_response();
    let headers = response.headers_mut();
    // Invariant: stream names are ASCII letters, digits, `_` and `-`.
    if let Ok(name) = HeaderValue::from_str(id.as_str()) {
        headers.insert(X_STREAM, name);
    }
    headers.insert(X_SEQUENCE, HeaderValue::from(pushed.sequence()));
    response
}

/// When the sender took the picture, if it says so.
fn captured(headers: &HeaderMap) -> Result<Option<SystemTime>, Problem> {
    let Some(value) = headers.get(X_CAPTURED_MS) else { return Ok(None) };
    let time = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    let time = time.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    time.map(Some).ok_or_else(|| {
        let shown = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let detail = format!("X-Ooblex-Captured-Ms is {shown:?}, not milliseconds since 1970-01-01 UTC");
        Problem::new(422, "bad_captured_time", detail).field("X-Ooblex-Captured-Ms").value(shown)
    })
}

/// Decodes base64: with or without a data-URL prefix, padding and white space; the URL-safe digits too.
fn decode(text: &[u8]) -> Result<Bytes, Problem> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let bad = |why: String| Problem::new(400, "bad_base64", why).field("body");
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(crate::picture::PictureError::Empty.into());
    }
    let digits = if text.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"data:")) {
        let comma = memchr::memchr(b',', text).ok_or_else(|| bad("the data URL has no comma".into()))?;
        if !text[..comma].to_ascii_lowercase().ends_with(b";base64") {
            return Err(bad("the data URL is not base64; write data:image/jpeg;base64,...".into()));
        }
        &text[comma + 1..]
    } else {
        text
    };
    let plain: Vec<u8> = digits
        .iter()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|&b| match b {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let data = ENGINE
        .decode(&plain)
        .map_err(|e| bad(format!("not base64: {}", e.to_string().trim_end_matches('.').to_lowercase())))?;
    Ok(data.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_in_many_shapes() {
        for text in [
            "/9j/4A==",
            "/9j/4A",
            "_9j_4A==",
            " /9j/\r\n4A==\n",
            "data:image/jpeg;base64,/9j/4A==",
            "DATA:image/png;name=x;BASE64, /9j/4A==",
        ] {
            let data = decode(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(&data[..], [0xFF, 0xD8, 0xFF, 0xE0], "{text}");
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for (text, part) in
            [("/9j*", "42"), ("data:image/jpeg;base64", "no comma"), ("data:image/jpeg,abcd", "not base64")]
        {
            let problem = decode(text.as_bytes()).expect_err(text);
            assert_eq!((problem.status().as_u16(), problem.code()), (400, "bad_base64"));
            assert!(problem.detail().contains(part), "{text}: {problem}");
        }
        assert_eq!(decode(b" \n").expect_err("empty").code(), "empty_body");
    }
}

//! Problem documents (RFC 9457): the one shape of every error response.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

/// An error as `application/problem+json`, with the offending value and what is allowed.
///
/// ```
/// use ooblex_http::Problem;
/// let problem = Problem::new(413, "body_too_large", "body is 9000001 bytes, limit 8388608")
///     .field("body").value(9_000_001u64).limit(8_388_608u64);
/// assert_eq!(
///     problem.to_json(),
///     r#"{"type":"about:blank","title":"Payload Too Large","status":413,"code":"body_too_large","#.to_owned()
///         + r#""detail":"body is 9000001 bytes, limit 8388608","field":"body","value":9000001,"limit":8388608}"#
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Fields>);

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<Vec<String>>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with an HTTP status, a stable machine-readable code and a sentence for people. A status that does
    /// not exist becomes 500.
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(Box::new(Fields {
            kind: "about:blank",
            title: title(status),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            field: None,
            value: None,
            limit: None,
            known: None,
            retry_after: None,
        }))
    }

    /// A value in a JSON body that is of another type than it must be: 400, `wrong_type`.
    ///
    /// ```
    /// let problem = ooblex_http::Problem::wrong_type("sdp", "text", &7.into());
    /// assert_eq!(problem.status().as_u16(), 400);
    /// assert!(problem.to_json().contains("sdp is a number; it must be text"));
    /// ```
    pub fn wrong_type(field: &str, expected: &str, value: &Value) -> Self {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Self::new(400, "wrong_type", format!("{field} is {found}; it must be {expected}")).field(field)
    }

    /// Names what is wrong: a field of the body, a query parameter, `body`, ...
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// The offending value.
    pub fn value(mut self, value: impl Into<Value>) -> Self {
        self.0.value = Some(value.into());
        self
    }

    /// What would have been allowed.
    pub fn limit(mut self, limit: impl Into<Value>) -> Self {
        self.0.limit = Some(limit.into());
        self
    }

    /// Names that would have been known.
    pub fn known(mut self, known: impl IntoIterator<Item = String>) -> Self {
        self.0.known = Some(known.into_iter().collect());
        self
    }

    /// When to try again; sent as `Retry-After` in whole seconds, rounded up.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Whole seconds to wait before trying again, rounded up, if there is a time.
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.0.retry_after.map(|after| after.as_secs_f64().ceil() as u64)
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The document as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The document as a JSON value, for embedding into a socket message.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// RFC 9110 renamed 413 and 422; API clients know the older names, which `http` still uses.
fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl std::error::Error for Problem {}

/// The code of the [`Problem`] that a response is: an extension of it, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemCode(pub &'static str);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = ProblemCode(self.code());
        let mut response = (self.status(), self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_secs() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(code);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_a_response() {
        let problem = Problem::new(429, "rate", "too many").retry_after(Duration::from_millis(1200));
        let response = problem.into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.extensions().get(), Some(&ProblemCode("rate")));
    }
}

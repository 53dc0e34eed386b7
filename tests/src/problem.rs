//! The one shape of every error answer.

use serde_json::Value;

use crate::http::Response;

/// Checks that a response is a problem document with this status and hands the document back.
///
/// # Panics
/// When anything differs from the wire contract.
#[track_caller]
pub fn expect_problem(response: &Response, status: u16) -> Value {
    let shown =
        format!("{} {:?} {}", response.status, response.headers, String::from_utf8_lossy(&response.body));
    assert_eq!(response.status, status, "{shown}");
    assert_eq!(response.header("Content-Type"), Some("application/problem+json"), "{shown}");
    let document = response.json();
    check_problem(&document, status);
    document
}

/// Checks the members of a problem document.
///
/// # Panics
/// When one is missing or of the wrong type.
#[track_caller]
pub fn check_problem(document: &Value, status: u16) {
    assert_eq!(document["status"], status, "{document}");
    assert_eq!(document["type"], "about:blank", "{document}");
    for member in ["title", "code", "detail"] {
        let text = document[member].as_str().unwrap_or_else(|| panic!("no {member}: {document}"));
        assert!(!text.is_empty(), "{document}");
    }
    let code = document["code"].as_str().unwrap_or_default();
    assert!(code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{document}");
    let detail = document["detail"].as_str().unwrap_or_default();
    assert!(!detail.ends_with('.'), "a sentence for people ends without a full stop: {document}");
    // An abbreviation such as JPEG may begin it.
    let mut letters = detail.chars();
    let sentence =
        letters.next().is_some_and(char::is_uppercase) && letters.next().is_some_and(char::is_lowercase);
    assert!(!sentence || status == 503, "{document}");
}

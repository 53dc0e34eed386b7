//! `ooblex-colab health`: whether the running server answers, for whoever starts it again if it does not.

use serde_json::Value;

use crate::config::Config;
use crate::running;

/// Asks the server; what to print. A server that is degraded answers and serves, so starting it again would help nobody.
///
/// # Errors
/// That none answers, or what it says instead, in words.
pub(crate) fn run(config: &Config) -> Result<String, String> {
    let (status, body) = running::ask(config, "GET", "/health")?;
    match (status, body["status"].as_str()) {
        (200, Some(health)) => Ok(told(health, &body["reasons"])),
        _ => Err(format!("the server answers {status}: {}", body["detail"].as_str().unwrap_or_default())),
    }
}

/// The reasons come to those alone who show a token.
fn told(health: &str, reasons: &Value) -> String {
    let reasons = reasons.as_array().into_iter().flatten().filter_map(Value::as_str);
    std::iter::once(health).chain(reasons).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reasons_are_told_if_they_are_known() {
        assert_eq!(told("healthy", &Value::Null), "healthy\n");
        assert_eq!(told("degraded", &json!(["a", "b"])), "degraded\na\nb\n");
    }
}

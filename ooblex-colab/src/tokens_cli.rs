//! `ooblex-colab tokens`: replaces and takes back tokens of the running server.

use crate::cli::TokensArguments;
use crate::config::Config;
use crate::running;

/// Has the server do it; what to print.
///
/// # Errors
/// What went wrong and what to do, in words.
pub(crate) fn run(arguments: &TokensArguments, config: &Config) -> Result<String, String> {
    if config.control_token.is_none() {
        return Err("the server wants its control token: set OOBLEX_CONTROL_TOKEN to the one that it was \
                    given or has printed"
            .into());
    }
    let (action, kind) = (arguments.action.as_str(), arguments.kind.as_str());
    let (status, body) = running::ask(config, "POST", &format!("/tokens/{kind}/{action}"))?;
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    if status != 200 {
        return Err(format!("the server refused: {}", text("detail")));
    }
    let mut told = match body["token"].as_str() {
        Some(token) => format!("the new {kind} token: {token}\n"),
        None => format!("there is no {kind} token any more\n"),
    };
    told.push_str(&format!(
        "{} connections and {} WebRTC sessions of the old one were ended\n",
        body["connections"], body["sessions"]
    ));
    told.push_str("a server that is started again goes by its settings\n");
    Ok(told)
}

//! Tunnels by Cloudflare's program `cloudflared`: a quick one without an account, or a named one by its token.
//!
//! Its log is not an interface that anybody promises; what is read from it is as in version 2026.7.3 and in the reports
//! that the tests quote.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::output::find_url;
use super::program::{Heard, Launch, Listener, Program, Unsaid, find};
use super::provider::TunnelError;
use crate::config::{Config, ProviderToken, PublicUrl};

const NAME: &str = "cloudflared";
const QUICK: &str = "https://*.trycloudflare.com";
/// The address at which quick tunnels are asked for is none of a tunnel.
const API: &str = "https://api.trycloudflare.com";
/// The program takes the token from this variable.
const TOKEN_VARIABLE: &str = "TUNNEL_TOKEN";

/// The program, and how it is used.
pub(super) struct Cloudflared {
    program: Option<PathBuf>,
    named: Option<(ProviderToken, PublicUrl)>,
}

impl Cloudflared {
    pub(super) fn new(config: &Config) -> Self {
        let named = config.cloudflared_token.clone().zip(config.tunnel_url.clone());
        Self { program: config.cloudflared_program.clone(), named }
    }

    fn find(&self) -> Result<PathBuf, TunnelError> {
        let fix =
            "install it, name it by --cloudflared-program, or run `ooblex-colab tunnel fetch-cloudflared`";
        match &self.program {
            Some(path) if path.is_file() => Ok(path.clone()),
            Some(path) => Err(TunnelError::Fatal(format!("cloudflared is not at {}; {fix}", path.display()))),
            None => find(NAME)
                .or_else(fetched)
                .ok_or_else(|| TunnelError::Fatal(format!("cloudflared was not found; {fix}"))),
        }
    }
}

/// The program as it was fetched.
pub(super) fn fetched() -> Option<PathBuf> {
    Some(folder()?.join(NAME)).filter(|path| path.is_file())
}

/// Where it is put when it is fetched.
pub(super) fn folder() -> Option<PathBuf> {
    Some(ooblex_models::manager::user_folder()?.parent()?.join("programs"))
}

impl Program for Cloudflared {
    fn name(&self) -> &str {
        NAME
    }

    fn launch(&self, local: SocketAddr) -> Result<Launch, TunnelError> {
        let mut arguments = vec!["tunnel".to_owned(), "--no-autoupdate".to_owned()];
        let mut secrets = Vec::new();
        match &self.named {
            Some((token, _)) => {
                arguments.push("run".to_owned());
                secrets.push((TOKEN_VARIABLE, token.expose().to_owned()));
            }
            None => arguments.extend(["--url".to_owned(), format!("http://{local}")]),
        }
        Ok(Launch { program: self.find()?, arguments, secrets })
    }

    fn listen(&self) -> Box<dyn Listener> {
        let named = self.named.as_ref().map(|(_, url)| url.clone());
        Box::new(Log { named, url: None, connections: BTreeSet::new() })
    }
}

/// The log of one run.
struct Log {
    named: Option<PublicUrl>,
    /// The address of a quick tunnel, until the first connection is there.
    url: Option<PublicUrl>,
    /// The connections to Cloudflare, by their numbers.
    connections: BTreeSet<String>,
}

impl Listener for Log {
    fn hear(&mut self, line: &str) -> Option<Heard> {
        if self.named.is_none()
            && let Some(url) = find_url(line, QUICK).filter(|url| url.as_str() != API)
        {
            self.url = Some(url);
            return None;
        }
        let connection = field(line, "connIndex=");
        if line.contains("Registered tunnel connection") {
            let is_first = self.connections.is_empty();
            self.connections.insert(connection.unwrap_or_default());
            // The address of a quick tunnel is told before anything answers there.
            return match self.url.take() {
                Some(url) => Some(Heard::Url(url)),
                None => is_first.then_some(Heard::Up),
            };
        }
        let lost =
            ["Unregistered tunnel connection", "Connection terminated", "Lost connection with the edge"];
        if let Some(connection) = connection.filter(|_| lost.iter().any(|words| line.contains(words))) {
            let was_last = self.connections.remove(&connection) && self.connections.is_empty();
            return was_last
                .then(|| Heard::Lost(format!("cloudflared has no connection left: {}", message(line))));
        }
        if line.contains("Provided Tunnel token is not valid")
            || line.contains("Unauthorized: Invalid tunnel secret")
        {
            return Some(Heard::Fatal(
                "the token was refused; set OOBLEX_CLOUDFLARED_TOKEN to that of your tunnel".into(),
            ));
        }
        let is_error = [" ERR ", " FTL "].iter().any(|level| line.contains(level)) || !line.contains(" INF ");
        is_error.then(|| Heard::Reason(message(line).to_owned()))
    }

    fn unsaid(&self) -> Option<Unsaid> {
        self.named.clone().map(|url| Unsaid { url, after: Duration::ZERO })
    }
}

/// The value behind `name` in a line.
fn field(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.split_once(name)?;
    rest.split(char::is_whitespace).next().map(str::to_owned)
}

/// A line without its time and level.
fn message(line: &str) -> &str {
    let levels = [" INF ", " WRN ", " ERR ", " FTL ", " DBG "];
    levels.iter().find_map(|level| line.split_once(level)).map_or(line, |(_, message)| message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// As in cloudflare/cloudflared#946, with the lines about connections of #1173 in their present form.
    const QUICK_RUN: &str = include_str!("transcripts/cloudflared_quick.txt");
    /// As in cloudflare/cloudflared#555 and #1299.
    const REFUSED: &str = include_str!("transcripts/cloudflared_refused.txt");

    fn all(named: Option<&str>, text: &str) -> Vec<Heard> {
        let named = named.map(|url| url.parse().expect("a URL"));
        let mut log = Log { named, url: None, connections: BTreeSet::new() };
        text.lines().filter_map(|line| log.hear(line)).collect()
    }

    #[test]
    fn a_quick_tunnel_is_open_with_its_first_connection_and_lost_with_its_last() {
        let heard = all(None, QUICK_RUN);
        let told: Vec<_> = heard.iter().filter(|heard| !matches!(heard, Heard::Reason(_))).collect();
        let url: PublicUrl = "https://buffalo-marco-cardiff-motel.trycloudflare.com".parse().expect("a URL");
        let lost = "cloudflared has no connection left: Connection terminated error=\"timeout: no recent network activity\" connIndex=0";
        assert_eq!(told, [&Heard::Url(url), &Heard::Lost(lost.into()), &Heard::Up]);
    }

    #[test]
    fn a_named_tunnel_goes_by_the_address_that_is_known() {
        let heard = all(Some("https://live.example.org"), QUICK_RUN);
        assert!(!heard.iter().any(|heard| matches!(heard, Heard::Url(_))), "{heard:?}");
        assert_eq!(heard.iter().find(|heard| !matches!(heard, Heard::Reason(_))), Some(&Heard::Up));
    }

    #[test]
    fn the_reason_of_an_end_is_found() {
        let Some(Heard::Reason(reason)) = all(None, REFUSED).pop() else { panic!("a reason") };
        assert!(reason.starts_with("failed to request quick Tunnel: Post"), "{reason}");
        let heard = all(Some("https://live.example.org"), "Provided Tunnel token is not valid.");
        assert!(matches!(heard.as_slice(), [Heard::Fatal(_)]), "{heard:?}");
    }

    #[test]
    fn a_token_goes_by_environment() {
        let program = std::env::current_exe().expect("this program");
        let config = Config { cloudflared_program: Some(program), ..Config::default() };
        let local = ([127, 0, 0, 1], 4321).into();
        let launch = Cloudflared::new(&config).launch(local).expect("found");
        assert_eq!(launch.arguments, ["tunnel", "--no-autoupdate", "--url", "http://127.0.0.1:4321"]);
        assert!(launch.secrets.is_empty());
        let arguments = crate::cli::Arguments::parse(
            [
                "--tunnel=cloudflared",
                "--cloudflared-token=eyJhIjoiswordfish",
                "--tunnel-url=https://a.example",
                "--tunnel-port=8082",
            ]
            .map(Into::into),
        );
        let mut config = crate::config::load(&arguments.expect("good"), []).expect("good").config;
        config.cloudflared_program = std::env::current_exe().ok();
        let launch = Cloudflared::new(&config).launch(local).expect("found");
        assert_eq!(launch.arguments, ["tunnel", "--no-autoupdate", "run"]);
        assert_eq!(launch.secrets, [("TUNNEL_TOKEN", "eyJhIjoiswordfish".to_owned())]);
    }

    #[test]
    fn a_missing_program_is_said_with_the_fix() {
        let config = Config { cloudflared_program: Some("/nowhere/cloudflared".into()), ..Config::default() };
        let Err(TunnelError::Fatal(reason)) = Cloudflared::new(&config).launch(([127, 0, 0, 1], 1).into())
        else {
            panic!("it is not there")
        };
        assert!(reason.contains("/nowhere/cloudflared") && reason.contains("fetch-cloudflared"), "{reason}");
    }
}

//! Tunnels by a program of the operator's choice.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::output::find_url;
use super::program::{Heard, Launch, Listener, Program, Unsaid, find};
use super::provider::TunnelError;
use crate::config::{CommandLine, Config, PublicUrl};

/// What stands for the local port in an argument.
const PORT: &str = "{port}";
/// Programs of tunnels with HTTPS print such an address.
const ANY: &str = "https://*";
/// How long a program with a known address runs before its tunnel is taken to be open.
const SETTLES: Duration = Duration::from_secs(2);

/// The program that `tunnel_command` names.
pub(super) struct Own {
    command: CommandLine,
    pattern: String,
    url: Option<PublicUrl>,
}

impl Own {
    /// `None` without a command.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let pattern = config.tunnel_url_pattern.as_ref().map_or(ANY, |pattern| pattern.as_str());
        let command = config.tunnel_command.clone()?;
        Some(Self { command, pattern: pattern.to_owned(), url: config.tunnel_url.clone() })
    }
}

impl Program for Own {
    fn name(&self) -> &str {
        self.command.words().first().map_or("", String::as_str)
    }

    fn launch(&self, local: SocketAddr) -> Result<Launch, TunnelError> {
        let port = local.port().to_string();
        let mut words = self.command.words().iter().map(|word| word.replace(PORT, &port));
        let name = words.next().unwrap_or_default();
        let missing = || {
            TunnelError::Fatal(format!(
                "{name} was not found; install it, or give its whole path in tunnel_command"
            ))
        };
        let program: PathBuf = find(&name).ok_or_else(missing)?;
        Ok(Launch { program, arguments: words.collect(), secrets: Vec::new() })
    }

    fn listen(&self) -> Box<dyn Listener> {
        Box::new(Lines { pattern: self.pattern.clone(), url: self.url.clone() })
    }
}

struct Lines {
    pattern: String,
    /// The address that is known beforehand.
    url: Option<PublicUrl>,
}

impl Listener for Lines {
    fn hear(&mut self, line: &str) -> Option<Heard> {
        let told = find_url(line, &self.pattern).filter(|_| self.url.is_none());
        Some(told.map_or_else(|| Heard::Reason(line.to_owned()), Heard::Url))
    }

    fn unsaid(&self) -> Option<Unsaid> {
        self.url.clone().map(|url| Unsaid { url, after: SETTLES })
    }

    fn begins_up(&self) -> bool {
        self.url.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn own(command: &str, pattern: Option<&str>) -> Own {
        let config = Config {
            tunnel_command: Some(command.parse().expect("a command")),
            tunnel_url_pattern: pattern.map(|p| p.parse().expect("a pattern")),
            ..Config::default()
        };
        Own::new(&config).expect("a command")
    }

    #[test]
    fn the_port_is_filled_in() {
        let launch =
            own("sh -c 'echo {port} {port}'", None).launch(([127, 0, 0, 1], 4321).into()).expect("found");
        assert_eq!(launch.arguments, ["-c", "echo 4321 4321"]);
        let Err(TunnelError::Fatal(reason)) =
            own("no-such-program-here {port}", None).launch(([127, 0, 0, 1], 1).into())
        else {
            panic!("it is not there")
        };
        assert!(reason.starts_with("no-such-program-here was not found; install it"), "{reason}");
    }

    #[test]
    fn the_address_is_what_fits() {
        let mut lines = own("sh", Some("https://*.tunnel.example")).listen();
        assert_eq!(
            lines.hear("see https://docs.example"),
            Some(Heard::Reason("see https://docs.example".into()))
        );
        let url: PublicUrl = "https://a1.tunnel.example".parse().expect("a URL");
        assert_eq!(lines.hear("at https://a1.tunnel.example/"), Some(Heard::Url(url)));
    }
}

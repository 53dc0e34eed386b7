//! Tunnels by `ssh -R`: services such as localhost.run, or a server of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::output::find_url;
use super::program::{Heard, Launch, Listener, Program, Unsaid, find};
use super::provider::TunnelError;
use crate::config::{Config, PublicUrl, SshHost};

/// What services print; the address of an own server is known without being printed.
const SERVICES: [&str; 4] = [
    "https://*.lhr.life",
    "https://*.serveo.net",
    "https://*.serveousercontent.com",
    "https://*.pinggy.link",
];
/// How long a service may take to print its address once the port is forwarded.
const SAYS_WITHIN: Duration = Duration::from_secs(5);
/// The name of the file with the keys of hosts.
const KNOWN_HOSTS: &str = "known_hosts";

/// The program, and where it logs in.
pub(super) struct Ssh {
    host: SshHost,
    key: Option<PathBuf>,
    /// The port that the server forwards; 0 for any.
    remote: u16,
    url: Option<PublicUrl>,
    pattern: Option<String>,
}

impl Ssh {
    pub(super) fn new(host: SshHost, config: &Config) -> Self {
        Self {
            host,
            key: config.tunnel_ssh_key.clone(),
            remote: config.tunnel_ssh_port,
            url: config.tunnel_url.clone(),
            pattern: config.tunnel_url_pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
        }
    }

    /// A service prints its address in a session; a server of one's own has nothing to say in one.
    fn has_session(&self) -> bool {
        self.url.is_none() && self.remote != 0
    }

    /// The file in which the keys of hosts are kept that were logged in to. The first key of a host is believed; another
    /// one is refused from then on.
    fn known_hosts() -> Option<PathBuf> {
        let folder = ooblex_models::manager::user_folder()?.parent()?.join("ssh");
        // Without it ssh says that it cannot write there, and forgets the key.
        let _ = std::fs::create_dir_all(&folder);
        Some(folder.join(KNOWN_HOSTS))
    }
}

impl Program for Ssh {
    fn name(&self) -> &str {
        "ssh"
    }

    fn launch(&self, local: SocketAddr) -> Result<Launch, TunnelError> {
        let missing = || TunnelError::Fatal("ssh was not found; install the package openssh-client".into());
        let program = find("ssh").ok_or_else(missing)?;
        // Verbose, for it says only then when the port is forwarded.
        let mut arguments = vec!["-v".to_owned(), "-T".to_owned()];
        let mut option = |text: String| arguments.extend(["-o".to_owned(), text]);
        // Nobody is there to answer questions, and a connection without the port is of no use.
        option("BatchMode=yes".into());
        option("ExitOnForwardFailure=yes".into());
        option("ServerAliveInterval=15".into());
        option("ServerAliveCountMax=3".into());
        option("ConnectTimeout=15".into());
        option("StrictHostKeyChecking=accept-new".into());
        // A connection that is shared with others would outlive this one.
        option("ControlPath=none".into());
        if let Some(file) = Self::known_hosts() {
            option(format!("UserKnownHostsFile=\"{}\"", file.display()));
        }
        if let Some(key) = &self.key {
            option("IdentitiesOnly=yes".into());
            arguments.extend(["-i".to_owned(), key.display().to_string()]);
        }
        if let Some(port) = self.host.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        if !self.has_session() {
            arguments.push("-N".to_owned());
        }
        arguments.extend(["-R".to_owned(), format!("{}:{}:{}", self.remote, local.ip(), local.port())]);
        if let Some(user) = &self.host.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        arguments.extend(["--".to_owned(), self.host.host.clone()]);
        Ok(Launch { program, arguments, secrets: Vec::new() })
    }

    fn listen(&self) -> Box<dyn Listener> {
        Box::new(Lines {
            host: self.host.host.clone(),
            port: self.remote,
            url: self.url.clone(),
            pattern: self.pattern.clone(),
            says_more: self.has_session(),
        })
    }
}

/// What one run prints.
struct Lines {
    host: String,
    port: u16,
    /// The address that is known beforehand.
    url: Option<PublicUrl>,
    pattern: Option<String>,
    /// Whether there is a session in which an address may be printed.
    says_more: bool,
}

impl Lines {
    fn told(&self, line: &str) -> Option<PublicUrl> {
        match &self.pattern {
            Some(pattern) => find_url(line, pattern),
            None => SERVICES.iter().find_map(|pattern| find_url(line, pattern)),
        }
    }
}

impl Listener for Lines {
    fn hear(&mut self, line: &str) -> Option<Heard> {
        if let Some(rest) = line.strip_prefix("Allocated port ") {
            self.port = rest.split(' ').next().and_then(|port| port.parse().ok()).unwrap_or(self.port);
            return Some(Heard::Up);
        }
        // The port that the server chose comes after this.
        let is_chosen = self.port != 0;
        if line.contains("remote forward success for") {
            return is_chosen.then_some(Heard::Up);
        }
        if line.starts_with("debug") {
            return None;
        }
        if self.url.is_none()
            && let Some(url) = self.told(line)
        {
            return Some(Heard::Url(url));
        }
        let fatal = [
            (
                "Host key verification failed",
                "the host shows another key than before; if that is right, remove its line from the file known_hosts",
            ),
            ("Permission denied", "the host refuses the login; give a key that it knows by --tunnel-ssh-key"),
            ("no such identity", "the key of tunnel_ssh_key is not there"),
        ];
        let known = fatal.iter().find(|(words, _)| line.contains(words));
        Some(match known {
            Some((_, fix)) => Heard::Fatal(format!("{line}; {fix}")),
            None => Heard::Reason(line.to_owned()),
        })
    }

    fn unsaid(&self) -> Option<Unsaid> {
        if let Some(url) = &self.url {
            return Some(Unsaid { url: url.clone(), after: Duration::ZERO });
        }
        let url = format!("http://{}:{}", self.host, self.port).parse().ok()?;
        Some(Unsaid { url, after: if self.says_more { SAYS_WITHIN } else { Duration::ZERO } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in htr-tech/zphisher#618.
    const LOCALHOST_RUN: &str = include_str!("transcripts/localhost_run.txt");

    fn ssh(host: &str, change: impl FnOnce(&mut Config)) -> Ssh {
        let mut config = Config::default();
        change(&mut config);
        Ssh::new(host.parse().expect("a host"), &config)
    }

    fn has(arguments: &[String], pair: [&str; 2]) -> bool {
        arguments.windows(2).any(|two| two == pair)
    }

    #[test]
    fn a_service_prints_its_address_among_others() {
        let mut lines = ssh("nokey@localhost.run", |_| {}).listen();
        let heard: Vec<_> = LOCALHOST_RUN.lines().filter_map(|line| lines.hear(line)).collect();
        let told: Vec<_> = heard.iter().filter(|heard| !matches!(heard, Heard::Reason(_))).collect();
        let url: PublicUrl = "https://47970a65005227.lhr.life".parse().expect("a URL");
        assert_eq!(told, [&Heard::Up, &Heard::Url(url)]);
    }

    #[test]
    fn a_server_chooses_the_port() {
        let ssh = ssh("me@tunnel.example", |config| config.tunnel_ssh_port = 0);
        let mut lines = ssh.listen();
        assert_eq!(lines.hear("debug1: remote forward success for: listen 0, connect 127.0.0.1:8081"), None);
        assert_eq!(lines.hear("Allocated port 40123 for remote forward to 127.0.0.1:8081"), Some(Heard::Up));
        assert_eq!(
            lines.unsaid().map(|unsaid| unsaid.url.to_string()),
            Some("http://tunnel.example:40123".into())
        );
    }

    #[test]
    fn reasons_are_told_with_a_fix_where_there_is_one() {
        let mut lines = ssh("me@tunnel.example", |_| {}).listen();
        let refused = lines.hear("me@tunnel.example: Permission denied (publickey).");
        assert!(
            matches!(&refused, Some(Heard::Fatal(text)) if text.contains("--tunnel-ssh-key")),
            "{refused:?}"
        );
        let reason = lines.hear("ssh: connect to host tunnel.example port 22: Connection refused");
        assert!(matches!(reason, Some(Heard::Reason(_))));
        assert_eq!(lines.hear("debug1: Connecting to https://x.lhr.life"), None);
    }

    #[test]
    fn it_asks_nobody_and_ends_where_the_port_is_refused() {
        let local = ([127, 0, 0, 1], 4321).into();
        let launch =
            ssh("me@tunnel.example:2222", |config| config.tunnel_ssh_key = Some("/k".into())).launch(local);
        let Ok(Launch { arguments, .. }) = launch else { return };
        for option in ["BatchMode=yes", "ExitOnForwardFailure=yes", "StrictHostKeyChecking=accept-new"] {
            assert!(has(&arguments, ["-o", option]), "{arguments:?}");
        }
        for pair in [
            ["-R", "80:127.0.0.1:4321"],
            ["-p", "2222"],
            ["-l", "me"],
            ["-i", "/k"],
            ["--", "tunnel.example"],
        ] {
            assert!(has(&arguments, pair), "{arguments:?}");
        }
        assert!(!arguments.contains(&"-N".to_owned()));
        let known = ssh("tunnel.example", |config| config.tunnel_url = "https://a.example".parse().ok())
            .launch(local);
        assert!(known.is_ok_and(|launch| launch.arguments.contains(&"-N".to_owned())));
    }
}

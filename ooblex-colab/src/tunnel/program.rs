//! Tunnels that another program opens: starting it, reading what it says, ending it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_trait::async_trait;

use super::child::Child;
use super::provider::{Change, Running, Tunnel, TunnelError};
use crate::config::{HIDDEN, PublicUrl};

/// A program that has not opened its tunnel by then is ended.
const PATIENCE: Duration = Duration::from_secs(30);
/// A line that ends up in a reason is cut there.
const LONGEST_REASON: usize = 300;

/// A program that opens tunnels.
pub(super) trait Program: Send {
    /// What it is called in reasons.
    fn name(&self) -> &str;

    /// How it is started to forward to `local`. Secrets go by environment, never as arguments.
    ///
    /// # Errors
    /// What is missing, with the fix.
    fn launch(&self, local: SocketAddr) -> Result<Launch, TunnelError>;

    /// Who understands the output of one run.
    fn listen(&self) -> Box<dyn Listener>;
}

/// How a program is started.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Variables with secrets in them, which are hidden wherever the program repeats them.
    pub(super) secrets: Vec<(&'static str, String)>,
}

/// Understands the output of one run of a program.
pub(super) trait Listener: Send {
    /// What a line means.
    fn hear(&mut self, line: &str) -> Option<Heard>;

    /// The address to go by once the tunnel is [up](Heard::Up) and no other was told for a while.
    fn unsaid(&self) -> Option<Unsaid> {
        None
    }

    /// Whether a program that just runs counts as one whose tunnel is up.
    fn begins_up(&self) -> bool {
        false
    }
}

/// What a program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The tunnel is reached there, and open.
    Url(PublicUrl),
    /// The tunnel is open.
    Up,
    /// The tunnel has lost its way to the provider; the program looks for it.
    Lost(String),
    /// Something that may be the reason of its end.
    Reason(String),
    /// The reason of its end, and that trying again does not help.
    Fatal(String),
}

/// An address that is not told.
pub(super) struct Unsaid {
    pub(super) url: PublicUrl,
    /// How long another one may take to be told.
    pub(super) after: Duration,
}

/// A tunnel by a program.
pub(super) fn tunnel(program: impl Program + 'static) -> Box<dyn Tunnel> {
    Box::new(ByProgram(program))
}

struct ByProgram<P>(P);

#[async_trait]
impl<P: Program> Tunnel for ByProgram<P> {
    async fn open(&mut self, local: SocketAddr) -> Result<Box<dyn Running>, TunnelError> {
        let launch = self.0.launch(local)?;
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments);
        // What is for this program alone is nobody else's business.
        let own = |name: &str| name.starts_with("OOBLEX_") || name == "NGROK_AUTH_TOKEN";
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(own)) {
            command.env_remove(name);
        }
        command.envs(launch.secrets.iter().map(|(name, value)| (name, value)));
        let child = Child::start(command).await.map_err(|error| self.not_started(&launch.program, &error))?;
        let secrets = launch.secrets.into_iter().map(|(_, value)| value).collect();
        let listener = self.0.listen();
        let starting = Starting {
            name: self.0.name().to_owned(),
            child,
            listener,
            secrets,
            reason: None,
            is_fatal: false,
        };
        Ok(Box::new(starting.until_open().await?))
    }
}

impl<P: Program> ByProgram<P> {
    fn not_started(&self, program: &Path, error: &io::Error) -> TunnelError {
        let name = self.0.name();
        let text = format!("{name} cannot be started: {}: {error}", program.display());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => TunnelError::Fatal(text),
            _ => TunnelError::Transient(text),
        }
    }
}

/// A program that runs, and what it said about why it will end.
struct Starting {
    name: String,
    child: Child,
    listener: Box<dyn Listener>,
    secrets: Vec<String>,
    reason: Option<String>,
    is_fatal: bool,
}

impl Starting {
    async fn until_open(mut self) -> Result<Open, TunnelError> {
        let url = match tokio::time::timeout(PATIENCE, self.first_url()).await {
            Ok(Ok(url)) => url,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let said = self.reason.map_or(String::new(), |said| format!("; it said: {said}"));
                let seconds = PATIENCE.as_secs();
                self.child.stop().await;
                return Err(TunnelError::Transient(format!(
                    "{} has not told a public address within {seconds} s{said}",
                    self.name
                )));
            }
        };
        Ok(Open { run: self, url })
    }

    async fn first_url(&mut self) -> Result<PublicUrl, TunnelError> {
        let mut is_up = self.listener.begins_up();
        loop {
            let unsaid = self.listener.unsaid().filter(|_| is_up);
            let heard = match unsaid {
                Some(Unsaid { url, after }) => match tokio::time::timeout(after, self.hear()).await {
                    Ok(heard) => heard?,
                    Err(_) => return Ok(url),
                },
                None => self.hear().await?,
            };
            match heard {
                Heard::Url(url) => return Ok(url),
                Heard::Up => is_up = true,
                _ => {}
            }
        }
    }

    /// The next thing that the program says and that means something; the error is its end. Safe to cancel.
    async fn hear(&mut self) -> Result<Heard, TunnelError> {
        loop {
            let Some(line) = self.child.line().await else {
                let end = self.child.end().await;
                let said = self.reason.take().map_or(String::new(), |said| format!(": {said}"));
                let text = format!("{}: {end}{said}", self.name);
                return Err(match self.is_fatal {
                    true => TunnelError::Fatal(text),
                    false => TunnelError::Transient(text),
                });
            };
            let line = without(&self.secrets, &line);
            tracing::debug!(program = self.name, line, "tunnel");
            match self.listener.hear(&line) {
                Some(Heard::Reason(reason)) => self.reason = Some(short(&reason)),
                Some(Heard::Fatal(reason)) => (self.reason, self.is_fatal) = (Some(short(&reason)), true),
                Some(heard) => return Ok(heard),
                None => {}
            }
        }
    }
}

/// A line without the secrets that it may repeat.
fn without(secrets: &[String], line: &str) -> String {
    secrets.iter().fold(line.to_owned(), |line, secret| line.replace(secret.as_str(), HIDDEN))
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST_REASON).collect()
}

/// A program whose tunnel is open.
struct Open {
    run: Starting,
    url: PublicUrl,
}

#[async_trait]
impl Running for Open {
    fn url(&self) -> &PublicUrl {
        &self.url
    }

    async fn next(&mut self) -> Change {
        loop {
            match self.run.hear().await {
                Ok(Heard::Url(url)) if url == self.url => {}
                Ok(Heard::Url(url)) => {
                    self.url = url;
                    return Change::Moved;
                }
                Ok(Heard::Up) => return Change::Back,
                Ok(Heard::Lost(reason)) => return Change::Lost(short(&reason)),
                Ok(Heard::Reason(_) | Heard::Fatal(_)) => {}
                Err(error) => return Change::Ended(error),
            }
        }
    }

    async fn close(self: Box<Self>) {
        self.run.child.stop().await;
    }
}

/// Where a program of that name lies: a path as it is, a name on PATH.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

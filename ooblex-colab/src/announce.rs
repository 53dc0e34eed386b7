//! What standard output tells: the addresses, and what becomes of them. Logs go to standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::access::EXPOSURE_FIX;
use crate::checkpoint::Resumed;
use crate::cli::VERSION;
use crate::config::{LineFormat, Token};
use crate::server::{Server, url_of};
use crate::tunnel::{OPENING, Report, TunnelHub};

/// Something that whoever started the program wants to know. In JSON `event` names it.
// No `Debug`: it holds tokens.
#[derive(Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Announcement {
    /// It can be connected to.
    Ready(Box<Ready>),
    /// The session comes to its end, as `session_limit` says.
    Session {
        /// Whole minutes.
        minutes_left: u64,
        /// What that means.
        warning: String,
    },
    /// The way from outside is there, is away, or leads to another address.
    Tunnel(Tunnel),
    /// It has stopped, with nothing left.
    Stopped,
}

/// Where everything is found.
#[derive(Clone, Serialize)]
pub(crate) struct Ready {
    version: &'static str,
    urls: Urls,
    /// Further addresses with the same routes.
    also_at: Vec<String>,
    /// Whether requests need tokens.
    guarded: bool,
    /// What is continued of an earlier session.
    resumed: Option<Resumed>,
    /// Those that were made at the start. Configured ones are not told.
    tokens: Tokens,
    /// What is wrong, and what to do.
    warnings: Vec<String>,
}

/// The link's is always made; it lets watch alone.
#[derive(Clone, Default, Serialize)]
struct Tokens {
    control: Option<String>,
    publish: Option<String>,
    view: Option<String>,
    link: Option<String>,
}

/// How the tunnel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Tunnel {
    provider: &'static str,
    /// `up`, `reconnecting` or `down`.
    state: &'static str,
    /// Where it is reached, or was last.
    url: Option<String>,
    /// Why it is not up.
    reason: Option<String>,
}

/// URLs as they are opened on this machine. Where the server is guarded they hold tokens that were made; for one that was
/// configured the reader puts it in place of `TOKEN`.
#[derive(Clone, Serialize)]
struct Urls {
    base: String,
    page: String,
    /// The page without controls.
    view: String,
    stream: String,
    snapshot: String,
    upload: String,
    /// `None` where there is no WebRTC.
    whip: Option<String>,
}

impl Announcement {
    pub(crate) fn ready(server: &Server) -> Self {
        let base = server.url();
        let guarded = server.access().is_guarded();
        let (made, shown) =
            (server.made_tokens(), |token: &Option<Token>| token.as_ref().map(|t| t.expose().to_owned()));
        let tokens = Tokens {
            control: shown(&made.control),
            publish: shown(&made.publish),
            view: shown(&made.view),
            link: shown(&server.access().link()),
        };
        let control = tokens.control.as_deref().unwrap_or("TOKEN");
        let prefix = if guarded { format!("t/{control}/") } else { String::new() };
        // Where everybody may watch there is no link's token.
        let link = tokens.link.as_ref().map(|link| (format!("t/{link}/"), format!("?token={link}")));
        let (watched, query) = link.unwrap_or_default();
        let urls = Urls {
            page: format!("{base}{prefix}"),
            view: format!("{base}{watched}view"),
            stream: format!("{base}stream.mjpg{query}"),
            snapshot: format!("{base}snapshot.jpg{query}"),
            upload: format!("{base}upload"),
            whip: server.takes_webrtc().then(|| format!("{base}whip")),
            base,
        };
        Self::Ready(Box::new(Ready {
            version: VERSION,
            urls,
            also_at: server.addresses().iter().skip(1).map(|address| url_of(*address)).collect(),
            guarded,
            resumed: server.begun().resumed.clone(),
            tokens,
            warnings: server
                .exposure()
                .map(|exposed| format!("{exposed}; {EXPOSURE_FIX}"))
                .into_iter()
                .chain(server.begun().ignored.clone())
                .collect(),
        }))
    }

    fn text(&self) -> String {
        match self {
            Self::Ready(ready) => ready.text(),
            Self::Session { warning, .. } => format!("session   {warning}\n"),
            Self::Tunnel(tunnel) => tunnel.text(),
            Self::Stopped => String::new(),
        }
    }

    fn json(&self) -> String {
        // Invariant: there is no map with keys other than text in it.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

impl Tunnel {
    fn of(provider: &'static str, report: &Report) -> Self {
        let url = report.url.as_ref().map(|url| format!("{url}/"));
        Self { provider, state: report.phase.as_str(), url, reason: report.reason.clone() }
    }

    fn text(&self) -> String {
        let Self { provider, state, url, reason } = self;
        match (url, reason.as_deref()) {
            (Some(url), None) => format!("tunnel    {url} ({provider})\n"),
            (_, Some(OPENING)) => format!("tunnel    {provider} is being opened\n"),
            (_, reason) => {
                format!("warning   tunnel {provider} is {state}: {}\n", reason.unwrap_or_default())
            }
        }
    }
}

impl Ready {
    fn text(&self) -> String {
        let Urls { page, view, stream, snapshot, upload, whip, .. } = &self.urls;
        let publish = self.tokens.publish.as_deref().unwrap_or("TOKEN");
        let bearer =
            if self.guarded { format!(" -H 'Authorization: Bearer {publish}'") } else { String::new() };
        let mut text = format!(
            "page      {page}\n\
             view      {view}\n\
             stream    {stream}\n\
             snapshot  {snapshot}\n\
             upload    curl{bearer} --data-binary @picture.jpg '{upload}?stream=cam'\n"
        );
        if let Some(whip) = whip {
            let how = if self.guarded { format!("; {publish} as bearer token") } else { String::new() };
            text.push_str(&format!("whip      {whip}/cam (OBS, FFmpeg{how})\n"));
        }
        for url in &self.also_at {
            text.push_str(&format!("also at   {url}\n"));
        }
        if let Some(resumed) = &self.resumed {
            text.push_str(&format!("resumed   {}\n", resumed.sentence()));
        }
        for warning in &self.warnings {
            text.push_str(&format!("warning   {}\n", warning.replacen("; ", "\n          ", 1)));
        }
        text
    }
}

/// Writes announcements to standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcer(LineFormat);

impl Announcer {
    pub(crate) fn new(format: LineFormat) -> Self {
        Self(format)
    }

    /// A closed standard output is no reason to stop, so failures are passed over.
    pub(crate) fn tell(self, announcement: &Announcement) {
        let text = match self.0 {
            LineFormat::Json => announcement.json(),
            _ => announcement.text(),
        };
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Tells what becomes of a tunnel, for as long as the server runs.
    pub(crate) async fn follow(self, hub: TunnelHub) {
        let Some(mut changes) = hub.changes() else { return };
        let mut last = None;
        loop {
            let now = Tunnel::of(hub.provider(), &changes.borrow_and_update());
            // What was found out about it is told elsewhere.
            if last.as_ref() != Some(&now) {
                self.tell(&Announcement::Tunnel(now.clone()));
                last = Some(now);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

//! What standard output tells: the addresses, and what becomes of them. Logs go to standard error.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde::Serialize;

use crate::access::EXPOSURE_FIX;
use crate::checkpoint::Resumed;
use crate::cli::VERSION;
use crate::config::LineFormat;
use crate::server::{Server, url_of};

/// Something that whoever started the program wants to know. In JSON `event` names it.
#[derive(Clone, Debug, Serialize)]
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
    /// It has stopped, with nothing left.
    Stopped,
}

/// Where everything is found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ready {
    version: &'static str,
    urls: Urls,
    /// Further addresses with the same routes.
    also_at: Vec<String>,
    /// Whether requests need tokens.
    guarded: bool,
    /// What is continued of an earlier session.
    resumed: Option<Resumed>,
    /// What is wrong, and what to do.
    warnings: Vec<String>,
}

/// URLs as they are opened on this machine; where the server is guarded the reader puts its token for `TOKEN`.
#[derive(Clone, Debug, Serialize)]
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
        // Tokens that were configured are never printed.
        let guarded = server.access().is_guarded();
        let (prefix, query) = if guarded { ("t/TOKEN/", "?token=TOKEN") } else { ("", "") };
        let urls = Urls {
            page: format!("{base}{prefix}"),
            view: format!("{base}{prefix}view"),
            stream: format!("{base}stream.mjpg{query}"),
            snapshot: format!("{base}snapshot.jpg{query}"),
            upload: format!("{base}upload"),
            whip: server.takes_webrtc().then(|| format!("{base}whip")),
            base,
        };
        let bind = server.addresses().first().map(SocketAddr::ip);
        let exposed = bind.and_then(|bind| server.access().exposure(bind));
        Self::Ready(Box::new(Ready {
            version: VERSION,
            urls,
            also_at: server.addresses().iter().skip(1).map(|address| url_of(*address)).collect(),
            guarded,
            resumed: server.begun().resumed.clone(),
            warnings: exposed
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
            Self::Stopped => String::new(),
        }
    }

    fn json(&self) -> String {
        // Invariant: there is no map with keys other than text in it.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

impl Ready {
    fn text(&self) -> String {
        let Urls { page, stream, snapshot, upload, whip, .. } = &self.urls;
        let bearer = if self.guarded { " -H 'Authorization: Bearer TOKEN'" } else { "" };
        let mut text = format!(
            "page      {page}\n\
             stream    {stream}\n\
             snapshot  {snapshot}\n\
             upload    curl{bearer} --data-binary @picture.jpg '{upload}?stream=cam'\n"
        );
        if let Some(whip) = whip {
            let how = if self.guarded { "; TOKEN as bearer token" } else { "" };
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
}

//! What is known of the tunnel: for `/status`, `/health`, the page, and whoever started the program.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::governor::Governor;
use super::ledger::Count;
use super::probe::{Answer, Findings, Probes, Step};
use super::provider::Limits;
use crate::arrival::Arrival;
use crate::config::{Config, PublicUrl, TunnelChoice};

/// Why a tunnel is not up before the first attempt.
pub(crate) const OPENING: &str = "it is being opened";
/// A page asks for the state this often, in milliseconds, unless requests are scarce; and no less often than that.
const POLL_MS: (f64, f64) = (1_000.0, 30_000.0);
/// Of the requests that a page may make so much is for its polling.
const POLLING: f64 = 0.25;

/// How the tunnel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is open.
    Up,
    /// It is not, and is being opened.
    Reconnecting,
    /// It is not, and will not be until somebody changes something.
    Down,
}

impl Phase {
    pub(crate) const ALL: [Self; 3] = [Self::Up, Self::Reconnecting, Self::Down];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Reconnecting => "reconnecting",
            Self::Down => "down",
        }
    }
}

/// The tunnel at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) phase: Phase,
    /// Where it is reached, or was last.
    pub(crate) url: Option<PublicUrl>,
    /// Why it is not up.
    pub(crate) reason: Option<String>,
    /// What passes it, once that is known.
    pub(crate) findings: Option<Findings>,
    /// How often it was opened.
    pub(crate) opened: u64,
    since: Instant,
}

/// What can be counted about a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    pub(crate) provider: &'static str,
    pub(crate) phase: Phase,
    /// How often it was opened.
    pub(crate) opened: u64,
    /// What has passed since the start.
    pub(crate) passed: Count,
    pub(crate) limits: Limits,
    /// Whether viewers had to wait lately so that a limit is not reached.
    pub(crate) is_slowing: bool,
}

/// The tunnel of a server, or that it has none. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TunnelHub(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    provider: &'static str,
    report: watch::Sender<Report>,
    governor: Governor,
    probes: Probes,
}

impl TunnelHub {
    pub(crate) fn new(config: &Config) -> Self {
        if config.tunnel == TunnelChoice::None {
            return Self(None);
        }
        let horizon = Duration::from_secs(60 * u64::from(config.tunnel_quota_minutes));
        let report = Report {
            phase: Phase::Reconnecting,
            url: None,
            reason: Some(OPENING.into()),
            findings: None,
            opened: 0,
            since: Instant::now(),
        };
        Self(Some(Arc::new(Shared {
            provider: config.tunnel.name(),
            report: watch::Sender::new(report),
            governor: Governor::new(Limits::of(config), horizon),
            probes: Probes::default(),
        })))
    }

    /// The name of its kind; empty without one.
    pub(crate) fn provider(&self) -> &'static str {
        self.0.as_ref().map_or("", |shared| shared.provider)
    }

    /// Tells what becomes of it, from now on; `None` without one.
    pub(crate) fn changes(&self) -> Option<watch::Receiver<Report>> {
        Some(self.0.as_ref()?.report.subscribe())
    }

    pub(super) fn governor(&self) -> Option<&Governor> {
        self.0.as_ref().map(|shared| &shared.governor)
    }

    /// What counts towards the limits of the month; `None` without a tunnel.
    pub(crate) fn used(&self) -> Option<Count> {
        self.governor().map(|governor| governor.balance().used)
    }

    /// Sets that: what passed before the start, or nothing where a month begins.
    pub(crate) fn count_from(&self, used: Count) {
        if let Some(governor) = self.governor() {
            governor.count_from(used);
        }
    }

    pub(super) fn probes(&self) -> Option<&Probes> {
        self.0.as_ref().map(|shared| &shared.probes)
    }

    /// What to answer to a request of a probe; `None` if none is under way that knows this number.
    pub(crate) fn probed(&self, nonce: &str, step: Step) -> Option<Answer> {
        self.probes()?.take(nonce, step)
    }

    /// It is open.
    pub(super) fn up(&self, url: &PublicUrl) {
        self.change(|report| {
            report.findings.take_if(|_| report.url.as_ref() != Some(url));
            report.url = Some(url.clone());
            report.opened += 1;
            (report.phase, report.reason) = (Phase::Up, None);
        });
    }

    /// It is not.
    pub(super) fn away(&self, phase: Phase, reason: String) {
        self.change(|report| (report.phase, report.reason) = (phase, Some(reason)));
    }

    /// What passes it.
    pub(super) fn found(&self, findings: Findings) {
        if let Some(shared) = &self.0 {
            shared.report.send_modify(|report| report.findings = Some(findings));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        if let Some(shared) = &self.0 {
            shared.report.send_modify(|report| {
                let before = report.phase;
                change(report);
                if report.phase != before {
                    report.since = Instant::now();
                }
            });
        }
    }

    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let shared = self.0.as_ref()?;
        let report = shared.report.borrow();
        let reason = report.reason.as_deref().filter(|_| report.phase != Phase::Up)?;
        Some(format!("tunnel {} is {}: {reason}", shared.provider, report.phase.as_str()))
    }

    /// Why a path does not work for a request that came through the tunnel, as far as the probe knows.
    pub(crate) fn absent(&self, path: &str, arrival: Arrival) -> Option<&'static str> {
        let shared = self.0.as_ref().filter(|_| arrival == Arrival::Tunnel)?;
        let report = shared.report.borrow();
        let findings = report.findings.as_ref()?;
        match path {
            "/stream.mjpg" if findings.stream == Some(false) => {
                Some("the server found that the tunnel holds streamed answers back")
            }
            _ if path.starts_with("/ws/") && findings.websocket == Some(false) => {
                Some("the server found that the tunnel passes no WebSockets")
            }
            _ => None,
        }
    }

    /// For `/metrics`; `None` without a tunnel.
    pub(crate) fn measure(&self) -> Option<Measure> {
        let shared = self.0.as_ref()?;
        let report = shared.report.borrow();
        Some(Measure {
            provider: shared.provider,
            phase: report.phase,
            opened: report.opened,
            passed: shared.governor.balance().total,
            limits: shared.governor.limits(),
            is_slowing: shared.governor.is_slowing(),
        })
    }

    /// For `/status`: null without a tunnel.
    pub(crate) fn to_json(&self, arrival: Arrival) -> Value {
        let Some(shared) = &self.0 else { return Value::Null };
        let report = shared.report.borrow().clone();
        json!({
            "provider": shared.provider,
            "state": report.phase.as_str(),
            "url": report.url.as_ref().map(PublicUrl::as_str),
            "reason": report.reason,
            "since_seconds": report.since.elapsed().as_secs(),
            "opened": report.opened,
            "here": arrival == Arrival::Tunnel,
            "probe": report.findings,
            "traffic": shared.traffic(),
        })
    }
}

impl Shared {
    fn traffic(&self) -> Value {
        let (limits, balance) = (self.governor.limits(), self.governor.balance());
        let poll = (1_000.0 / (balance.requests_per_second * POLLING)).clamp(POLL_MS.0, POLL_MS.1);
        let minutes = |left: Duration| left.as_secs() / 60;
        json!({
            "sent_bytes": balance.total.sent,
            "received_bytes": balance.total.received,
            "requests": balance.total.requests,
            "bytes_per_second": balance.bytes_per_second.round() as u64,
            "requests_per_minute": balance.requests_per_minute,
            "limits": {
                "bytes": limits.bytes,
                "requests": limits.requests,
                "requests_per_minute": limits.requests_per_minute,
            },
            "used": { "bytes": balance.used.sent, "requests": balance.used.requests },
            "minutes_left": balance.left.map(minutes),
            "most_bytes_per_second": balance.pace.map(|pace| pace as u64),
            "slowed": self.governor.is_slowing(),
            "poll_ms": poll as u64,
            "most_pictures_per_second": (balance.requests_per_second * (1.0 - POLLING) * 100.0).round() / 100.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> TunnelHub {
        TunnelHub::new(&Config { tunnel: TunnelChoice::Ngrok, ..Config::default() })
    }

    fn url(text: &str) -> PublicUrl {
        text.parse().expect("a URL")
    }

    fn findings(websocket: bool, stream: bool) -> Findings {
        Findings {
            reached: true,
            websocket: Some(websocket),
            stream: Some(stream),
            interstitial: None,
            reasons: Vec::new(),
        }
    }

    #[test]
    fn without_a_tunnel_there_is_nothing_to_say() {
        let hub = TunnelHub::new(&Config::default());
        assert_eq!((hub.to_json(Arrival::Direct), hub.problem()), (Value::Null, None));
        assert!(hub.changes().is_none() && hub.absent("/ws/live", Arrival::Tunnel).is_none());
    }

    #[test]
    fn states_come_with_their_reasons() {
        let hub = hub();
        assert_eq!(hub.problem().as_deref(), Some("tunnel ngrok is reconnecting: it is being opened"));
        hub.up(&url("https://a.example"));
        assert_eq!(hub.problem(), None);
        let shown = hub.to_json(Arrival::Direct);
        assert_eq!(
            (&shown["state"], &shown["url"], &shown["here"]),
            (&json!("up"), &json!("https://a.example"), &json!(false))
        );
        assert_eq!(shown["traffic"]["limits"]["requests"], 20_000);
        hub.away(Phase::Down, "the token was refused".into());
        assert_eq!(hub.problem().as_deref(), Some("tunnel ngrok is down: the token was refused"));
        assert_eq!(hub.to_json(Arrival::Direct)["url"], "https://a.example", "where it was last");
    }

    #[test]
    fn what_does_not_pass_is_absent_for_those_who_come_through_it() {
        let hub = hub();
        hub.up(&url("https://a.example"));
        hub.found(findings(false, false));
        for (path, arrival, is_absent) in [
            ("/ws/live", Arrival::Tunnel, true),
            ("/ws/live", Arrival::Direct, false),
            ("/stream.mjpg", Arrival::Tunnel, true),
            ("/stream.mjpg", Arrival::Direct, false),
            ("/snapshot.jpg", Arrival::Tunnel, false),
        ] {
            assert_eq!(hub.absent(path, arrival).is_some(), is_absent, "{path} {arrival:?}");
        }
        hub.up(&url("https://a.example"));
        assert!(hub.absent("/ws/live", Arrival::Tunnel).is_some(), "the same address is the same tunnel");
        hub.up(&url("https://b.example"));
        assert!(hub.absent("/ws/live", Arrival::Tunnel).is_none(), "another one has to be probed");
        hub.found(findings(true, true));
        assert!(hub.absent("/ws/live", Arrival::Tunnel).is_none());
    }
}

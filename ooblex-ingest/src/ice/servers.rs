//! The servers to use now, and those to tell browsers of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::dns::Resolver;
use super::provider::{
    FetchError, HttpProvider, IceList, ProviderReport, ProviderSpec, ProviderState, Schedule,
};
use super::{IceServer, Trust};

/// Life of minted credentials for this process's own sessions. A server asks for them whenever a session renews its
/// address, so they should outlast sessions.
const OWN_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Life of those that browsers get.
const PAGE_LIFE: Duration = Duration::from_secs(2 * 3600);
/// How long [`IceServers::settled`] waits at most: a fetch and a little more.
const SETTLE: Duration = Duration::from_millis(3200);

/// Where servers come from, and what is known of them now. Cheap to clone; fetching ends with the last clone.
#[derive(Clone, Debug, Default)]
pub struct IceServers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sources: Vec<Source>,
    /// Tasks that fetch.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Source {
    spec: ProviderSpec,
    fetched: Arc<Fetched>,
}

/// What was fetched from one provider.
#[derive(Debug)]
struct Fetched {
    state: Mutex<State>,
    /// Whether the first try is over.
    tried: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    list: Vec<IceServer>,
    schedule: Schedule,
    error: Option<String>,
    fetches: u64,
}

impl IceServers {
    /// Always these. Browsers are told the ones without credentials only.
    pub fn fixed(servers: Vec<IceServer>) -> Self {
        let spec = |server| ProviderSpec::Server { server, public: false };
        let sources = servers.into_iter().map(|server| Source::new(spec(server))).collect();
        Self(Arc::new(Inner { sources, _tasks: JoinSet::new() }))
    }

    /// Servers of these providers. Lists are fetched from now on, by tasks of the tokio runtime that this must be
    /// called in, and again before their credentials end. `trust` says whose certificates the providers may show.
    pub fn start(specs: Vec<ProviderSpec>, trust: Trust) -> Self {
        let resolver = Resolver::default();
        let mut tasks = JoinSet::new();
        let mut sources = Vec::new();
        for spec in specs {
            let source = Source::new(spec);
            if let ProviderSpec::Http(provider) = &source.spec {
                let fetch =
                    Remote { provider: provider.clone(), resolver: resolver.clone(), trust: trust.clone() };
                tasks.spawn(refresh(Arc::clone(&source.fetched), source.spec.name(), fetch));
            }
            sources.push(source);
        }
        Self(Arc::new(Inner { sources, _tasks: tasks }))
    }

    /// The servers to use now, with credentials that last a session.
    pub fn current(&self) -> Vec<IceServer> {
        self.0.sources.iter().flat_map(|source| source.servers(OWN_LIFE)).collect()
    }

    /// The servers that a browser may be told of: those without credentials, those whose credentials end soon, those
    /// that anybody could fetch, and those that are configured as public. Time-limited credentials are made for each
    /// call.
    pub fn for_page(&self) -> Vec<IceServer> {
        let told = self.0.sources.iter().flat_map(|source| {
            let all = source.servers(PAGE_LIFE);
            let short_lived = source.is_for_page();
            all.into_iter().filter(move |server| short_lived || server.credential.is_none())
        });
        told.collect()
    }

    /// Waits until every list has been fetched once or has failed, at most about three seconds.
    pub async fn settled(&self) {
        let all = async {
            for source in &self.0.sources {
                // Without a sender there is nothing to wait for.
                let _ = source.fetched.tried.subscribe().wait_for(|tried| *tried).await;
            }
        };
        let _ = tokio::time::timeout(SETTLE, all).await;
    }

    /// How each provider fares, without credentials.
    pub fn report(&self) -> Vec<ProviderReport> {
        let now = now();
        self.0.sources.iter().map(|source| source.report(now)).collect()
    }
}

impl Source {
    fn new(spec: ProviderSpec) -> Self {
        let waits = matches!(spec, ProviderSpec::Http(_));
        let state = State { list: Vec::new(), schedule: Schedule::new(now()), error: None, fetches: 0 };
        let fetched = Arc::new(Fetched { state: Mutex::new(state), tried: watch::Sender::new(!waits) });
        Self { spec, fetched }
    }

    fn servers(&self, life: Duration) -> Vec<IceServer> {
        match &self.spec {
            ProviderSpec::Server { server, .. } => vec![server.clone()],
            ProviderSpec::Coturn(coturn) => vec![coturn.mint(unix(), life)],
            ProviderSpec::Http(_) => {
                let state = self.fetched.lock();
                if state.schedule.has_expired(now()) { Vec::new() } else { state.list.clone() }
            }
        }
    }

    /// Whether browsers may have its credentials.
    fn is_for_page(&self) -> bool {
        match &self.spec {
            ProviderSpec::Server { public, .. } => *public,
            ProviderSpec::Coturn(_) => true,
            ProviderSpec::Http(provider) => {
                !provider.is_authenticated() || self.fetched.lock().schedule.expires.is_some()
            }
        }
    }

    fn report(&self, now: Instant) -> ProviderReport {
        let mut report = ProviderReport {
            name: self.spec.name(),
            state: ProviderState::Ready,
            servers: self.servers(OWN_LIFE).iter().map(|server| server.urls.len()).sum(),
            expires_in: None,
            refresh_in: None,
            error: None,
            fetches: 0,
            failures: 0,
            for_page: self.is_for_page(),
        };
        if let ProviderSpec::Server { server, .. } = &self.spec {
            report.for_page |= server.credential.is_none();
        }
        if let ProviderSpec::Http(_) = &self.spec {
            let state = self.fetched.lock();
            report.state = match (report.servers, &state.error) {
                (0, None) => ProviderState::Waiting,
                (0, Some(_)) => ProviderState::Failed,
                (_, None) => ProviderState::Ready,
                (_, Some(_)) => ProviderState::Stale,
            };
            report.expires_in = state.schedule.expires.map(|end| end.saturating_duration_since(now));
            report.refresh_in = Some(state.schedule.next.saturating_duration_since(now));
            report.error.clone_from(&state.error);
            report.fetches = state.fetches;
            report.failures = state.schedule.failures;
        }
        report
    }
}

impl Fetched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What gets a list; another one in tests.
#[async_trait]
trait Fetch: Send + 'static {
    async fn fetch(&mut self) -> Result<IceList, FetchError>;
}

struct Remote {
    provider: HttpProvider,
    resolver: Resolver,
    trust: Trust,
}

#[async_trait]
impl Fetch for Remote {
    async fn fetch(&mut self) -> Result<IceList, FetchError> {
        self.provider.fetch(&self.resolver, &self.trust, unix()).await
    }
}

/// Fetches for ever.
async fn refresh(fetched: Arc<Fetched>, name: String, mut fetch: impl Fetch) {
    loop {
        let next = fetched.lock().schedule.next;
        tokio::time::sleep_until(next.into()).await;
        let answer = fetch.fetch().await;
        let now = now();
        let mut state = fetched.lock();
        state.fetches += 1;
        match answer {
            Ok(list) => {
                // Where the list tells no life, the user names may.
                let life = list.life.or_else(|| life_of(&list.servers));
                tracing::debug!(provider = %name, servers = list.servers.len(), ?life, "ICE servers fetched");
                state.schedule.succeeded(life, now);
                (state.list, state.error) = (list.servers, None);
            }
            Err(error) => {
                // Once for each spell of failures; the report has the rest.
                if state.error.is_none() {
                    tracing::warn!(provider = %name, %error, "no ICE servers; it is tried again");
                }
                state.schedule.failed(now);
                state.error = Some(error.to_string());
            }
        }
        drop(state);
        fetched.tried.send_replace(true);
    }
}

/// Until the first of the credentials ends, as far as user names tell.
fn life_of(servers: &[IceServer]) -> Option<Duration> {
    let ends = servers.iter().filter_map(|server| server.expiry());
    ends.min().map(|end| Duration::from_secs(end.saturating_sub(unix())))
}

/// The clock of the runtime, so that tests can move it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::ice::provider::ListError;

    struct Script(VecDeque<Result<IceList, FetchError>>, Arc<Mutex<Vec<Instant>>>);

    #[async_trait]
    impl Fetch for Script {
        async fn fetch(&mut self) -> Result<IceList, FetchError> {
            self.1.lock().expect("lock").push(now());
            match self.0.pop_front() {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    }

    fn list(url: &str, life: Option<u64>) -> Result<IceList, FetchError> {
        let servers = vec![IceServer::open(url).expect("server")];
        Ok(IceList { servers, life: life.map(Duration::from_secs) })
    }

    fn parse(specs: &[&str]) -> Vec<ProviderSpec> {
        specs.iter().map(|spec| spec.parse().expect("spec")).collect()
    }

    fn urls(servers: &[IceServer]) -> Vec<&str> {
        servers.iter().flat_map(|server| server.urls.iter().map(String::as_str)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_renewed_in_time_and_survives_failures_until_it_ends() {
        let source = Source::new("vdo-ninja".parse().expect("spec"));
        let fetched = Arc::clone(&source.fetched);
        let script = VecDeque::from([
            list("stun:a.example", Some(1000)),
            Err(FetchError::Timeout),
            Err(FetchError::List(ListError::Empty)),
            list("stun:b.example", Some(100)),
            Err(FetchError::Timeout),
        ]);
        let asked = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(refresh(fetched, "test".into(), Script(script, Arc::clone(&asked))));
        let servers = IceServers(Arc::new(Inner { sources: vec![source], _tasks: tasks }));
        assert_eq!(servers.report()[0].state, ProviderState::Waiting);
        let start = now();
        servers.settled().await;
        assert_eq!(urls(&servers.current()), ["stun:a.example"]);
        let sleep = |secs| tokio::time::sleep(Duration::from_secs(secs));
        sleep(801).await;
        let report = &servers.report()[0];
        assert_eq!((report.state, report.failures), (ProviderState::Stale, 1));
        assert_eq!(report.error.as_deref(), Some("no whole answer within 3 s"));
        assert_eq!(urls(&servers.current()), ["stun:a.example"], "the last list holds");
        sleep(20).await;
        assert_eq!(urls(&servers.current()), ["stun:b.example"]);
        assert_eq!(servers.report()[0].state, ProviderState::Ready);
        sleep(120).await;
        assert_eq!(urls(&servers.current()), Vec::<&str>::new(), "its credentials have ended");
        assert_eq!(servers.report()[0].state, ProviderState::Failed);
        let at: Vec<u64> = asked.lock().expect("lock").iter().map(|t| (*t - start).as_secs()).collect();
        assert_eq!(at, [0, 800, 805, 815, 895, 900]);
    }

    #[tokio::test]
    async fn browsers_are_told_no_credentials_of_long_life() {
        let servers = IceServers::start(
            parse(&[
                "stun:s.example",
                "turn:private.example,me,topsecret",
                "public:turn:open.example,anybody,known",
                "coturn:timed.example,topsecret",
            ]),
            Trust::system(),
        );
        assert_eq!(servers.current().len(), 4);
        let told = servers.for_page();
        assert_eq!(
            urls(&told),
            [
                "stun:s.example",
                "turn:open.example",
                "turn:timed.example:3478",
                "turn:timed.example:3478?transport=tcp"
            ]
        );
        let lasts = |servers: &[IceServer]| {
            let end = servers.iter().find_map(IceServer::expiry).expect("an end");
            end - unix()
        };
        assert!((7190..=7200).contains(&lasts(&told)), "two hours");
        assert!(lasts(&servers.current()) > 86_000, "a day");
        let for_page: Vec<bool> = servers.report().iter().map(|r| r.for_page).collect();
        assert_eq!(for_page, [true, false, true, true]);
        assert!(!format!("{servers:?} {:?}", servers.report()).contains("topsecret"));
    }

    #[tokio::test]
    async fn fixed_servers_are_as_they_are() {
        let server: IceServer = "turn:t.example,me,secret".parse().expect("server");
        let stun = IceServer::open("stun:s.example").expect("server");
        let servers = IceServers::fixed(vec![server.clone(), stun.clone()]);
        servers.settled().await;
        assert_eq!(servers.current(), [server, stun.clone()]);
        assert_eq!(servers.for_page(), [stun]);
        assert!(IceServers::default().current().is_empty());
    }
}

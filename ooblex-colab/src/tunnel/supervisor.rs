//! Keeps a tunnel open, and tells what becomes of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ooblex_core::pipeline::Backoff;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::probe_client;
use super::provider::{Change, Running, Tunnel, TunnelError};
use super::state::{Phase, TunnelHub};
use crate::config::PublicUrl;

/// Pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A tunnel that was open for so long begins with the first pause again.
const PROVEN: Duration = Duration::from_secs(60);

/// What is called with a new address, before anybody is told of it.
pub(super) type OnUrl = Box<dyn Fn(&PublicUrl) + Send + Sync>;

/// Who looks after a tunnel.
pub(super) struct Supervisor {
    pub(super) tunnel: Box<dyn Tunnel>,
    /// Where the tunnel forwards to.
    pub(super) local: SocketAddr,
    pub(super) herald: Herald,
}

/// Who tells what becomes of it.
pub(super) struct Herald {
    pub(super) hub: TunnelHub,
    pub(super) on_url: OnUrl,
}

async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say so: the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Supervisor {
    /// Opens the tunnel again and again, until it is told to stop or somebody has to change something first.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, u64::from(std::process::id()));
        loop {
            let opened = tokio::select! {
                () = told(&mut stop) => return,
                opened = self.tunnel.open(self.local) => opened,
            };
            let error = match opened {
                Ok(running) => {
                    let since = Instant::now();
                    let Some(error) = self.herald.attend(running, &mut stop).await else { return };
                    if since.elapsed() >= PROVEN {
                        backoff.reset();
                    }
                    error
                }
                Err(error) => error,
            };
            let hub = &self.herald.hub;
            let provider = hub.provider();
            match error {
                TunnelError::Fatal(reason) => {
                    tracing::warn!(provider, reason, "the tunnel stays down; the server goes on without");
                    return hub.away(Phase::Down, reason);
                }
                TunnelError::Transient(reason) => {
                    let pause = backoff.pause();
                    tracing::warn!(provider, reason, ?pause, "the tunnel is away and will be opened again");
                    hub.away(Phase::Reconnecting, reason);
                    tokio::select! {
                        () = told(&mut stop) => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }
}

impl Herald {
    /// Looks after an open tunnel until its end; `None` if it was closed because of a stop.
    async fn attend(
        &self,
        mut running: Box<dyn Running>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<TunnelError> {
        let mut probing = self.is_up(running.url());
        loop {
            let change = tokio::select! {
                () = told(stop) => {
                    running.close().await;
                    return None;
                }
                change = running.next() => change,
            };
            match change {
                Change::Moved => probing = self.is_up(running.url()),
                Change::Back => probing = self.is_up(running.url()),
                Change::Lost(reason) => {
                    tracing::warn!(provider = self.hub.provider(), reason, "the tunnel is away");
                    self.hub.away(Phase::Reconnecting, reason);
                }
                Change::Ended(error) => {
                    drop(probing);
                    return Some(error);
                }
            }
        }
    }

    /// Tells of an address, and begins to find out what passes there.
    fn is_up(&self, url: &PublicUrl) -> Probing {
        tracing::info!(provider = self.hub.provider(), %url, "the tunnel is open");
        (self.on_url)(url);
        self.hub.up(url);
        let (hub, url) = (self.hub.clone(), url.clone());
        Probing(tokio::spawn(async move {
            let Some(probes) = hub.probes() else { return };
            let findings = probe_client::probe(&url, probes).await;
            for reason in &findings.reasons {
                tracing::warn!(%url, reason, "probed the tunnel");
            }
            hub.found(findings);
        }))
    }
}

/// A probe under way, which ends when this is dropped.
struct Probing(JoinHandle<()>);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;
    use crate::config::{Config, TunnelChoice};

    /// A tunnel that does what the test says.
    struct Scripted(mpsc::Receiver<Result<Option<PublicUrl>, TunnelError>>);

    struct Open {
        url: PublicUrl,
        script: Arc<tokio::sync::Mutex<mpsc::Receiver<Change>>>,
    }

    #[async_trait]
    impl Tunnel for Scripted {
        async fn open(&mut self, _: SocketAddr) -> Result<Box<dyn Running>, TunnelError> {
            match self.0.recv().await {
                Some(Ok(Some(url))) => {
                    let (_, script) = mpsc::channel(1);
                    Ok(Box::new(Open { url, script: Arc::new(tokio::sync::Mutex::new(script)) }))
                }
                Some(Err(error)) => Err(error),
                _ => std::future::pending().await,
            }
        }
    }

    #[async_trait]
    impl Running for Open {
        fn url(&self) -> &PublicUrl {
            &self.url
        }

        async fn next(&mut self) -> Change {
            let gone = TunnelError::Transient("it broke off".into());
            self.script.lock().await.recv().await.unwrap_or(Change::Ended(gone))
        }

        async fn close(self: Box<Self>) {}
    }

    /// Every state that is told while the supervisor goes through a script.
    async fn states(script: Vec<Result<Option<PublicUrl>, TunnelError>>) -> (Vec<String>, Vec<String>) {
        let hub = TunnelHub::new(&Config { tunnel: TunnelChoice::Command, ..Config::default() });
        let (send, receive) = mpsc::channel(8);
        for step in script {
            send.try_send(step).expect("room");
        }
        let told = Arc::new(Mutex::new(Vec::new()));
        let urls = told.clone();
        let on_url: OnUrl = Box::new(move |url| urls.lock().expect("whole").push(url.to_string()));
        let supervisor = Supervisor {
            tunnel: Box::new(Scripted(receive)),
            local: ([127, 0, 0, 1], 1).into(),
            herald: Herald { hub: hub.clone(), on_url },
        };
        let (stop, stopped) = watch::channel(false);
        let mut changes = hub.changes().expect("a tunnel");
        let running = tokio::spawn(supervisor.run(stopped));
        let mut seen = Vec::new();
        while let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(600), changes.changed()).await {
            let report = changes.borrow_and_update();
            seen.push(format!("{} {}", report.phase.as_str(), report.reason.as_deref().unwrap_or_default()));
        }
        stop.send_replace(true);
        running.await.expect("ends");
        let told = told.lock().expect("whole").clone();
        (seen, told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_is_away_is_opened_again_until_somebody_has_to_act() {
        let url = |text: &str| Ok(Some(text.parse().expect("a URL")));
        let (seen, urls) = states(vec![
            Err(TunnelError::Transient("no way".into())),
            url("http://127.0.0.1:1"),
            Err(TunnelError::Fatal("the token was refused".into())),
            url("http://127.0.0.1:2"),
        ])
        .await;
        // What comes and goes at once may be told as one.
        let seen: Vec<_> = seen.iter().map(String::as_str).collect();
        assert_eq!(seen.first(), Some(&"reconnecting no way"));
        assert_eq!(seen.last(), Some(&"down the token was refused"));
        assert!(seen.contains(&"reconnecting it broke off"), "{seen:?}");
        assert_eq!(urls, ["http://127.0.0.1:1"], "nothing is tried after that");
    }
}

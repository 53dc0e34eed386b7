//! The tunnel of a running server: its listeners and its supervisor.

use std::net::{Ipv4Addr, SocketAddr};

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::supervisor::{Herald, Supervisor};
use super::{TunnelHub, front, provider};
use crate::arrival::Arrival;
use crate::config::{Config, PublicUrl};
use crate::server::StartError;

/// What serves a tunnel. Dropping it closes the tunnel at once.
#[derive(Debug)]
pub(crate) struct Service {
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
    front: JoinHandle<()>,
}

impl Service {
    /// A listener for what comes through the tunnel, and the routes to serve there; `None` without a tunnel.
    ///
    /// # Errors
    /// [`StartError::Io`].
    pub(crate) async fn listener(
        hub: &TunnelHub,
        router: &Router,
    ) -> Result<Option<(TcpListener, Router)>, StartError> {
        if hub.governor().is_none() {
            return Ok(None);
        }
        let hub = hub.clone();
        let count = middleware::from_fn(move |request: Request, next: Next| {
            if let Some(governor) = hub.governor() {
                governor.request();
            }
            next.run(request)
        });
        let router = router.clone().layer(Extension(Arrival::Tunnel)).layer(count);
        Ok(Some((TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, router)))
    }

    /// Opens the tunnel to `server`, where that [listener](Self::listener) is served. `on_url` is called with each
    /// address before anybody is told of it. `None` without a tunnel.
    ///
    /// # Errors
    /// [`StartError::Listen`]: the port of `tunnel_port` is taken. A tunnel that cannot be opened is no error.
    pub(crate) async fn start(
        config: &Config,
        hub: TunnelHub,
        server: SocketAddr,
        on_url: impl Fn(&PublicUrl) + Send + Sync + 'static,
    ) -> Result<Option<Self>, StartError> {
        let Some(tunnel) = provider::of(config) else { return Ok(None) };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.tunnel_port));
        let refused = |source| StartError::Listen { setting: "tunnel_port", address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let local = listener.local_addr()?;
        let front = tokio::spawn(front::serve(listener, server, hub.clone()));
        let (stop, stopped) = watch::channel(false);
        let supervisor = Supervisor { tunnel, local, herald: Herald { hub, on_url: Box::new(on_url) } };
        Ok(Some(Self { stop, supervisor: tokio::spawn(supervisor.run(stopped)), front }))
    }

    /// Closes the tunnel in good order; takes two seconds at most.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.supervisor).await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.supervisor.abort();
        self.front.abort();
    }
}

//! A server of nothing but the live sockets, with an effect that marks what it has seen.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::{Extension, Router};
use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::{BoxError, FrameSink, PassThrough, StreamId};
use ooblex_http::{MayView, Problem, ServeConfig, serve};
use ooblex_ingest::control::{Chosen, StreamControl};
use ooblex_live::socket::{LiveSockets, SocketConfig};
use ooblex_live::{LiveConfig, LiveHub};
use serde_json::{Map, Value};
use tokio::net::TcpListener;

/// Longest wait for anything that should happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Streams(LiveHub);

impl StreamFactory for Streams {
    fn effect(&self, _: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 0, Box::new(PassThrough))
    }
    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        vec![Box::new(self.0.sink(stream))]
    }
}

/// Remembers what was chosen.
#[derive(Default)]
pub(crate) struct Chose(pub(crate) Mutex<Vec<String>>);

#[async_trait]
impl StreamControl for Chose {
    async fn check(&self, chain: &str) -> Result<(), Problem> {
        let problem = || Problem::new(404, "unknown_effect", format!("unknown effect {chain}"));
        if chain == "nonsense" { Err(problem()) } else { Ok(()) }
    }
    async fn set_effect(
        &self,
        stream: &StreamId,
        chain: &str,
        params: Map<String, Value>,
    ) -> Result<Chosen, Problem> {
        self.check(chain).await?;
        let mut chosen = self.0.lock().unwrap();
        chosen.push(format!("{stream} {chain} {}", Value::from(params)));
        Ok(Chosen { effect: chain.to_owned(), generation: chosen.len() as u64 })
    }
    async fn enable(&self, _: &StreamId, _: bool) -> Result<(), Problem> {
        Ok(())
    }
}

pub(crate) struct Server {
    pub(crate) live: LiveHub,
    pub(crate) sockets: LiveSockets,
    pub(crate) chose: Arc<Chose>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(SocketConfig::default()).await
    }

    pub(crate) async fn with(sockets: SocketConfig) -> Self {
        let mut config = HubConfig::default();
        config.target_fps = 0;
        let live = LiveHub::new(LiveConfig::default());
        let hub = Hub::new(config, Streams(live.clone()));
        let chose = Arc::<Chose>::default();
        let sockets = LiveSockets::new(hub.clone(), live.clone(), chose.clone(), sockets);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Who may view is said by whoever serves; here, by the address.
        let router = Router::new()
            .nest("/unseen", sockets.router().layer(Extension(MayView(false))))
            .merge(sockets.router());
        tokio::spawn(serve(listener, router, ServeConfig::default(), std::future::pending()));
        Self { live, sockets, chose, address }
    }

    /// Waits until nothing is encoded any more.
    pub(crate) async fn until_nothing_is_encoded(&self) {
        let begun = Instant::now();
        while self.live.encoders() > 0 {
            assert!(begun.elapsed() < SOON, "{} encoders still run", self.live.encoders());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

//! The running server: starting, listening, sweeping and stopping in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ooblex_core::Registry;
use ooblex_core::hub::{Hub, HubConfig};
use ooblex_http::{ConnectionLimits, ServeConfig, Served};
use ooblex_ingest::picture::PictureLimits;
use ooblex_live::{LiveConfig, LiveHub};
use ooblex_mjpeg::{MjpegConfig, MjpegHub};
use ooblex_models::engine::EngineError;
use ooblex_models::manager::{BLAZEFACE, ModelError, Models};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::annotations::AnnotationHub;
use crate::checkpoint::{Begun, Keeper, Session, kept_settings};
use crate::config::{Config, MadeTokens, PublicUrl, UseGpu};
use crate::effect::{EffectControl, SwitchError};
use crate::graph::Graph;
use crate::models::models_config;
use crate::routes::{self, AppState};
use crate::session::SessionTimer;
use crate::sources::{self, AttachError};
use crate::tunnel;
use crate::webrtc::Publishers;

/// How often silent streams are looked for.
const SWEEP: Duration = Duration::from_millis(500);
/// How long streams have to finish; the rest of a stop is for connections.
const STREAMS_STOP: Duration = Duration::from_secs(2);
const CONNECTIONS_STOP: Duration = Duration::from_secs(2);
/// How often it is looked whether the last viewers have gone.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Connections beside those of viewers: API calls, uploads, browsers that keep some open.
const SPARE_CONNECTIONS: usize = 512;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A port cannot be listened on.
    #[error("{}", listen_error(.setting, .address, .source))]
    Listen {
        /// The setting that gave the port.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The setting `use_gpu` requires an accelerator.
    #[error("use_gpu is required, but {reason}; set it to auto or off")]
    NoAccelerator {
        /// What is missing.
        reason: String,
    },
    /// Models were used before the configuration said how to run them, or a pinned one is unknown.
    #[error(transparent)]
    Models(#[from] ModelError),
    /// The effect to begin with is wrong.
    #[error("model_name: {0}")]
    Effect(#[from] SwitchError),
    /// There is nothing to resume from, or it cannot be read.
    #[error("{0}")]
    Checkpoint(String),
    /// An effect that a checkpoint holds cannot be had any more. To go on without it might show what it hid.
    #[error(
        "the checkpoint {file} cannot be continued: {source}; bring back what is missing, or start without --resume"
    )]
    Resume {
        /// The checkpoint.
        file: String,
        /// Why.
        #[source]
        source: SwitchError,
    },
    /// A source cannot be opened.
    #[error(transparent)]
    Source(#[from] AttachError),
    /// The system refused a thread or a timer.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

fn listen_error(setting: &str, address: &SocketAddr, source: &io::Error) -> String {
    let flag = setting.replace('_', "-");
    let fix = match source.kind() {
        io::ErrorKind::AddrInUse => format!("choose another by --{flag} N, or any free one by --{flag} 0"),
        io::ErrorKind::PermissionDenied => format!("choose one above 1023 by --{flag} N"),
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; choose another by --bind".into()
        }
        _ => format!("choose another by --{flag} N, or another address by --bind"),
    };
    let reason =
        if source.kind() == io::ErrorKind::AddrInUse { "it is in use".into() } else { source.to_string() };
    format!("cannot listen on port {} of {}: {reason}; {fix}", address.port(), address.ip())
}

/// A running server. Dropping it stops accepting connections, without waiting for anything.
pub struct Server {
    addresses: Vec<SocketAddr>,
    app: AppState,
    made: MadeTokens,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<Served>>,
    sweeper: JoinHandle<()>,
    keeping: JoinHandle<()>,
    tunnel: Option<tunnel::Service>,
}

/// What was still busy when a stop ran out of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// Stages of streams.
    pub stages: Vec<String>,
    /// Connections.
    pub connections: usize,
}

impl Left {
    /// Whether everything finished in time.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty() && self.connections == 0
    }
}

impl Server {
    /// Starts a server on the current runtime. When this returns, it can be connected to. With `resume` it takes effects
    /// and counters from the checkpoint; of settings those of `config` apply.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn start(config: Config, registry: Registry, models: Models) -> Result<Self, StartError> {
        let session = open_session(&config).await?;
        Self::start_in(session, config, registry, models).await
    }

    /// Likewise, with a session that has been opened, and whose settings are in `config`.
    pub(crate) async fn start_in(
        session: Session,
        mut config: Config,
        registry: Registry,
        models: Models,
    ) -> Result<Self, StartError> {
        let made = config.make_tokens()?;
        models.configure(models_config(&config))?;
        config.pin.iter().try_for_each(|name| models.pin(name))?;
        if config.use_gpu == UseGpu::Required {
            require_accelerator(models.clone()).await?;
        }
        let effects =
            EffectControl::new(registry, &config.model_name).map_err(|source| match session.resumed() {
                Some(resumed) if resumed.sets_effect() => {
                    StartError::Resume { file: resumed.file.clone(), source }
                }
                _ => StartError::Effect(source),
            })?;
        restore(&session, &effects).await?;
        let keeper = Arc::new(Keeper::new(session, kept_settings(&config)));
        let sockets = listen(&config).await?;
        if let Err(error) = ooblex_http::raise_file_limit() {
            tracing::warn!(%error, "the limit on open files stays as it is");
        }
        let mjpeg = MjpegHub::new(mjpeg_config(&config))?;
        let annotations = AnnotationHub::default();
        let graph = Graph {
            effects: effects.clone(),
            mjpeg: mjpeg.clone(),
            live: LiveHub::new(LiveConfig::default()),
            annotations,
        };
        let hub = Hub::new(hub_config(&config), graph.clone());
        let pictures = PictureLimits { max_bytes: config.max_body_bytes, max_pixels: config.max_pixels };
        attach_sources(&hub, &config, pictures).await?;
        let limits = ConnectionLimits::behind(
            config.max_viewers + SPARE_CONNECTIONS,
            config.max_connections_per_address,
            config.trusted_proxies.clone(),
        );
        let ingest = ooblex_ingest::http::router(hub.clone(), pictures);
        let watching = ooblex_mjpeg::router(hub.clone(), mjpeg.clone());
        let publishers = Publishers::new(&config, &hub, &effects, &graph.live);
        let app = AppState::new(
            config.clone(),
            hub.clone(),
            graph,
            models.clone(),
            publishers,
            limits.clone(),
            keeper.clone(),
        );
        keeper.recall(app.tunnel());
        let router = routes::router(app.clone(), ingest, watching);
        let stop = watch::Sender::new(false);
        let addresses = sockets.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        let mut listeners = Vec::new();
        let outside = tunnel::Service::listener(app.tunnel(), &router).await?;
        let behind = outside.as_ref().map(|(socket, _)| socket.local_addr()).transpose()?;
        let sockets = sockets.into_iter().map(|socket| (socket, router.clone()));
        for (socket, router) in sockets.chain(outside) {
            let mut serving = ServeConfig::default();
            serving.limits = limits.clone();
            serving.shutdown_timeout = CONNECTIONS_STOP;
            let mut stopping = stop.subscribe();
            let shutdown = async move {
                // An error means that the server was dropped: the same.
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            listeners.push(tokio::spawn(ooblex_http::serve(socket, router, serving, shutdown)));
        }
        let tunnel = match behind {
            Some(behind) => {
                let hosts = app.hosts().clone();
                let on_url = move |url: &PublicUrl| hosts.allow(url.authority());
                tunnel::Service::start(&config, app.tunnel().clone(), behind, on_url).await?
            }
            None => None,
        };
        load_pinned(models.clone())?;
        let witness = keeper.clone();
        effects.on_protection(move || witness.at_once());
        let keeping = tokio::spawn(keeper.run(effects.clone(), hub.clone(), app.tunnel().clone()));
        let sweeper = tokio::spawn(sweep(hub, effects, models));
        Ok(Self { addresses, app, made, stop, listeners, sweeper, keeping, tunnel })
    }

    /// The addresses it listens on, that of `mjpeg_port` first.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where a browser on this machine finds the page: `http://127.0.0.1:8081/`.
    pub fn url(&self) -> String {
        self.addresses.first().map(|a| url_of(*a)).unwrap_or_default()
    }

    /// Whether it takes WebRTC publishers.
    pub(crate) fn takes_webrtc(&self) -> bool {
        self.app.publishers().absent().is_none()
    }

    /// The tokens that were made at the start.
    pub(crate) fn made_tokens(&self) -> &MadeTokens {
        &self.made
    }

    /// What everybody may do who reaches it from outside; `None` if there is nothing.
    pub(crate) fn exposure(&self) -> Option<String> {
        self.app.exposure()
    }

    /// Who may do what.
    pub(crate) fn access(&self) -> &Access {
        self.app.access()
    }

    /// What became of what an earlier server kept.
    pub(crate) fn begun(&self) -> &Begun {
        self.app.keeper().begun()
    }

    /// How long the session may last.
    pub(crate) fn timer(&self) -> SessionTimer {
        self.app.timer()
    }

    /// How it is reached from outside.
    pub(crate) fn tunnel(&self) -> &tunnel::TunnelHub {
        self.app.tunnel()
    }

    /// Its streams.
    pub fn hub(&self) -> &Hub {
        self.app.hub()
    }

    /// Its models.
    pub fn models(&self) -> &Models {
        self.app.models()
    }

    /// Its effects.
    pub fn effects(&self) -> &EffectControl {
        self.app.effects()
    }

    /// Stops: accepts no more connections, ends every session and stream (viewers get the closing boundary), and lets
    /// connections finish. Takes at most about five seconds; tells what was still busy then.
    pub async fn stop(mut self) -> Left {
        self.stop.send_replace(true);
        self.sweeper.abort();
        self.keeping.abort();
        self.app.keeper().finish(self.app.effects(), self.app.hub(), self.app.tunnel()).await;
        let closing = self.tunnel.take().map(|tunnel| tokio::spawn(tunnel.stop()));
        self.app.sockets().shutdown();
        self.app.publishers().shutdown().await;
        let late = self.app.hub().shutdown(STREAMS_STOP).await.err();
        let mjpeg = self.app.mjpeg();
        mjpeg.shutdown(CONNECTIONS_STOP);
        let mut left = Left { stages: late.map(|l| l.stages).unwrap_or_default(), connections: 0 };
        for listener in self.listeners.drain(..) {
            left.connections += listener.await.map_or(0, |served| served.aborted);
        }
        if let Some(closing) = closing {
            let _ = closing.await;
        }
        // Viewers are served by a thread of their own.
        let until = Instant::now() + CONNECTIONS_STOP;
        while mjpeg.total_viewers() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        left
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.sweeper.abort();
        self.keeping.abort();
    }
}

/// The URL of an address; one that stands for all addresses is shown as this machine's own.
pub(crate) fn url_of(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() => format!("http://localhost:{}/", address.port()),
        _ => format!("http://{address}/"),
    }
}

/// Opens the session on a thread that may block: the folder may be far away.
pub(crate) async fn open_session(config: &Config) -> Result<Session, StartError> {
    let config = config.clone();
    let task = tokio::task::spawn_blocking(move || Session::begin(&config));
    task.await.map_err(io::Error::other)?.map_err(StartError::Checkpoint)
}

/// Has the effects go on as the checkpoint says, if there is one.
async fn restore(session: &Session, effects: &EffectControl) -> Result<(), StartError> {
    let (Some(checkpoint), Some(resumed)) = (session.checkpoint(), session.resumed()) else { return Ok(()) };
    let (kept, effects, file) = (checkpoint.effects.clone(), effects.clone(), resumed.file.clone());
    let task = tokio::task::spawn_blocking(move || effects.restore(&kept, Instant::now()));
    let restored = task.await.map_err(io::Error::other)?;
    restored.map_err(|source| StartError::Resume { file, source })?;
    tracing::info!("resumed: {}", resumed.sentence());
    Ok(())
}

async fn listen(config: &Config) -> Result<Vec<TcpListener>, StartError> {
    let mut sockets = Vec::new();
    let ports = [("mjpeg_port", Some(config.mjpeg_port)), ("webrtc_port", config.webrtc_port)];
    for (setting, port) in ports.into_iter().filter_map(|(s, p)| p.map(|p| (s, p))) {
        let address = SocketAddr::new(config.bind, port);
        let bound = TcpListener::bind(address).await;
        sockets.push(bound.map_err(|source| StartError::Listen { setting, address, source })?);
    }
    Ok(sockets)
}

fn hub_config(config: &Config) -> HubConfig {
    let mut hub = HubConfig::default();
    hub.max_streams = config.max_streams;
    hub.idle_after = config.stream_idle_timeout;
    hub.target_fps = config.target_fps;
    hub.sample_every = config.sample_every;
    hub.pooled_frames = config.frame_queue_size;
    hub
}

fn mjpeg_config(config: &Config) -> MjpegConfig {
    let mut mjpeg = MjpegConfig::default();
    mjpeg.quality = config.jpeg_quality;
    mjpeg.max_viewers = config.max_viewers;
    mjpeg
}

/// Opens files on a thread that may block.
async fn attach_sources(hub: &Hub, config: &Config, limits: PictureLimits) -> Result<(), StartError> {
    let (hub, specs, demo) = (hub.clone(), config.source.clone(), config.demo);
    let task = tokio::task::spawn_blocking(move || {
        if demo {
            sources::attach_demo(&hub)?;
        }
        specs.iter().try_for_each(|spec| sources::attach(&hub, spec, limits))
    });
    Ok(task.await.map_err(io::Error::other)??)
}

/// Whether an accelerator is there: the smallest model is loaded, and says so.
async fn require_accelerator(models: Models) -> Result<(), StartError> {
    let loaded = tokio::task::spawn_blocking(move || models.load(BLAZEFACE)).await;
    loaded.map_err(io::Error::other)?.map_err(|error| match error {
        ModelError::Engine { source: EngineError::NoAccelerator { reason }, .. } => {
            StartError::NoAccelerator { reason }
        }
        other => StartError::NoAccelerator { reason: other.to_string() },
    })
}

/// Loads pinned models on a thread of their own, which nothing waits for.
fn load_pinned(models: Models) -> io::Result<()> {
    std::thread::Builder::new().name("ooblex-pinned".into()).spawn(move || models.load_pinned()).map(drop)
}

/// Ends silent streams, forgets old ones, and looks after effects and models.
async fn sweep(hub: Hub, effects: EffectControl, models: Models) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        hub.sweep(Instant::now());
        effects.forget_absent(&hub, Instant::now());
        effects.attend(&hub, Instant::now());
        // Putting one away takes time.
        let models = models.clone();
        let _ = tokio::task::spawn_blocking(move || models.tend()).await;
    }
}

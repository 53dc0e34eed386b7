//! The program around the server: command line, logs, signals, exit status.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use futures::future::OptionFuture;
use ooblex_core::{ParamType, Registry};
use ooblex_models::Chain;
use ooblex_models::engine;
use ooblex_models::manager::Models;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::announce::{Announcement, Announcer};
use crate::cli::{Arguments, Command, VERSION, help};
use crate::config::{Config, Invalid, LineFormat, Loaded, load, print};
use crate::doctor;
use crate::health_cli;
use crate::models::models_config;
use crate::models_cli;
use crate::own;
use crate::parent::watch_stdin;
use crate::server::{Server, StartError, open_session};
use crate::tokens_cli;

/// Exit status: it could not start, or failed.
const FAILED: u8 = 1;
/// Exit status: the command line or the configuration is wrong.
const USAGE: u8 = 2;
/// Exit status: a second signal arrived while it was stopping.
const FORCED: i32 = 130;
/// Threads that may block: opening files, switching effects, encoding. They end when idle.
const BLOCKING_THREADS: usize = 64;
/// How long blocking work may still run after everything else has stopped.
const LAST_WORK: Duration = Duration::from_millis(500);

/// The Ooblex program, with the processors that it offers.
#[derive(Clone, Debug)]
pub struct App {
    registry: Registry,
    models: Models,
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl App {
    /// With every effect of `ooblex-models`.
    pub fn new() -> Self {
        let (mut registry, models) = (Registry::new(), Models::default());
        ooblex_models::register_with(&mut registry, &models);
        Self { registry, models }
    }

    /// Adds processors: `register` gets the registry. A kind of the same name is replaced.
    pub fn with(mut self, register: impl FnOnce(&mut Registry)) -> Self {
        register(&mut self.registry);
        self
    }

    /// The processors.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The models that all processors share. The configuration says later how they are run; a processor that needs one
    /// takes a handle when it is built:
    ///
    /// ```
    /// # fn register(_: &mut ooblex_core::Registry, _: &ooblex_models::manager::Models) {}
    /// let app = ooblex_colab::App::new();
    /// let models = app.models().clone();
    /// let app = app.with(|registry| register(registry, &models));
    /// ```
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Starts a server on the current runtime, without command line, logs and signals: for embedding and tests.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(self, config: Config) -> Result<Server, StartError> {
        Server::start(config, self.registry, self.models).await
    }

    /// Starts a server with what the checkpoint holds, where one is to be resumed.
    async fn start_resumed(self, mut loaded: Loaded) -> Result<Server, StartError> {
        let mut session = open_session(&loaded.config).await?;
        let origins = loaded.origins;
        session.take_settings(&mut loaded.config, |name| !origins.contains_key(name));
        Server::start_in(session, loaded.config, self.registry, self.models).await
    }

    /// Runs the program with the arguments and the environment of this process until it is told to stop.
    ///
    /// The status is 0 after a clean stop, 1 if it could not start or run, 2 if command line or configuration are
    /// wrong. A second signal ends the process at once with 130.
    pub fn run(self) -> ExitCode {
        self.run_with(std::env::args_os().skip(1), std::env::vars_os())
    }

    fn run_with(
        mut self,
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> ExitCode {
        let arguments = match Arguments::parse(arguments) {
            Ok(arguments) => arguments,
            Err(problems) => return refuse(&problems),
        };
        if arguments.help {
            return say(&help());
        }
        if arguments.version {
            return say(&format!("ooblex-colab {VERSION}\n"));
        }
        let loaded = load(&arguments, environment);
        let loaded = loaded.and_then(|loaded| self.add_own(loaded)).and_then(|loaded| self.check(loaded));
        match (loaded, arguments.command) {
            (Err(problems), _) => refuse(&problems),
            (Ok(loaded), _) if arguments.print_config => say(&print(&loaded)),
            (Ok(_), Command::Effects) => say(&list_effects(&self.registry)),
            (Ok(_), Command::Tunnel) => fetch_cloudflared(),
            (Ok(loaded), Command::Models) => self.look_after_models(&arguments, &loaded),
            (Ok(loaded), Command::Tokens) => told(tokens_cli::run(&arguments.tokens, &loaded.config)),
            (Ok(loaded), Command::Health) => told(health_cli::run(&loaded.config)),
            (Ok(loaded), Command::Doctor) => {
                if let Err(error) = self.models.configure(models_config(&loaded.config)) {
                    return fail(error);
                }
                let report = doctor::examine(&loaded, &self.registry, &self.models, arguments.ask_stun);
                let said = say(&report.text);
                if report.can_serve { said } else { ExitCode::from(FAILED) }
            }
            (Ok(loaded), _) => self.serve(loaded),
        }
    }

    /// Adds what the operator brings.
    fn add_own(&mut self, loaded: Loaded) -> Result<Loaded, Vec<Invalid>> {
        let wrong = match own::register(&loaded.config, &mut self.registry, &self.models) {
            Ok(()) => return Ok(loaded),
            Err(wrong) => wrong,
        };
        let text = |(setting, reason): own::Wrong| {
            Invalid::Text(format!("{setting} (from {}): {reason}", loaded.origin(setting)))
        };
        Err(wrong.into_iter().map(text).collect())
    }

    /// What only the registry and the models can tell: whether the effect to begin with and pinned models exist.
    fn check(&self, loaded: Loaded) -> Result<Loaded, Vec<Invalid>> {
        let wrong = |setting: &str, error: &dyn Display| {
            Invalid::Text(format!("{setting} (from {}): {error}", loaded.origin(setting)))
        };
        let effect = Chain::parse(&loaded.config.model_name, &self.registry).err();
        let pins = loaded.config.pin.iter().filter_map(|name| self.models.card(name).err());
        let problems: Vec<_> = effect
            .iter()
            .map(|error| wrong("model_name", error))
            .chain(pins.map(|error| wrong("pin", &error)))
            .collect();
        if problems.is_empty() { Ok(loaded) } else { Err(problems) }
    }

    fn look_after_models(&self, arguments: &Arguments, loaded: &Loaded) -> ExitCode {
        if let Err(error) = self.models.configure(models_config(&loaded.config)) {
            return fail(error);
        }
        let mut out = io::stdout().lock();
        match models_cli::run(&arguments.models, &loaded.config, &self.models, &mut out) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(FAILED),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(FAILED),
        }
    }

    fn serve(self, loaded: Loaded) -> ExitCode {
        // Of an engine or a library that was named and is not there the user hears now, not with the first stream.
        let (kind, library) = (loaded.config.engine.kind(), loaded.config.onnxruntime.as_deref());
        if (kind.is_some() || library.is_some())
            && let Err(error) = engine::choose(kind, library)
        {
            let setting = if kind.is_some() { "engine" } else { "onnxruntime" };
            return refuse(&[Invalid::Text(format!("{setting} (from {}): {error}", loaded.origin(setting)))]);
        }
        start_logging(&loaded.config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(loaded.config.worker_threads)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("ooblex-io")
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return fail(format_args!("cannot start threads: {error}")),
        };
        let status = runtime.block_on(run_server(loaded, self));
        runtime.shutdown_timeout(LAST_WORK);
        status
    }
}

/// `tunnel fetch-cloudflared`.
#[cfg(feature = "fetch")]
fn fetch_cloudflared() -> ExitCode {
    match crate::tunnel::fetch::run(&mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    }
}

#[cfg(not(feature = "fetch"))]
fn fetch_cloudflared() -> ExitCode {
    fail("this program was built without the feature `fetch`; install cloudflared yourself")
}

async fn run_server(loaded: Loaded, app: App) -> ExitCode {
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(format_args!("cannot listen to signals: {error}")),
    };
    let announcer = Announcer::new(loaded.config.announce);
    let parent = match loaded.config.stop_with_stdin.then(watch_stdin).transpose() {
        Ok(parent) => parent,
        Err(error) => return fail(format_args!("cannot watch standard input: {error}")),
    };
    let server = match app.start_resumed(loaded).await {
        Ok(server) => server,
        Err(error) => return fail(error),
    };
    announcer.tell(&Announcement::ready(&server));
    tokio::spawn(server.timer().warn(announcer));
    tokio::spawn(announcer.follow(server.tunnel().clone()));
    let mut signals = signals;
    tokio::select! {
        () = signals.next() => tracing::info!("stopping; once more to stop at once"),
        // The sender is dropped at the end, so what is received does not matter.
        Some(_) = OptionFuture::from(parent) => tracing::info!("stopping, because standard input has ended"),
    }
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(FORCED);
    });
    let left = server.stop().await;
    if left.is_empty() {
        tracing::info!("stopped");
        announcer.tell(&Announcement::Stopped);
        return ExitCode::SUCCESS;
    }
    tracing::warn!(stages = ?left.stages, connections = left.connections, "stopped; these were still busy");
    ExitCode::from(FAILED)
}

/// Ctrl-C, and what service managers send.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

fn start_logging(config: &Config) {
    let registry = tracing_subscriber::registry().with(config.log_level.targets());
    // Whoever embeds the program may have a subscriber already; then that one is used.
    let _ = match config.log_format {
        LineFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr);
            registry.with(layer).try_init()
        }
        _ => {
            let layer = tracing_subscriber::fmt::layer()
                .with_ansi(io::stderr().is_terminal())
                .with_writer(io::stderr);
            registry.with(layer).try_init()
        }
    };
}

/// What `effects` prints.
fn list_effects(registry: &Registry) -> String {
    let mut out = String::new();
    for kind in registry.kinds() {
        let aliases = match kind.aliases.as_slice() {
            [] => String::new(),
            aliases => format!(" (also {})", aliases.join(", ")),
        };
        out.push_str(&format!("{}{aliases}\n", kind.name));
        if !kind.description.is_empty() {
            out.push_str(&format!("    {}\n", kind.description));
        }
        match &kind.params {
            None => out.push_str("    parameters are not described\n"),
            Some(params) => {
                for p in params {
                    let unit = if p.unit.is_empty() { String::new() } else { format!(" {}", p.unit) };
                    let (range, default) = (range(&p.kind), &p.default);
                    out.push_str(&format!(
                        "    {:12} {range}{unit}, default {default}: {}\n",
                        p.name, p.description
                    ));
                }
            }
        }
    }
    out.push_str("\nSeveral in order: blur|edge_detection (or with + between them).\n");
    out
}

fn range(kind: &ParamType) -> String {
    match kind {
        ParamType::Bool => "true or false".into(),
        ParamType::Int(range) => format!("{} to {}", range.start(), range.end()),
        ParamType::Float(range) => format!("{} to {}", range.start(), range.end()),
        ParamType::Text(longest) => format!("text of at most {longest} characters"),
        ParamType::Choice(words) => words.join(" or "),
        _ => "other".into(),
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints to standard output. A reader that has gone away, such as `head`, is no failure.
fn say(text: &str) -> ExitCode {
    match write_out(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints what a running server said, or why it did not.
fn told(answer: Result<String, String>) -> ExitCode {
    match answer {
        Ok(text) => say(&text),
        Err(error) => fail(error),
    }
}

fn refuse(problems: &[Invalid]) -> ExitCode {
    let mut err = io::stderr().lock();
    for problem in problems {
        let _ = writeln!(err, "error: {problem}");
    }
    let _ = writeln!(err, "nothing was started; `ooblex-colab --help` lists all settings");
    ExitCode::from(USAGE)
}

fn fail(error: impl Display) -> ExitCode {
    let _ = writeln!(io::stderr().lock(), "error: {error}");
    ExitCode::from(FAILED)
}

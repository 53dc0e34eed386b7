//! The routes: one table, one dispatcher, and the routers that answer.

mod annotations;
mod control;
mod cors;
mod headers;
mod metrics;
mod models;
mod openapi;
mod page;
mod probe;
mod problem;
mod state;
mod table;
mod tokens;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use ooblex_core::StreamId;
use ooblex_core::hub::Hub;
use ooblex_http::{ConnectionLimits, Line, MayView, Problem, ProblemCode};
use ooblex_live::LiveHub;
use ooblex_live::socket::LiveSockets;
use ooblex_mjpeg::MjpegHub;
use ooblex_models::manager::Models;
use tower_service::Service;

pub(crate) use self::control::read_params;
use self::cors::Policy;
use self::metrics::Requests;
pub(crate) use self::problem::switch as switch_problem;
use self::table::{By, ROUTES};
use crate::access::{Access, Answer, Credentials, Hosts, Identity, Rate, Right, Sender, Trusted, refusal};
use crate::annotations::AnnotationHub;
use crate::checkpoint::Keeper;
use crate::config::{Config, Token, nearest};
use crate::effect::EffectControl;
use crate::graph::Graph;
use crate::session::SessionTimer;
use crate::tunnel::TunnelHub;
use crate::webrtc::Publishers;

/// What handlers need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Shared>);

struct Shared {
    config: Config,
    hub: Hub,
    graph: Graph,
    models: Models,
    publishers: Publishers,
    sockets: LiveSockets,
    limits: ConnectionLimits,
    access: Access,
    hosts: Hosts,
    rate: Rate,
    requests: Requests,
    tunnel: TunnelHub,
    started: Instant,
    keeper: Arc<Keeper>,
}

impl AppState {
    pub(crate) fn new(
        config: Config,
        hub: Hub,
        graph: Graph,
        models: Models,
        publishers: Publishers,
        limits: ConnectionLimits,
        keeper: Arc<Keeper>,
    ) -> Self {
        let (requests, started) = (Requests::new(), Instant::now());
        let (access, sockets) = (Access::new(&config), crate::live::sockets(&config, &hub, &graph));
        let (hosts, rate) = (Hosts::new(&config), Rate::new(config.max_requests_per_second));
        let tunnel = TunnelHub::new(&config);
        let shared = Shared {
            tunnel,
            config,
            hub,
            graph,
            models,
            publishers,
            sockets,
            limits,
            access,
            hosts,
            rate,
            requests,
            started,
            keeper,
        };
        Self(Arc::new(shared))
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub(crate) fn effects(&self) -> &EffectControl {
        &self.0.graph.effects
    }

    pub(crate) fn mjpeg(&self) -> &MjpegHub {
        &self.0.graph.mjpeg
    }

    fn live(&self) -> &LiveHub {
        &self.0.graph.live
    }

    /// Viewers of a stream, of MJPEG and of video.
    fn viewers(&self, stream: &StreamId) -> usize {
        self.mjpeg().viewers(stream) + self.live().viewers(stream)
    }

    fn annotations(&self) -> &AnnotationHub {
        &self.0.graph.annotations
    }

    pub(crate) fn models(&self) -> &Models {
        &self.0.models
    }

    pub(crate) fn publishers(&self) -> &Publishers {
        &self.0.publishers
    }

    /// Live video over WebSockets.
    pub(crate) fn sockets(&self) -> &LiveSockets {
        &self.0.sockets
    }

    pub(crate) fn access(&self) -> &Access {
        &self.0.access
    }

    /// What is kept for the next server.
    pub(crate) fn keeper(&self) -> &Keeper {
        &self.0.keeper
    }

    /// How long the session may last.
    pub(crate) fn timer(&self) -> SessionTimer {
        SessionTimer::new(self.0.started, self.0.config.session_limit)
    }

    pub(crate) fn exposure(&self) -> Option<String> {
        self.0.access.exposure(&self.0.config)
    }

    /// Under which names it may be addressed.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.0.hosts
    }

    /// Lets a request in if it is addressed to this server, and its sender has not asked too much.
    fn admit(&self, request: &Request) -> Result<(), Problem> {
        self.0.hosts.check(request.headers())?;
        let sender = self.sender(request);
        if let Sender::Local(_) = sender {
            return Ok(());
        }
        // Whom a tunnel or a proxy does not name shares one bucket with others like it.
        let address = sender.address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.0.rate.take(address, self.now())?;
        if let (Sender::Behind(_), Some(line)) = (sender, request.extensions().get::<Line>()) {
            line.hold(|| self.0.limits.admit_behind(address))?;
        }
        Ok(())
    }

    fn sender(&self, request: &Request) -> Sender {
        let (proxies, names) = (&self.0.config.trusted_proxies, self.0.config.tunnel_names_clients());
        Sender::of(request.extensions(), request.headers(), proxies, names)
    }

    /// How the server is reached from outside.
    pub(crate) fn tunnel(&self) -> &TunnelHub {
        &self.0.tunnel
    }

    fn requests(&self) -> &Requests {
        &self.0.requests
    }

    fn open_connections(&self) -> usize {
        self.0.limits.open()
    }

    fn now(&self) -> Instant {
        self.0.hub.config().clock.now()
    }

    fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }
}

/// Finds the operation of a request in the table, checks whether it may be done, has it done, and counts it.
#[derive(Clone)]
struct Dispatcher {
    app: AppState,
    policy: Policy,
    own: Router,
    ingest: Router,
    mjpeg: Router,
    webrtc: Router,
    live: Router,
}

/// All routes. `ingest` and `mjpeg` are asked for the operations that the table gives them, and for no others.
pub(crate) fn router(app: AppState, ingest: Router, mjpeg: Router) -> Router {
    let mut own = Router::new();
    for route in ROUTES {
        if let By::Own(methods) = route.by {
            own = own.route(route.path, methods());
        }
    }
    let policy = Policy::new(&app.0.config);
    let absent = app.publishers().absent().unwrap_or_default();
    let webrtc = app.publishers().router().unwrap_or_else(|| without_webrtc(absent));
    let (own, live) = (own.with_state(app.clone()), app.sockets().router());
    let dispatcher = Dispatcher { own, app, policy, ingest, mjpeg, webrtc, live };
    Router::new().fallback(move |request| {
        let mut dispatcher = dispatcher.clone();
        async move { dispatcher.serve(request).await }
    })
}

impl Dispatcher {
    async fn serve(&mut self, mut request: Request) -> Response {
        let (credentials, answer) = Credentials::take(&mut request);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let headers = request.headers().clone();
        let found = table::find(&path);
        let operation = found.as_ref().and_then(|f| f.operation(&method));
        let mut counted = Counted::begin(&self.app, operation);
        let mut response = match (self.app.admit(&request), &found) {
            (Err(problem), _) => problem.into_response(),
            (_, None) => folder(&path).unwrap_or_else(|| unknown(&path).into_response()),
            (_, Some(found)) if method == Method::OPTIONS => self.options(&path, found, request).await,
            (_, Some(found)) => match operation {
                None => not_allowed(&method, &path, found),
                Some(index) => self.guarded(index, request, &credentials, &answer).await,
            },
        };
        self.policy.decorate(&path, &method, &headers, response.headers_mut());
        headers::decorate(answer.is_secure(), response.headers_mut());
        counted.status = Some(response.status().as_u16());
        if let (Some(index), Some(ProblemCode(code))) =
            (operation, response.extensions().get::<ProblemCode>())
        {
            self.app.requests().refused(index, code);
        }
        response
    }

    /// Does what the sender of a request may do.
    async fn guarded(
        &mut self,
        index: usize,
        mut request: Request,
        credentials: &Credentials,
        answer: &Answer,
    ) -> Response {
        let right = ROUTES[index].right;
        let ambient = credentials.are_ambient();
        if let Err(problem) = self.policy.check(right, request.method(), request.headers(), ambient) {
            return problem.into_response();
        }
        let access = self.app.access();
        let address = self.app.sender(&request).address();
        let line = request.extensions().get::<Line>();
        // What anybody may have does not depend on tokens, so nothing can be learnt there by guessing.
        let plain = right == Right::Public && !matches!(ROUTES[index].path, "/" | "/view" | "/health");
        let nothing = Credentials::default();
        let looked_at = if plain { &nothing } else { credentials };
        let identity = match access.identify(looked_at, address, line, self.app.now()) {
            Ok(identity) => identity,
            Err(problem) => return problem.into_response(),
        };
        if !identity.rights.allow(right) {
            let (problem, challenge) = refusal(right, &identity, credentials);
            let mut response = problem.into_response();
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            if identity.stale_cookie && !identity.recognized {
                answer.set_cookie(None, response.headers_mut());
            }
            return response;
        }
        request.extensions_mut().insert(Trusted(identity.recognized || !access.is_guarded()));
        request.extensions_mut().insert::<Identity>(identity);
        request.extensions_mut().insert(MayView(identity.rights.allow(Right::View)));
        if let Some(caller) = identity.caller {
            request.extensions_mut().insert(caller);
        }
        let opened =
            matches!(ROUTES[index].path, "/" | "/view") && identity.recognized && !identity.cookie_suffices;
        let mut response = self.run(index, request).await;
        if let Some(id) = self.app.publishers().begun(&response) {
            self.note_session(&identity, &id).await;
        }
        if let Some(token) = credentials.of_path().filter(|_| opened) {
            answer.set_cookie(Some(token), response.headers_mut());
        }
        answer.complete(&mut response);
        response
    }

    /// Has a new session end together with the token of its owner.
    async fn note_session(&self, identity: &Identity, id: &str) {
        let publishers = self.app.publishers();
        if !self.app.access().note_session(identity.grant, id, |id| publishers.lives(id)) {
            publishers.end(id).await;
        }
    }

    async fn run(&mut self, index: usize, request: Request) -> Response {
        let router = match ROUTES[index].by {
            By::Own(_) => &mut self.own,
            By::Ingest => &mut self.ingest,
            By::Mjpeg => &mut self.mjpeg,
            By::WebRtc => &mut self.webrtc,
            By::Live => &mut self.live,
        };
        let done: Result<Response, Infallible> = Service::call(router, request).await;
        done.into_response()
    }

    async fn options(&mut self, path: &str, found: &table::Found, request: Request) -> Response {
        let (allow, headers) = (found.allow(), request.headers().clone());
        let mut response =
            match found.methods.iter().find(|(_, index)| matches!(ROUTES[*index].by, By::WebRtc)) {
                // WHIP tells more (RFC 9725 section 4.2).
                Some((_, index)) => self.run(*index, request).await,
                None => StatusCode::NO_CONTENT.into_response(),
            };
        if let Err(problem) = self.policy.preflight(path, &allow, &headers, response.headers_mut()) {
            return problem.into_response();
        }
        insert_allow(&mut response, &allow);
        response
    }
}

/// What answers the routes of publishers where there are none.
fn without_webrtc(reason: &'static str) -> Router {
    Router::new().fallback(async move || Problem::new(404, "no_webrtc", format!("no WebRTC here: {reason}")))
}

/// Counts a request when it is dropped, also if its connection went away before there was a response.
struct Counted {
    app: AppState,
    route: Option<usize>,
    began: Instant,
    status: Option<u16>,
}

impl Counted {
    fn begin(app: &AppState, route: Option<usize>) -> Self {
        app.requests().begin(route);
        Self { app: app.clone(), route, began: Instant::now(), status: None }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.app.requests().end(self.route, self.status, took);
        // The template and not the path, which may hold what is nobody's business.
        let route = self.route.map_or("unknown", |index| ROUTES[index].path);
        tracing::debug!(route, status = self.status, took_ms = took.as_secs_f64() * 1e3, "request");
    }
}

fn unknown(path: &str) -> Problem {
    let hint = nearest(path, ROUTES.iter().map(|r| r.path))
        .map_or(String::new(), |p| format!("; did you mean {p}?"));
    let shown: String = path.chars().take(200).collect();
    Problem::new(404, "unknown_route", format!("no route {shown}{hint}; /openapi.json lists them"))
}

/// `/t/TOKEN` is meant to be `/t/TOKEN/`: relative to the first, no file of the page would be found.
fn folder(path: &str) -> Option<Response> {
    let token = path.strip_prefix("/t/").filter(|t| !t.is_empty() && t.chars().all(Token::allows))?;
    // Relative, for proxies that take a part of the path away.
    let place = HeaderValue::from_str(&format!("{token}/")).ok()?;
    Some((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, place)]).into_response())
}

fn not_allowed(method: &Method, path: &str, found: &table::Found) -> Response {
    let allow = found.allow();
    let problem =
        Problem::new(405, "method_not_allowed", format!("{path} does not take {method}; it takes {allow}"));
    let mut response = problem.field("method").value(method.as_str()).limit(allow.as_str()).into_response();
    insert_allow(&mut response, &allow);
    response
}

fn insert_allow(response: &mut Response, allow: &str) {
    // Invariant: `allow` is made of method names.
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
}

/// The stream that a path names.
fn stream_of(name: Result<Path<String>, PathRejection>) -> Result<StreamId, Problem> {
    let Path(name) = name.map_err(|e| Problem::new(400, "bad_name", e.body_text()).field("stream"))?;
    let bad = |e: ooblex_core::StreamIdError| Problem::new(400, "bad_name", e.to_string()).field("stream");
    StreamId::new(&name).map_err(|e| bad(e).value(name.as_str()))
}

/// A response that nothing may keep.
fn fresh(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;

//! What a tunnel lets through: the asking side, which goes by the public address as anybody does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::probe::{Findings, Probes, Step, Ticket};
use crate::config::PublicUrl;

/// The pauses before further attempts: a new name is not known everywhere at once.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
    Duration::from_secs(30),
];
/// For each of the questions.
const PATIENCE: Duration = Duration::from_secs(8);
/// Tells tunnels that put a page of their own before answers to leave it out.
const SKIP: (&str, &str) = ("ngrok-skip-browser-warning", "1");
/// Such pages are for those that call themselves a browser.
const BROWSER: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const WORD: &str = "ooblex";

/// A connection, encrypted or not.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Probes a tunnel; tries again for a minute if the server is not reached at all.
pub(super) async fn probe(url: &PublicUrl, probes: &Probes) -> Findings {
    let mut reason = String::new();
    for pause in [Duration::ZERO].iter().chain(&PAUSES) {
        tokio::time::sleep(*pause).await;
        let Some(ticket) = probes.begin() else { break };
        let found = once(url, &ticket).await;
        probes.end();
        match found {
            Ok(findings) => return findings,
            Err(why) => reason = why,
        }
        tracing::debug!(%url, reason, "the tunnel does not answer yet");
    }
    let text = format!("{url} was not reached from here ({reason}), so it is not known what passes");
    Findings { reached: false, websocket: None, stream: None, interstitial: None, reasons: vec![text] }
}

/// # Errors
/// Why the server was not reached.
async fn once(url: &PublicUrl, ticket: &Ticket) -> Result<Findings, String> {
    let stream = within(streams(url, ticket)).await?;
    let socket = within(echoes(url, ticket)).await;
    let page = within(is_covered(url, ticket)).await;
    let mut reasons = Vec::new();
    if !stream {
        reasons.push("the tunnel holds streamed answers back until they end".to_owned());
    }
    if let Err(why) = &socket {
        reasons.push(format!("the tunnel passes no WebSockets: {why}"));
    }
    match &page {
        Ok(true) => reasons.push("the tunnel shows browsers a page of its own first".to_owned()),
        Ok(false) => {}
        Err(why) => {
            reasons.push(format!("whether browsers see a page of the tunnel's own is not known: {why}"))
        }
    }
    Ok(Findings {
        reached: true,
        websocket: Some(socket.is_ok()),
        stream: Some(stream),
        interstitial: page.ok(),
        reasons,
    })
}

async fn within<T>(asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(late)
}

fn path(ticket: &Ticket, step: Step) -> String {
    format!("/tunnel/probe/{}/{}", ticket.nonce, step.as_str())
}

/// Whether the beginning of a streamed answer comes while the rest is still being waited for.
async fn streams(url: &PublicUrl, ticket: &Ticket) -> Result<bool, String> {
    let mut response = get(url, &path(ticket, Step::Stream), &[SKIP, ("user-agent", WORD)]).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the answer is {}", response.status()));
    }
    if is_html(&response) {
        return Err("the answer is a page of the tunnel's own".into());
    }
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        if frame.data_ref().is_some_and(|data| !data.is_empty()) {
            return Ok(ticket.seen());
        }
    }
    Err("the answer is empty".into())
}

/// Whether browsers are shown a page of the tunnel's own.
async fn is_covered(url: &PublicUrl, ticket: &Ticket) -> Result<bool, String> {
    let headers = [("user-agent", BROWSER), ("accept", "text/html,*/*;q=0.8")];
    let response = get(url, &path(ticket, Step::Page), &headers).await?;
    Ok(is_html(&response))
}

/// Whether a message goes there and back on a WebSocket, opened as a browser does.
async fn echoes(url: &PublicUrl, ticket: &Ticket) -> Result<(), String> {
    let address = format!("{}{}", url.as_str().replacen("http", "ws", 1), path(ticket, Step::Socket));
    let mut request = address.into_client_request().map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::USER_AGENT, http::HeaderValue::from_static(BROWSER));
    if let Ok(origin) = http::HeaderValue::from_str(url.as_str()) {
        request.headers_mut().insert(header::ORIGIN, origin);
    }
    let connection = connect(url).await?;
    let opened = tokio_tungstenite::client_async(request, connection).await;
    let (mut socket, _) = opened.map_err(|error| error.to_string())?;
    socket.send(Message::text(WORD)).await.map_err(|error| error.to_string())?;
    while let Some(message) = socket.next().await {
        match message.map_err(|error| error.to_string())? {
            Message::Text(text) if text.as_str() == WORD => return Ok(()),
            Message::Ping(_) | Message::Pong(_) => {}
            _ => return Err("something else came back".into()),
        }
    }
    Err("it was closed".into())
}

fn is_html(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
}

async fn get(url: &PublicUrl, path: &str, headers: &[(&str, &str)]) -> Result<Response<Incoming>, String> {
    let connection = connect(url).await?;
    let said = |error: hyper::Error| error.to_string();
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.map_err(said)?;
    // Ends with the response, or when that is dropped.
    tokio::spawn(driver);
    let mut request = Request::get(path).header(header::HOST, url.authority());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    sender.send_request(request).await.map_err(said)
}

async fn connect(url: &PublicUrl) -> Result<Box<dyn Connection>, String> {
    let uri: http::Uri = url.as_str().parse().map_err(|_| format!("{url} is no address"))?;
    let (host, is_encrypted) = (uri.host().unwrap_or_default(), uri.scheme_str() == Some("https"));
    let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
    let bare = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| error.to_string())?;
    if !is_encrypted {
        return Ok(Box::new(stream));
    }
    let client = tokio::task::spawn_blocking(tls).await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(client.map_err(|error| error.to_string())?);
    let stream = connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
    Ok(Box::new(stream))
}

/// TLS with the certificates that the system trusts. Reads files.
fn tls() -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "this system has no trusted certificates: install the package ca-certificates",
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

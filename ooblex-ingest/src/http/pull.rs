//! A source that pulls MJPEG over HTTP from a camera.

use std::time::{Duration, Instant};

use ::http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use ooblex_core::{BoxError, BufferPool, Frame, FrameSource, SourceError, StreamId};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::multipart::{Multipart, boundary_of};
use crate::picture::{self, PictureLimits};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
/// A camera that sends nothing for this long is taken for lost.
const SILENCE: Duration = Duration::from_secs(10);
/// Pieces of the stream looked at before a picture is handed on, so that a fast camera cannot starve it.
const MAX_AT_ONCE: usize = 64;

/// An MJPEG stream over plain HTTP (`multipart/x-mixed-replace`), as IP cameras, phones and other Ooblex servers
/// send it.
///
/// If several pictures have arrived, only the newest is handed on. A lost connection is a
/// [`SourceError::Transient`], after which the pipeline opens the source again. `http://user:password@host/path`
/// sends basic authentication; the credentials appear in no log and no error. TLS is not supported. Give this only
/// addresses that you trust: it connects wherever it is told to.
///
/// ```
/// use ooblex_ingest::http::MjpegSource;
/// use ooblex_ingest::picture::PictureLimits;
///
/// assert!(MjpegSource::new("http://camera.local:8080/video", PictureLimits::default()).is_ok());
/// let error = MjpegSource::new("https://camera.local/video", PictureLimits::default()).err().unwrap();
/// assert!(error.to_string().contains("https is not supported"));
/// ```
pub struct MjpegSource {
    address: Address,
    limits: PictureLimits,
    pool: BufferPool,
    connection: Option<Connection>,
    sequence: u64,
    skipped: u64,
}

/// A URL, taken apart.
struct Address {
    host: String,
    port: u16,
    path: String,
    /// For the `Host` header and for messages: never with credentials.
    shown: String,
    authorization: Option<HeaderValue>,
}

struct Connection {
    body: Incoming,
    parts: Multipart,
    _driver: Driver,
}

impl MjpegSource {
    /// A source for this URL. Nothing is connected yet.
    ///
    /// # Errors
    /// [`SourceError::Fatal`] for a URL that is not `http://host[:port]/...`.
    pub fn new(url: &str, limits: PictureLimits) -> Result<Self, SourceError> {
        let address = Address::parse(url).map_err(SourceError::Fatal)?;
        Ok(Self { address, limits, pool: BufferPool::default(), connection: None, sequence: 0, skipped: 0 })
    }

    /// Pictures left out so far because a newer one had arrived.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    async fn connect(&self) -> Result<Connection, SourceError> {
        let shown = &self.address.shown;
        let lost = |e: BoxError| SourceError::Transient(format!("http://{shown}: {e}").into());
        let (response, driver) = self.request().await.map_err(lost)?;
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let refused = |why: String| SourceError::Fatal(format!("http://{shown}: {why}").into());
        match response.status() {
            StatusCode::OK => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(refused(format!("{status}: give the right user and password in the URL")));
            }
            status if status.is_redirection() => {
                let to = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
                return Err(refused(format!("{status} to {}; give that URL", to.unwrap_or("nowhere"))));
            }
            status => return Err(lost(format!("{status}").into())),
        }
        let Some(boundary) = boundary_of(&content_type) else {
            let what = "give the URL of an MJPEG stream (multipart/x-mixed-replace)";
            return Err(refused(format!("content type {content_type:?}; {what}")));
        };
        tracing::info!(camera = %shown, "connected");
        let parts = Multipart::new(&boundary, self.limits.max_bytes);
        Ok(Connection { body: response.into_body(), parts, _driver: driver })
    }

    /// Connects and asks.
    async fn request(&self) -> Result<(Response<Incoming>, Driver), BoxError> {
        let Address { host, port, path, shown, authorization } = &self.address;
        let stream = timeout(CONNECT, TcpStream::connect((host.as_str(), *port)))
            .await
            .map_err(|_| format!("no connection within {} s", CONNECT.as_secs()))??;
        stream.set_nodelay(true)?;
        let mut request = Request::get(path)
            .header(header::HOST, shown.split('/').next().unwrap_or(host))
            .header(header::USER_AGENT, concat!("ooblex/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "multipart/x-mixed-replace, */*");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let ask = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let driver = Driver(tokio::spawn(connection).abort_handle());
            let response = sender.send_request(request).await?;
            Ok::<_, hyper::Error>((response, driver))
        };
        let response = timeout(ANSWER, ask).await;
        Ok(response.map_err(|_| format!("no answer within {} s", ANSWER.as_secs()))??)
    }
}

/// The task that drives a connection; ends with this.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// The newest picture that has arrived, waiting for one if there is none; and how many it made obsolete.
    async fn newest(&mut self) -> Result<(Bytes, u64), BoxError> {
        let (mut newest, mut skipped) = (None, 0);
        for turn in 0.. {
            while let Some(part) = self.parts.next_part()? {
                skipped += u64::from(newest.replace(part).is_some());
            }
            let frame = match newest.take() {
                Some(part) if turn >= MAX_AT_ONCE => return Ok((part, skipped)),
                Some(part) => match self.body.frame().now_or_never() {
                    // What went wrong now will go wrong again at the next call; the picture comes first.
                    None | Some(None | Some(Err(_))) => return Ok((part, skipped)),
                    Some(Some(Ok(frame))) => {
                        newest = Some(part);
                        frame
                    }
                },
                // Nothing is held while waiting, so dropping the future loses nothing.
                None => match timeout(SILENCE, self.body.frame()).await {
                    Err(_) => return Err(format!("nothing came for {} s", SILENCE.as_secs()).into()),
                    Ok(None) => return Err("the stream ended".into()),
                    Ok(Some(frame)) => frame?,
                },
            };
            if let Some(data) = frame.data_ref() {
                self.parts.push(data);
            }
        }
        Err("the stream ended".into())
    }
}

#[async_trait]
impl FrameSource for MjpegSource {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let (data, skipped) = match connection.newest().await {
            Ok(newest) => newest,
            Err(error) => {
                self.connection = None;
                return Err(SourceError::Transient(format!("http://{}: {error}", self.address.shown).into()));
            }
        };
        let received = Instant::now();
        self.skipped += skipped;
        let picture = picture::accept(data, &self.limits, &self.pool)
            .map_err(|e| SourceError::Frame(format!("http://{}: {e}", self.address.shown).into()))?;
        self.sequence += 1;
        Ok(Some(Frame::new(StreamId::default(), self.sequence, received, picture)))
    }

    async fn reopen(&mut self) -> Result<(), SourceError> {
        self.connection = None;
        self.connection = Some(self.connect().await?);
        Ok(())
    }
}

impl Address {
    fn parse(url: &str) -> Result<Self, BoxError> {
        // The text may hold a password, so it is not repeated in any message.
        let uri: Uri = url.parse().map_err(|e| format!("the URL makes no sense: {e}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(
                    "https is not supported; use http, or a proxy that ends TLS on this machine".into()
                );
            }
            _ => return Err("the URL does not begin with http://".into()),
        }
        let authority = uri.authority().ok_or("the URL has no host")?;
        let host = authority.host();
        if host.is_empty() {
            return Err("the URL has no host".into());
        }
        let port = authority.port_u16().unwrap_or(80);
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let place = if port == 80 { host.to_owned() } else { format!("{host}:{port}") };
        let credentials = authority.as_str().rsplit_once('@').map(|(credentials, _)| credentials);
        let authorization = credentials.map(basic).transpose()?;
        // Cameras take passwords in the query too; only the path is shown.
        let shown = format!("{place}{}", uri.path());
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, path, shown, authorization })
    }
}

/// Basic authentication (RFC 7617) from the user information of a URL.
fn basic(credentials: &str) -> Result<HeaderValue, BoxError> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let pair = [percent_decode(user), b":".to_vec(), percent_decode(password)].concat();
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))?;
    value.set_sensitive(true);
    Ok(value)
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.filter(|_| byte == b'%').and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = &after[2..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_credentials_kept_out_of_sight() {
        let a = Address::parse("http://us%40er:p%3Aw@[::1]:8081/video?token=x").expect("parses");
        assert_eq!((a.host.as_str(), a.port, a.path.as_str()), ("::1", 8081, "/video?token=x"));
        assert_eq!(a.shown, "[::1]:8081/video");
        let value = a.authorization.expect("credentials");
        assert!(value.is_sensitive());
        assert_eq!(value.to_str().expect("text"), format!("Basic {}", STANDARD.encode("us@er:p:w")));
        let a = Address::parse("http://camera").expect("parses");
        assert_eq!((a.port, a.path.as_str(), a.authorization.is_none()), (80, "/", true));
    }

    #[test]
    fn other_urls_are_refused_without_repeating_them() {
        for url in ["https://u:secret@h/", "rtsp://u:secret@h/", "/u:secret/path", "http://", ""] {
            let error = Address::parse(url).err().expect(url).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}

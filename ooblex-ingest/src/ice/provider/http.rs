//! Lists of servers that are fetched over HTTPS.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::{Scheme, Uri};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;

use super::list::{IceList, ListError, MAX_BYTES};
use crate::ice::Secret;
use crate::ice::dns::Resolver;
use crate::tls::{self, Connection, Trust};

/// Longest fetch, from the name server to the last byte.
const TIMEOUT: Duration = Duration::from_secs(3);
/// What Cloudflare and Twilio are asked for, in seconds: a day, which is Twilio's most.
const LIFE: u64 = 86_400;

/// A list of servers at a URL, and what it takes to get it. `Debug` shows the name only: paths, queries and headers
/// hold keys.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpProvider {
    name: String,
    url: Uri,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// Whether the time is appended to the query, so that no cache answers.
    stamped: bool,
    /// Whether it takes a secret to get the list.
    authenticated: bool,
    /// How long its credentials last if the list does not say.
    life: Option<Duration>,
}

/// Why there is no list. Shows neither the URL nor the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It took too long.
    #[error("no whole answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The answer broke off or is not HTTP.
    #[error("the answer is broken: {0}")]
    Http(String),
    /// It refuses.
    #[error("it answered {0}: check the token or key")]
    Refused(StatusCode),
    /// It sends elsewhere, which is not followed: the token would go there, too.
    #[error("it answered {0}, which is not followed: give the URL it leads to")]
    Redirect(StatusCode),
    /// Something else than a list.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// A list that is refused.
    #[error(transparent)]
    List(#[from] ListError),
}

impl HttpProvider {
    /// VDO.Ninja's public list.
    pub fn vdo_ninja() -> Self {
        let url = Uri::from_static("https://turnservers.vdo.ninja/");
        Self { stamped: true, ..Self::new("vdo-ninja", url) }
    }

    /// Cloudflare Realtime TURN. `key` consists of letters, digits, `-` and `_`.
    pub(super) fn cloudflare(key: &str, token: Secret) -> Self {
        let path = format!("/v1/turn/keys/{key}/credentials/generate-ice-servers");
        let body = Bytes::from(format!("{{\"ttl\":{LIFE}}}"));
        let this = Self {
            life: Some(Duration::from_secs(LIFE)),
            ..Self::at("cloudflare", "rtc.live.cloudflare.com", &path)
        };
        this.post(body, "application/json").with_secret(AUTHORIZATION, &format!("Bearer {}", token.expose()))
    }

    /// Twilio Network Traversal. `account` as for `key` above.
    pub(super) fn twilio(account: &str, token: &Secret) -> Self {
        let path = format!("/2010-04-01/Accounts/{account}/Tokens.json");
        let basic = STANDARD.encode(format!("{account}:{}", token.expose()));
        let body = Bytes::from(format!("Ttl={LIFE}"));
        Self::at("twilio", "api.twilio.com", &path)
            .post(body, "application/x-www-form-urlencoded")
            .with_secret(AUTHORIZATION, &format!("Basic {basic}"))
    }

    /// Metered. `app` as for `key` above.
    pub(super) fn metered(app: &str, key: &Secret) -> Self {
        // The key is their own alphabet; anything else is escaped so that it stays one parameter.
        let escaped: String = key.expose().bytes().map(escape).collect();
        let path = format!("/api/v1/turn/credentials?apiKey={escaped}");
        Self { authenticated: true, ..Self::at("metered", &format!("{app}.metered.live"), &path) }
    }

    /// A list at any URL. `None` if it is none with a host.
    pub(super) fn list(url: Uri) -> Option<Self> {
        let name = format!("{}://{}", url.scheme_str()?, url.authority()?);
        // A query is a key as likely as not.
        let authenticated = url.query().is_some();
        Some(Self { authenticated, ..Self::new(&name, url) })
    }

    /// The same with a header that is a secret. `None` if it is no header.
    pub(super) fn with_header(self, name: &str, value: &str) -> Option<Self> {
        let name: HeaderName = name.parse().ok()?;
        HeaderValue::from_str(value).ok()?;
        Some(self.with_secret(name, value))
    }

    fn new(name: &str, url: Uri) -> Self {
        Self {
            name: name.to_owned(),
            url,
            method: Method::GET,
            headers: Vec::new(),
            body: Bytes::new(),
            stamped: false,
            authenticated: false,
            life: None,
        }
    }

    fn at(name: &str, host: &str, path: &str) -> Self {
        let url = Uri::builder().scheme(Scheme::HTTPS).authority(host).path_and_query(path).build();
        Self::new(name, url.unwrap_or_default())
    }

    fn post(mut self, body: Bytes, kind: &'static str) -> Self {
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static(kind)));
        Self { method: Method::POST, body, ..self }
    }

    fn with_secret(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.push((name, value));
        }
        Self { authenticated: true, ..self }
    }

    /// What it is called in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it takes a secret to get the list, so that not everybody has it anyway.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Fetches the list. `unix` is the time in seconds since 1970.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(crate) async fn fetch(
        &self,
        resolver: &Resolver,
        trust: &Trust,
        unix: u64,
    ) -> Result<IceList, FetchError> {
        let body = tokio::time::timeout(TIMEOUT, self.request(resolver, trust, unix));
        let mut list = IceList::parse(&body.await.map_err(|_| FetchError::Timeout)??)?;
        list.life = list.life.or(self.life);
        Ok(list)
    }

    async fn request(&self, resolver: &Resolver, trust: &Trust, unix: u64) -> Result<Bytes, FetchError> {
        let host = self.url.host().unwrap_or_default().trim_matches(['[', ']']);
        let secure = self.url.scheme() == Some(&Scheme::HTTPS);
        let port = self.url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let addresses = resolver.lookup(host).await.map_err(FetchError::Connect)?;
        let stream = tls::connect(&addresses, port).await.map_err(|e| FetchError::Connect(e.to_string()))?;
        if secure {
            let stream = tls::secure(stream, host, trust).await;
            self.ask(stream.map_err(|e| FetchError::Connect(e.to_string()))?, unix).await
        } else {
            self.ask(stream, unix).await
        }
    }

    async fn ask(&self, stream: impl Connection + 'static, unix: u64) -> Result<Bytes, FetchError> {
        let broken = |e: hyper::Error| FetchError::Http(e.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let exchange = async {
            let request = self.to_request(unix).map_err(|e| FetchError::Http(e.to_string()))?;
            let response = sender.send_request(request).await.map_err(broken)?;
            match response.status() {
                StatusCode::OK | StatusCode::CREATED => {}
                status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                    return Err(FetchError::Refused(status));
                }
                status if status.is_redirection() => return Err(FetchError::Redirect(status)),
                status => return Err(FetchError::Status(status)),
            }
            match Limited::new(response.into_body(), MAX_BYTES).collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(ListError::TooLong.into()),
                Err(e) => Err(FetchError::Http(e.to_string())),
            }
        };
        // The connection is driven here, not in a task: it ends with the answer or the time-out.
        let (mut connection, mut exchange) = (std::pin::pin!(connection), std::pin::pin!(exchange));
        tokio::select! {
            answer = &mut exchange => answer,
            _ = &mut connection => exchange.await,
        }
    }

    fn to_request(&self, unix: u64) -> http::Result<Request<Full<Bytes>>> {
        let mut path = self.url.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        if self.stamped {
            path = format!("{path}?ts={unix}");
        }
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(path)
            .header(HOST, self.url.authority().map_or("", |a| a.as_str()))
            .header(USER_AGENT, concat!("ooblex/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(CONNECTION, "close");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body.clone()))
    }
}

/// A byte as it may stand in a query.
fn escape(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

impl fmt::Debug for HttpProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProvider").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(provider: &HttpProvider) -> (String, String, Vec<String>) {
        let request = provider.to_request(1_700_000_000).expect("a request");
        let header =
            |name: HeaderName| request.headers().get(name).map(|v| v.to_str().expect("text").to_owned());
        let headers = [HOST, AUTHORIZATION, CONTENT_TYPE].into_iter().filter_map(header).collect();
        (
            provider.url.scheme_str().unwrap_or_default().to_owned(),
            format!("{} {}", request.method(), request.uri()),
            headers,
        )
    }

    #[test]
    fn each_provider_is_asked_in_its_own_way() {
        let https = "https".to_owned();
        let vdo = HttpProvider::vdo_ninja();
        let line = "GET /?ts=1700000000".to_owned();
        assert_eq!(shown(&vdo), (https.clone(), line, vec!["turnservers.vdo.ninja".into()]));
        assert!(!vdo.is_authenticated());
        let cloudflare = HttpProvider::cloudflare("abc", Secret::new("tok"));
        let line = "POST /v1/turn/keys/abc/credentials/generate-ice-servers".to_owned();
        let headers =
            ["rtc.live.cloudflare.com", "Bearer tok", "application/json"].map(String::from).to_vec();
        assert_eq!(shown(&cloudflare), (https.clone(), line, headers));
        assert_eq!(&cloudflare.body[..], br#"{"ttl":86400}"#);
        let twilio = HttpProvider::twilio("AC1", &Secret::new("tok"));
        let line = "POST /2010-04-01/Accounts/AC1/Tokens.json".to_owned();
        let headers = ["api.twilio.com", "Basic QUMxOnRvaw==", "application/x-www-form-urlencoded"]
            .map(String::from)
            .to_vec();
        assert_eq!(shown(&twilio), (https.clone(), line, headers));
        let metered = HttpProvider::metered("app", &Secret::new("k&y=1"));
        let line = "GET /api/v1/turn/credentials?apiKey=k%26y%3D1".to_owned();
        assert_eq!(shown(&metered), (https, line, vec!["app.metered.live".into()]));
        assert!(cloudflare.is_authenticated() && twilio.is_authenticated() && metered.is_authenticated());
    }
}

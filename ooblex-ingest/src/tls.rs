//! Connections of clients: over TCP to the first address that answers, and over TLS to servers whose certificates are
//! believed.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Pause before the next address of a server is tried beside the ones before (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// Most addresses of a server that are tried.
const MAX_ATTEMPTS: usize = 6;

/// Whose certificates are believed. Cheap to clone; what is read is kept.
#[derive(Clone, Default)]
pub struct Trust(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Certificates of issuers; `None` for the system's.
    roots: Option<Vec<CertificateDer<'static>>>,
    client: OnceLock<Result<Arc<ClientConfig>, TrustError>>,
}

/// Why no certificate can be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The system has no certificates.
    #[error(
        "this system has no trusted certificates{0}: install the package `ca-certificates`, or name a file of them by \
         the environment variable SSL_CERT_FILE"
    )]
    Empty(String),
    /// The text given holds no certificate.
    #[error("no PEM certificate in {0} bytes; one begins with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(usize),
    /// TLS cannot be set up.
    #[error("tls cannot be set up: {0}")]
    Setup(String),
}

impl Trust {
    /// The system's certificates, or those of the file that SSL_CERT_FILE names. They are read at first use.
    pub fn system() -> Self {
        Self::default()
    }

    /// Only these issuers, as PEM text.
    ///
    /// # Errors
    /// [`TrustError::NoCertificate`].
    pub fn pem(pem: &[u8]) -> Result<Self, TrustError> {
        let roots: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        if roots.is_empty() {
            return Err(TrustError::NoCertificate(pem.len()));
        }
        Ok(Self(Arc::new(Inner { roots: Some(roots), client: OnceLock::new() })))
    }

    /// What TLS clients need. Blocks on files the first time.
    fn client(&self) -> Result<Arc<ClientConfig>, TrustError> {
        self.0.client.get_or_init(|| configure(self.0.roots.as_deref())).clone()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.roots.is_some() { "Trust(given)" } else { "Trust(system)" })
    }
}

fn configure(given: Option<&[CertificateDer<'static>]>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    let mut why = String::new();
    match given {
        Some(given) => _ = roots.add_parsable_certificates(given.iter().cloned()),
        None => {
            let found = rustls_native_certs::load_native_certs();
            if let Some(error) = found.errors.first() {
                why = format!(" ({error})");
            }
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(TrustError::Empty(why));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| TrustError::Setup(e.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A connection, plain or not.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects to the first of the addresses that answers. The next one is tried beside those before after 250 ms.
///
/// # Errors
/// That of the last address that failed, if none answers.
pub async fn connect(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut error = io::Error::new(io::ErrorKind::AddrNotAvailable, "the server has no address");
    let mut rest = addresses.iter().take(MAX_ATTEMPTS);
    let mut next = rest.next();
    while next.is_some() || !attempts.is_empty() {
        if let Some(ip) = next {
            attempts.spawn(TcpStream::connect(SocketAddr::new(*ip, port)));
            next = rest.next();
        }
        // The next address has its turn once the last attempt has failed or takes long.
        let done = match next {
            Some(_) => tokio::time::timeout(STAGGER, attempts.join_next()).await.ok().flatten(),
            None => attempts.join_next().await,
        };
        match done {
            Some(Ok(Ok(stream))) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Some(Ok(Err(e))) => error = e,
            Some(Err(_)) | None => {}
        }
    }
    Err(error)
}

/// Puts TLS onto a connection; the server's certificate must be for `host`, a name or an address in digits.
///
/// # Errors
/// [`TrustError`] within, if nobody's certificates can be believed; that of TLS if this server's is not.
pub async fn secure(stream: TcpStream, host: &str, trust: &Trust) -> io::Result<impl Connection + use<>> {
    let trust = trust.clone();
    let client = tokio::task::spawn_blocking(move || trust.client()).await;
    let client = client.map_err(io::Error::other)?.map_err(io::Error::other)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    tokio_rustls::TlsConnector::from(client).connect(name, stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_read_from_pem() {
        assert_eq!(Trust::pem(b"nothing").err(), Some(TrustError::NoCertificate(7)));
        let issuer = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
        let trust = Trust::pem(issuer.cert.pem().as_bytes()).expect("trust");
        assert!(trust.client().is_ok());
        assert_eq!(format!("{trust:?} {:?}", Trust::system()), "Trust(given) Trust(system)");
    }

    #[test]
    fn an_empty_store_is_an_error_that_says_what_to_do() {
        let error = configure(Some(&[])).expect_err("nothing to trust").to_string();
        assert!(error.contains("SSL_CERT_FILE") && error.contains("ca-certificates"), "{error}");
    }

    #[tokio::test]
    async fn a_dead_address_does_not_keep_the_next_from_its_turn() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let port = listener.local_addr().expect("address").port();
        let dead: IpAddr = "127.0.0.2".parse().expect("address");
        let live: IpAddr = "127.0.0.1".parse().expect("address");
        let stream = connect(&[dead, live], port).await.expect("connected");
        assert_eq!(stream.peer_addr().expect("address").ip(), live);
        assert!(stream.nodelay().expect("option"));
        assert!(connect(&[], port).await.is_err());
        drop(listener);
        let refused = connect(&[live], port).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}

//! Tunnels by ngrok, whose client runs in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ngrok::Session;
use ngrok::config::{ForwarderBuilder, HttpTunnelBuilder};
use ngrok::forwarder::Forwarder;
use ngrok::prelude::{EndpointInfo, TunnelCloser};
use ngrok::session::{ConnectError, IoStream, default_connect};
use ngrok::tunnel::{AcceptError, HttpTunnel};

use super::provider::{Change, Running, Tunnel, TunnelError};
use crate::cli::VERSION;
use crate::config::{Config, HIDDEN, ProviderToken, PublicUrl};

/// Where ngrok takes its clients.
const SERVICE: &str = "connect.ngrok-agent.com:443";
/// A tunnel that is not open by then is given up.
const PATIENCE: Duration = Duration::from_secs(30);
const CLOSING: Duration = Duration::from_secs(1);
/// Errors that another try does not mend: a token that is none, was reset or revoked, and an account that is not verified
/// (<https://ngrok.com/docs/errors/>).
const OF_THE_TOKEN: [&str; 5] =
    ["ERR_NGROK_105", "ERR_NGROK_106", "ERR_NGROK_107", "ERR_NGROK_4018", "ERR_NGROK_4021"];
const FIX: &str =
    "set NGROK_AUTH_TOKEN to the token that https://dashboard.ngrok.com/get-started/your-authtoken shows";

/// The client.
pub(super) struct Ngrok {
    token: Option<ProviderToken>,
    /// The address to be reached at; the account's own if `None`.
    url: Option<PublicUrl>,
    service: String,
}

impl Ngrok {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            token: config.ngrok_auth_token.clone(),
            url: config.tunnel_url.clone(),
            service: SERVICE.into(),
        }
    }

    async fn connect(&self, token: &ProviderToken) -> Result<Session, TunnelError> {
        let mut builder = Session::builder();
        let wrong = |e: &dyn std::error::Error| TunnelError::Fatal(format!("ngrok: {e}"));
        builder.authtoken(token.expose()).client_info("ooblex", VERSION, None::<String>).connector(once);
        builder.server_addr(&self.service).map_err(|e| wrong(&e))?;
        builder.connect().await.map_err(|error| explain(&error, token))
    }

    async fn listen(&self, token: &ProviderToken, local: SocketAddr) -> Result<Open, TunnelError> {
        // Only one provider of cryptography is built in, but others might be, beside this crate.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let session = self.connect(token).await?;
        let mut endpoint: HttpTunnelBuilder = session.http_endpoint();
        if let Some(url) = &self.url {
            endpoint.domain(url.authority());
        }
        let to = url::Url::parse(&format!("http://{local}"))
            .map_err(|error| TunnelError::Fatal(format!("ngrok: {error}")))?;
        let forwarder = endpoint.listen_and_forward(to).await.map_err(|error| explain(&error, token))?;
        let told = forwarder.url().to_owned();
        let url =
            told.parse().map_err(|_| TunnelError::Transient(format!("ngrok told no address: {told}")))?;
        Ok(Open { forwarder, url, _session: session })
    }
}

/// Connects for the first time, and then no more: the supervisor tries again, with its own pauses.
async fn once(
    host: String,
    port: u16,
    tls: Arc<rustls::ClientConfig>,
    lost: Option<AcceptError>,
) -> Result<Box<dyn IoStream>, ConnectError> {
    match lost {
        None => default_connect(host, port, tls, None).await,
        Some(_) => Err(ConnectError::Canceled),
    }
}

/// An error of ngrok, with all its causes and without the token, which some of them quote.
fn explain(error: &impl ngrok::Error, token: &ProviderToken) -> TunnelError {
    let mut text = format!("ngrok: {}", error.msg());
    let mut cause = std::error::Error::source(error);
    while let Some(why) = cause.filter(|_| error.error_code().is_none()) {
        text.push_str(&format!(": {why}"));
        cause = why.source();
    }
    let text = text.replace(token.expose(), HIDDEN).replace('\n', " ");
    match error.error_code() {
        Some(code) if OF_THE_TOKEN.contains(&code) => TunnelError::Fatal(format!("{text} ({code}); {FIX}")),
        Some(code) => TunnelError::Transient(format!("{text} ({code})")),
        None => TunnelError::Transient(text),
    }
}

#[async_trait]
impl Tunnel for Ngrok {
    async fn open(&mut self, local: SocketAddr) -> Result<Box<dyn Running>, TunnelError> {
        let missing = || TunnelError::Fatal(format!("ngrok needs the token of an account; {FIX}"));
        let token = self.token.as_ref().ok_or_else(missing)?;
        match tokio::time::timeout(PATIENCE, self.listen(token, local)).await {
            Ok(opened) => Ok(Box::new(opened?)),
            Err(_) => {
                let seconds = PATIENCE.as_secs();
                Err(TunnelError::Transient(format!("ngrok has not opened a tunnel within {seconds} s")))
            }
        }
    }
}

/// A tunnel that forwards.
struct Open {
    forwarder: Forwarder<HttpTunnel>,
    url: PublicUrl,
    /// The tunnel ends with it.
    _session: Session,
}

#[async_trait]
impl Running for Open {
    fn url(&self) -> &PublicUrl {
        &self.url
    }

    async fn next(&mut self) -> Change {
        let reason = match self.forwarder.join().await {
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(())) => "the service closed the tunnel".to_owned(),
            Err(error) => error.to_string(),
        };
        Change::Ended(TunnelError::Transient(format!("ngrok: {reason}")))
    }

    async fn close(mut self: Box<Self>) {
        let _ = tokio::time::timeout(CLOSING, self.forwarder.close()).await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.forwarder.join().abort();
    }
}

#[cfg(test)]
mod tests {
    use ngrok::session::RpcError;
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn ngrok(token: Option<&str>, service: String) -> Ngrok {
        let words = token.map(|token| format!("--ngrok-auth-token={token}"));
        let arguments = crate::cli::Arguments::parse(words.map(Into::into)).expect("good");
        let config = crate::config::load(&arguments, []).expect("good").config;
        Ngrok { service, ..Ngrok::new(&config) }
    }

    async fn refused(mut ngrok: Ngrok) -> TunnelError {
        ngrok.open(([127, 0, 0, 1], 1).into()).await.err().expect("it is not opened")
    }

    #[tokio::test]
    async fn without_a_token_it_says_where_one_is_found() {
        let TunnelError::Fatal(reason) = refused(ngrok(None, SERVICE.into())).await else { panic!("fatal") };
        assert!(reason.contains("NGROK_AUTH_TOKEN") && reason.contains("dashboard.ngrok.com"), "{reason}");
    }

    #[tokio::test]
    async fn the_real_client_fails_where_nobody_or_somebody_else_listens() {
        let token = Some("2abcdefSWORDFISH_0123456789");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        });
        let TunnelError::Transient(reason) = refused(ngrok(token, address.to_string())).await else {
            panic!("transient")
        };
        assert!(reason.starts_with("ngrok: tls handshake error: "), "{reason}");
        let TunnelError::Transient(reason) = refused(ngrok(token, "127.0.0.1:1".into())).await else {
            panic!("transient")
        };
        assert!(reason.contains("failed to establish tcp connection: "), "{reason}");
    }

    #[test]
    fn a_refused_token_is_final_and_is_not_repeated() {
        let token = ngrok(Some("2abcdefSWORDFISH_0123456789"), String::new()).token.expect("a token");
        let answer = |code: &str| {
            let text = format!(
                "The authtoken you specified is not valid.\nYour authtoken: {}\n\n{code}\n",
                token.expose()
            );
            ConnectError::Auth(RpcError::Response(text.as_str().into()))
        };
        let TunnelError::Fatal(text) = explain(&answer("ERR_NGROK_107"), &token) else { panic!("fatal") };
        assert!(
            text.contains("Your authtoken: ***") && !text.contains("SWORDFISH") && text.contains(FIX),
            "{text}"
        );
        let busy = explain(&answer("ERR_NGROK_108"), &token);
        assert!(matches!(&busy, TunnelError::Transient(text) if text.ends_with("(ERR_NGROK_108)")), "{busy}");
    }
}

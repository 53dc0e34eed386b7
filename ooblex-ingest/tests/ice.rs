//! Lists of ICE servers from HTTP and HTTPS servers that behave well and badly.

#![cfg(feature = "whip")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ooblex_ingest::ice::provider::{ProviderReport, ProviderSpec, ProviderState};
use ooblex_ingest::ice::{IceServers, Trust};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const GOOD: &str = r#"{"servers":[{"urls":["turn:t.example","turns:t.example"],"username":"u","credential":"topsecret"}],"ttl":600}"#;

/// A server that answers every connection with the same bytes, then waits or closes.
struct Server {
    port: u16,
    /// PEM of its certificate, if it has one.
    certificate: Option<String>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8], hang: bool) -> String {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => request.extend_from_slice(&chunk[..n]),
            _ => return String::new(),
        }
    }
    let _ = stream.write_all(answer).await;
    let _ = stream.flush().await;
    if hang {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    let _ = stream.shutdown().await;
    String::from_utf8_lossy(&request).into_owned()
}

impl Server {
    async fn start(answer: String, hang: bool, tls_name: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let port = listener.local_addr().expect("address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let made =
            tls_name.map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).expect("certificate"));
        let certificate = made.as_ref().map(|made| made.cert.pem());
        let acceptor = made.map(|made| {
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("key");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .expect("configuration");
            TlsAcceptor::from(Arc::new(config))
        });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, acceptor, seen) = (answer.clone(), acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let request = match acceptor {
                        None => converse(stream, answer.as_bytes(), hang).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => converse(stream, answer.as_bytes(), hang).await,
                            Err(_) => String::new(),
                        },
                    };
                    seen.lock().expect("lock").push(request);
                });
            }
        });
        Self { port, certificate, requests, task }
    }

    fn trust(&self) -> Trust {
        let pem = self.certificate.as_ref().expect("a certificate");
        Trust::pem(pem.as_bytes()).expect("trust")
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: text/html\r\n\r\n{body}", body.len())
}

/// What becomes of one provider after its first try.
async fn tried(spec: &str, trust: Trust) -> (IceServers, ProviderReport) {
    let spec: ProviderSpec = spec.parse().expect("spec");
    let servers = IceServers::start(vec![spec], trust);
    servers.settled().await;
    let report = servers.report().remove(0);
    assert!(!format!("{report:?} {servers:?}").contains("topsecret"), "{report:?}");
    (servers, report)
}

#[tokio::test]
async fn a_list_comes_over_https_with_the_token() {
    let server = Server::start(answer("201 Created", GOOD), false, Some("127.0.0.1")).await;
    let spec = format!("https://127.0.0.1:{}/list?key=1,topsecret", server.port);
    let (servers, report) = tried(&spec, server.trust()).await;
    assert_eq!((report.state, report.servers, report.error), (ProviderState::Ready, 2, None));
    let expires = report.expires_in.expect("an end").as_secs();
    let refresh = report.refresh_in.expect("a time").as_secs();
    assert!((590..=600).contains(&expires) && (470..=480).contains(&refresh), "{expires} {refresh}");
    let list = servers.current();
    assert_eq!(list[0].urls, ["turn:t.example:3478", "turns:t.example:5349"]);
    assert_eq!(list[0].credential.as_deref(), Some("topsecret"));
    assert_eq!(servers.for_page(), list, "its credentials end soon");
    // The connection has been closed by now, or is about to be.
    for _ in 0..200 {
        if !server.requests.lock().expect("lock").is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let request = server.requests.lock().expect("lock")[0].to_lowercase();
    assert!(request.starts_with("get /list?key=1 http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{request}");
    assert!(request.contains("authorization: bearer topsecret\r\n"), "{request}");
}

#[tokio::test]
async fn credentials_without_an_end_are_not_for_browsers() {
    let endless = r#"[{"urls":"turn:t.example","username":"u","credential":"topsecret"}]"#;
    let server = Server::start(answer("200 OK", endless), false, None).await;
    let (servers, report) =
        tried(&format!("http://127.0.0.1:{}/,topsecret", server.port), Trust::system()).await;
    assert_eq!((servers.current().len(), servers.for_page().len(), report.for_page), (1, 0, false));
    let (servers, report) = tried(&format!("http://127.0.0.1:{}/", server.port), Trust::system()).await;
    assert_eq!((servers.for_page().len(), report.for_page), (1, true), "anybody can fetch these");
}

#[tokio::test]
async fn strangers_certificates_are_refused() {
    let server = Server::start(answer("200 OK", GOOD), false, Some("127.0.0.1")).await;
    let other = Server::start(answer("200 OK", GOOD), false, Some("localhost")).await;
    for (port, trust) in [(server.port, other.trust()), (other.port, other.trust())] {
        let (servers, report) = tried(&format!("https://127.0.0.1:{port}/,topsecret"), trust).await;
        assert_eq!((report.state, servers.current().len()), (ProviderState::Failed, 0));
        let error = report.error.expect("a reason");
        assert!(error.contains("no connection") && error.contains("certificate"), "{error}");
    }
    assert!(server.requests.lock().expect("lock").iter().all(|r| !r.contains("topsecret")));
}

#[tokio::test]
async fn bad_answers_are_refused_whole_and_named() {
    let big = format!("[{}]", vec![r#"{"urls":"stun:s.example"}"#; 3000].join(","));
    let half = r#"[{"urls":"stun:s.example"},{"urls":"gopher:topsecret"}]"#;
    let elsewhere = "302 Found\r\nLocation: https://topsecret.example/";
    for (status, body, wanted) in [
        ("401 Unauthorized", "topsecret", "it answered 401 Unauthorized: check the token or key"),
        ("403 Forbidden", "", "it answered 403 Forbidden: check the token or key"),
        (elsewhere, "", "it answered 302 Found, which is not followed"),
        ("500 Internal Server Error", "topsecret", "it answered 500 Internal Server Error"),
        ("200 OK", "<html>topsecret</html>", "the answer is not JSON (line 1, column 1)"),
        ("200 OK", r#"{"error":"topsecret"}"#, "the answer holds no list of servers"),
        ("200 OK", half, "server 2 of the list: not an ICE server URL"),
        ("200 OK", big.as_str(), "the list has more than 65536 bytes"),
        ("200 OK", "[]", "the list holds no server"),
    ] {
        let server = Server::start(answer(status, body), false, None).await;
        let (servers, report) = tried(&format!("http://127.0.0.1:{}/", server.port), Trust::system()).await;
        let error = report.error.expect("a reason");
        assert!(error.starts_with(wanted), "{error}");
        assert_eq!((report.state, report.failures, servers.current().len()), (ProviderState::Failed, 1, 0));
    }
}

#[tokio::test]
async fn a_slow_a_dead_and_a_strange_provider_hold_nothing_up() {
    let slow = Server::start("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[".into(), true, None).await;
    let endless = Server::start("HTTP/1.1 200 OK\r\n\r\n[".into(), true, None).await;
    let strange = Server::start("SSH-2.0-OpenSSH_9.2\r\n".into(), false, None).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("listen").local_addr().expect("address").port();
    let good = Server::start(answer("200 OK", GOOD), false, None).await;
    let ports = [slow.port, endless.port, strange.port, dead, good.port];
    let specs = ports.iter().map(|port| format!("http://127.0.0.1:{port}/").parse().expect("spec")).collect();
    let start = Instant::now();
    let servers = IceServers::start(specs, Trust::system());
    servers.settled().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let errors: Vec<Option<String>> = servers.report().into_iter().map(|report| report.error).collect();
    assert_eq!(errors[0].as_deref(), Some("no whole answer within 3 s"));
    assert_eq!(errors[1].as_deref(), Some("no whole answer within 3 s"));
    assert!(errors[2].as_deref().is_some_and(|e| e.starts_with("the answer is broken")), "{errors:?}");
    assert!(errors[3].as_deref().is_some_and(|e| e.starts_with("no connection")), "{errors:?}");
    assert_eq!((&errors[4], servers.current().len()), (&None, 1), "the rest goes on");
}

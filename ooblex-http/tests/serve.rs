//! The server over real sockets: takeover byte by byte, deadlines, caps, refusals and shutdown.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures::{SinkExt, StreamExt};
use ooblex_http::{ConnectionLimits, Peer, Problem, ServeConfig, Served, Takeover, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(10);

struct Server {
    address: SocketAddr,
    limits: ConnectionLimits,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Served>,
}

impl Server {
    async fn start(router: Router, change: impl FnOnce(&mut ServeConfig)) -> Self {
        let mut config = ServeConfig::default();
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let limits = config.limits.clone();
        let task = tokio::spawn(serve(listener, router, config, async {
            let _ = stopped.await;
        }));
        Self { address, limits, stop: Some(stop), task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(mut self) -> Served {
        drop(self.stop.take());
        tokio::time::timeout(SOON, self.task).await.unwrap().unwrap()
    }
}

/// Everything until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut all)).await.expect("closes in time");
    // A reset after the last byte is an end, too.
    let _ = read;
    String::from_utf8_lossy(&all).into_owned()
}

/// A response with a length: its head and body.
async fn response(stream: &mut TcpStream) -> (String, String) {
    let mut all = Vec::new();
    let reading = async {
        loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            all.push(byte[0]);
            if all.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let head = String::from_utf8(all).unwrap();
        let length =
            head.lines().find_map(|l| l.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    };
    tokio::time::timeout(SOON, reading).await.expect("answers in time")
}

fn without_date(text: &str) -> String {
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

/// A route whose bytes are written by a task that owns the socket; `taken` counts how often it got one.
fn takeover_router(taken: Arc<AtomicUsize>) -> Router {
    let handler = move || {
        let taken = taken.clone();
        async move {
            let mut response = Response::new(Body::from("raw bytes"));
            response.headers_mut().insert("x-layered", "kept".parse().unwrap());
            response.extensions_mut().insert(Takeover::new(move |owned| {
                taken.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut owned = owned;
                    owned.stream.write_all(b"raw bytes").await.unwrap();
                    drop(owned.guard);
                });
            }));
            response
        }
    };
    Router::new().route("/raw", any(handler)).route("/plain", get(async || "plain"))
}

const RAW: &str = "HTTP/1.0 200 OK\r\nx-layered: kept\r\nconnection: close\r\n\r\nraw bytes";

#[tokio::test]
async fn a_handler_takes_over_a_fresh_connection() {
    let taken = Arc::new(AtomicUsize::new(0));
    let server = Server::start(takeover_router(taken.clone()), |_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /raw HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(without_date(&rest(&mut stream).await), RAW);
    assert_eq!(taken.load(Ordering::SeqCst), 1);
    assert_eq!(server.limits.open(), 0, "the place is free when the new owner lets go");
}

#[tokio::test]
async fn a_handler_takes_over_a_connection_that_served_before() {
    let server = Server::start(takeover_router(Arc::default()), |_| {}).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /plain HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let (head, body) = response(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, "plain");
    }
    stream.write_all(b"GET /raw HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(without_date(&rest(&mut stream).await), RAW);
}

#[tokio::test]
async fn clients_of_version_1_0_get_the_same_bytes() {
    let server = Server::start(takeover_router(Arc::default()), |_| {}).await;
    for extra in ["", "connection: keep-alive\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(format!("GET /raw HTTP/1.0\r\n{extra}\r\n").as_bytes()).await.unwrap();
        assert_eq!(without_date(&rest(&mut stream).await), RAW);
    }
}

#[tokio::test]
async fn only_get_is_taken_over() {
    let taken = Arc::new(AtomicUsize::new(0));
    let server = Server::start(takeover_router(taken.clone()), |_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD /raw HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut head = vec![0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head, b"HTTP/1.1 200");
    let mut other = server.connect().await;
    other.write_all(b"POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(response(&mut other).await.1, "raw bytes");
    assert_eq!(taken.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_slow_head_and_an_idle_connection_are_closed() {
    let server = Server::start(takeover_router(Arc::default()), |c| {
        c.header_timeout = Duration::from_millis(300);
        c.idle_timeout = Duration::from_millis(300);
    })
    .await;
    let mut silent = server.connect().await;
    assert_eq!(rest(&mut silent).await, "");

    // One byte now and then does not move the deadline.
    let mut drip = server.connect().await;
    let mut sent = 0;
    for byte in b"GET /plain HTTP/1.1\r\nhost: example\r\nx-long: ".iter().chain(&[b'a'; 400]) {
        if drip.write_all(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(sent < 200, "{sent} bytes were taken one by one");

    let mut idle = server.connect().await;
    idle.write_all(b"GET /plain HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    response(&mut idle).await;
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(server.limits.open(), 0);
}

#[tokio::test]
async fn a_response_that_nobody_reads_is_given_up() {
    let router = Router::new().route("/big", get(async || vec![0u8; 64 << 20]));
    let server = Server::start(router, |c| c.write_timeout = Duration::from_millis(300)).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let gone = async {
        while server.limits.open() > 0 || stream.peek(&mut [0]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::time::timeout(SOON, gone).await.expect("is closed");
}

#[tokio::test]
async fn a_body_that_stops_arriving_fails_for_the_handler() {
    let router = Router::new().route(
        "/echo",
        post(async |body: Result<Bytes, axum::extract::rejection::BytesRejection>| match body {
            Ok(body) => body.into_response(),
            Err(error) => error.status().into_response(),
        }),
    );
    let server = Server::start(router, |c| c.body_pause = Duration::from_millis(200)).await;
    let mut stream = server.connect().await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn an_answer_survives_a_body_that_was_not_read() {
    let router =
        Router::new().route("/refuse", post(async || Problem::new(413, "body_too_large", "too big")));
    let server = Server::start(router, |_| {}).await;
    let mut stream = server.connect().await;
    let length = 8 << 20;
    stream
        .write_all(format!("POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    // The client sends a good part of the body before it looks at the answer.
    for _ in 0..14 {
        if stream.write_all(&[0; 64 << 10]).await.is_err() {
            break;
        }
    }
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("\"code\":\"body_too_large\""), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_parsed_is_answered_with_a_problem() {
    let server = Server::start(takeover_router(Arc::default()), |_| {}).await;
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    let path = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000));
    for (request, status) in [
        ("utter nonsense\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nbroken header\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/9.9\r\n\r\n", "400 Bad Request"),
        ("G\0T / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (&long, "431 Request Header Fields Too Large"),
        (&many, "431 Request Header Fields Too Large"),
        (&path, "431 Request Header Fields Too Large"),
    ] {
        let mut stream = server.connect().await;
        // After a request that went well, so that the refusal is not confused with its answer.
        stream.write_all(b"GET /plain HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(response(&mut stream).await.1, "plain");
        let _ = stream.write_all(request.as_bytes()).await;
        let (head, body) = response(&mut stream).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        assert!(head.contains("content-type: application/problem+json\r\n"), "{head}");
        assert!(head.contains("connection: close\r\n"), "{head}");
        assert!(body.contains(&format!("\"status\":{}", &status[..3])), "{body}");
        assert_eq!(rest(&mut stream).await, "");
    }
}

#[tokio::test]
async fn connections_beyond_the_cap_are_told_when_to_return() {
    let server =
        Server::start(takeover_router(Arc::default()), |c| c.limits = ConnectionLimits::new(2, 1)).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /plain HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(response(&mut stream).await.1, "plain", "loopback is exempt from the cap per address");
        held.push(stream);
    }
    let mut refused = server.connect().await;
    let (head, body) = response(&mut refused).await;
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
    assert!(head.contains("retry-after: 5\r\n"), "{head}");
    assert!(body.contains("\"code\":\"too_many_connections\""), "{body}");
    held.clear();
    let again = async {
        loop {
            let mut stream = server.connect().await;
            let _ = stream.write_all(b"GET /plain HTTP/1.1\r\nhost: x\r\n\r\n").await;
            if response(&mut stream).await.1 == "plain" {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, again).await.expect("there is room again");
}

#[tokio::test]
async fn a_taken_connection_keeps_its_place() {
    let (give, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let router = Router::new().route(
        "/",
        get(move || {
            let give = give.clone();
            async move {
                let mut response = Response::new(Body::empty());
                response.extensions_mut().insert(Takeover::new(move |taken| give.send(taken).unwrap()));
                response
            }
        }),
    );
    let server = Server::start(router, |c| c.limits = ConnectionLimits::new(1, 1)).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let taken = tokio::time::timeout(SOON, kept.recv()).await.unwrap().unwrap();
    assert_eq!(server.limits.open(), 1);
    assert!(response(&mut server.connect().await).await.0.starts_with("HTTP/1.1 503"));
    drop(taken);
    assert_eq!(server.limits.open(), 0);
}

#[tokio::test]
async fn handlers_see_the_client_and_sockets_upgrade() {
    let router = Router::new().route("/peer", get(async |peer: Peer| peer.0.to_string())).route(
        "/ws",
        any(async |ws: Result<WebSocketUpgrade, WebSocketUpgradeRejection>| {
            ws.unwrap().on_upgrade(async |mut socket| {
                while let Some(Ok(message)) = socket.recv().await {
                    if socket.send(message).await.is_err() {
                        break;
                    }
                }
            })
        }),
    );
    let server = Server::start(router, |c| {
        c.header_timeout = Duration::from_millis(200);
        c.idle_timeout = Duration::from_millis(200);
    })
    .await;
    let mut stream = server.connect().await;
    let own = stream.local_addr().unwrap().to_string();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(response(&mut stream).await.1, own);

    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/ws", server.address)).await.expect("upgrades");
    for n in 0..3 {
        let message = tokio_tungstenite::tungstenite::Message::text(format!("message {n}"));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
        // Longer than the deadlines of HTTP, which do not apply any more.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(server.limits.open(), 1, "the upgraded socket is counted, the idle connection is gone");
    drop(socket);
    let gone = async {
        while server.limits.open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("the place is freed");
}

#[tokio::test]
async fn shutdown_lets_requests_finish_and_cuts_off_the_rest() {
    let router = Router::new()
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_millis(150)).await;
                "done"
            }),
        )
        .route("/never", get(async || std::future::pending::<()>().await));
    let server = Server::start(router, |c| c.shutdown_timeout = Duration::from_millis(800)).await;
    let (mut slow, mut never, mut idle) =
        (server.connect().await, server.connect().await, server.connect().await);
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    never.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (address, stopped) = (server.address, tokio::spawn(server.stop()));
    assert_eq!(rest(&mut idle).await, "");
    let answer = rest(&mut slow).await;
    assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
    assert_eq!(stopped.await.unwrap().aborted, 1);
    assert_eq!(rest(&mut never).await, "");
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_leave_nothing_behind() {
    let server = Server::start(takeover_router(Arc::default()), |_| {}).await;
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    for n in 0..1000 {
        let mut stream = server.connect().await;
        match n % 4 {
            0 => {}
            1 => stream.write_all(b"GET /plain HTTP/1.1\r\nhost: x\r\n").await.unwrap(),
            2 => {
                stream.write_all(b"GET /plain HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
                response(&mut stream).await;
            }
            _ => stream.write_all(b"GET /raw HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap(),
        }
    }
    let gone = async {
        while server.limits.open() > 0 || files() > before + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("everything is released");
    assert_eq!(server.stop().await.aborted, 0);
}

//! Sessions over real sockets, with servers that answer and servers that do not.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::coturn::{Handler, gather, loopback, peer, tried};
use super::*;
use crate::ice::stun::{Message, mapped_response};
use crate::ice::{ServerReport, ServerState};

fn server(text: &str) -> IceServer {
    text.parse().expect("server")
}

/// A port where UDP packets come and nobody reads them, as long as this lives.
fn black_hole() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let port = socket.local_addr().expect("address").port();
    (socket, port)
}

/// A STUN server that sees everybody at 198.51.100.9. Ends with the test's runtime.
async fn stun_server() -> u16 {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let port = socket.local_addr().expect("address").port();
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((n, from)) = socket.recv_from(&mut packet).await {
            let Some(request) = Message::parse(&packet[..n]) else { continue };
            let seen = SocketAddr::new("198.51.100.9".parse().expect("address"), from.port());
            let _ = socket.send_to(&mapped_response(&request.id, seen), from).await;
        }
    });
    port
}

fn detail(reports: &[ServerReport], index: usize) -> &str {
    assert_eq!(reports[index].state, ServerState::Failed, "{reports:?}");
    reports[index].detail.as_deref().unwrap_or_default()
}

/// What a peer would be told, and how long that took.
async fn described(config: NetworkConfig, servers: &[IceServer]) -> (Duration, String, Vec<ServerReport>) {
    let peer = peer(config, servers, false, Handler::default()).await;
    peer.connection.create_data_channel("test", None).await.expect("a channel");
    let offer = peer.connection.create_offer(None).await.expect("an offer");
    peer.connection.set_local_description(offer).await.expect("set");
    let took = gather(&peer).await;
    let sdp = peer.connection.local_description().await.expect("an offer").sdp;
    let reports = peer.session.report();
    peer.connection.close().await.expect("closed");
    (took, sdp, reports)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_said_is_reported_before_that_it_lacks_an_address_family() {
    let both = ["127.0.0.1", "::1"].map(|ip| ip.parse().expect("an address"));
    let config = NetworkConfig { bind: both.to_vec(), ..loopback() };
    // Several, since a choice by chance is often right. Nobody listens on these ports any more.
    let listeners = [0; 8].map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("listen"));
    let gone = listeners.map(|listener| listener.local_addr().expect("address").port());
    let servers = gone.map(|port| server(&format!("turn:127.0.0.1:{port}?transport=tcp,u,c")));
    let (_, _, reports) = described(config, &servers).await;
    for index in 0..servers.len() {
        assert!(!detail(&reports, index).contains("IPv6"), "{reports:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_do_not_answer_hold_nothing_up_and_are_told_apart() {
    let (_hole, silent) = black_hole();
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let mute_port = mute.local_addr().expect("address").port();
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("listen").local_addr().expect("address").port();
    let other = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let other_port = other.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"\xffhello").await;
        }
    });
    let servers = [
        server(&format!("turn:127.0.0.1:{silent},u,c")),
        server(&format!("turn:127.0.0.1:{mute_port}?transport=tcp,u,c")),
        server(&format!("turn:127.0.0.1:{gone}?transport=tcp,u,c")),
        server(&format!("turn:127.0.0.1:{other_port}?transport=tcp,u,c")),
        server("turn:169.254.169.254,u,c"),
        server("stuns:127.0.0.1"),
    ];
    let network = Network::new(loopback());
    let opened = network.open(&servers).expect("a network");
    assert_eq!((opened.udp_addrs.len(), opened.servers.len()), (1, 5));
    // Gathering ends within the 3 s that `gather` waits.
    let reports = tried(loopback(), &servers).await;
    assert_eq!(detail(&reports, 0), "it did not answer within 1200 ms");
    assert_eq!(detail(&reports, 1), "it did not answer within 1900 ms");
    assert!(detail(&reports, 2).starts_with("no connection: Connection refused"), "{reports:?}");
    assert!(detail(&reports, 3).contains("is it a TURN server?"), "{reports:?}");
    assert_eq!(detail(&reports, 4), "169.254.169.254 is no address of a server");
    assert_eq!(reports[5].state, ServerState::Unused);
    assert!(!format!("{reports:?}").contains(",u,c"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stun_server_that_answers_is_enough() {
    let (_hole, silent) = black_hole();
    let live = stun_server().await;
    let servers = [server(&format!("stun:127.0.0.1:{silent}")), server(&format!("stun:localhost:{live}"))];
    let (took, sdp, reports) = described(loopback(), &servers).await;
    assert!(sdp.contains("198.51.100.9") && sdp.contains("typ srflx"), "{sdp}");
    assert_eq!(reports[1].state, ServerState::Working, "{reports:?}");
    assert_eq!(reports[1].address.map(|a| a.ip().to_string()).as_deref(), Some("198.51.100.9"));
    assert_eq!(detail(&reports, 0), "it did not answer within 100 ms");
    assert!(took < Duration::from_millis(1100), "{took:?}: the silent one was waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_an_address_is_told() {
    let (_, sdp, reports) = described(loopback(), &[server("stun:no-such-name.invalid")]).await;
    assert!(detail(&reports, 0).contains("name"), "{reports:?}");
    assert!(sdp.contains("typ host"), "{sdp}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outside_address_is_a_candidate_with_the_local_port() {
    let external = vec!["203.0.113.7".parse().expect("address")];
    let (_, sdp, reports) = described(NetworkConfig { external, ..loopback() }, &[]).await;
    let host = sdp.lines().find(|line| line.contains("typ host")).expect("a host candidate");
    let port = host.split(' ').nth(5).expect("its port");
    assert!(sdp.contains(&format!(" 203.0.113.7 {port} typ srflx")), "{sdp}");
    assert!(reports.is_empty(), "it is no server");
}

#[tokio::test]
async fn a_range_of_one_port_serves_one_session_at_a_time() {
    let (socket, port) = black_hole();
    drop(socket);
    let network = Network::new(NetworkConfig { udp_ports: Some(port..=port), ..loopback() });
    let first = network.open(&[]).expect("a network");
    assert_eq!(first.udp_addrs, [SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)]);
    let error = network.open(&[]).expect_err("no port").to_string();
    assert_eq!(error, format!("all UDP ports from {port} to {port} are in use; allow more by `udp_ports`"));
    drop(first);
    assert!(network.open(&[]).is_ok());
}

#[tokio::test]
async fn without_an_address_only_turn_over_a_connection_is_left() {
    let elsewhere = vec![Ipv4Addr::new(192, 0, 2, 1).into()];
    let network = Network::new(NetworkConfig { bind: elsewhere, ..NetworkConfig::default() });
    let error = network.open(&[server("turn:127.0.0.1,u,c")]).expect_err("no socket").to_string();
    assert!(error.starts_with("no UDP socket can be opened on 192.0.2.1: "), "{error}");
    let opened = network.open(&[server("turns:127.0.0.1,u,c")]).expect("a network");
    assert!(opened.udp_addrs[0].ip().is_loopback() && opened.session.isolated);
}

#[test]
fn each_local_address_has_the_outside_address_in_its_place() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("address");
    let network = |external: &[&str], bind: &[&str]| {
        let config = NetworkConfig {
            external: external.iter().map(|e| ip(e)).collect(),
            bind: bind.iter().map(|b| ip(b)).collect(),
            ..NetworkConfig::default()
        };
        Network::new(config).0
    };
    let one = network(&["203.0.113.1"], &[]);
    assert_eq!(one.external_for(ip("10.0.0.1")), Some(ip("203.0.113.1")));
    assert_eq!(one.external_for(ip("fd00::1")), None);
    let two = network(&["203.0.113.1", "2001:db8::1", "203.0.113.2"], &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(two.external_for(ip("10.0.0.2")), Some(ip("203.0.113.2")));
    assert_eq!(two.external_for(ip("fd00::1")), Some(ip("2001:db8::1")));
}

#[tokio::test]
async fn a_closed_session_leaves_no_connection_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let port = listener.local_addr().expect("address").port();
    let ice = [server(&format!("turn:127.0.0.1:{port}?transport=tcp,u,c"))];
    let a = peer(loopback(), &ice, true, Handler::default()).await;
    a.connection.create_data_channel("test", None).await.expect("a channel");
    let offer = a.connection.create_offer(None).await.expect("an offer");
    a.connection.set_local_description(offer).await.expect("set");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut request = [0; 20];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut request).await.expect("an Allocate request");
    let session = Arc::downgrade(&a.session);
    a.connection.close().await.expect("closed");
    drop(a);
    let mut rest = Vec::new();
    let start = Instant::now();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
    tokio::time::timeout(Duration::from_secs(5), end).await.expect("closed").expect("read");
    assert!(start.elapsed() < Duration::from_secs(5));
    for _ in 0..200 {
        if session.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} parts of the session are left", session.strong_count());
}

//! Behind nginx and Caddy, with the files that are shipped for them.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use ooblex_tests::http::{self, Connection, Response};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::proxy::{NAME, NGINX, Proxy};
use ooblex_tests::publisher::Plan;
use ooblex_tests::server::Server;
use ooblex_tests::ws::Socket;
use ooblex_tests::{PATIENCE, sdp, skip, wait_for};
use serde_json::json;

use crate::marked;

const PUBLISH: &str = "publish-0123456789-abcdef";
const VIEW: &str = "view-0123456789-abcdef";
const CONTROL: &str = "control-0123456789-abcdef";

/// A server that is told of its proxy, and what else it is told.
fn server(proxies: &str, arguments: &[&str]) -> Server {
    let tokens = ["--publish-token", PUBLISH, "--view-token", VIEW, "--control-token", CONTROL];
    let proxy = ["--trusted-proxies", proxies, "--allowed-hosts", NAME];
    Server::start(&[&tokens[..], &proxy, arguments].concat())
}

macro_rules! needed {
    ($made:expr) => {
        match $made {
            Ok(made) => made,
            Err(reason) => skip!("{reason}"),
        }
    };
}

/// The same for each proxy, with its shipped file.
macro_rules! behind_each {
    ($($test:ident)+) => {
        mod nginx {
            use super::*;
            $(#[test] fn $test() {
                let server = server(NGINX, &[]);
                let proxy = needed!(Proxy::nginx(server.addr, &[]));
                super::$test(&server, proxy.from([127, 0, 0, 1]));
            })+
        }
        mod caddy {
            use super::*;
            $(#[test] fn $test() {
                let server = server("127.0.0.1", &[]);
                let proxy = needed!(Proxy::caddy(server.addr));
                super::$test(&server, proxy.from([127, 0, 0, 1]));
            })+
        }
    };
}

behind_each! {
    pictures_come_at_once_and_keep_flowing
    live_video_goes_both_ways
    requests_pass_as_they_are
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[track_caller]
fn with(addr: SocketAddr, token: &str, method: &str, target: &str, body: &[u8]) -> Response {
    http::send(addr, method, target, &[("Authorization", &bearer(token))], body)
}

/// Uploads a picture; answers its sequence number.
#[track_caller]
fn upload(addr: SocketAddr, picture: &[u8]) -> u64 {
    let answer = with(addr, PUBLISH, "POST", "/upload?stream=cam", picture).expect(200);
    answer.header("X-Ooblex-Sequence").unwrap().parse().unwrap()
}

/// Each picture is seen before the next one is sent, so nothing on the way can be waiting for more.
fn pictures_come_at_once_and_keep_flowing(_: &Server, front: SocketAddr) {
    let mut sent = vec![upload(front, &marked(1, 0))];
    let mut viewer = Viewer::open(front, &format!("/t/{VIEW}/cam.mjpg"));
    let mut seen = Vec::new();
    for counter in 1..=20 {
        let last = *sent.last().unwrap();
        seen.extend(viewer.until("the picture", |part| part.sequence == last));
        sent.push(upload(front, &marked(1, counter)));
    }
    let mut sequences: Vec<u64> = seen.iter().map(|part| part.sequence).collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
    sequences.dedup();
    assert_eq!(sequences, sent[..20]);
    assert_eq!(seen.last().unwrap().mark().map(|mark| (mark.id, mark.counter)), Some((1, 19)));
}

/// A picture as the live protocol frames it: a JPEG of that number.
fn framed(number: u64, picture: &[u8]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64;
    [&[1, 3, 1, 0][..], &number.to_be_bytes(), &now.to_be_bytes(), picture].concat()
}

fn live_video_goes_both_ways(_: &Server, front: SocketAddr) {
    let mut socket = Socket::open(front, &format!("/t/{CONTROL}/ws/live?stream=cam")).unwrap();
    let hello = json!({"type": "hello", "publish": {"codecs": ["jpeg"]}, "view": {"codecs": ["jpeg"]}});
    socket.send_text(&hello.to_string());
    let welcome = socket.json();
    assert_eq!((&welcome["type"], &welcome["stream"]), (&json!("welcome"), &json!("cam")), "{welcome}");
    let mut seen = Vec::new();
    for number in 1..=20 {
        socket.send(&framed(number, &marked(2, number as u32))).unwrap();
        let shown = wait_for("the picture to come back", || {
            let message = socket.binary_within(PATIENCE).expect("a picture");
            let sequence = u64::from_be_bytes(message[4..12].try_into().unwrap());
            socket.send_text(&json!({"type": "ack", "seq": sequence, "shown": true}).to_string());
            let mark = ooblex_tests::jpeg::decode(&message[20..]).mark().expect("it is whole");
            assert_eq!(mark.id, 2);
            (u64::from(mark.counter) == number).then_some(sequence)
        });
        seen.push(shown);
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    socket.close();
    // A token that is missing is refused before there is a socket.
    let refused = Socket::open(front, "/ws/live?stream=cam").expect_err("no token");
    assert_eq!(refused.status, 401);
}

/// Sends a request for another name, or with other header fields, than [`http::send`] does; answers the whole head.
fn head(addr: SocketAddr, target: &str, fields: &str) -> String {
    let connection = Connection::open(addr).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
    connection.socket().write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.socket().read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split("\r\n\r\n").next().unwrap_or_default().to_owned()
}

fn requests_pass_as_they_are(server: &Server, front: SocketAddr) {
    // Larger than what proxies take by themselves.
    let large = Plan { width: 2400, height: 1600, noisy: true, ..Plan::default() }.picture(1, 1);
    assert!(large.len() > 1 << 20, "{} bytes", large.len());
    upload(front, &large);
    let snapshot = with(front, VIEW, "GET", "/streams/cam/snapshot.jpg", &[]).expect(200);
    assert_eq!(ooblex_tests::jpeg::decode(&snapshot.body).width, 2400);

    let offers = [("whip", sdp::offer()), ("whep", sdp::offer().replace("a=sendonly", "a=recvonly"))];
    for (protocol, offer) in offers {
        let fields = [("Content-Type", "application/sdp"), ("Authorization", &*bearer(CONTROL))];
        let target = format!("/t/{CONTROL}/{protocol}/{protocol}-cam");
        if protocol == "whep" {
            upload_to(front, "whep-cam");
        }
        let answer = http::send(front, "POST", &target, &fields, offer.as_bytes()).expect(201);
        let place = answer.header("Location").unwrap();
        assert!(place.starts_with(&format!("/t/{CONTROL}/")), "{place}");
        with(front, CONTROL, "DELETE", place, &[]).expect(200);
    }

    // Who asks under another name, or without a token, is told so by the server.
    let asked_as = |host: &str| head(front, &format!("/t/{VIEW}/status"), &format!("Host: {host}\r\n"));
    assert!(asked_as(NAME).starts_with("HTTP/1.1 200 "), "{}", asked_as(NAME));
    assert!(asked_as("evil.example").starts_with("HTTP/1.1 403 "), "{}", asked_as("evil.example"));
    let bare = http::send(front, "GET", "/status", &[], &[]).expect(401);
    assert_eq!(bare.json()["code"], "token_required");
    // The browser's connection is encrypted, so the cookie must not leave it.
    let page = head(front, &format!("/t/{CONTROL}/"), &format!("Host: {NAME}\r\n"));
    assert!(page.contains("ooblex_token=") && page.contains("; Secure"), "{page}");
    // A page of this name may do what one of another name may not.
    let post = |origin: &str| {
        let cookie = format!("ooblex_token={CONTROL}");
        http::send(
            front,
            "POST",
            "/effect",
            &[("Cookie", &*cookie), ("Origin", origin)],
            b"{\"effect\":\"none\"}",
        )
        .status
    };
    assert_eq!((post(&format!("https://{front}")), post("https://evil.example")), (200, 403));
    assert!(!server.log().contains(CONTROL), "a token in the log");
}

#[track_caller]
fn upload_to(front: SocketAddr, stream: &str) {
    with(front, PUBLISH, "POST", &format!("/upload?stream={stream}"), &marked(1, 1)).expect(200);
}

/// An upload whose body has not come yet.
fn beginning() -> String {
    format!("POST /upload?stream=cam HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 500000\r\n\r\nthe beginning")
}

#[test]
fn a_refusal_does_not_wait_for_the_upload() {
    // Of nginx alone: Caddy now and then waits for the rest of the upload.
    let server = server(NGINX, &[]);
    let proxy = needed!(Proxy::nginx(server.addr, &[]));
    let mut connection = Connection::open(proxy.from([127, 0, 0, 1])).unwrap();
    connection.socket().write_all(beginning().as_bytes()).unwrap();
    assert_eq!(connection.read_head().unwrap().0, 401);
}

/// What people write first.
const PLAIN: &str = "server {
    listen 443 ssl;
    ssl_certificate /etc/letsencrypt/live/cam.example.org/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/cam.example.org/privkey.pem;
    location / {
        proxy_pass http://127.0.0.1:8081;
        # For the viewer of the tests, which looks for it.
        proxy_pass_header X-Accel-Buffering;
    }
}";

#[test]
fn what_nginx_does_by_itself_is_not_enough() {
    let server = server(NGINX, &[]);
    let proxy = needed!(Proxy::nginx_of(server.addr, PLAIN));
    let front = proxy.from([127, 0, 0, 1]);
    // The server asks it not to hold streams, and it obeys.
    pictures_come_at_once_and_keep_flowing(&server, front);
    let refused =
        Socket::open(front, &format!("/t/{CONTROL}/ws/live?stream=live")).expect_err("no WebSocket");
    assert!((400..500).contains(&refused.status), "{refused:?}");
    let large = vec![0; (1 << 20) + 1];
    assert_eq!(with(front, PUBLISH, "POST", "/upload?stream=cam", &large).status, 413);
    // It waits for the whole upload.
    let mut connection = Connection::open(front).unwrap();
    connection.socket().write_all(beginning().as_bytes()).unwrap();
    connection.socket().set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert!(connection.read_head().is_err(), "it asked the server before it had everything");
    // Any name will do, so pages of others could have theirs point here.
    let answer = head(front, &format!("/t/{VIEW}/status"), "Host: evil.example\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn where_nginx_buffers_nothing_comes_until_there_is_enough() {
    let server = server(NGINX, &[]);
    // As where a proxy in between takes away what the server asks for.
    let changes = [
        ("        proxy_buffering off;\n", ""),
        ("proxy_pass_header X-Accel-Buffering;", "proxy_ignore_headers X-Accel-Buffering;"),
    ];
    let proxy = needed!(Proxy::nginx(server.addr, &changes));
    let front = proxy.from([127, 0, 0, 1]);
    // Small ones, so that three of them are less than what nginx collects, 4 kB.
    let small = |value: u8| {
        let picture = image::RgbImage::from_pixel(16, 16, image::Rgb([value; 3]));
        ooblex_tests::jpeg::encode(
            &ooblex_tests::mark::Rgb { width: 16, height: 16, data: picture.into_raw() },
            50,
        )
    };
    upload(server.addr, &small(0));
    let target = format!("/t/{VIEW}/cam.mjpg");
    let mut held = Connection::open(front).unwrap();
    assert_eq!(held.start("GET", &target, &[], &[]).unwrap().0, 200);
    let mut direct = Viewer::open(server.addr, &target);
    for value in 1..3 {
        let sequence = upload(server.addr, &small(value));
        direct.until("the picture", |part| part.sequence == sequence);
    }
    held.socket().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let came = held.socket().peek(&mut [0; 1]);
    assert!(came.is_err(), "it was not held: {came:?}");
}

#[test]
fn whom_a_proxy_names_has_limits_of_their_own() {
    // Another proxy stands before nginx, at an address of its own.
    let limits = ["--max-requests-per-second", "5", "--max-connections-per-address", "3"];
    let server = server(&format!("{NGINX},127.0.0.30"), &limits);
    let proxy = needed!(Proxy::nginx(server.addr, &[]));
    let [one, other, before] =
        [[127, 0, 0, 21], [127, 0, 0, 22], [127, 0, 0, 30]].map(|from| proxy.from(from));
    let ask = |front: SocketAddr, claims: &str| {
        let fields = [("Authorization", &*bearer(VIEW)), ("X-Forwarded-For", claims)];
        http::send(front, "GET", "/status", &fields, &[])
    };
    // Whoever asks too much waits, whatever it says to be; others do not.
    let statuses: Vec<u16> = (0..40).map(|n| ask(one, &format!("198.51.100.{n}")).status).collect();
    assert_eq!(statuses[0], 200);
    assert!(statuses.contains(&429), "{statuses:?}");
    ask(other, "127.0.0.21").expect(200);
    // Behind two proxies the first address that is none of theirs counts.
    let statuses: Vec<u16> =
        (0..40).map(|n| ask(before, &format!("198.51.100.{n}, 192.0.2.1")).status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    ask(before, "192.0.2.2").expect(200);
    // Without the proxy the header says nothing: this is still this machine.
    (0..40).for_each(|_| drop(ask(server.addr, "192.0.2.1").expect(200)));

    // Connections are counted in the same way. The rate has recovered when one more is let in.
    let watch = |claims: &str| {
        let mut connection = Connection::open(before).unwrap();
        let target = format!("/t/{VIEW}/stream.mjpg");
        let (status, _) = connection.start("GET", &target, &[("X-Forwarded-For", claims)], &[]).unwrap();
        (status, connection)
    };
    let held: Vec<Connection> = (0..3)
        .map(|_| {
            wait_for("a viewer", || {
                let (status, connection) = watch("192.0.2.7");
                (status == 200).then_some(connection)
            })
        })
        .collect();
    let refused = ask(before, "192.0.2.7").expect(429);
    assert_eq!(refused.json()["code"], "too_many_connections");
    assert_eq!(watch("192.0.2.8").0, 200);
    drop(held);
}

#[test]
fn who_guesses_tokens_behind_a_proxy_locks_out_nobody_else() {
    let server = server(NGINX, &[]);
    let proxy = needed!(Proxy::nginx(server.addr, &[]));
    let (guesser, other) = (proxy.from([127, 0, 0, 21]), proxy.from([127, 0, 0, 22]));
    let statuses: Vec<u16> = (0..60)
        .map(|n| with(guesser, &format!("wrong-0123456789-{n}"), "GET", "/status", &[]).status)
        .collect();
    assert!(statuses.contains(&401) && statuses.contains(&429), "{statuses:?}");
    with(other, VIEW, "GET", "/status", &[]).expect(200);
}

#[test]
fn a_viewer_that_pauses_behind_nginx_finds_little_that_is_old() {
    let server = server(NGINX, &[]);
    let proxy = needed!(Proxy::nginx(server.addr, &[]));
    let front = proxy.from([127, 0, 0, 1]);
    let plan = Plan { width: 640, height: 480, noisy: true, ..Plan::default() };
    upload(server.addr, &plan.picture(1, 0));
    let mut viewer = Viewer::open(front, &format!("/t/{VIEW}/cam.mjpg"));
    viewer.next();
    let (mut newest, mut sent) = (0, 0);
    for counter in 1..200 {
        let picture = plan.picture(1, counter);
        sent += picture.len();
        newest = upload(server.addr, &picture);
    }
    let parts = viewer.until("the newest", |part| part.sequence == newest);
    let old: usize = parts[..parts.len() - 1].iter().map(|part| part.body.len()).sum();
    assert!(old * 4 < sent, "{} old pictures, {old} bytes of {sent}", parts.len() - 1);
}

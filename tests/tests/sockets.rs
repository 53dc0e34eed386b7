//! `/ws/upload`: one picture a message, one answer each.

use ooblex_tests::http::send;
use ooblex_tests::jpeg;
use ooblex_tests::multipart::Viewer;
use ooblex_tests::problem::{check_problem, expect_problem};
use ooblex_tests::server::Server;
use ooblex_tests::ws::{Reply, Socket};

use crate::{marked, shown};

#[test]
fn every_picture_is_acknowledged_with_its_sequence_number() {
    let server = Server::start(&[]);
    let mut socket = Socket::open(server.addr, "/ws/upload?stream=cam").unwrap();
    let mut last = None;
    for counter in 0..20 {
        socket.send(&marked(1, counter)).unwrap();
        let ack = socket.json();
        assert_eq!(ack["type"], "ack", "{ack}");
        let sequence = ack["seq"].as_u64().expect("a number");
        assert!(last < Some(sequence), "{last:?} {sequence}");
        last = Some(sequence);
    }
    assert_eq!(shown(&server, "cam", last.unwrap()), marked(1, 19));
    assert_eq!(server.stream("cam").unwrap()["state"], "live");
    socket.close();
}

#[test]
fn a_bad_picture_is_answered_and_the_socket_stays_open() {
    let server = Server::start(&[]);
    let mut socket = Socket::open(server.addr, "/ws/upload?stream=cam").unwrap();
    let good = marked(1, 1);
    for (body, status) in [
        (Vec::new(), 400),
        (b"this is no picture".to_vec(), 415),
        (jpeg::truncated(&good), 422),
        (jpeg::with_dimensions(&good, 65_000, 65_000), 413),
    ] {
        socket.send(&body).unwrap();
        let mut error = socket.json();
        assert_eq!(error["type"], "error", "{error}");
        // The rest is a problem document, whose own `type` the message's takes the place of.
        error["type"] = "about:blank".into();
        check_problem(&error, status);
        socket.send(&good).unwrap();
        assert_eq!(socket.json()["type"], "ack");
    }
    socket.close();
}

#[test]
fn a_text_message_is_an_error_that_keeps_the_socket_open() {
    let server = Server::start(&[]);
    let mut socket = Socket::open(server.addr, "/ws/upload?stream=cam").unwrap();
    socket.send_text("hello");
    assert_eq!(socket.json()["type"], "error");
    socket.send(&marked(1, 1)).unwrap();
    assert_eq!(socket.json()["type"], "ack");
}

#[test]
fn a_message_over_the_limit_closes_with_1009() {
    let server = Server::start(&["--max-body-bytes", "50000"]);
    let mut socket = Socket::open(server.addr, "/ws/upload?stream=cam").unwrap();
    socket.send(&marked(1, 1)).unwrap();
    assert_eq!(socket.json()["type"], "ack");
    // The server may hang up before it has read all of it.
    let _ = socket.send(&vec![0; 60_000]);
    match socket.reply() {
        Reply::Closed(code, _) => assert_eq!(code, 1009),
        Reply::Json(other) => panic!("{other}"),
    }
}

#[test]
fn what_can_never_work_is_refused() {
    let server = Server::start(&["--max-streams", "1"]);
    server.upload("one", &marked(1, 1));
    let refused = Socket::open(server.addr, "/ws/upload?stream=not/a/name").unwrap_err();
    expect_problem(&refused, 400);
    // The stream begins with its first picture: the limit may show at the upgrade or with that picture.
    match Socket::open(server.addr, "/ws/upload?stream=two") {
        Err(refused) => drop(expect_problem(&refused, 429)),
        Ok(mut socket) => {
            let _ = socket.send(&marked(2, 1));
            match socket.reply() {
                Reply::Closed(code, _) => assert_eq!(code, 1013),
                Reply::Json(mut error) => {
                    assert_eq!(error["type"], "error");
                    error["type"] = "about:blank".into();
                    check_problem(&error, 429);
                }
            }
        }
    }
    assert_eq!(server.stream("two"), None);
    let plain = send(server.addr, "GET", "/ws/upload", &[], &[]);
    assert!([400, 426].contains(&plain.status), "no upgrade was asked for: {plain:?}");
    expect_problem(&plain, plain.status);
}

#[test]
fn pictures_sent_without_waiting_are_all_answered_and_the_last_is_shown() {
    let server = Server::start(&[]);
    let mut socket = Socket::open(server.addr, "/ws/upload?stream=cam").unwrap();
    socket.send(&marked(1, 0)).unwrap();
    socket.json();
    let mut viewer = Viewer::open(server.addr, "/cam.mjpg");
    for counter in 1..=100 {
        socket.send(&marked(1, counter)).unwrap();
    }
    // A picture that a newer one overtook before it was looked at has no number.
    let mut sequences = Vec::new();
    for _ in 0..100 {
        let ack = socket.json();
        assert_eq!(ack["type"], "ack", "{ack}");
        match ack["seq"].as_u64() {
            Some(sequence) => sequences.push(sequence),
            None => assert_eq!(ack["dropped"], true, "{ack}"),
        }
    }
    assert!(sequences.is_sorted_by(|a, b| a < b));
    let parts = viewer.until("the last picture", |part| part.sequence == *sequences.last().unwrap());
    assert!(parts.is_sorted_by(|a, b| a.sequence < b.sequence), "never backwards");
    assert_eq!(parts.last().unwrap().mark().unwrap().counter, 100);
}

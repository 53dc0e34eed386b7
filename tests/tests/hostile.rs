//! Clients that are slow, broken or mean: they cost the server little and other people nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ooblex_tests::server::Server;

use crate::marked;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Reads until the server hangs up and answers what came; `None` when it does not hang up.
fn drained(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Some(answer),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                return None;
            }
            Err(_) => return Some(answer),
        }
    }
}

#[test]
fn requests_that_never_get_finished_are_ended() {
    let server = Server::start(&[]);
    let start = Instant::now();
    let mut silent = connect(&server);
    let mut half_a_head = connect(&server);
    half_a_head.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    let mut half_a_body = connect(&server);
    half_a_body
        .write_all(b"POST /upload?stream=slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        .unwrap();
    half_a_body.write_all(&marked(1, 1)[..500]).unwrap();
    // A byte now and then is no progress for a head: the deadline is for all of it.
    let mut dripping = connect(&server);
    dripping.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut drips = dripping.try_clone().unwrap();
    let dripper = std::thread::spawn(move || {
        while start.elapsed() < Duration::from_secs(40) && drips.write_all(b"X").is_ok() {
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    for (what, stream) in [
        ("silent", &mut silent),
        ("half a head", &mut half_a_head),
        ("half a body", &mut half_a_body),
        ("dripping", &mut dripping),
    ] {
        let answer = drained(stream)
            .unwrap_or_else(|| panic!("{what} is still connected after {:?}", start.elapsed()));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: {:?}", start.elapsed());
        server.get("/health").expect(200);
    }
    dripper.join().unwrap();
    assert_eq!(server.stream("slow"), None);
}

#[test]
fn garbage_is_answered_or_hung_up_on() {
    let mut server = Server::start(&[]);
    let mut state = 7u32;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 16) as u8
    };
    let mut inputs: Vec<Vec<u8>> =
        (0..40).map(|length| (0..length * 13).map(|_| random()).collect()).collect();
    let long = "x".repeat(300_000);
    for text in [
        "\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /health HTTP/9.9\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(5000)),
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(),
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"
            .to_owned(),
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        "GET /stream.mjpg HTTP/1.0\r\n\r\n".to_owned(),
        "GET /%00%ff.mjpg HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /streams/%2e%2e/stream.mjpg HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /ws/upload HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            .to_owned(),
    ] {
        inputs.push(text.into_bytes());
    }
    for input in inputs {
        let mut stream = connect(&server);
        let _ = stream.write_all(&input);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let shown = String::from_utf8_lossy(&input[..input.len().min(60)]).into_owned();
        stream.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
        let mut answer = [0; 16];
        let read = stream.read(&mut answer).unwrap_or(0);
        assert!(
            read == 0 || !answer.starts_with(b"HTTP/1.1 5"),
            "{shown}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert!(server.wait_for_exit(Duration::ZERO).is_none(), "it ended");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    server.upload("cam", &marked(1, 1));
}

#[test]
fn many_idle_connections_cost_little() {
    let server = Server::start(&[]);
    let before = server.memory_bytes();
    let idle: Vec<TcpStream> = (0..400).map(|_| connect(&server)).collect();
    server.upload("cam", &marked(1, 1));
    server.get("/cam.jpg").expect(200);
    let grown = server.memory_bytes().zip(before).map(|(after, before)| after.saturating_sub(before));
    assert!(grown < Some(32 << 20), "{grown:?} bytes for 400 connections");
    drop(idle);
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut stream = connect(&server);
    let requests = ["/health", "/effects", "/nothing", "/streams"]
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .concat();
    stream.write_all(requests.as_bytes()).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let answer = String::from_utf8(drained(&mut stream).expect("it hangs up")).unwrap();
    let codes: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)).collect();
    assert_eq!(codes, ["200", "200", "404", "200", "200"]);
}

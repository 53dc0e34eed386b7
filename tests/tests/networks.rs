//! Hosts that see each other only through a TURN server, and wires that lose and delay. All in namespaces of the test's
//! own: nothing leaves the machine and nothing of it is changed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ooblex_tests::child::Child;
use ooblex_tests::coturn::{self, Coturn};
use ooblex_tests::frames::{self, check_order, check_pixels};
use ooblex_tests::netns::{LEFT, Network, RIGHT_SERVER};
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::{self, Server};
use ooblex_tests::{peers, skip, wait_for};
use serde_json::{Value, json};

use crate::publishers::viewer_of;

/// A server on the left, told of these ICE servers, reachable from the right.
#[track_caller]
fn server_on_the_left(network: &Network, arguments: &[&str], trust: Option<&std::path::Path>) -> Server {
    network.left.enter(|| {
        let mut command = server::command();
        command.args(["--mjpeg-port", "8081", "--bind", "0.0.0.0", "--open-access"]).args(arguments);
        if let Some(certificate) = trust {
            command.env("SSL_CERT_FILE", certificate);
        }
        Server::launch(command)
    })
}

#[track_caller]
fn publisher_on_the_right(network: &Network, stream: &str, arguments: &[&str]) -> Child {
    let url = format!("http://{LEFT}:8081/whip/{stream}");
    let mut all = vec![url.as_str()];
    all.extend(arguments);
    network.right.enter(|| peers::aiortc(&all).unwrap())
}

macro_rules! needed {
    ($made:expr) => {
        match $made {
            Ok(made) => made,
            Err(reason) => skip!("{reason}"),
        }
    };
}

/// The entry of `/status` about the session of a stream.
#[track_caller]
fn session(server: &Server, stream: &str) -> Option<Value> {
    let status = server.json("/status");
    let mut found = Vec::new();
    collect(&status["transports"], &mut |value| {
        if value["stream"] == stream {
            found.push(value.clone());
        }
    });
    found.pop()
}

fn collect(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(members) => {
            visit(value);
            members.values().for_each(|member| collect(member, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, visit)),
        _ => {}
    }
}

/// Media through a TURN server that is reached this way; what else could carry it is refused by the wire.
fn relayed(transport: &str, udp: &str) {
    let mut network = needed!(Network::new());
    needed!(peers::has_aiortc());
    let coturn = needed!(network.right.enter(|| Coturn::start(IpAddr::V4(RIGHT_SERVER))));
    network.set(&json!({ "udp": udp }));
    let (user, password) = coturn::credentials(600);
    let ice_server = format!("{},{user},{password}", coturn.url(transport));
    let server = server_on_the_left(&network, &["--ice-server", &ice_server], Some(&coturn.certificate()));
    let peer = publisher_on_the_right(&network, "cam", &["--id", "6"]);
    network.left.enter(|| {
        let mut viewer = viewer_of(&server, "cam");
        let shots = frames::watch(&mut viewer, 6, Duration::from_secs(3));
        check_order(&shots);
        check_pixels(&shots);
        let (missing, all) = frames::missing(&shots);
        let mut ages = frames::ages(&shots, &frames::sent(&peer));
        ages.sort_unstable();
        println!("{missing} of {all} missing, {} behind", ages[ages.len() / 2]);
        assert!(all > 45 && missing * 10 <= all, "{missing} of {all} missing: {}", coturn.log());
        assert!(ages[ages.len() / 2] <= 4, "{ages:?}");
        // What carries it is said.
        let session = session(&server, "cam").expect("the session in /status");
        let path = &session["path"];
        assert_eq!((&path["local"], &path["relayed"]), (&json!("relay"), &json!(true)), "{session}");
        assert_eq!(path["protocol"], transport, "{session}");
        // Why others failed is said, too.
        assert!(session["failed"].as_array().is_some_and(|failed| !failed.is_empty()), "{session}");
        let session = session.to_string();
        assert!(!session.contains(&password) && !server.log().contains(&password), "a password is shown");
    });
    let counts = network.counts();
    let datagrams =
        counts["right"]["refused"].as_u64().unwrap() + counts["left"]["refused"].as_u64().unwrap();
    println!("{datagrams} datagrams refused");
}

#[test]
fn a_relay_over_udp_carries_the_media() {
    relayed("udp", &format!("{RIGHT_SERVER}:{}", coturn::PORT));
}

#[test]
fn where_no_udp_passes_a_relay_over_tcp_carries_the_media() {
    relayed("tcp", "none");
}

#[test]
fn where_no_udp_passes_a_relay_over_tls_carries_the_media() {
    relayed("tls", "none");
}

#[test]
fn expired_credentials_are_refused_with_a_reason() {
    let mut network = needed!(Network::new());
    needed!(peers::has_aiortc());
    let coturn = needed!(network.right.enter(|| Coturn::start(IpAddr::V4(RIGHT_SERVER))));
    network.set(&json!({ "udp": format!("{RIGHT_SERVER}:{}", coturn::PORT) }));
    let (user, password) = coturn::credentials(-600);
    let ice_server = format!("{},{user},{password}", coturn.url("udp"));
    let server = server_on_the_left(&network, &["--ice-server", &ice_server], None);
    let start = Instant::now();
    let peer = publisher_on_the_right(&network, "cam", &["--id", "6"]);
    // The offer is answered all the same, and in time.
    peer.line("answer", 0, |line| line["event"] == "answer");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    network.left.enter(|| {
        let said = wait_for("the reason in /status", || {
            let status = server.json("/status")["transports"].to_string();
            (status.contains("401")
                || status.to_lowercase().contains("credential")
                || status.to_lowercase().contains("unauthorized"))
            .then_some(status)
        });
        println!("{said}");
        assert!(!said.contains(&password), "{said}");
        assert!(
            server.stream("cam").is_none_or(|entry| entry["width"].as_u64().unwrap_or(0) == 0),
            "nothing carries it"
        );
    });
}

#[test]
fn a_bad_network_costs_pictures_but_never_shows_a_broken_one() {
    let mut network = needed!(Network::new());
    needed!(peers::has_aiortc());
    let server = server_on_the_left(&network, &[], None);
    for codec in ["vp8", "h264"] {
        network.set(&json!({ "loss": 0.0, "delay_ms": [0, 0], "up": true }));
        let peer =
            publisher_on_the_right(&network, codec, &["--id", "4", "--codec", codec, "--size", "640x480"]);
        let mut viewer = network.left.enter(|| viewer_of(&server, codec));
        frames::watch(&mut viewer, 4, Duration::from_secs(1));

        // Loss and jitter: fewer pictures, but whole ones, in order, and never a long stop.
        network.set(&json!({ "loss": 0.05, "delay_ms": [0, 50], "direction": "left" }));
        let shots = frames::watch(&mut viewer, 4, Duration::from_secs(8));
        check_order(&shots);
        check_pixels(&shots);
        let mut fresh = shots.clone();
        fresh.dedup_by_key(|shot| shot.counter);
        let longest = fresh.windows(2).map(|pair| pair[1].at - pair[0].at).fold(0.0, f64::max);
        let (missing, all) = frames::missing(&shots);
        let mut ages = frames::ages(&shots, &frames::sent(&peer));
        ages.sort_unstable();
        println!(
            "{codec}: {missing} of {all} missing, longest stop {longest:.2} s, median age {}",
            ages[ages.len() / 2]
        );
        assert!(longest < 1.5, "{codec}: it stood still for {longest:.2} s");
        assert!(missing * 2 < all, "{codec}: {missing} of {all} missing");
        assert!(ages[ages.len() / 2] <= 15, "{codec}: {ages:?}");

        // Nothing at all for two seconds, and pictures again within one.
        network.set(&json!({ "up": false }));
        let broken = frames::watch(&mut viewer, 4, Duration::from_secs(2));
        network.set(&json!({ "loss": 0.0, "delay_ms": [0, 0], "up": true }));
        let last = broken.iter().chain(&shots).map(|shot| shot.counter).max().unwrap();
        let back = Instant::now();
        viewer.until("pictures after the outage", |part| part.mark().is_some_and(|mark| mark.counter > last));
        let took = back.elapsed();
        println!("{codec}: back after {took:?}");
        // A tenth of a second where the first request for a key frame arrives; the next one follows within a second.
        assert!(took < Duration::from_millis(2500), "{codec}: back after {took:?}");
        let after = frames::watch(&mut viewer, 4, Duration::from_secs(1));
        check_order(&broken);
        check_order(&after);
        check_pixels(&broken);
        check_pixels(&after);
        drop(peer);
    }
}

#[test]
fn what_a_viewer_loses_is_sent_again_in_a_stream_of_its_own() {
    let mut network = needed!(Network::new());
    needed!(peers::has_aiortc());
    let server = server_on_the_left(&network, &[], None);
    let _publisher = network.left.enter(|| Publisher::start(server.addr, "cam", 7, Plan::default()));
    network.left.enter(|| wait_for("a stream", || server.stream("cam")));
    let url = format!("http://{LEFT}:8081/whep/cam");
    let viewer = network.right.enter(|| peers::watch_aiortc(&[&url]).unwrap());
    viewer.line("a picture", 0, |line| line["event"] == "seen");
    network.set(&json!({ "loss": 0.05 }));
    let repaired = || viewer.lines().iter().filter(|line| line["event"] == "repaired").count();
    wait_for("repairs", || (repaired() >= 5).then_some(()));
    network.set(&json!({ "loss": 0.0 }));
    let from = viewer.lines().len();
    viewer.line("pictures all the same", from, |line| line["event"] == "seen" && line["counter"].is_u64());
    let counters: Vec<u64> = viewer.lines().iter().filter_map(|line| line["counter"].as_u64()).collect();
    assert!(counters.windows(2).all(|pair| pair[0] < pair[1]), "in order: {counters:?}");
}

//! The rungs of the page that go through a TURN server, each forced in headless Chromium against coturn, in a namespace of
//! the test's own.

use std::net::IpAddr;

use ooblex_tests::browser::installed;
use ooblex_tests::coturn::{self, Coturn};
use ooblex_tests::netns::{Network, RIGHT_SERVER};
use ooblex_tests::server::{self, Server};
use ooblex_tests::{skip, wait_for};
use serde_json::{Value, json};

use crate::page::click;
use crate::rungs::{assert_in_order, shown, wait_for_ways, with_camera_and};

/// The rungs of all sessions in one direction, each with how the relay is reached, by what `/status` says.
fn rungs(server: &Server, transport: &str) -> Vec<(Value, Value)> {
    let status = server.json("/status");
    let entry = status["transports"].as_array().unwrap().iter().find(|entry| entry["name"] == transport);
    let sessions = entry.unwrap()["sessions"].as_array().unwrap().clone();
    sessions
        .iter()
        .map(|session| (session["path"]["rung"].clone(), session["path"]["relay"].clone()))
        .collect()
}

/// Both sides are told of `urls` alone. The page must take `rung`, and reach the relay over `relay`.
fn relay_carries(rung: &str, relay: &str, urls: impl Fn(&Coturn) -> String + Sync) {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let network = match Network::new() {
        Ok(network) => network,
        Err(reason) => skip!("{reason}"),
    };
    network.right.enter(|| {
        let coturn = match Coturn::start(IpAddr::V4(RIGHT_SERVER)) {
            Ok(coturn) => coturn,
            Err(reason) => skip!("{reason}"),
        };
        let turn = format!("coturn:{},{}", urls(&coturn), coturn::SECRET);
        let mut command = server::command();
        command.args(["--model-name", "none", "--mjpeg-port", "0", "--turn", &turn]);
        command.env("SSL_CERT_FILE", coturn.certificate());
        let server = Server::launch(command);
        let trust = format!("--ignore-certificate-errors-spki-list={}", coturn.key_hash());
        let (browser, _film) = with_camera_and(programs, &[trust]);
        browser.open(&server.url(&format!("/?transport={rung}")));
        click(&browser, "#camera");
        wait_for_ways(&browser, rung, rung);
        let (counters, _) = shown(&browser, 25);
        assert_in_order(&counters);
        for transport in ["webrtc", "whep"] {
            wait_for(&format!("the rung of {transport}: {}", server.json("/status")["transports"]), || {
                (rungs(&server, transport) == [(json!(rung), json!(relay))]).then_some(())
            });
        }
        assert!(coturn.log().contains("ALLOCATE processed, success"), "{}", coturn.log());
        // The network has just been made, and what was being loaded when it settled is loaded again.
        let complaints = browser.complaints();
        let own: Vec<_> = complaints.iter().filter(|text| !text.contains("ERR_NETWORK_CHANGED")).collect();
        assert!(own.is_empty(), "{own:?}");
    });
}

/// Over UDP and over TCP.
fn plain(_: &Coturn) -> String {
    format!("{RIGHT_SERVER}:{}", coturn::PORT)
}

#[test]
fn a_relay_over_udp_is_a_rung_of_its_own() {
    relay_carries("turn-udp", "udp", plain);
}

#[test]
fn a_relay_over_tcp_is_a_rung_of_its_own() {
    relay_carries("turn-tcp", "tcp", plain);
}

#[test]
fn a_relay_over_tls_is_of_the_rung_of_those_over_tcp() {
    relay_carries("turn-tcp", "tls", |coturn| coturn.url("tls"));
}

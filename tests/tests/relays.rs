//! The rungs of the page that go through a TURN server, each forced in headless Chromium against coturn, in a namespace of
//! the test's own.

use std::net::IpAddr;

use ooblex_tests::browser::installed;
use ooblex_tests::coturn::{self, Coturn};
use ooblex_tests::netns::{Network, RIGHT_SERVER};
use ooblex_tests::server::Server;
use ooblex_tests::{skip, wait_for};
use serde_json::{Value, json};

use crate::page::click;
use crate::rungs::{assert_in_order, shown, wait_for_ways, with_camera};

/// The rungs of all sessions in one direction, by what `/status` says.
fn rungs(server: &Server, transport: &str) -> Vec<Value> {
    let status = server.json("/status");
    let entry = status["transports"].as_array().unwrap().iter().find(|entry| entry["name"] == transport);
    let sessions = entry.unwrap()["sessions"].as_array().unwrap().clone();
    sessions.iter().map(|session| session["path"]["rung"].clone()).collect()
}

fn relay_carries(rung: &str) {
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
        let turn = format!("coturn:{RIGHT_SERVER}:{},{}", coturn::PORT, coturn::SECRET);
        let server = Server::start(&["--turn", &turn]);
        let (browser, _film) = with_camera(programs);
        browser.open(&server.url(&format!("/?transport={rung}")));
        click(&browser, "#camera");
        wait_for_ways(&browser, rung, rung);
        let (counters, _) = shown(&browser, 25);
        assert_in_order(&counters);
        for transport in ["webrtc", "whep"] {
            wait_for(&format!("the rung of {transport}: {}", server.json("/status")["transports"]), || {
                (rungs(&server, transport) == [json!(rung)]).then_some(())
            });
        }
        assert!(coturn.log().contains("ALLOCATE processed, success"), "{}", coturn.log());
        // The network has just been made, and what was being loaded when it settled is loaded again.
        let complaints = browser.complaints();
        let own: Vec<_> = complaints.iter().filter(|text| !text.contains("ERR_NETWORK_CHANGED")).collect();
        assert!(own.is_empty(), "{own:?}");
    });
}

#[test]
fn a_relay_over_udp_is_a_rung_of_its_own() {
    relay_carries("turn-udp");
}

#[test]
fn a_relay_over_tcp_is_a_rung_of_its_own() {
    relay_carries("turn-tcp");
}

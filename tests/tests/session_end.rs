//! The end of a session that is lent for a time: it is said on standard output, in the state and on the page.

use ooblex_tests::browser::{Browser, installed};
use ooblex_tests::server::Server;
use ooblex_tests::{skip, wait_for};
use serde_json::{Value, json};

use crate::page::text;

#[test]
fn the_end_is_announced_and_in_the_state() {
    let server = Server::start(&["--session-limit=10"]);
    let session = &server.json("/status")["session"];
    assert_eq!((&session["limit_minutes"], &session["minutes_left"]), (&json!(10), &json!(10)));
    // Of its three times to speak the first is at the start.
    wait_for("the line", || server.log().contains("session   About 10 minutes").then_some(()));
    wait_for("the warning", || server.log().contains("WARN").then_some(()));

    let server = Server::start(&[]);
    let none = json!({"limit_minutes": null, "minutes_left": null, "warning": null});
    assert_eq!(server.json("/status")["session"], none, "nobody has set a limit");
}

#[test]
fn the_page_says_that_the_session_ends_soon_and_does_nothing_about_it() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let hidden = "return document.querySelector('#session').hidden";
    let (ending, lasting) = (Server::start(&["--session-limit=29"]), Server::start(&["--session-limit=600"]));
    let browser = Browser::start(programs, None);
    browser.open(&ending.url("/"));
    wait_for("the banner", || text(&browser, "#session").starts_with("About 29 minutes").then_some(()));
    assert_eq!(browser.run(hidden), Value::Bool(false));
    browser.open(&lasting.url("/"));
    wait_for("the state", || text(&browser, "#connection").starts_with("Connected").then_some(()));
    assert_eq!(browser.run(hidden), Value::Bool(true));
}

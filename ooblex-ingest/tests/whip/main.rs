//! WHIP and the JSON offer over real sockets, with real publishers on loopback.
#![cfg(all(feature = "whip", feature = "h264"))]

mod habits;
mod json;
mod pages;
#[allow(dead_code)]
#[path = "../publisher/mod.rs"]
mod publisher;
mod server;
mod session;
mod statuses;

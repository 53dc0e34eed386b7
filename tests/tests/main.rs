//! The integration tests: the real server as a process, real input, real readers.
//!
//! What is asserted is order, counts, bytes and generous bounds, never milliseconds: these tests run on busy machines.

// Tests: a broken expectation is a failed test.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod bitrate;
mod browsers;
mod canary;
mod checkpoint_kills;
mod checkpoints;
mod choices;
mod cli;
mod control;
mod deploy;
mod firefox;
mod hostile;
mod howto;
mod live;
mod metadata;
mod networks;
mod notebook;
mod overlay;
mod page;
mod page_tunnels;
mod privacy;
mod proxies;
mod publishers;
mod quota_kept;
mod readers;
mod refusals;
mod relays;
mod returned;
mod rungs;
mod safety;
mod session_end;
mod sessions;
mod snapshots;
mod sockets;
mod sources;
mod stalls;
mod state;
mod streams;
mod taken_back;
mod tunnel_page;
mod tunnel_ssh;
mod tunnels;
mod uploads;
mod watching;
mod whep;
mod whip;

use ooblex_tests::jpeg;
use ooblex_tests::mark::{self, Mark};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::server::Server;

/// A marked picture of 320x240 as a JPEG.
fn marked(id: u8, counter: u32) -> Vec<u8> {
    jpeg::encode(&mark::draw(Mark { id, counter }, 320, 240), 85)
}

/// What a viewer gets for an accepted upload.
#[track_caller]
fn shown(server: &Server, stream: &str, sequence: u64) -> Vec<u8> {
    let mut viewer = Viewer::open(server.addr, &format!("/streams/{stream}/stream.mjpg"));
    let mut parts = viewer.until("the upload", |part| part.sequence == sequence);
    parts.pop().unwrap().body
}

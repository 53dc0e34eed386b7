//! Viewers and snapshots over real sockets: bytes, isolation, laziness, lifecycle.
#![allow(clippy::unwrap_used)]

mod bytes_on_the_wire;
mod common;
mod isolation;
mod lifecycle;
mod privacy;
mod snapshots;

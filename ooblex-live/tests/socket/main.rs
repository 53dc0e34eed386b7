//! The live protocol over real sockets, with real encoders and decoders on both sides.
#![cfg(all(feature = "h264", feature = "turbojpeg", feature = "vpx"))]
#![allow(clippy::unwrap_used)]

mod client;
mod hostile;
mod publishing;
mod refusals;
mod server;
mod viewing;

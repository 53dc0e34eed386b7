//! Video decoders against what another decoder made of the same clips, and against what strangers may send.
#![cfg(all(feature = "h264", feature = "vpx"))]
#![allow(clippy::unwrap_used)]

mod clips;
mod h264;
mod hostile;
mod vpx;

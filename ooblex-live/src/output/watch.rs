//! One viewer.

use std::sync::Arc;

use ooblex_core::StreamId;

use super::seat::{Found, Seat};
use super::station::Station;
use super::{Channel, Unit};
use crate::codec::Codec;
use crate::encode::EncodeError;

/// Why a stream cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// No stream has this name now.
    #[error("there is no stream {0}")]
    UnknownStream(StreamId),
    /// The ladder has fewer rungs.
    #[error("rung {0} is not on the ladder of {count}", count = super::LADDER.len())]
    NoSuchRung(usize),
    /// Every encoder that may run does.
    #[error(
        "all {0} encoders are in use; watch in a codec and quality that others watch already, or by MJPEG"
    )]
    TooManyEncoders(usize),
    /// This build has no such encoder, or the library refuses.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The system gives no thread.
    #[error("no thread for an encoder: {0}")]
    Thread(#[from] std::io::Error),
}

/// One viewer of a stream. Dropping the last one of an encoder ends the encoder.
pub struct Watch {
    channel: Arc<Channel>,
    station: Arc<Station>,
    seat: Arc<Seat>,
}

impl Watch {
    pub(super) fn new(channel: Arc<Channel>, station: Arc<Station>, seat: Arc<Seat>) -> Self {
        Self { channel, station, seat }
    }

    /// The next picture that can be decoded: a key frame first, and again after a gap. `None` when the stream has ended
    /// or its encoder has failed, see [`failure`](Self::failure). Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Unit>> {
        loop {
            match self.seat.take() {
                Found::Unit(unit) => return Some(unit),
                Found::End => return None,
                Found::NeedsKey => self.station.request_key(),
                Found::Nothing => self.seat.changed().await,
            }
        }
    }

    /// Asks for a key frame. Many who ask get one together, and not more often than
    /// [`LiveConfig::key_gap`](super::LiveConfig::key_gap) allows.
    pub fn request_key(&self) {
        self.station.request_key();
    }

    /// Leaves out what waits and goes on with a key frame: for a viewer who has fallen behind.
    pub fn skip_to_key(&self) {
        self.seat.skip_to_key();
        self.station.request_key();
    }

    /// Pictures left out for this viewer so far.
    pub fn skipped(&self) -> u64 {
        self.seat.skipped.get()
    }

    /// Why the encoder was given up, if it was.
    pub fn failure(&self) -> Option<String> {
        self.seat.failure()
    }

    /// Codec and rung of the ladder.
    pub fn quality(&self) -> (Codec, usize) {
        self.station.key
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Under this lock nobody takes a seat at a station that is about to close.
        let mut stations = self.channel.stations();
        if self.station.leave(&self.seat) {
            stations.running.retain(|station| !Arc::ptr_eq(station, &self.station));
            self.station.close();
        }
    }
}

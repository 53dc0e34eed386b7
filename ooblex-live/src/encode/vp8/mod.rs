//! VP8 by libvpx in its real-time mode.

mod ffi;

use std::time::Duration;

use ooblex_core::Image;

use self::ffi::{Library, Picture};
use super::fit::Fit;
use super::{EncodeError, Encoded, VideoEncoder, bit_rate};
use crate::codec::Codec;
use crate::output::Quality;

/// Encodes VP8.
pub struct Vp8Encoder {
    quality: Quality,
    fit: Fit,
    /// The library's encoder and the sides that it was made for.
    library: Option<(Library, (u32, u32))>,
    /// Time of the last picture; the library wants it to rise.
    last: Option<i64>,
}

impl Vp8Encoder {
    /// An encoder that needs nothing until its first picture.
    pub fn new(quality: Quality) -> Self {
        Self { quality, fit: Fit::default(), library: None, last: None }
    }
}

impl VideoEncoder for Vp8Encoder {
    fn encode(&mut self, image: &Image, at: Duration, key: bool) -> Result<Option<Encoded>, EncodeError> {
        let failed = |source| EncodeError::Failed { codec: Codec::Vp8, source };
        let planes = self.fit.run(image, self.quality.max_height, true).map_err(|e| failed(e.into()))?;
        let (width, height) = (planes.width, planes.height);
        let library = match self.library.take() {
            Some(known) if known.1 == (width, height) => &mut self.library.insert(known).0,
            _ => {
                let rate = bit_rate(self.quality, width, height);
                let library = Library::new(width, height, rate / 1000).map_err(|e| failed(e.into()))?;
                &mut self.library.insert((library, (width, height))).0
            }
        };
        let at = i64::try_from(at.as_micros()).unwrap_or(i64::MAX - 1);
        let at = self.last.map_or(at, |last| at.max(last + 1));
        self.last = Some(at);
        let picture = Picture { width, height, y: planes.y, u: planes.u, v: planes.v };
        match library.encode(&picture, at, key) {
            Ok(encoded) => {
                Ok(encoded.map(|(data, is_key)| Encoded { data: data.into(), is_key, width, height }))
            }
            Err(error) => {
                self.library = None;
                Err(failed(error.into()))
            }
        }
    }
}

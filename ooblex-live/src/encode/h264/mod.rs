//! H.264 by OpenH264: constrained baseline, one slice, no pictures held back.

mod ffi;

use std::time::Duration;

use ooblex_core::{ColorMatrix, Image};
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, Profile, RateControlMode, UsageType,
    VuiConfig,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};

use crate::codec::Codec;
use crate::encode::fit::{Fit, Planes};
use crate::encode::{EncodeError, Encoded, FRAME_RATE, VideoEncoder, bit_rate};
use crate::output::Quality;

/// Encodes H.264.
pub struct H264Encoder {
    quality: Quality,
    fit: Fit,
    /// The library's encoder, and what it was made for: sides and matrix.
    encoder: Option<(Encoder, (u32, u32, ColorMatrix))>,
}

impl H264Encoder {
    /// An encoder that needs nothing until its first picture.
    pub fn new(quality: Quality) -> Self {
        Self { quality, fit: Fit::default(), encoder: None }
    }
}

impl VideoEncoder for H264Encoder {
    fn encode(&mut self, image: &Image, at: Duration, key: bool) -> Result<Option<Encoded>, EncodeError> {
        let failed = |source| EncodeError::Failed { codec: Codec::H264, source };
        let planes = self.fit.run(image, self.quality.max_height, false).map_err(|e| failed(e.into()))?;
        let wanted = (planes.width, planes.height, planes.color.matrix);
        let (encoder, _) = match self.encoder.take() {
            Some(known) if known.1 == wanted => self.encoder.insert(known),
            _ => {
                let mut encoder =
                    Encoder::with_api_config(OpenH264API::from_source(), config(self.quality, &planes))
                        .map_err(|e| failed(e.into()))?;
                ffi::silence(&mut encoder);
                self.encoder.insert((encoder, wanted))
            }
        };
        if key {
            encoder.force_intra_frame();
        }
        let at = Timestamp::from_millis(at.as_millis().try_into().unwrap_or(u64::MAX >> 1));
        let encoded = encoder.encode_at(&planes, at).map(|stream| (stream.to_vec(), stream.frame_type()));
        match encoded {
            Ok((data, kind)) if !data.is_empty() => Ok(Some(Encoded {
                data: data.into(),
                is_key: kind == FrameType::IDR,
                width: planes.width,
                height: planes.height,
            })),
            Ok(_) => Ok(None),
            Err(error) => {
                self.encoder = None;
                Err(failed(error.into()))
            }
        }
    }
}

fn config(quality: Quality, planes: &Planes<'_>) -> EncoderConfig {
    let color = match planes.color.matrix {
        ColorMatrix::Bt601 => VuiConfig::bt601(),
        ColorMatrix::Bt709 => VuiConfig::bt709(),
    };
    EncoderConfig::new()
        .bitrate(BitRate::from_bps(bit_rate(quality, planes.width, planes.height)))
        .max_frame_rate(FrameRate::from_hz(FRAME_RATE as f32))
        .rate_control_mode(RateControlMode::Bitrate)
        .usage_type(UsageType::CameraVideoRealTime)
        .complexity(Complexity::Low)
        .profile(Profile::Baseline)
        // A picture that is left out is late; a coarse one is not.
        .skip_frames(false)
        // Key frames come when somebody needs one: they are large, and large is late.
        .scene_change_detect(false)
        .num_threads(1)
        .vui(color)
}

impl YUVSource for Planes<'_> {
    fn dimensions(&self) -> (usize, usize) {
        (self.width as usize, self.height as usize)
    }
    fn strides(&self) -> (usize, usize, usize) {
        let width = self.width as usize;
        (width, width / 2, width / 2)
    }
    fn y(&self) -> &[u8] {
        self.y
    }
    fn u(&self) -> &[u8] {
        self.u
    }
    fn v(&self) -> &[u8] {
        self.v
    }
}

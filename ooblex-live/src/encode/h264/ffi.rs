//! What OpenH264's safe interface does not offer: to be quiet from the beginning.
#![allow(unsafe_code)]

use std::ptr::from_mut;

use openh264::encoder::Encoder;
use openh264_sys2::{ENCODER_OPTION_TRACE_LEVEL, WELS_LOG_QUIET};

/// Keeps the library from writing to standard error when it is initialized, which the safe interface prevents only later.
pub(super) fn silence(encoder: &mut Encoder) {
    let mut level = WELS_LOG_QUIET;
    // SAFETY: the option takes a pointer to an `int`, which is only read during the call, and may be set before the
    // encoder is initialized; nothing that the safe interface relies on is changed.
    unsafe {
        encoder.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, from_mut(&mut level).cast());
    }
}

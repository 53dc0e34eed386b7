//! What the fuzz targets of ooblex-live do with their input. The tests of that crate include this file and run all
//! seeds through it, so that it may use nothing but what they have, too.

use ooblex_live::protocol::{ClientMessage, HEADER_LEN, Header};

/// A target: takes any bytes, panics only if something is wrong.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[("live_frame", live_frame), ("live_message", live_message)];

/// A binary message: whatever is read is written the same.
pub fn live_frame(data: &[u8]) {
    if let Ok(header) = Header::decode(data) {
        assert_eq!(header.encode(), data[..HEADER_LEN], "a header is written as it was read");
        assert!(data.len() > HEADER_LEN, "there is a picture");
    }
}

/// A text message: a reason repeats no more than what came.
pub fn live_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match ClientMessage::parse(text) {
        Ok(ClientMessage::Ack { age_ms: Some(age), .. }) => assert!(age.is_finite()),
        Ok(ClientMessage::Effect { effect, .. }) => assert!((1..=1024).contains(&effect.len())),
        Ok(_) => {}
        Err(error) => assert!(error.to_string().len() < text.len() + 512, "{error}"),
    }
}

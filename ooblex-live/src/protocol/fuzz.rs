//! Entry points for fuzzing.

use super::{ClientMessage, HEADER_LEN, Header};

/// For fuzzing: reads anything as a picture; whatever is read is written the same.
#[doc(hidden)]
pub fn fuzz_frame(data: &[u8]) {
    if let Ok(header) = Header::decode(data) {
        assert_eq!(header.encode(), data[..HEADER_LEN], "a header is written as it was read");
    }
}

/// For fuzzing: reads anything as a text message; reasons are not longer than what came.
#[doc(hidden)]
pub fn fuzz_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = ClientMessage::parse(text) {
        assert!(error.to_string().len() < text.len() + 512, "a reason repeats no more than what came");
    }
}

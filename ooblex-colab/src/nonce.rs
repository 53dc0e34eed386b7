//! Numbers that nobody has had before.

use ring::rand::{SecureRandom, SystemRandom};

/// `BYTES` random bytes in hexadecimal, two digits each; `None` if the system has no randomness.
pub(crate) fn nonce<const BYTES: usize>() -> Option<String> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

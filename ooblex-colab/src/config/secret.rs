//! Values that must never be shown.

use std::fmt;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use super::setting::{Setting, SettingType, one, quoted};

/// What stands in place of a secret.
pub(crate) const HIDDEN: &str = "***";

/// A word that gives a right to whoever knows it. It can be read by [`expose`](Self::expose) alone; whatever prints a
/// configuration shows `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Least number of characters: 16 random ones of 66 are out of reach for guessing.
    pub const MIN: usize = 16;
    /// Most characters.
    pub const MAX: usize = 128;

    /// Makes a token.
    ///
    /// # Errors
    /// If it is too short, too long, or has a character that does not go through a URL, a header and a cookie alike.
    /// The text says so without showing the token.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let count = text.chars().count();
        if let Some(bad) = text.chars().find(|c| !Self::allows(*c)) {
            let name = if bad == ' ' { "a blank".to_owned() } else { format!("the character {bad:?}") };
            return Err(format!("it contains {name}"));
        }
        if !(Self::MIN..=Self::MAX).contains(&count) {
            return Err(format!("it has {count} characters"));
        }
        Ok(Self(text))
    }

    /// A new token of 256 random bits.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("the system has no random numbers"))?;
        Ok(Self(url_safe(&bytes)))
    }

    /// One that was put together from the characters of tokens.
    pub(crate) fn made(text: String) -> Self {
        debug_assert!(Self::new(text.as_str()).is_ok());
        Self(text)
    }

    /// The token itself, for comparing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The characters that paths (RFC 3986 section 2.3), header tokens (RFC 9110 section 5.6.2) and cookies
    /// (RFC 6265 section 4.1.1) all take as they are.
    pub(crate) fn allows(c: char) -> bool {
        c.is_ascii_alphanumeric() || "-._~".contains(c)
    }
}

/// Base64 of RFC 4648 section 5, without padding.
pub(crate) fn url_safe(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl SettingType for Token {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        Self::new(one(texts)?)
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_enough_and_go_through_urls_headers_and_cookies() {
        assert_eq!(Token::new("0123456789abcdef").expect("16").expose(), "0123456789abcdef");
        assert!(Token::new("A-Z.a_z~0123456789").is_ok());
        for (bad, reason) in [
            ("0123456789abcde", "it has 15 characters"),
            ("", "it has 0 characters"),
            ("0123456789abcdef ", "it contains a blank"),
            ("0123456789abcd/ef", "it contains the character '/'"),
            ("0123456789abcd\u{fc}ef", "it contains the character '\u{fc}'"),
        ] {
            assert_eq!(Token::new(bad).expect_err(bad), reason);
        }
        assert!(Token::new("x".repeat(128)).is_ok() && Token::new("x".repeat(129)).is_err());
    }

    #[test]
    fn base64_after_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("\u{fb}\u{3f}", "w7s_"),
        ] {
            assert_eq!(url_safe(bytes.as_bytes()), text);
        }
        let token = Token::random().expect("random");
        assert!(Token::new(token.expose()).is_ok());
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new("correct-horse-battery").expect("a token");
        assert_eq!(format!("{token:?} {:?}", token.to_toml()), "*** Some(\"\\\"***\\\"\")");
    }
}

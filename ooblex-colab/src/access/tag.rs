//! Tokens that end soon: the page puts them into addresses of pictures, so that no strong token stands there.
//!
//! Nothing is kept of them: a tag says for which kind of token it was made, as of which change of the tokens, and
//! until when, and a signature by a key of this process vouches for that.

use ring::{hmac, rand};

use super::kind::Kind;
use crate::config::{Token, url_safe};

/// Seconds that a tag is good for.
pub(crate) const LIFE: u64 = 600;
/// What tags begin with.
const MARK: &str = "tag.";

/// A key of this process; `None` if the system has no random numbers, and then there are no tags.
pub(super) fn key() -> Option<hmac::Key> {
    hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok()
}

/// `now` in seconds.
pub(super) fn make(key: &hmac::Key, kind: Kind, changes: u64, now: u64) -> Token {
    let claim = format!("{MARK}{}.{changes:x}.{:x}", kind.as_str(), now + LIFE);
    let signature = url_safe(hmac::sign(key, claim.as_bytes()).as_ref());
    Token::made(format!("{claim}.{signature}"))
}

/// The kind and the change that a tag was made for, if it is genuine and has not ended.
pub(super) fn read(key: &hmac::Key, text: &str, now: u64) -> Option<(Kind, u64)> {
    let (claim, signature) = text.rsplit_once('.').filter(|(claim, _)| claim.starts_with(MARK))?;
    // Compared as a tag of tags: the comparison takes the same time wherever they differ.
    let right = url_safe(hmac::sign(key, claim.as_bytes()).as_ref());
    let check = hmac::sign(key, right.as_bytes());
    hmac::verify(key, signature.as_bytes(), check.as_ref()).ok()?;
    let mut parts = claim[MARK.len()..].split('.');
    let kind = Kind::of(parts.next()?)?;
    let changes = u64::from_str_radix(parts.next()?, 16).ok()?;
    let until = u64::from_str_radix(parts.next()?, 16).ok()?;
    (now < until).then_some((kind, changes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_ends_and_cannot_be_altered() {
        let key = key().expect("random");
        let tag = make(&key, Kind::Link, 7, 1000);
        let text = tag.expose();
        assert_eq!(read(&key, text, 1000), Some((Kind::Link, 7)));
        assert_eq!(read(&key, text, 1000 + LIFE - 1), Some((Kind::Link, 7)));
        assert_eq!(read(&key, text, 1000 + LIFE), None);
        assert_eq!(read(&super::key().expect("random"), text, 1000), None, "of another process");
        assert!(Token::new(text).is_ok(), "{text}");
        for (from, to) in [("link", "view"), (".7.", ".8."), ("tag.", "tag_")] {
            assert_eq!(read(&key, &text.replacen(from, to, 1), 1000), None, "{from}");
        }
        for cut in 0..text.len() {
            assert_eq!(read(&key, &text[..cut], 1000), None);
        }
    }
}

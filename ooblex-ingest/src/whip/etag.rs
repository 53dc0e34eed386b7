//! `If-Match`: which ICE session a request is meant for (RFC 9110 sections 8.8.3 and 13.1.1, RFC 9725 section 4.3).

use http::{HeaderMap, header};

/// Most entity tags in one request; a client knows one or two.
const MAX_TAGS: usize = 16;

/// What a request's `If-Match` says.
///
/// ```
/// use ooblex_ingest::whip::IfMatch;
/// let mut headers = http::HeaderMap::new();
/// headers.insert("if-match", "\"abc\", W/\"def\"".parse().unwrap());
/// let condition = IfMatch::of(&headers).unwrap().expect("a condition");
/// assert!(condition.holds_for("\"abc\""));
/// assert!(!condition.holds_for("\"def\""), "a weak tag never matches");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: whatever the ICE session is now.
    Any,
    /// One of these strong entity tags, quotes included.
    Tags(Vec<String>),
}

/// An `If-Match` that is neither `*` nor a list of entity tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("If-Match is neither * nor a list of at most {MAX_TAGS} quoted entity tags like \"abc\"")]
pub struct BadIfMatch;

impl IfMatch {
    /// The condition of a request, `None` if it has none. Several header lines count as one list.
    ///
    /// # Errors
    /// [`BadIfMatch`].
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, BadIfMatch> {
        let mut lines = headers.get_all(header::IF_MATCH).iter().peekable();
        if lines.peek().is_none() {
            return Ok(None);
        }
        let mut tags = Vec::new();
        let (mut any, mut listed) = (false, 0);
        for line in lines {
            let mut rest = line.as_bytes().trim_ascii();
            if rest == b"*" {
                any = true;
                continue;
            }
            loop {
                // Empty elements of a list are allowed (RFC 9110 section 5.6.1.2).
                while let [b',' | b' ' | b'\t', tail @ ..] = rest {
                    rest = tail;
                }
                if rest.is_empty() {
                    break;
                }
                let (tag, tail) = entity_tag(rest).ok_or(BadIfMatch)?;
                listed += 1;
                tags.extend(tag);
                rest = tail.trim_ascii_start();
                if listed > MAX_TAGS || !(rest.is_empty() || rest.starts_with(b",")) {
                    return Err(BadIfMatch);
                }
            }
        }
        match (any, listed) {
            (true, 0) => Ok(Some(Self::Any)),
            (false, 1..) => Ok(Some(Self::Tags(tags))),
            _ => Err(BadIfMatch),
        }
    }

    /// Whether the condition holds while the strong entity tag is `current`, quotes included.
    pub fn holds_for(&self, current: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag == current),
        }
    }
}

/// One entity tag and what follows it; a weak one is well-formed but compares equal to nothing.
fn entity_tag(text: &[u8]) -> Option<(Option<String>, &[u8])> {
    let (weak, quoted) = text.strip_prefix(b"W/").map_or((false, text), |rest| (true, rest));
    let inner = quoted.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&b| b == b'"')?;
    if inner[..end].iter().any(|&b| b <= b' ' || b == 0x7F) {
        return None;
    }
    // What is not ASCII is allowed, but this server never made it: it cannot match.
    let tag = std::str::from_utf8(&quoted[..end + 2]).ok().filter(|_| !weak).map(str::to_owned);
    Some((tag, &inner[end + 1..]))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[&str]) -> Result<Option<IfMatch>, BadIfMatch> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, HeaderValue::from_bytes(line.as_bytes()).expect("a value"));
        }
        IfMatch::of(&headers)
    }

    fn tags(tags: &[&str]) -> Result<Option<IfMatch>, BadIfMatch> {
        Ok(Some(IfMatch::Tags(tags.iter().map(|&t| t.to_owned()).collect())))
    }

    #[test]
    fn conditions_are_read() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["*"]), Ok(Some(IfMatch::Any)));
        assert_eq!(of(&[" * "]), Ok(Some(IfMatch::Any)));
        assert_eq!(of(&["\"a\""]), tags(&["\"a\""]));
        assert_eq!(of(&["\"a\" ,, \"b,c\"", "\"d\""]), tags(&["\"a\"", "\"b,c\"", "\"d\""]));
        assert_eq!(of(&["W/\"a\""]), tags(&[]));
        assert_eq!(of(&["\"\""]), tags(&["\"\""]));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        let many = "\"a\",".repeat(MAX_TAGS + 1);
        for bad in
            ["", ",", "a", "\"a", "a\"", "\"a\" \"b\"", "\"a\"b", "\"a b\"", "w/\"a\"", "*, \"a\"", &many]
        {
            assert_eq!(of(&[bad]), Err(BadIfMatch), "{bad}");
        }
        assert_eq!(of(&["*", "\"a\""]), Err(BadIfMatch));
    }

    #[test]
    fn only_the_same_strong_tag_matches() {
        let condition = of(&["\"a\", W/\"b\""]).expect("well-formed").expect("present");
        assert!(condition.holds_for("\"a\""));
        assert!(!condition.holds_for("\"b\"") && !condition.holds_for("a") && !condition.holds_for("\"A\""));
        assert!(IfMatch::Any.holds_for("\"anything\""));
    }

    proptest! {
        #[test]
        fn a_list_of_tags_comes_back(list in prop::collection::vec("[!#-~]{0,12}", 1..MAX_TAGS)) {
            let quoted: Vec<String> = list.iter().map(|t| format!("\"{t}\"")).collect();
            prop_assert_eq!(of(&[&quoted.join(", ")]), Ok(Some(IfMatch::Tags(quoted))));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(header::IF_MATCH, value);
                let _ = IfMatch::of(&headers);
            }
        }
    }
}

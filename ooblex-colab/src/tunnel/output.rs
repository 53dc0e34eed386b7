//! URLs in what programs print.

use crate::config::PublicUrl;

/// What may stand around a URL in a line.
fn is_border(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'<>|,;()[]{}`".contains(c)
}

/// The first address in a line that fits a pattern. One without a scheme is taken for plain HTTP; what follows the host
/// does not belong to an address.
pub(super) fn find_url(line: &str, pattern: &str) -> Option<PublicUrl> {
    let fitting = line
        .split(is_border)
        .map(|word| word.trim_end_matches(['.', '/']))
        .filter(|word| fits(word, pattern));
    fitting.filter_map(origin).next()
}

fn origin(word: &str) -> Option<PublicUrl> {
    let (scheme, rest) = word.split_once("://").unwrap_or(("http", word));
    let authority = rest.split(['/', '?', '#']).next()?;
    format!("{scheme}://{authority}").parse().ok()
}

/// Whether a text fits a pattern in which each `*` stands for any characters, none included.
pub(super) fn fits(text: &str, pattern: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match text.split_once(piece) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit() {
        for (text, pattern, expected) in [
            ("abc", "abc", true),
            ("abc", "ab", false),
            ("https://x.bore.pub", "https://*.bore.pub", true),
            ("https://bore.pub", "https://*.bore.pub", false),
            ("http://x.bore.pub", "https://*.bore.pub", false),
            ("bore.pub:1234", "bore.pub:*", true),
            ("a-b-c", "a*b*c", true),
            ("a-c-b", "a*b*c", false),
            ("aXb", "*", true),
            ("ab", "ab*b", false),
        ] {
            assert_eq!(fits(text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn addresses_are_found_in_lines() {
        let of = |line: &str, pattern: &str| find_url(line, pattern).map(|url| url.to_string());
        let https = |text: &str| Some(text.to_owned());
        assert_eq!(
            of("|  https://a-b.trycloudflare.com      |", "https://*.trycloudflare.com"),
            https("https://a-b.trycloudflare.com")
        );
        assert_eq!(of("listening at bore.pub:4242", "bore.pub:*"), https("http://bore.pub:4242"));
        assert_eq!(of("see (https://x.example/docs/a?b).", "https://*"), https("https://x.example"));
        assert_eq!(of("url=\"HTTPS://X.example/\"", "HTTPS://*"), https("https://x.example"));
        assert_eq!(of("https://u:p@x.example", "https://*"), None);
        assert_eq!(of("nothing here", "https://*"), None);
    }
}

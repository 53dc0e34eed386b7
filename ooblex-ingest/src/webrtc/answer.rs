//! What is read back from our own answer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use super::{IceCredentials, Restarted};

/// Our answer, and what identifies the ICE session that it began.
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) credentials: IceCredentials,
    /// With its quotes.
    pub(super) etag: String,
}

impl Answer {
    /// `None` if `text` has no ICE credentials.
    pub(super) fn new(text: String) -> Option<Self> {
        let text = without_repeats(&text);
        let find = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
        let credentials = IceCredentials { ufrag: find("a=ice-ufrag:")?, pwd: find("a=ice-pwd:")? };
        let hash = digest(&SHA256, format!("{} {}", credentials.ufrag, credentials.pwd).as_bytes());
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..12]));
        Some(Self { text, credentials, etag })
    }

    /// What a publisher that restarts ICE must know.
    pub(super) fn restarted(&self) -> Restarted {
        let find = |name| self.text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let candidates = self.text.lines().filter_map(|line| line.strip_prefix("a="));
        let candidates = candidates.filter(|line| line.starts_with("candidate:"));
        let mut candidates: Vec<_> = candidates.map(str::to_owned).collect();
        candidates.sort_unstable();
        candidates.dedup();
        Restarted {
            credentials: self.credentials.clone(),
            media: find("m=").to_owned(),
            mid: find("a=mid:").to_owned(),
            candidates,
            etag: self.etag.clone(),
        }
    }
}

/// The implementation writes every candidate for component 2, too; with RTCP multiplexed there is none.
fn without_repeats(text: &str) -> String {
    let second = |line: &str| {
        let candidate = line.strip_prefix("a=candidate:");
        candidate.is_some_and(|fields| fields.split(' ').nth(1) == Some("2"))
    };
    text.lines().filter(|line| !second(line)).flat_map(|line| [line, "\r\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:\
        0123456789012345678901\r\na=candidate:1 1 udp 5 192.0.2.1 7 typ host\r\na=candidate:1 2 udp 5 192.0.2.1 7 typ \
        host\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 5 192.0.2.1 7 typ host\r\n";

    #[test]
    fn an_answer_is_read_back() {
        let answer = Answer::new(TEXT.to_owned()).expect("credentials");
        assert!(!answer.text.contains("candidate:1 2 ") && answer.text.ends_with("typ host\r\n"));
        assert!(answer.etag.starts_with('"') && answer.etag.ends_with('"') && answer.etag.len() == 18);
        let restarted = answer.restarted();
        assert_eq!(restarted.media, "video 9 UDP/TLS/RTP/SAVPF 96");
        assert_eq!((restarted.mid.as_str(), restarted.candidates.len()), ("0", 1));
        let other = Answer::new(TEXT.replace("abcd", "efgh")).expect("credentials");
        assert_ne!(other.etag, answer.etag, "another ICE session, another tag");
        assert!(Answer::new("v=0\r\n".to_owned()).is_none());
    }
}

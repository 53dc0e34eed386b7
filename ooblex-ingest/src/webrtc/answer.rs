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
    /// `None` if `text` is no answer to `offer`: it has no ICE credentials, or lacks or refuses one of the sections.
    pub(super) fn new(offer: &str, text: String) -> Option<Self> {
        let text = without_repeats(&text);
        if !answers_all(offer, &text) {
            return None;
        }
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

/// Whether every section of the offer has its own in the answer, of the same kind, and is not refused by port 0.
fn answers_all(offer: &str, answer: &str) -> bool {
    let sections = |text| <str>::lines(text).filter_map(|line| line.strip_prefix("m=")?.split_once(' '));
    let refused = |rest: &str| rest.starts_with("0 ");
    let (mut offered, mut answered) = (sections(offer), sections(answer));
    loop {
        match (offered.next(), answered.next()) {
            (None, None) => return true,
            (Some((kind, o)), Some((same, a))) if kind == same && (refused(o) || !refused(a)) => {}
            _ => return false,
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
        let offer = "v=0\r\nm=video 9 x\r\nm=audio 9 y\r\n";
        let answer = Answer::new(offer, TEXT.to_owned()).expect("an answer");
        assert!(!answer.text.contains("candidate:1 2 ") && answer.text.ends_with("typ host\r\n"));
        assert!(answer.etag.starts_with('"') && answer.etag.ends_with('"') && answer.etag.len() == 18);
        let restarted = answer.restarted();
        assert_eq!(restarted.media, "video 9 UDP/TLS/RTP/SAVPF 96");
        assert_eq!((restarted.mid.as_str(), restarted.candidates.len()), ("0", 1));
        let other = Answer::new(offer, TEXT.replace("abcd", "efgh")).expect("an answer");
        assert_ne!(other.etag, answer.etag, "another ICE session, another tag");
        for (offer, text) in [
            (offer, TEXT.replace("a=ice-ufrag", "a=x")),
            (offer, TEXT.replace("m=audio 9 ", "m=audio 0 ")),
            (offer, TEXT.replace("m=audio", "m=video")),
            (offer, TEXT.split("m=audio").next().expect("cut").to_owned()),
            ("m=video 9 x\r\n", TEXT.to_owned()),
        ] {
            assert!(Answer::new(offer, text.clone()).is_none(), "{text}");
        }
        let off = "m=video 9 x\r\nm=audio 0 y\r\n";
        assert!(Answer::new(off, TEXT.replace("m=audio 9 ", "m=audio 0 ")).is_some());
    }
}

//! Which way the video of an offer goes.

use super::{Section, split};

/// Whether the offer asks for video and has none to send: what a viewer offers. False for what is no offer; whoever reads
/// it in full says why.
pub(crate) fn only_receives(offer: &str) -> bool {
    let Ok((_, sections)) = split(offer, usize::MAX) else { return false };
    let mut video = sections.iter().filter(|section| section.kind == "video").peekable();
    video.peek().is_some() && video.clone().any(Section::receives) && !video.any(Section::sends)
}

/// Whether a line is the direction of its section.
pub(super) fn is_direction(line: &str) -> bool {
    matches!(line, "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewers_offer_is_told_from_a_publishers() {
        let section = |kind: &str, direction: &str| {
            format!("m={kind} 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n{direction}\r\n")
        };
        let offer = |sections: &[String]| format!("v=0\r\n{}", sections.concat());
        let video = |direction: &str| section("video", direction);
        for (sections, only) in [
            (vec![video("a=recvonly")], true),
            (vec![section("audio", "a=sendonly"), video("a=recvonly")], true),
            (vec![video("a=recvonly"), video("a=inactive")], true),
            (vec![video("a=sendrecv")], false),
            (vec![video("")], false),
            (vec![video("a=recvonly"), video("a=sendonly")], false),
            (vec![video("a=inactive")], false),
            (vec![section("audio", "a=recvonly")], false),
            (vec!["m=video\r\n".to_owned(), video("a=recvonly")], false),
            (vec![], false),
        ] {
            assert_eq!(only_receives(&offer(&sections)), only, "{sections:?}");
        }
    }
}

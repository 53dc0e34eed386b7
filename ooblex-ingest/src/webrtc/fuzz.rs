//! From an offer to an answer without sockets: for fuzzing, and to hold the implementation beneath to what offers may
//! contain.

use std::time::Instant;

use rtc::peer_connection::RTCPeerConnectionBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;

use super::answer::Answer;
use super::offer::Offer;
use super::{WebRtcConfig, codec, peer};
use crate::decode::VideoCodec;

/// Every codec that a build might decode.
const CODECS: [VideoCodec; 4] = [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::H264, VideoCodec::Av1];

/// For fuzzing: reads anything as an offer and answers it; true if that worked.
#[doc(hidden)]
pub fn fuzz_offer(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let config = WebRtcConfig::default();
    if let Ok(offer) = Offer::parse_viewer(text, &config, &CODECS[..1]) {
        assert!(
            matches!(offer.sent.len(), 1 | 2)
                && offer.sent[0].codec.is_some()
                && offer.credentials.is_valid()
        );
    }
    let Ok(offer) = Offer::parse(text, &config, &CODECS, Some(&CODECS[..1])) else { return false };
    assert!(!offer.video.is_empty() && offer.credentials.is_valid());
    assert!(offer.candidates.len() <= 64, "candidates are limited");
    let sections = offer.text.matches("\r\nm=").count();
    assert!((1..=config.max_media_sections).contains(&sections), "sections are limited");
    answer(&offer).is_ok()
}

fn answer(offer: &Offer) -> Result<(), webrtc::error::Error> {
    let now = Instant::now();
    let (engine, interceptors) = codec::engine(offer)?;
    let mut core = RTCPeerConnectionBuilder::new()
        .with_media_engine(engine)
        .with_interceptor_registry(interceptors)
        .with_setting_engine(peer::settings(offer, true))
        .build(now)?;
    core.set_remote_description(now, RTCSessionDescription::offer(offer.text.clone())?)?;
    for candidate in &offer.candidates {
        let init = RTCIceCandidateInit { candidate: candidate.clone(), ..Default::default() };
        let _ = core.add_remote_candidate(init);
    }
    let answer = core.create_answer(None)?;
    core.set_local_description(now, answer)?;
    let text = core.local_description().map(|local| local.sdp).unwrap_or_default();
    Answer::new(&offer.text, text).map(|_| ()).ok_or(webrtc::error::Error::ErrNoRemoteDescription)
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;

    use super::*;

    const SEEDS: [&str; 3] = [
        include_str!("../../tests/data/offer_browser.sdp"),
        include_str!("../../tests/data/offer_obs.sdp"),
        include_str!("../../tests/data/offer_simulcast.sdp"),
    ];

    #[test]
    fn real_offers_are_answered() {
        for (n, seed) in SEEDS.iter().enumerate() {
            assert!(fuzz_offer(seed.replace('\n', "\r\n").as_bytes()), "offer {n}");
        }
    }

    #[test]
    fn whatever_becomes_of_an_offer_it_is_answered_or_refused() {
        let mut random = Random::new(11);
        let (mut answered, mut total) = (0, 0);
        for seed in SEEDS {
            let lines: Vec<&str> = seed.lines().collect();
            for _ in 0..400 {
                let mut mutated: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                for _ in 0..=random.below(3) {
                    mutate(&mut mutated, &mut random);
                }
                total += 1;
                answered += usize::from(fuzz_offer(mutated.join("\r\n").as_bytes()));
            }
        }
        assert!(answered * 10 > total && answered < total, "{answered} of {total} were answered");
    }

    fn mutate(lines: &mut Vec<String>, random: &mut Random) {
        let at = random.below(lines.len() as u64) as usize;
        let other = random.below(lines.len() as u64) as usize;
        match random.below(7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            3 => {
                let keep = random.below(lines[at].len() as u64 + 1) as usize;
                lines[at].truncate(keep);
            }
            4 => {
                let (values, index) =
                    (["0", "-1", "65536", "4294967296", "x", "", "::", "*"], random.below(8) as usize);
                let words: Vec<&str> = lines[at].split(' ').collect();
                let word = random.below(words.len() as u64) as usize;
                lines[at] = words
                    .iter()
                    .enumerate()
                    .map(|(n, old)| if n == word { values[index] } else { old })
                    .collect::<Vec<_>>()
                    .join(" ");
            }
            5 => {
                let mut bytes = std::mem::take(&mut lines[at]).into_bytes();
                let place = random.below(bytes.len().max(1) as u64) as usize;
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = 0x20 + random.below(0x5f) as u8;
                }
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
            _ => {
                let copy = lines[at].clone();
                lines[at].push_str(copy.split(':').nth(1).unwrap_or(";a=b"));
            }
        }
    }
}

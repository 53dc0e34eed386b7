//! Offers from strangers: checked in full before the WebRTC implementation sees a byte of them, and reduced to what
//! it is to negotiate.
//!
//! Sources: RFC 8866 (SDP), RFC 9429 (JSEP), RFC 8839 (ICE in SDP), RFC 6184 (H.264), RFC 4588 (RTX).

mod direction;

use std::collections::HashSet;
use std::net::IpAddr;

pub(crate) use self::direction::only_receives;
use super::viewer::CAPTURE_TIME;
use super::{IceCredentials, OfferError, WebRtcConfig};
use crate::decode::VideoCodec;
use crate::rtp::orientation;

/// Candidates of one offer that are used; browsers send a dozen.
const MAX_CANDIDATES: usize = 64;
/// Payload types of one section that are looked at; there are 128.
const MAX_FORMATS: usize = 128;

/// A format that is to be negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    /// `VP8`, `rtx`, `opus`, ... as offered.
    pub(super) name: String,
    pub(super) clock_rate: u32,
    pub(super) channels: u16,
    /// Parameters as they stand in the text that is negotiated.
    pub(super) fmtp: String,
    /// What it carries, unless it is audio or repairs another format.
    pub(super) codec: Option<VideoCodec>,
}

/// An offer that can be answered.
#[derive(Clone)]
pub(super) struct Offer {
    /// What is left to negotiate, without candidates.
    pub(super) text: String,
    /// What is received.
    pub(super) video: Vec<Format>,
    /// What is sent: one format with a codec, and what repairs it if the peer takes that; nothing if nothing is.
    pub(super) sent: Vec<Format>,
    pub(super) audio: Vec<Format>,
    /// `candidate:...` with addresses that can be used as they are.
    pub(super) candidates: Vec<String>,
    pub(super) credentials: IceCredentials,
    /// Whether the publisher insists on being the DTLS client (`a=setup:active`).
    pub(super) dtls_client: bool,
    /// Header extension number of the video orientation.
    pub(super) orientation: Option<u8>,
    /// Header extension number of the time of capture, of what is sent.
    pub(super) capture_time: Option<u8>,
}

/// What video is for: codecs that can be received, and that can be sent with the one to prefer first. `None` where video
/// of that direction is not for us.
#[derive(Clone, Copy)]
struct Media<'a> {
    received: Option<&'a [VideoCodec]>,
    sent: Option<&'a [VideoCodec]>,
}

/// One media section as it came.
struct Section<'a> {
    kind: &'a str,
    port: &'a str,
    protocol: &'a str,
    formats: Vec<&'a str>,
    /// Lines after `m=`.
    lines: Vec<&'a str>,
}

impl<'a> Section<'a> {
    fn new(value: &'a str) -> Result<Self, OfferError> {
        let mut words = value.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(kind), Some(port), Some(protocol)) => {
                let formats = words.take(MAX_FORMATS).collect();
                Ok(Self { kind, port, protocol, formats, lines: Vec::new() })
            }
            _ => Err(malformed("the offer has a broken m= line")),
        }
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        attribute(&self.lines, name)
    }

    fn has(&self, flag: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("a=") == Some(flag))
    }

    /// Whether its sender would send.
    fn sends(&self) -> bool {
        !self.has("recvonly") && !self.has("inactive") && (self.port != "0" || self.has("bundle-only"))
    }

    /// Whether its sender would receive.
    fn receives(&self) -> bool {
        !self.has("sendonly") && !self.has("inactive") && (self.port != "0" || self.has("bundle-only"))
    }

    /// Whether it is of the direction that video has.
    fn is_open(&self, media: Media<'_>) -> bool {
        if media.received.is_some() { self.sends() } else { self.receives() }
    }

    fn rtpmap(&self, payload_type: &str) -> Option<&'a str> {
        self.attributes("rtpmap").find_map(|value| value.strip_prefix(payload_type)?.strip_prefix(' '))
    }

    fn fmtp(&self, payload_type: &str) -> &'a str {
        let found =
            self.attributes("fmtp").find_map(|value| value.strip_prefix(payload_type)?.strip_prefix(' '));
        found.unwrap_or_default().trim()
    }

    fn attributes(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.lines
            .iter()
            .filter_map(move |line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
    }
}

fn attribute<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| Some(line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// The lines before the first section, and the sections, of which there are `limit` at most.
fn split(text: &str, limit: usize) -> Result<(Vec<&str>, Vec<Section<'_>>), OfferError> {
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    if lines.next() != Some("v=0") {
        return Err(malformed("the offer does not begin with v=0, so it is no SDP"));
    }
    let (mut session, mut sections) = (vec!["v=0"], Vec::<Section<'_>>::new());
    for line in lines {
        if !line.is_char_boundary(2) || line.as_bytes().get(1) != Some(&b'=') {
            return Err(malformed("the offer has a line that is not of the form x=..."));
        }
        match (line.strip_prefix("m="), sections.last_mut()) {
            (Some(value), _) => sections.push(Section::new(value)?),
            (None, Some(section)) => section.lines.push(line),
            (None, None) => session.push(line),
        }
        if sections.len() > limit {
            return Err(malformed(format!("the offer has more than {limit} media sections")));
        }
    }
    Ok((session, sections))
}

fn malformed(why: impl Into<String>) -> OfferError {
    OfferError::Malformed(why.into())
}

fn unsupported(why: impl Into<String>) -> OfferError {
    OfferError::Unsupported(why.into())
}

impl Offer {
    /// Checks a publisher's offer against `config` and the codecs that this build decodes; `sendable` are those that its
    /// first section that also receives can be sent, if it may see something.
    pub(super) fn parse(
        text: &str,
        config: &WebRtcConfig,
        supported: &[VideoCodec],
        sendable: Option<&[VideoCodec]>,
    ) -> Result<Self, OfferError> {
        Self::read(text, config, Media { received: Some(supported), sent: sendable })
    }

    /// Checks a viewer's offer against `config` and the codecs that can be sent, the one to prefer first. What is left to
    /// negotiate is one format in one section.
    pub(super) fn parse_viewer(
        text: &str,
        config: &WebRtcConfig,
        sendable: &[VideoCodec],
    ) -> Result<Self, OfferError> {
        Self::read(text, config, Media { received: None, sent: Some(sendable) })
    }

    fn read(text: &str, config: &WebRtcConfig, media: Media<'_>) -> Result<Self, OfferError> {
        if text.len() > config.max_offer_bytes {
            return Err(OfferError::TooLarge { bytes: text.len(), limit: config.max_offer_bytes });
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t')) {
            return Err(malformed("the offer contains control characters, so it is no SDP"));
        }
        let (session, sections) = split(text, config.max_media_sections)?;
        check_sections(&session, &sections)?;
        check_fingerprints(&session, &sections)?;
        let credentials = credentials(&session, &sections)?;

        let mut out: String = session.iter().filter(|line| !is_candidate(line)).flat_map(line).collect();
        let (mut video, mut sent, mut audio) = (Vec::new(), Vec::new(), Vec::new());
        let (mut orientation, mut capture_time) = (None, None);
        for section in &sections {
            let is_video = section.kind == "video";
            let received = media.received.filter(|_| is_video && section.sends());
            // What may get nothing back is told so, rather than promised a picture that never comes.
            let asks = is_video && section.receives() && (media.sent.is_some() || section.sends());
            let sendable = media.sent.filter(|_| asks && sent.is_empty());
            let formats = match (received, sendable) {
                (Some(supported), _) => {
                    let formats = video_formats(section, supported, "decodes")?;
                    if video.is_empty() {
                        orientation = extension_id(section, orientation::URI);
                    }
                    video.extend(formats.iter().cloned());
                    sent.extend(
                        sendable.and_then(|codecs| sendable_formats(&formats, codecs)).unwrap_or_default(),
                    );
                    Some(formats)
                }
                (None, Some(codecs)) => {
                    let formats = sendable_formats(&video_formats(section, codecs, "sends")?, codecs);
                    sent = formats.ok_or_else(|| {
                        unsupported(
                            "the offer's only video is H264 with packetization-mode=0; packetization-mode=1 is sent",
                        )
                    })?;
                    Some(sent.clone())
                }
                (None, None) if section.kind == "audio" && section.is_open(media) => {
                    let formats = audio_formats(section)?;
                    audio.extend(formats.iter().cloned());
                    Some(formats)
                }
                (None, None) => None,
            };
            let is_sent = sendable.is_some() && !sent.is_empty();
            if is_sent {
                capture_time = extension_id(section, CAPTURE_TIME);
            }
            // One section gets our video: the implementation beneath would take the first that receives.
            let direction = match (asks && !is_sent, section.sends()) {
                (false, _) => None,
                (true, true) => Some("sendonly"),
                (true, false) => Some("inactive"),
            };
            write_section(&mut out, section, formats.as_deref(), direction);
        }
        if media.received.is_some() && video.is_empty() {
            return Err(unsupported(
                "the offer has no video to receive: a section m=video with a=sendonly is needed",
            ));
        }
        if media.received.is_none() && sent.is_empty() {
            return Err(unsupported(
                "the offer asks for no video: a section m=video with a=recvonly is needed",
            ));
        }
        let all = sections.iter().flat_map(|section| &section.lines).chain(&session);
        let candidates = all.filter_map(|line| usable_candidate(line.strip_prefix("a=")?));
        let candidates = candidates.take(MAX_CANDIDATES).map(str::to_owned).collect();
        let in_sections = sections.iter().find_map(|section| section.attribute("setup"));
        let dtls_client = in_sections.or(attribute(&session, "setup")) == Some("active");
        Ok(Self {
            text: out,
            video,
            sent,
            audio,
            candidates,
            credentials,
            dtls_client,
            orientation,
            capture_time,
        })
    }

    /// The same offer with other ICE credentials: what an ICE restart by fragment means (RFC 9725 section 4.3.2).
    pub(super) fn restarted(&self, credentials: IceCredentials) -> Self {
        let mut text = String::with_capacity(self.text.len());
        for old in self.text.lines() {
            if old.starts_with("a=ice-ufrag:") {
                text.extend(["a=ice-ufrag:", &credentials.ufrag, "\r\n"]);
            } else if old.starts_with("a=ice-pwd:") {
                text.extend(["a=ice-pwd:", &credentials.pwd, "\r\n"]);
            } else {
                text.extend([old, "\r\n"]);
            }
        }
        Self { text, credentials, candidates: Vec::new(), ..self.clone() }
    }
}

/// A candidate attribute (without `a=`) that checks can be sent to: UDP and a literal address. Names under `.local`
/// tell nothing; their owner's checks reach us all the same and make peer-reflexive candidates.
pub(super) fn usable_candidate(attribute: &str) -> Option<&str> {
    let fields = attribute.strip_prefix("candidate:")?;
    let mut words = fields.split_ascii_whitespace();
    let (_foundation, component, protocol) = (words.next()?, words.next()?, words.next()?);
    let (_priority, address, port) = (words.next()?.parse::<u32>().ok()?, words.next()?, words.next()?);
    let usable = component == "1"
        && protocol.eq_ignore_ascii_case("udp")
        && address.parse::<IpAddr>().is_ok()
        && port.parse::<u16>().is_ok_and(|port| port != 0)
        && words.next() == Some("typ")
        && matches!(words.next(), Some("host" | "srflx" | "prflx" | "relay"));
    usable.then_some(attribute)
}

fn is_candidate(line: &str) -> bool {
    line.starts_with("a=candidate:") || line == "a=end-of-candidates"
}

fn line<'a>(text: &&'a str) -> [&'a str; 2] {
    [text, "\r\n"]
}

fn check_sections(session: &[&str], sections: &[Section<'_>]) -> Result<(), OfferError> {
    if sections.is_empty() {
        return Err(malformed("the offer has no media sections"));
    }
    let mut mids = HashSet::new();
    for section in sections {
        match (section.kind, section.protocol) {
            ("audio" | "video", "UDP/TLS/RTP/SAVPF" | "RTP/SAVPF" | "TCP/TLS/RTP/SAVPF") => {}
            ("application", "UDP/DTLS/SCTP" | "DTLS/SCTP" | "TCP/DTLS/SCTP")
                if section.formats == ["webrtc-datachannel"] => {}
            (kind @ ("audio" | "video" | "application"), _) => {
                return Err(unsupported(format!("the offer's m={kind} section is not one of WebRTC")));
            }
            _ => {
                return Err(unsupported(
                    "the offer has a media section that is neither audio, video nor data",
                ));
            }
        }
        let mid = section.attribute("mid").unwrap_or_default();
        if mid.is_empty() || mid.len() > 32 || !mid.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(malformed("the offer has a media section without a=mid"));
        }
        if !mids.insert(mid) {
            return Err(malformed("the offer uses one a=mid twice"));
        }
    }
    let bundle = attribute(session, "group").and_then(|group| group.strip_prefix("BUNDLE"));
    let bundled: HashSet<&str> = bundle.unwrap_or_default().split_ascii_whitespace().collect();
    if sections.len() > 1 && !mids.is_subset(&bundled) {
        return Err(unsupported(
            "the offer's media sections do not share one transport; let the publisher bundle them (max-bundle)",
        ));
    }
    Ok(())
}

fn check_fingerprints(session: &[&str], sections: &[Section<'_>]) -> Result<(), OfferError> {
    let mut all = attribute(session, "fingerprint")
        .into_iter()
        .chain(sections.iter().filter_map(|section| section.attribute("fingerprint")));
    let first = all.next().ok_or_else(|| malformed("the offer has no a=fingerprint"))?;
    if all.any(|other| other != first) {
        return Err(unsupported("the offer's media sections have different fingerprints"));
    }
    let (algorithm, digest) = first.split_once(' ').unwrap_or_default();
    let bytes = match algorithm.to_ascii_lowercase().as_str() {
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => return Err(unsupported("the offer's fingerprint is not of SHA-256, SHA-384 or SHA-512")),
    };
    let is_hex = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    if digest.split(':').count() != bytes || !digest.split(':').all(is_hex) {
        return Err(malformed("the offer's fingerprint is broken"));
    }
    Ok(())
}

fn credentials(session: &[&str], sections: &[Section<'_>]) -> Result<IceCredentials, OfferError> {
    let find = |name: &str| {
        let in_sections = || sections.iter().find_map(|section| section.attribute(name));
        attribute(session, name).or_else(in_sections).unwrap_or_default()
    };
    let credentials = IceCredentials { ufrag: find("ice-ufrag").into(), pwd: find("ice-pwd").into() };
    if !credentials.is_valid() {
        return Err(malformed("the offer lacks a=ice-ufrag or a=ice-pwd, or they are broken"));
    }
    Ok(credentials)
}

impl IceCredentials {
    /// Whether lengths and alphabet are those of RFC 8839 section 5.4.
    pub(super) fn is_valid(&self) -> bool {
        let ice_chars =
            |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        // Some publishers use `-` and `_`, too; nothing depends on it.
        let lenient = |text: &str| ice_chars(&text.replace(['-', '_', '='], ""));
        (4..=256).contains(&self.ufrag.len())
            && (22..=256).contains(&self.pwd.len())
            && lenient(&self.ufrag)
            && lenient(&self.pwd)
    }
}

fn extension_id(section: &Section<'_>, wanted: &str) -> Option<u8> {
    section.attributes("extmap").find_map(|value| {
        let (id, uri) = value.split_once(' ')?;
        let id = id.split('/').next()?;
        (uri.split(' ').next() == Some(wanted)).then(|| id.parse().ok())?
    })
}

/// `name/clock[/channels]` of a payload type.
fn format(section: &Section<'_>, payload_type: &str) -> Option<Format> {
    let number: u8 = payload_type.parse().ok().filter(|n| *n < 128)?;
    // RFC 3551 names these three without an rtpmap.
    let map = section.rtpmap(payload_type).or(match (section.kind, number) {
        ("audio", 0) => Some("PCMU/8000"),
        ("audio", 8) => Some("PCMA/8000"),
        ("audio", 9) => Some("G722/8000"),
        _ => None,
    })?;
    let mut parts = map.trim().split('/');
    let name = parts.next().filter(|name| !name.is_empty() && name.len() <= 32)?.to_owned();
    let clock_rate = parts.next()?.parse().ok().filter(|rate| *rate > 0)?;
    let channels = parts.next().and_then(|channels| channels.parse().ok()).unwrap_or(0);
    let fmtp = section.fmtp(payload_type).to_owned();
    Some(Format { payload_type: number, name, clock_rate, channels, fmtp, codec: None })
}

fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// The video codec of a format if this build decodes it in that variant. Levels do not matter: publishers announce
/// one and send another, and the decoder takes them all.
fn decodable(format: &Format, supported: &[VideoCodec]) -> Option<VideoCodec> {
    let codec = match format.name.to_ascii_uppercase().as_str() {
        "VP8" => VideoCodec::Vp8,
        "VP9" => VideoCodec::Vp9,
        "H264" => VideoCodec::H264,
        "AV1" => VideoCodec::Av1,
        _ => return None,
    };
    let variant = match codec {
        VideoCodec::Vp9 => matches!(parameter(&format.fmtp, "profile-id"), None | Some("0")),
        VideoCodec::Av1 => matches!(parameter(&format.fmtp, "profile"), None | Some("0")),
        VideoCodec::H264 => {
            // Baseline, Main and High; the others have more bits or more chroma. RFC 6184 section 8.1 has the
            // defaults.
            let profile = parameter(&format.fmtp, "profile-level-id").unwrap_or("42000a");
            let profile = profile.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            matches!(profile, Some(66 | 77 | 100))
                && matches!(parameter(&format.fmtp, "packetization-mode"), None | Some("0" | "1"))
        }
        VideoCodec::Vp8 => true,
    };
    (format.clock_rate == 90_000 && variant && supported.contains(&codec)).then_some(codec)
}

/// The payload type of what a format repairs.
fn repaired(format: &Format) -> Option<u8> {
    parameter(&format.fmtp, "apt")?.parse().ok()
}

/// The formats whose codec is among `supported`, and what repairs them; `does` says what this build does with those.
fn video_formats(
    section: &Section<'_>,
    supported: &[VideoCodec],
    does: &str,
) -> Result<Vec<Format>, OfferError> {
    let offered: Vec<Format> = section.formats.iter().filter_map(|pt| format(section, pt)).collect();
    let mut kept = Vec::new();
    for mut format in offered.iter().cloned() {
        if kept.iter().any(|k: &Format| k.payload_type == format.payload_type) {
            return Err(malformed("the offer uses one payload type twice"));
        }
        format.codec = decodable(&format, supported);
        if format.codec == Some(VideoCodec::H264) {
            // Made explicit, for the implementation beneath matches only what is.
            for (name, default) in [("packetization-mode", "0"), ("profile-level-id", "42000a")] {
                if parameter(&format.fmtp, name).is_none() {
                    let separator = if format.fmtp.is_empty() { "" } else { ";" };
                    format.fmtp = format!("{}{separator}{name}={default}", format.fmtp);
                }
            }
        }
        let repairs = |kept: &[Format]| kept.iter().any(|k| Some(k.payload_type) == repaired(&format));
        if format.codec.is_some() || (format.name.eq_ignore_ascii_case("rtx") && repairs(&kept)) {
            kept.push(format);
        }
    }
    if kept.is_empty() {
        let mut names: Vec<_> = offered.iter().map(|f| f.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(12);
        let offered = if names.is_empty() { "nothing known".to_owned() } else { names.join(", ") };
        let known: Vec<_> = supported.iter().map(|codec| codec.as_str()).collect();
        return Err(unsupported(format!(
            "the offer's video is {offered}; this build {does} {}",
            if known.is_empty() { "no video codec".to_owned() } else { known.join(", ") },
        )));
    }
    Ok(kept)
}

/// Of `formats` the one to send, of the codec that comes first in `sendable`, and what repairs it.
fn sendable_formats(formats: &[Format], sendable: &[VideoCodec]) -> Option<Vec<Format>> {
    // Packets of mode 0 cannot carry parts of a NAL unit. What is sent is constrained baseline, which decoders of the
    // other profiles take, too.
    let whole = |f: &Format| {
        f.codec != Some(VideoCodec::H264) || parameter(&f.fmtp, "packetization-mode") == Some("1")
    };
    let baseline = |f: &Format| parameter(&f.fmtp, "profile-level-id").is_none_or(|id| id.starts_with("42"));
    let place = |f: &&Format| (sendable.iter().position(|codec| Some(*codec) == f.codec), !baseline(f));
    let takes = |f: &&Format| f.codec.is_some_and(|codec| sendable.contains(&codec)) && whole(f);
    let best = formats.iter().filter(takes).min_by_key(place)?;
    let repairs = |f: &&Format| f.codec.is_none() && repaired(f) == Some(best.payload_type);
    Some([best].into_iter().chain(formats.iter().find(repairs)).cloned().collect())
}

/// Audio is taken and thrown away, so any codec will do.
fn audio_formats(section: &Section<'_>) -> Result<Vec<Format>, OfferError> {
    let mut formats: Vec<Format> = section.formats.iter().filter_map(|pt| format(section, pt)).collect();
    formats.sort_by_key(|format| !format.name.eq_ignore_ascii_case("opus"));
    formats.truncate(8);
    if formats.is_empty() {
        return Err(malformed("the offer has an audio section without a codec"));
    }
    Ok(formats)
}

/// Writes a section with only `formats` left, or with all that it had, and with another `direction` if one is given.
fn write_section(
    out: &mut String,
    section: &Section<'_>,
    formats: Option<&[Format]>,
    direction: Option<&str>,
) {
    out.extend(["m=", section.kind, " ", section.port, " ", section.protocol]);
    match formats {
        Some(formats) => {
            for format in formats {
                out.push_str(&format!(" {}", format.payload_type));
            }
        }
        None => section.formats.iter().for_each(|format| out.extend([" ", format])),
    }
    out.push_str("\r\n");
    for text in &section.lines {
        let about = text.strip_prefix("a=").and_then(|a| a.split_once(':'));
        let dropped = match (formats, about) {
            (Some(_), Some(("rtpmap" | "fmtp", _))) => true,
            (Some(formats), Some(("rtcp-fb", value))) => {
                let payload_type = value.split(' ').next().unwrap_or_default();
                payload_type != "*" && !formats.iter().any(|f| f.payload_type.to_string() == payload_type)
            }
            _ => is_candidate(text) || (direction.is_some() && direction::is_direction(text)),
        };
        if !dropped {
            out.extend(line(text));
        }
    }
    if let Some(direction) = direction {
        out.extend(["a=", direction, "\r\n"]);
    }
    for Format { payload_type, name, clock_rate, channels, fmtp, .. } in formats.unwrap_or_default() {
        let channels = if *channels > 0 { format!("/{channels}") } else { String::new() };
        out.push_str(&format!("a=rtpmap:{payload_type} {name}/{clock_rate}{channels}\r\n"));
        if !fmtp.is_empty() {
            out.push_str(&format!("a=fmtp:{payload_type} {fmtp}\r\n"));
        }
    }
}

#[cfg(test)]
mod tests;

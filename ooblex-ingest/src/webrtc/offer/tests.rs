use super::*;

const ALL: [VideoCodec; 3] = [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::H264];

/// As OBS sends it: no candidates, one H.264 format announced as constrained baseline, Opus, bundled.
const OBS: &str = "v=0\r\n\
    o=rtc 3219458012 0 IN IP4 127.0.0.1\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=group:BUNDLE 0 1\r\n\
    a=group:LS 0 1\r\n\
    a=msid-semantic:WMS *\r\n\
    a=setup:actpass\r\n\
    a=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789ABCDEFGHIJKL\r\n\
    a=ice-options:ice2,trickle\r\n\
    a=fingerprint:sha-256 \
    00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=mid:0\r\n\
    a=sendonly\r\n\
    a=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\n\
    a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=mid:1\r\n\
    a=sendonly\r\n\
    a=rtcp-mux\r\n\
    a=rtpmap:96 H264/90000\r\n\
    a=rtcp-fb:96 nack\r\n\
    a=rtcp-fb:96 nack pli\r\n\
    a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n\
    a=ssrc:123 cname:x\r\n";

fn parse(text: &str) -> Result<Offer, OfferError> {
    Offer::parse(text, &WebRtcConfig::default(), &ALL, None)
}

fn refusal(text: &str) -> OfferError {
    match parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error,
    }
}

/// The offer with other video formats: (payload type, rtpmap, fmtp).
fn with_video(formats: &[(u8, &str, &str)]) -> String {
    let numbers: String = formats.iter().map(|(n, ..)| format!(" {n}")).collect();
    let head = OBS.split("a=rtpmap:96").next().expect("cut").replace("SAVPF 96", &format!("SAVPF{numbers}"));
    let lines = formats.iter().map(|(n, map, fmtp)| {
        let fmtp = if fmtp.is_empty() { String::new() } else { format!("a=fmtp:{n} {fmtp}\r\n") };
        format!("a=rtpmap:{n} {map}\r\na=rtcp-fb:{n} nack\r\n{fmtp}")
    });
    head + &lines.collect::<String>()
}

#[test]
fn an_offer_of_obs_is_taken_as_it_is() {
    let offer = parse(OBS).expect("accepted");
    assert_eq!(offer.video.len(), 1);
    assert_eq!((offer.video[0].payload_type, offer.video[0].codec), (96, Some(VideoCodec::H264)));
    assert_eq!((offer.audio[0].name.as_str(), offer.audio[0].channels), ("opus", 2));
    assert!(offer.candidates.is_empty(), "OBS sends none");
    assert_eq!(offer.credentials.ufrag, "abcd");
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(
        sorted(&offer.text),
        sorted(OBS),
        "nothing is lost, though formats move to the end of their section"
    );
}

#[test]
fn only_what_can_be_decoded_is_left() {
    let text = with_video(&[
        (96, "VP8/90000", ""),
        (97, "rtx/90000", "apt=96"),
        (98, "VP9/90000", "profile-id=0"),
        (99, "rtx/90000", "apt=98"),
        (100, "VP9/90000", "profile-id=2"),
        (101, "rtx/90000", "apt=100"),
        (102, "H264/90000", "packetization-mode=1;profile-level-id=42001f"),
        (103, "H264/90000", "packetization-mode=0;profile-level-id=4d001f"),
        (104, "H264/90000", "packetization-mode=1;profile-level-id=640034"),
        (105, "H264/90000", "packetization-mode=1;profile-level-id=f4001f"),
        (106, "H264/90000", "profile-level-id=42e01f"),
        (107, "H265/90000", "level-id=93"),
        (108, "AV1/90000", ""),
        (109, "red/90000", ""),
        (110, "ulpfec/90000", ""),
        (112, "H264/90000", "packetization-mode=2;profile-level-id=42e01f"),
        (113, "H264/90000", ""),
    ]);
    let offer = parse(&text).expect("accepted");
    let kept: Vec<_> = offer.video.iter().map(|format| format.payload_type).collect();
    assert_eq!(kept, [96, 97, 98, 99, 102, 103, 104, 106, 113]);
    assert!(offer.text.contains("SAVPF 96 97 98 99 102 103 104 106 113\r\n"));
    assert!(!offer.text.contains("rtcp-fb:107") && offer.text.contains("rtcp-fb:104 nack"));
    // What the implementation beneath wants to read is written out.
    assert!(offer.text.contains("a=fmtp:106 profile-level-id=42e01f;packetization-mode=0\r\n"));
    assert!(offer.text.contains("a=fmtp:113 packetization-mode=0;profile-level-id=42000a\r\n"));
    let only = Offer::parse(&text, &WebRtcConfig::default(), &[VideoCodec::Vp9], None).expect("accepted");
    assert_eq!(only.video.iter().map(|format| format.payload_type).collect::<Vec<_>>(), [98, 99]);
}

#[test]
fn an_offer_of_nothing_decodable_says_what_would_be() {
    let text = with_video(&[(96, "H265/90000", ""), (97, "rtx/90000", "apt=96")]);
    let error = refusal(&text);
    assert_eq!(error.to_string(), "the offer's video is H265, rtx; this build decodes VP8, VP9, H264",);
    assert!(matches!(error, OfferError::Unsupported(_)));
    let error = Offer::parse(OBS, &WebRtcConfig::default(), &[], None).err().expect("refused");
    assert!(error.to_string().ends_with("this build decodes no video codec"));
}

#[test]
fn candidates_are_sorted_out() {
    let lines = "a=candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host\r\n\
        a=candidate:2 1 udp 2130706431 6a1c.local 5001 typ host\r\n\
        a=candidate:3 1 tcp 2130706431 192.0.2.1 9 typ host tcptype active\r\n\
        a=candidate:4 2 udp 2130706431 192.0.2.1 5000 typ host\r\n\
        a=candidate:5 1 udp 2130706431 2001:db8::1 5002 typ srflx raddr :: rport 1\r\n\
        a=candidate:6 1 udp 2130706431 192.0.2.1 0 typ host\r\n\
        a=candidate:7 1 udp x 192.0.2.1 7 typ host\r\n\
        a=candidate:8\r\n\
        a=end-of-candidates\r\n";
    let offer = parse(&format!("{OBS}{lines}")).expect("accepted");
    assert_eq!(offer.candidates.len(), 2);
    assert!(offer.candidates[0].contains("192.0.2.1 5000") && offer.candidates[1].contains("2001:db8::1"));
    assert!(!offer.text.contains("candidate"));
    let many: String =
        (1..5_00).map(|n| format!("a=candidate:{n} 1 udp 1 192.0.2.1 {n} typ host\r\n")).collect();
    assert_eq!(parse(&format!("{OBS}{many}")).expect("accepted").candidates.len(), MAX_CANDIDATES);
}

#[test]
fn bad_offers_are_told_what_is_wrong() {
    let cases: [(&str, String, &str); 18] = [
        ("empty", String::new(), "does not begin with v=0"),
        ("binary", format!("v=0\r\n\u{0}\u{1}{OBS}"), "control characters"),
        ("prose", "hello".to_owned(), "does not begin with v=0"),
        ("no sections", OBS.split("m=").next().expect("cut").to_owned(), "no media sections"),
        ("no fingerprint", OBS.replace("a=fingerprint", "a=x"), "no a=fingerprint"),
        ("short fingerprint", OBS.replace(":1E:1F", ":1E"), "fingerprint is broken"),
        ("odd fingerprint", OBS.replace(":1E:1F", ":1E:ZZ"), "fingerprint is broken"),
        ("weak fingerprint", OBS.replace("sha-256", "md5"), "not of SHA-256"),
        ("no ufrag", OBS.replace("a=ice-ufrag", "a=x"), "a=ice-ufrag"),
        ("short pwd", OBS.replace("0123456789ABCDEFGHIJKL", "short"), "a=ice-pwd"),
        ("no mid", OBS.replace("a=mid:1", "a=x"), "without a=mid"),
        ("same mid", OBS.replace("a=mid:1", "a=mid:0"), "one a=mid twice"),
        ("no bundle", OBS.replace("BUNDLE 0 1", "BUNDLE 0"), "do not share one transport"),
        ("nothing sent", OBS.replace("a=sendonly", "a=recvonly"), "no video to receive"),
        ("no video", OBS.split("m=video").next().expect("cut").to_owned(), "no video to receive"),
        ("plain RTP", OBS.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "not one of WebRTC"),
        ("odd section", OBS.replace("m=audio", "m=image"), "neither audio, video nor data"),
        ("odd line", OBS.replace("s=-", "säää"), "not of the form"),
    ];
    for (name, text, why) in cases {
        let error = refusal(&text);
        assert!(error.to_string().contains(why), "{name}: {error}");
        assert!(!matches!(error, OfferError::TooLarge { .. }), "{name}");
    }
    let twice = with_video(&[(96, "VP8/90000", ""), (96, "VP8/90000", "")]);
    assert!(refusal(&twice).to_string().contains("one payload type twice"));
}

#[test]
fn sizes_are_limited() {
    let long = format!("{OBS}{}", "a=x:0123456789\r\n".repeat(5_000));
    assert!(matches!(refusal(&long), OfferError::TooLarge { limit: 65_536, .. }));
    let many: String =
        (2..200).map(|n| format!("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:{n}\r\na=sendonly\r\n")).collect();
    assert!(refusal(&format!("{OBS}{many}")).to_string().contains("more than 16 media sections"));
}

#[test]
fn sections_that_are_switched_off_do_not_matter() {
    let off = OBS.replacen("m=audio 9 ", "m=audio 0 ", 1).replace("opus", "mystery");
    let offer = parse(&off).expect("accepted");
    assert!(offer.audio.is_empty());
    let static_audio = OBS.replace("SAVPF 111", "SAVPF 0 8").replace("a=rtpmap:111 opus/48000/2\r\n", "");
    let offer = parse(&static_audio).expect("accepted");
    assert_eq!(offer.audio.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["PCMU", "PCMA"]);
    assert!(offer.text.contains("a=rtpmap:8 PCMA/8000\r\n"));
}

#[test]
fn a_restart_changes_the_credentials_alone() {
    let offer = parse(OBS).expect("accepted");
    let new = IceCredentials { ufrag: "wxyz".into(), pwd: "zyxwvutsrqponmlkjihgfe".into() };
    let restarted = offer.restarted(new.clone());
    assert_eq!(restarted.credentials, new);
    assert_eq!(
        restarted.text,
        offer.text.replace("abcd", "wxyz").replace("0123456789ABCDEFGHIJKL", "zyxwvutsrqponmlkjihgfe"),
    );
}

#[test]
fn the_orientation_extension_is_found() {
    let extmap = "a=extmap:3/sendonly urn:3gpp:video-orientation\r\na=extmap:4 urn:other\r\n";
    assert_eq!(parse(&format!("{OBS}{extmap}")).expect("accepted").orientation, Some(3));
    assert_eq!(parse(OBS).expect("accepted").orientation, None);
}

#[test]
fn who_begins_the_handshake_is_read_at_either_level() {
    let client = |text: &str| parse(text).expect("accepted").dtls_client;
    assert!(!client(OBS));
    assert!(client(&OBS.replace("setup:actpass", "setup:active")));
    assert!(!client(&OBS.replace("setup:actpass", "setup:passive")));
    assert!(client(&OBS.replace("a=mid:0", "a=setup:active\r\na=mid:0")));
}

fn parse_viewer(text: &str) -> Result<Offer, OfferError> {
    Offer::parse_viewer(text, &WebRtcConfig::default(), &[VideoCodec::Vp8, VideoCodec::H264])
}

#[test]
fn a_viewer_is_sent_the_codec_that_we_prefer_in_the_variant_that_we_send() {
    let offered = |formats: &[(u8, &str, &str)]| with_video(formats).replace("a=sendonly", "a=recvonly");
    let h264 = |mode: u8, profile: &str| format!("packetization-mode={mode};profile-level-id={profile}");
    let (single, main, baseline) = (h264(0, "42e01f"), h264(1, "4d001f"), h264(1, "42e01f"));
    let all = [
        (102, "H264/90000", single.as_str()),
        (103, "H264/90000", main.as_str()),
        (104, "H264/90000", baseline.as_str()),
        (96, "VP8/90000", ""),
        (97, "rtx/90000", "apt=96"),
    ];
    let chosen = |formats: &[(u8, &str, &str)]| {
        let offer = parse_viewer(&offered(formats)).expect("accepted");
        assert!(offer.video.is_empty(), "nothing is received: {:?}", offer.video);
        let rtpmaps = offer.text.matches("a=rtpmap:").count();
        assert_eq!(rtpmaps, 1 + offer.sent.len(), "those and the audio's: {}", offer.text);
        payload_types(&offer.sent)
    };
    assert_eq!(chosen(&all), [96, 97], "VP8 where it is offered, and what repairs it");
    assert_eq!(chosen(&all[..4]), [96]);
    assert_eq!(chosen(&all[..3]), [104], "baseline where it is offered");
    assert_eq!(chosen(&all[..2]), [103], "or what decodes baseline, too");
    let refused = parse_viewer(&offered(&all[..1])).err().expect("refused");
    assert!(refused.to_string().contains("packetization-mode=1"), "{refused}");
    let only_vp9 = parse_viewer(&offered(&[(98, "VP9/90000", "profile-id=0")])).err().expect("refused");
    assert!(only_vp9.to_string().contains("VP9"), "{only_vp9}");
}

#[test]
fn a_viewer_asks_to_receive() {
    let refused = parse_viewer(OBS).err().expect("it sends only");
    assert!(refused.to_string().contains("a=recvonly"), "{refused}");
    let receiving = OBS.replace("a=sendonly", "a=recvonly");
    assert!(parse(&receiving).is_err(), "a publisher has to send");
    // A second video section gets nothing.
    let second = receiving.split("m=video").nth(1).expect("a section").replace("a=mid:1", "a=mid:2");
    let two = format!("{receiving}m=video{second}").replace("BUNDLE 0 1", "BUNDLE 0 1 2");
    let offer = parse_viewer(&two).expect("accepted");
    assert_eq!((offer.sent.len(), offer.text.matches("a=inactive").count()), (1, 1), "{}", offer.text);
    let capture = "a=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time\r\na=ssrc";
    let offer = parse_viewer(&receiving.replace("a=ssrc", capture)).expect("accepted");
    assert_eq!((offer.capture_time, offer.orientation), (Some(7), None));
}

fn payload_types(formats: &[Format]) -> Vec<u8> {
    formats.iter().map(|format| format.payload_type).collect()
}

/// A publisher's offer, of one that may be sent VP8 or H.264.
fn parse_both(text: &str) -> Offer {
    let sendable = [VideoCodec::Vp8, VideoCodec::H264];
    Offer::parse(text, &WebRtcConfig::default(), &ALL, Some(&sendable)).expect("accepted")
}

#[test]
fn a_publisher_that_also_receives_is_sent_one_format_in_one_section() {
    let formats = [
        (98, "VP9/90000", "profile-id=0"),
        (104, "H264/90000", "packetization-mode=1;profile-level-id=42e01f"),
        (105, "rtx/90000", "apt=104"),
    ];
    let sends = with_video(&formats);
    assert!(parse_both(&sends).sent.is_empty(), "it does not ask");
    let both = sends.replace("a=mid:1\r\na=sendonly", "a=mid:1\r\na=sendrecv");
    let offer = parse_both(&both);
    assert_eq!(
        (payload_types(&offer.video), payload_types(&offer.sent)),
        (vec![98, 104, 105], vec![104, 105])
    );
    assert!(parse(&both).expect("accepted").sent.is_empty(), "it may see nothing");
    let not_ours = with_video(&formats[..1]).replace("a=mid:1\r\na=sendonly", "a=mid:1\r\na=sendrecv");
    let offer = parse_both(&not_ours);
    assert!(offer.sent.is_empty() && !offer.text.contains("a=sendrecv"), "{}", offer.text);
    // A section of its own for what comes back: the other one is not taken for it, whatever it says.
    let video = |section: &str, mid: u8, direction: &str| {
        let section = section.replace("a=mid:1", &format!("a=mid:{mid}"));
        format!("m=video{}", section.replace("a=sendonly", direction))
    };
    let (head, section) = sends.split_once("m=video").expect("a section");
    let head = head.replace("BUNDLE 0 1", "BUNDLE 0 1 2");
    let two = [head.clone(), video(section, 1, "a=sendonly"), video(section, 2, "a=recvonly")].concat();
    let offer = parse_both(&two);
    assert_eq!(
        (payload_types(&offer.video), payload_types(&offer.sent)),
        (vec![98, 104, 105], vec![104, 105])
    );
    let two = [head, video(section, 1, "a=recvonly"), video(section, 2, "a=sendrecv")].concat();
    let text = parse_both(&two).text;
    assert_eq!((text.matches("a=recvonly").count(), text.matches("a=sendrecv").count()), (1, 0), "{text}");
}

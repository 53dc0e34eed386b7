//! Offers as peers write them, and ones that no peer should.

/// An offer to send VP8 and H.264 with everything that a peer must say, and without candidates. Nobody is behind it.
pub fn offer() -> String {
    let lines = [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 102",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789abcdef01234567",
        "a=fingerprint:sha-256 1F:2E:3D:4C:5B:6A:79:88:97:A6:B5:C4:D3:E2:F1:00:1F:2E:3D:4C:5B:6A:79:88:97:A6:B5:C4:D3:E2:F1:00",
        "a=setup:actpass",
        "a=mid:0",
        "a=sendonly",
        "a=rtcp-mux",
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 nack pli",
        "a=rtpmap:102 H264/90000",
        "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "a=ssrc:1001 cname:nobody",
        "",
    ];
    lines.join("\r\n")
}

/// [`offer`] without the lines that begin with one of these.
pub fn without(beginnings: &[&str]) -> String {
    let kept = |line: &&str| !beginnings.iter().any(|beginning| line.starts_with(beginning));
    offer().split("\r\n").filter(kept).collect::<Vec<_>>().join("\r\n")
}

/// [`offer`] with so many media sections.
pub fn with_sections(count: usize) -> String {
    let whole = offer();
    let (head, section) = whole.split_at(whole.find("m=video").expect("a section"));
    let mids: Vec<String> = (0..count).map(|mid| mid.to_string()).collect();
    let mut text = head.replace("BUNDLE 0", &format!("BUNDLE {}", mids.join(" ")));
    for mid in mids {
        text += &section.replace("a=mid:0", &format!("a=mid:{mid}"));
    }
    text
}

/// [`offer`] of codecs that nobody decodes.
pub fn of_odd_codecs() -> String {
    offer().replace("VP8/90000", "H263/90000").replace("H264/90000", "theora/90000")
}

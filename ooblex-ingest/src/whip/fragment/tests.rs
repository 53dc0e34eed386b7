use proptest::prelude::*;

use super::*;

const PAIR: &str = "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n";
const HOST: &str = "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host";

fn parse(text: &str) -> Result<Fragment, FragmentError> {
    parse_fragment(text.as_bytes())
}

fn line(line: usize, what: &'static str) -> FragmentError {
    FragmentError::Line { line, what }
}

#[test]
fn the_example_of_the_standard_is_read() {
    let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n\
        a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw\r\n\
        a=end-of-candidates\r\n";
    let fragment = parse(text).expect("a fragment");
    let credentials = fragment.credentials.expect("credentials");
    assert_eq!((credentials.ufrag.as_str(), credentials.pwd.as_str()), ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"));
    assert!(fragment.end_of_candidates);
    assert_eq!(fragment.candidates.len(), 2);
    let TrickledCandidate { mid, candidate } = &fragment.candidates[0];
    assert_eq!(mid.as_deref(), Some("0"));
    assert!(candidate.starts_with("candidate:1387637174 1 udp") && candidate.ends_with("network-id 1"));
}

#[test]
fn a_restart_may_be_credentials_alone() {
    let fragment = parse("a=ice-ufrag:ysXw\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\n").expect("a fragment");
    assert_eq!(fragment.credentials.map(|c| c.ufrag).as_deref(), Some("ysXw"));
    assert!(fragment.candidates.is_empty() && !fragment.end_of_candidates);
}

#[test]
fn a_whole_description_is_a_fragment_too_and_repeated_candidates_count_once() {
    let media = |kind, mid| {
        format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n{PAIR}a=mid:{mid}\r\na=rtcp-mux\r\n\
             a={HOST}\r\na={HOST}\r\na=end-of-candidates\r\n"
        )
    };
    let text = format!(
        "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{}{}",
        media("audio", 0),
        media("video", 1)
    );
    let fragment = parse(&text).expect("a description");
    let once = TrickledCandidate { mid: Some("0".to_owned()), candidate: HOST.to_owned() };
    assert_eq!(fragment.candidates, [once]);
}

#[test]
fn candidates_without_a_media_line_are_taken() {
    let fragment = parse(&format!("a={HOST}\n\n")).expect("a fragment");
    assert_eq!(fragment.candidates[0].mid, None);
    // A `mid` may come after its candidates, and IPv6, names and unknown types are candidates.
    let odd = "m=video 9 RTP/AVP 0\na=candidate:a/+ 256 TCP 0 2001:db8::1 0 typ odd\n\
        a=candidate:1 1 udp 4294967295 3f2a0fb1.local 65535 typ host raddr 0.0.0.0 rport 9\na=mid:x\n";
    let fragment = parse(odd).expect("a fragment");
    assert_eq!(fragment.candidates.iter().filter(|c| c.mid.as_deref() == Some("x")).count(), 2);
}

#[test]
fn candidates_of_another_generation_are_left_out() {
    let with = |ufrag: &str| format!("{PAIR}m=audio 9 RTP/AVP 0\na={HOST} generation 0 ufrag {ufrag}\n");
    assert_eq!(parse(&with("EsAw")).expect("a fragment").candidates.len(), 1);
    assert_eq!(parse(&with("Old1")).expect("a fragment").candidates.len(), 0);
    let alone = format!("m=audio 9 RTP/AVP 0\na={HOST} generation 0 ufrag Old1\n");
    assert_eq!(parse(&alone).expect("a fragment").candidates.len(), 1, "there is nothing to compare with");
}

#[test]
fn the_answer_to_a_restart_is_a_fragment() {
    let restarted = Restarted {
        credentials: IceCredentials { ufrag: "289b".to_owned(), pwd: "0b66f472495ef0ccac7bda65".to_owned() },
        media: "video 9 UDP/TLS/RTP/SAVPF 96".to_owned(),
        mid: "1".to_owned(),
        candidates: vec![HOST.to_owned()],
        etag: "\"x\"".to_owned(),
    };
    let text = print_fragment(&restarted);
    let expected = format!(
        "a=ice-ufrag:289b\r\na=ice-pwd:0b66f472495ef0ccac7bda65\r\nm=video 9 RTP/AVP 0\r\na=mid:1\r\na={HOST}\r\n\
         a=end-of-candidates\r\n"
    );
    assert_eq!(text, expected);
    assert_eq!(parse(&text).expect("a fragment").credentials, Some(restarted.credentials));
}

#[test]
fn what_is_malformed_is_refused_with_its_line() {
    let candidate = |value: &str| parse(&format!("m=audio 9 RTP/AVP 0\na=candidate:{value}\n"));
    for (text, error) in [
        ("", FragmentError::Empty),
        ("\r\n \r\n", FragmentError::Empty),
        ("hello", line(1, "not of the form x=value")),
        ("{\"candidate\":\"x=\"}", line(1, "not of the form x=value")),
        ("a=mid:0\n=x", line(2, "not of the form x=value")),
        ("A=mid:0", line(1, "not of the form x=value")),
        ("a=mid:\0", line(1, "a control character")),
        ("m=", line(1, "m= without a kind of media")),
        ("a=mid:", line(1, "mid is not a token")),
        ("a=mid:0\na=mid:1", line(2, "a second mid in one section")),
        ("a=ice-ufrag:EsA", line(1, "ice-ufrag is not 4 to 256 ice-chars")),
        ("a=ice-ufrag:Es-w", line(1, "ice-ufrag is not 4 to 256 ice-chars")),
        ("a=ice-pwd:short", line(1, "ice-pwd is not 22 to 256 ice-chars")),
        ("a=ice-ufrag:EsAw\na=ice-ufrag:EsAx", line(2, "a second, different ice-ufrag")),
        ("a=ice-ufrag:EsAw", FragmentError::HalfCredentials { present: "ice-ufrag" }),
        ("a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", FragmentError::HalfCredentials { present: "ice-pwd" }),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
    assert_eq!(parse_fragment(b"a=mid:\xFF"), Err(line(1, "not UTF-8")));
    for (value, what) in [
        ("", "candidate without a foundation"),
        ("- 1 udp 1 192.0.2.1 1 typ host", "the candidate's foundation is not 1 to 32 ice-chars"),
        ("1 x udp 1 192.0.2.1 1 typ host", "the candidate's component is not a number up to 256"),
        ("1 257 udp 1 192.0.2.1 1 typ host", "the candidate's component is not a number up to 256"),
        ("1 1 u/p 1 192.0.2.1 1 typ host", "the candidate's transport is not a token"),
        (
            "1 1 udp 4294967296 192.0.2.1 1 typ host",
            "the candidate's priority is not a number up to 4294967295",
        ),
        ("1 1 udp 1  1 typ host", "candidate without an address"),
        ("1 1 udp 1 192.0.2.1 65536 typ host", "the candidate's port is not a number up to 65535"),
        ("1 1 udp 1 192.0.2.1 +1 typ host", "the candidate's port is not a number up to 65535"),
        ("1 1 udp 1 192.0.2.1 1 host", "the candidate's port is not followed by typ"),
        ("1 1 udp 1 192.0.2.1 1 typ", "candidate without a type"),
    ] {
        assert_eq!(candidate(value), Err(line(2, what)), "{value:?}");
    }
}

#[test]
fn sizes_are_bounded() {
    let too_long = "a=x:".to_owned() + &"y".repeat(MAX_BYTES);
    assert_eq!(parse(&too_long), Err(FragmentError::TooLarge { bytes: too_long.len() }));
    let many = |what, limit| Err(FragmentError::TooMany { line: limit + 1, what, limit });
    let media = |n: usize| "m=audio 9 RTP/AVP 0\n".repeat(n);
    assert!(parse(&media(MAX_SECTIONS)).is_ok());
    assert_eq!(parse(&media(MAX_SECTIONS + 1)), many("m= line", MAX_SECTIONS));
    let lines = |n: usize| {
        (0..n).map(|i| format!("a=candidate:{i} 1 udp 1 192.0.2.1 1 typ host\n")).collect::<String>()
    };
    assert_eq!(parse(&lines(MAX_CANDIDATES + 1)), many("candidate", MAX_CANDIDATES));
    assert_eq!(parse(&lines(MAX_CANDIDATES)).expect("within").candidates.len(), MAX_CANDIDATES);
    let wide = format!("a=x:{}", "y".repeat(MAX_LINE));
    assert_eq!(
        parse(&wide),
        Err(FragmentError::TooMany { line: 1, what: "byte in a line", limit: MAX_LINE })
    );
}

#[test]
fn errors_do_not_repeat_the_text() {
    for bad in ["a=ice-pwd:secret-with-a-dash-in-it", "a=candidate:secret 1", "secret"] {
        let shown = parse(bad).expect_err("malformed").to_string();
        assert!(!shown.contains("secret"), "{shown}");
    }
}

fn ice_chars(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(b"abcXYZ019+/".to_vec()), length)
        .prop_map(|bytes| bytes.into_iter().map(char::from).collect())
}

fn candidate() -> impl Strategy<Value = String> {
    let address = prop_oneof![Just("192.0.2.1"), Just("2001:db8::1"), Just("a-b-c.local")];
    let tail = prop_oneof![Just(""), Just(" raddr 0.0.0.0 rport 9"), Just(" generation 0 network-id 1")];
    (ice_chars(1..33), 0u32..257, any::<u32>(), address, any::<u16>(), tail).prop_map(
        |(foundation, component, priority, address, port, tail)| {
            format!("{foundation} {component} udp {priority} {address} {port} typ host{tail}")
        },
    )
}

proptest! {
    #[test]
    fn what_is_well_formed_is_read_in_full(
        (ufrag, pwd) in (ice_chars(4..257), ice_chars(22..257)),
        sections in prop::collection::vec(
            ("[a-z]{1,11}", "[!#-'*+.0-9A-Z^-~-]{1,8}", prop::collection::vec(candidate(), 0..5)),
            1..4,
        ),
        end in any::<bool>(),
    ) {
        let mut text = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        let mut expected: Vec<TrickledCandidate> = Vec::new();
        for (media, mid, candidates) in sections {
            text += &format!("m={media} 9 RTP/AVP 0\r\na=mid:{mid}\r\n");
            for candidate in candidates {
                text += &format!("a=candidate:{candidate}\r\n");
                let candidate = format!("candidate:{candidate}");
                if !expected.iter().any(|c| c.candidate == candidate) {
                    expected.push(TrickledCandidate { mid: Some(mid.clone()), candidate });
                }
            }
        }
        if end {
            text += "a=end-of-candidates\r\n";
        }
        let credentials = Some(IceCredentials { ufrag, pwd });
        let expected = Fragment { credentials, candidates: expected, end_of_candidates: end };
        prop_assert_eq!(parse(&text), Ok(expected));
        fuzz_fragment(text.as_bytes());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        fuzz_fragment(&bytes);
    }

    #[test]
    fn no_damaged_fragment_panics(
        at in 0usize..300,
        damage in prop::collection::vec(prop::sample::select(b"a=m:\r\n 0x\xFF".to_vec()), 0..8),
        cut in 0usize..8,
    ) {
        let text = format!("{PAIR}m=audio 9 RTP/AVP 0\na=mid:0\na={HOST} ufrag EsAw\na=end-of-candidates\n");
        let mut bytes = text.into_bytes();
        let at = at.min(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, damage);
        fuzz_fragment(&bytes);
    }
}

use super::*;
use crate::config::TunnelChoice;

const PUBLISH: &str = "publish-publish-1";
const VIEW: &str = "view-view-view-1";
const CONTROL: &str = "control-control-1";

fn access(publish: bool, view: bool, control: bool) -> Access {
    let token = |on: bool, text: &str| on.then(|| Token::new(text).expect("a token"));
    Access::new(&Config {
        publish_token: token(publish, PUBLISH),
        view_token: token(view, VIEW),
        control_token: token(control, CONTROL),
        ..Config::default()
    })
}

fn credentials(headers: &[(&str, &str)], uri: &str) -> Credentials {
    let mut request = http::Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Credentials::take(&mut request.body(axum::body::Body::empty()).expect("a request")).0
}

fn bearer(token: &str) -> Credentials {
    credentials(&[("authorization", &format!("Bearer {token}"))], "/")
}

fn address() -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))
}

/// What a request may do, as letters: v, p, c.
fn may(access: &Access, credentials: &Credentials) -> String {
    let identity = access.identify(credentials, address(), None, Instant::now()).expect("not limited");
    let letters = [(Right::View, 'v'), (Right::Publish, 'p'), (Right::Control, 'c')];
    letters.into_iter().filter(|(right, _)| identity.rights.allow(*right)).map(|(_, letter)| letter).collect()
}

#[test]
fn each_set_of_tokens_guards_what_the_documentation_says() {
    let none = Credentials::default;
    // Tokens set: publish, view, control; what nobody, and the holders of publish, view and control, may do.
    for (set, [nobody, publish, view, control]) in [
        ([false, false, false], ["vpc", "vpc", "vpc", "vpc"]),
        ([true, false, false], ["v", "vpc", "v", "v"]),
        ([false, true, false], ["p", "p", "vpc", "p"]),
        ([false, false, true], ["vp", "vp", "vp", "vpc"]),
        ([true, true, false], ["", "pc", "v", ""]),
        ([true, false, true], ["v", "vp", "v", "vpc"]),
        ([false, true, true], ["p", "p", "vp", "vpc"]),
        ([true, true, true], ["", "p", "v", "vpc"]),
    ] {
        let access = access(set[0], set[1], set[2]);
        assert_eq!(access.is_guarded(), set.contains(&true));
        let found = [none(), bearer(PUBLISH), bearer(VIEW), bearer(CONTROL)].map(|c| may(&access, &c));
        assert_eq!(found, [nobody, publish, view, control], "{set:?}");
    }
}

#[test]
fn a_query_gives_the_right_to_view_alone_and_tokens_add_up() {
    let access = access(true, true, true);
    assert_eq!(may(&access, &credentials(&[], &format!("/?token={CONTROL}"))), "v");
    assert_eq!(may(&access, &credentials(&[], &format!("/?token={VIEW}"))), "v");
    assert_eq!(may(&access, &credentials(&[], &format!("/?token={PUBLISH}"))), "");
    let cookie = format!("{COOKIE}={VIEW}");
    let both = credentials(&[("cookie", &cookie)], &format!("/t/{PUBLISH}/"));
    assert_eq!(may(&access, &both), "vp");
    let stale = credentials(&[("cookie", "ooblex_token=of-long-ago-1234")], &format!("/t/{PUBLISH}/"));
    let identity = access.identify(&stale, address(), None, Instant::now()).expect("not limited");
    assert!(identity.recognized && identity.stale_cookie);
}

#[test]
fn refusals_say_what_is_missing_and_never_the_token() {
    let access = access(true, true, true);
    let query = credentials(&[], &format!("/?token={CONTROL}"));
    for (credentials, status, code, challenge) in [
        (Credentials::default(), 401, "token_required", "Bearer realm=\"ooblex\""),
        (
            bearer("wrong-wrong-wrong-1"),
            401,
            "token_wrong",
            "Bearer realm=\"ooblex\", error=\"invalid_token\"",
        ),
        (bearer(VIEW), 403, "right_missing", "Bearer realm=\"ooblex\", error=\"insufficient_scope\""),
        (query, 403, "right_missing", "Bearer realm=\"ooblex\", error=\"insufficient_scope\""),
    ] {
        let identity = access.identify(&credentials, address(), None, Instant::now()).expect("not limited");
        assert!(!identity.rights.allow(Right::Publish));
        let (problem, header) = refusal(Right::Publish, &identity, &credentials);
        assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
        assert_eq!(header, challenge);
        for token in [PUBLISH, VIEW, CONTROL, "wrong-wrong"] {
            assert!(!problem.to_json().contains(token), "{}", problem.to_json());
        }
    }
}

#[test]
fn guessing_is_slowed_down_and_a_right_token_does_not_tell_then() {
    let (access, now) = (access(true, true, true), Instant::now());
    for n in 0..20 {
        let guess = bearer(&format!("guess-guess-guess-{n}"));
        assert!(!access.identify(&guess, address(), None, now).expect("not yet").recognized);
    }
    let right = access.identify(&bearer(CONTROL), address(), None, now).expect_err("not looked at");
    assert_eq!((right.status().as_u16(), right.code()), (429, "too_many_attempts"));
    access.identify(&Credentials::default(), address(), None, now).expect("no token is no guess");
}

#[test]
fn a_publisher_is_known_by_its_token_wherever_it_comes_from() {
    let access = access(true, false, false);
    let of = |credentials: &Credentials, last: u8| {
        let from = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
        access
            .identify(credentials, from, None, Instant::now())
            .expect("not limited")
            .caller
            .expect("a caller")
    };
    assert_eq!(of(&bearer(PUBLISH), 1).publisher, of(&bearer(PUBLISH), 2).publisher);
    let none = Credentials::default();
    assert_ne!(of(&none, 1).publisher, of(&none, 2).publisher);
    assert_ne!(of(&none, 1).publisher, of(&bearer(PUBLISH), 1).publisher);
    assert_eq!(of(&bearer(PUBLISH), 2).address.to_string(), "192.0.2.2");
}

#[test]
fn what_strangers_may_do_is_said() {
    let at = |bind: &str| Config { bind: bind.parse().expect("an address"), ..Config::default() };
    let says = |a: Access, bind: &str| a.exposure(&at(bind));
    assert_eq!(
        says(access(false, false, false), "0.0.0.0").expect("exposed"),
        "everybody who reaches 0.0.0.0 can watch, publish and change effects"
    );
    assert_eq!(
        says(access(true, false, false), "::").expect("exposed"),
        "everybody who reaches :: can watch"
    );
    assert_eq!(says(access(true, true, true), "0.0.0.0"), None);
    assert_eq!(says(access(false, false, false), "127.0.0.1"), None);
    assert_eq!(says(access(false, false, false), "::ffff:127.0.0.1"), None);
    let tunnelled = Config { tunnel: TunnelChoice::Cloudflared, ..at("127.0.0.1") };
    assert_eq!(
        access(true, true, false).exposure(&tunnelled),
        None,
        "who may watch and publish by tokens may change effects by them, too"
    );
    assert_eq!(
        access(false, false, false).exposure(&tunnelled).expect("exposed"),
        "everybody who reaches the tunnel can watch, publish and change effects"
    );
}

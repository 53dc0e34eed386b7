//! Publishing from pages of other origins, and what `OPTIONS` says.

use ooblex_ingest::ice::IceServer;
use ooblex_ingest::whip::{Cors, WhipConfig};

use crate::server::{OBS, SDP, Server, config};

const ORIGIN: &str = "Origin: https://studio.example\r\n";
const ASK: &str = "Origin: https://studio.example\r\nAccess-Control-Request-Method: PATCH\r\n\
    Access-Control-Request-Headers: authorization, content-type, if-match\r\n";
const SESSION: &str = "/whip/sessions/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn server(cors: Cors) -> Server {
    let mut whip = WhipConfig::default();
    whip.cors = cors;
    let ice = ["stun:stun.example:3478", "turn:turn.example:3478,user,secret"];
    let ice = ice.map(|s| s.parse::<IceServer>().expect("a server")).to_vec();
    let mut config = config();
    config.gather_timeout = std::time::Duration::from_millis(50);
    Server::with(whip, config, ice, |router| router).await
}

#[tokio::test]
async fn options_tell_methods_and_media_types_to_everybody() {
    let server = server(Cors::Off).await;
    for (path, allow, post, patch) in [
        ("/whip", "POST, OPTIONS", Some("application/sdp"), None),
        ("/whip/cam", "POST, OPTIONS", Some("application/sdp"), None),
        (SESSION, "PATCH, DELETE, OPTIONS", None, Some("application/trickle-ice-sdpfrag")),
        ("/webrtc/offer", "POST, OPTIONS", Some("application/json"), None),
        ("/offer", "POST, OPTIONS", Some("application/json"), None),
    ] {
        let answer = server.send("OPTIONS", path, ORIGIN, b"").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        assert_eq!(answer.header("allow"), Some(allow));
        assert_eq!((answer.header("accept-post"), answer.header("accept-patch")), (post, patch), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let links = server.send("OPTIONS", "/whip", "", b"").await;
    assert_eq!(
        links.all("link"),
        ["<stun:stun.example:3478>; rel=\"ice-server\""],
        "no credentials for everybody"
    );
    assert!(server.send("OPTIONS", "/whip", ASK, b"").await.all("link").is_empty(), "not in a preflight");
}

#[tokio::test]
async fn allowed_pages_may_publish() {
    for (cors, origin) in [
        (Cors::Any, "*"),
        (Cors::Origins(vec!["https://studio.example".to_owned()]), "https://studio.example"),
    ] {
        let server = server(cors).await;
        let preflight = server.send("OPTIONS", SESSION, ASK, b"").await;
        assert_eq!(preflight.status, 200);
        assert_eq!(preflight.header("access-control-allow-origin"), Some(origin));
        assert_eq!(preflight.header("access-control-allow-methods"), Some("PATCH, DELETE, OPTIONS"));
        let sent = preflight.header("access-control-allow-headers").expect("headers").to_lowercase();
        for name in ["content-type", "authorization", "if-match"] {
            assert!(sent.split(", ").any(|s| s == name), "{name} is not among {sent}");
        }
        let created = server.send("POST", "/whip", &format!("{SDP}{ORIGIN}"), OBS.as_bytes()).await;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(created.header("access-control-allow-origin"), Some(origin));
        let exposed = created.header("access-control-expose-headers").expect("headers").to_lowercase();
        for name in ["location", "link", "etag"] {
            assert!(exposed.split(", ").any(|s| s == name), "{name} is not among {exposed}");
        }
        // A page must be able to read why it was refused, too.
        let refused = server.send("POST", "/whip", ORIGIN, OBS.as_bytes()).await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (415, Some(origin)));
    }
}

#[tokio::test]
async fn other_pages_may_not() {
    let server = server(Cors::Origins(vec!["https://other.example".to_owned()])).await;
    let answer = server.send("OPTIONS", SESSION, ASK, b"").await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("access-control-allow-methods"), None);
    assert_eq!(answer.header("vary"), Some("Origin"), "caches must not mix the two");
}

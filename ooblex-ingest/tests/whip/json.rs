//! `POST /webrtc/offer` and its alias.

use serde_json::{Value, json};

use crate::publisher::{Codec, Pattern, Publisher};
use crate::server::{OBS, Server, until};

async fn post(server: &Server, path: &str, body: &Value) -> crate::server::Answer {
    server.send("POST", path, "Content-Type: application/json\r\n", body.to_string().as_bytes()).await
}

#[tokio::test]
async fn an_offer_in_json_brings_pictures_and_its_model_is_honoured() {
    let server = Server::start().await;
    let mut publisher = Publisher::new(Codec::H264).await;
    let offer = json!({"sdp": publisher.offer().await, "type": "offer", "model": "blur", "stream": "cam"});
    let answer = post(&server, "/webrtc/offer", &offer).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    let value: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(value["type"], "answer");
    assert_eq!(*server.chosen.0.lock().expect("lock"), [("cam".to_owned(), "blur".to_owned())]);
    publisher.accept(value["sdp"].as_str().expect("an answer")).await;
    publisher.connected().await;
    let mut pattern = Pattern::new(320, 240);
    publisher.send(&pattern.unit()).await;
    until("a picture", || server.sinks.frames("cam") > 0).await;

    // The name of the connection ends it like a WHIP session.
    let session = format!("/whip/sessions/{}", value["pc_id"].as_str().expect("a name"));
    assert_eq!(server.send("DELETE", &session, "", b"").await.status, 200);
    assert!(server.webrtc.sessions().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_an_offer_in_json() {
    let server = Server::start().await;
    let offer = |more: Value| {
        let mut offer = json!({"sdp": OBS, "type": "offer"});
        offer.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        offer
    };
    for (path, body, status, code, field) in [
        ("/offer", json!([]), 400, "wrong_type", "body"),
        ("/offer", json!({"type": "offer"}), 400, "missing_key", "sdp"),
        ("/webrtc/offer", json!({"sdp": OBS}), 400, "missing_key", "type"),
        ("/offer", offer(json!({"type": "answer"})), 422, "not_an_offer", "type"),
        ("/offer", offer(json!({"sdp": {}})), 400, "wrong_type", "sdp"),
        ("/offer", offer(json!({"sdp": "hello"})), 400, "bad_offer", "sdp"),
        ("/offer", offer(json!({"sdp": "v".repeat(70_000)})), 413, "offer_too_large", "sdp"),
        ("/offer", offer(json!({"model": "nosuch"})), 404, "unknown_effect", "effect"),
        ("/offer?effect=nosuch", offer(json!({})), 404, "unknown_effect", "effect"),
        ("/offer", offer(json!({"stream": "a b"})), 400, "bad_name", "stream"),
        ("/offer?stream=b", offer(json!({"stream": "a"})), 400, "two_names", "stream"),
        ("/offer", json!({"sdp": "v".repeat(200_000), "type": "offer"}), 413, "body_too_large", "body"),
    ] {
        let answer = post(&server, path, &body).await;
        assert_eq!(answer.expect(status, code)["field"], field, "{answer:?}");
    }
    for (body, code) in [("", "empty_body"), ("v=0", "malformed_json"), ("{\"sdp\":", "malformed_json")] {
        server.send("POST", "/offer", "", body.as_bytes()).await.expect(400, code);
    }
    assert!(server.webrtc.sessions().is_empty() && server.chosen.0.lock().expect("lock").is_empty());
}

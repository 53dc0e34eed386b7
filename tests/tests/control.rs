//! Listing, choosing and tuning effects.

use ooblex_tests::http::send;
use ooblex_tests::jpeg;
use ooblex_tests::problem::expect_problem;
use ooblex_tests::server::Server;
use ooblex_tests::wait_for;
use serde_json::json;

use crate::{marked, shown};

const EFFECTS: [&str; 14] = [
    "none",
    "edge_detection",
    "cartoon",
    "grayscale",
    "sepia",
    "blur",
    "pixelate",
    "invert",
    "mirror",
    "emboss",
    "sketch",
    "sharpen",
    "vintage",
    "denoise",
];

#[test]
fn effects_are_listed_with_descriptions_and_parameters() {
    let server = Server::start(&[]);
    let list = server.json("/effects");
    let list = list.as_object().expect("an object");
    for name in EFFECTS {
        let description = list.get(name).and_then(|text| text.as_str()).unwrap_or_default();
        assert!(description.len() > 5, "{name}: {description:?}");
    }
    let full = server.json("/effects?detail=full");
    let full = full.as_array().expect("an array");
    assert_eq!(full.len(), list.len());
    for effect in full {
        let name = effect["name"].as_str().unwrap();
        assert_eq!(effect["description"], list[name]);
        assert!(
            effect["aliases"].is_array() && effect["needs_model"] == effect["model"].is_string(),
            "{effect}"
        );
        for parameter in effect["parameters"].as_array().expect("an array") {
            for member in ["name", "type", "min", "max", "default", "unit"] {
                assert!(parameter.get(member).is_some(), "{name}: {parameter} has no {member}");
            }
            if let (Some(min), Some(max), Some(default)) =
                (parameter["min"].as_f64(), parameter["max"].as_f64(), parameter["default"].as_f64())
            {
                assert!(min <= default && default <= max, "{name}: {parameter}");
            }
        }
    }
    let needs_model = |name: &str| full.iter().find(|e| e["name"] == name).unwrap()["needs_model"] == true;
    assert!(needs_model("face_detection") && !needs_model("edge_detection"));
    let edges = full.iter().find(|effect| effect["name"] == "edge_detection").unwrap();
    let default = |name: &str| {
        let parameters = edges["parameters"].as_array().unwrap();
        parameters
            .iter()
            .find(|parameter| parameter["name"] == name)
            .map(|parameter| parameter["default"].clone())
    };
    assert_eq!(
        (default("low").unwrap().as_f64(), default("high").unwrap().as_f64()),
        (Some(100.0), Some(200.0))
    );
    expect_problem(&server.get("/effects?detail=some"), 422);
}

#[test]
fn every_effect_and_alias_runs_and_changes_the_picture() {
    let server = Server::start(&[]);
    let sent = marked(1, 1);
    server.upload("cam", &sent);
    let full = server.json("/effects?detail=full");
    for effect in full.as_array().unwrap() {
        let name = effect["name"].as_str().unwrap();
        let aliases = effect["aliases"].as_array().unwrap().iter().map(|alias| alias.as_str().unwrap());
        for name in std::iter::once(name).chain(aliases) {
            let answer = server.post_json("/effect", &json!({ "effect": name })).expect(200).json();
            assert_eq!(answer["stream"], json!(null));
            let running = || server.json("/status")["streams"][0]["effect_state"] == "running";
            wait_for(name, || running().then_some(()));
            let sequence = server.upload("cam", &sent);
            let seen = shown(&server, "cam", sequence);
            let picture = jpeg::decode(&seen);
            assert_eq!((picture.width, picture.height), (320, 240), "{name}");
            // There is nobody in the picture whom a model could find.
            let same = ["none", "overlay"].contains(&effect["name"].as_str().unwrap());
            assert!(seen == sent || !same, "{name}");
            assert!(seen != sent || same || effect["needs_model"] == true, "{name}");
        }
    }
}

#[test]
fn an_effect_is_set_for_all_streams_and_later_ones() {
    let server = Server::start(&[]);
    server.upload("one", &marked(1, 1));
    let answer = server.post_json("/effect", &json!({ "effect": "grayscale" })).expect(200).json();
    assert_eq!((&answer["stream"], &answer["effect"]), (&json!(null), &json!("grayscale")));
    assert!(answer["generation"].is_u64());
    server.upload("later", &marked(2, 1));
    for stream in ["one", "later"] {
        let sequence = server.upload(stream, &marked(1, 2));
        assert!(jpeg::decode(&shown(&server, stream, sequence)).colourfulness() < 3.0, "{stream}");
        assert_eq!(server.stream(stream).unwrap()["effect"], "grayscale");
    }
    assert_eq!(server.json("/status")["effect"], "grayscale");
}

#[test]
fn an_effect_of_one_stream_leaves_the_others_alone() {
    let server = Server::start(&[]);
    server.upload("one", &marked(1, 1));
    server.upload("two", &marked(2, 1));
    let answer = server.set_effect("one", "grayscale");
    assert_eq!((&answer["stream"], &answer["effect"]), (&json!("one"), &json!("grayscale")));
    let again = server.set_effect("one", "sepia");
    assert!(again["generation"].as_u64() > answer["generation"].as_u64(), "{answer} {again}");
    server.set_effect("one", "grayscale");
    let sequence = server.upload("one", &marked(1, 2));
    assert!(jpeg::decode(&shown(&server, "one", sequence)).colourfulness() < 3.0);
    let sequence = server.upload("two", &marked(2, 2));
    assert_eq!(shown(&server, "two", sequence), marked(2, 2), "untouched");
    expect_problem(&server.post_json("/streams/nobody/effect", &json!({ "effect": "none" })), 404);
}

#[test]
fn chains_are_joined_by_any_of_three_signs() {
    let server = Server::start(&[]);
    let mut pictures = Vec::new();
    for (number, chain) in
        ["invert|grayscale", "invert+grayscale", "invert grayscale", "invert | grayscale"].iter().enumerate()
    {
        let answer = server.post_json("/effect", &json!({ "effect": chain })).expect(200).json();
        assert_eq!(answer["effect"], "invert|grayscale", "{chain}");
        let sequence = server.upload(&format!("c{number}"), &marked(1, 1));
        pictures.push(shown(&server, &format!("c{number}"), sequence));
    }
    assert!(pictures.iter().all(|picture| *picture == pictures[0]));
    let mut picture = jpeg::decode(&pictures[0]);
    assert!(picture.colourfulness() < 3.0);
    picture.data.iter_mut().for_each(|value| *value = 255 - *value);
    assert!(picture.mark().is_some());
    // `model_name` and `model` are the same word for this.
    for member in ["model", "model_name"] {
        let answer = server.post_json("/effect", &json!({ member: "sepia|mirror" })).expect(200).json();
        assert_eq!(answer["effect"], "sepia|mirror", "{member}");
    }
}

#[test]
fn parameters_reach_the_effect_and_are_checked() {
    let server = Server::start(&[]);
    let set = |params: serde_json::Value| {
        server.post_json("/effect", &json!({ "effect": "pixelate", "params": params }))
    };
    let full = server.json("/effects?detail=full");
    let pixelate = full.as_array().unwrap().iter().find(|effect| effect["name"] == "pixelate").unwrap();
    let parameter = &pixelate["parameters"][0];
    let name = parameter["name"].as_str().unwrap();
    let mut sizes = Vec::new();
    for value in [4, 40] {
        set(json!({ "pixelate": { name: value } })).expect(200);
        let sequence = server.upload("cam", &marked(1, 1));
        sizes.push(shown(&server, "cam", sequence));
    }
    assert_ne!(sizes[0], sizes[1]);

    let above = parameter["max"].as_i64().unwrap() + 1;
    let problem = expect_problem(&set(json!({ "pixelate": { name: above } })), 422);
    let text = problem.to_string();
    assert!(text.contains(name) && text.contains(&parameter["max"].to_string()), "{problem}");
    let problem = expect_problem(&set(json!({ "pixelate": { "sizzle": 3 } })), 422);
    assert!(problem.to_string().contains(name), "the known ones are listed: {problem}");
    expect_problem(&set(json!({ "pixelate": { name: "large" } })), 422);
    // A refused setting changes nothing.
    let sequence = server.upload("cam", &marked(1, 1));
    assert_eq!(shown(&server, "cam", sequence), sizes[1]);

    let both = json!({ "effect": "blur|edge_detection", "params": { "edge_detection": { "low": 50 } } });
    let answer = server.post_json("/effect", &both).expect(200).json();
    assert_eq!(answer["effect"], "blur|edge_detection");
}

#[test]
fn unknown_effects_are_404_with_the_list() {
    let server = Server::start(&[]);
    server.upload("cam", &marked(1, 1));
    server.set_effect("cam", "sepia");
    let bodies = [json!({ "effect": "sepiaa" }), json!({ "effect": "blur|nothing" })];
    for body in &bodies {
        for target in ["/effect", "/streams/cam/effect"] {
            let problem = expect_problem(&server.post_json(target, body), 404);
            let known = problem["known"].as_array().expect("the list");
            assert!(EFFECTS.iter().all(|name| known.iter().any(|k| k == name)), "{problem}");
        }
    }
    let problem = expect_problem(&server.get("/set_effect/nothing"), 404);
    assert!(problem["known"].as_array().is_some_and(|known| known.len() >= EFFECTS.len()), "{problem}");
    assert_eq!(server.stream("cam").unwrap()["effect"], "sepia");
    for body in ["", "{", "[]", "{\"effect\":3}", "{}"] {
        let response = server.post("/effect", body.as_bytes());
        assert!([400, 422].contains(&response.status), "{body}: {}", response.status);
        expect_problem(&response, response.status);
    }
}

#[test]
fn the_old_address_sets_effects_but_not_for_other_sites() {
    let server = Server::start(&[]);
    server.upload("cam", &marked(1, 1));
    assert_eq!(server.get("/set_effect/sepia").expect(200).json(), json!({ "effect": "sepia" }));
    assert_eq!(server.stream("cam").unwrap()["effect"], "sepia");
    assert_eq!(server.get("/set_effect/invert|blur").expect(200).json(), json!({ "effect": "invert|blur" }));
    // A page elsewhere may not switch it by an <img> or a link.
    for headers in [
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
        [("Origin", "https://example.org"), ("Accept", "*/*")],
    ] {
        let response = send(server.addr, "GET", "/set_effect/none", &headers, &[]);
        expect_problem(&response, 403);
        let response = send(server.addr, "POST", "/effect", &headers, b"{\"effect\":\"none\"}");
        expect_problem(&response, 403);
    }
    assert_eq!(server.stream("cam").unwrap()["effect"], "invert|blur");
    let own = server.url("");
    for headers in [
        [("Sec-Fetch-Site", "same-origin"), ("Origin", own.as_str())],
        [("Sec-Fetch-Site", "none"), ("Accept", "*/*")],
    ] {
        send(server.addr, "GET", "/set_effect/none", &headers, &[]).expect(200);
    }
    assert_eq!(server.stream("cam").unwrap()["effect"], "none");
}

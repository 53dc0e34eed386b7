//! `/openapi.json`, made from the table of routes.

use axum::Json;
use serde_json::{Map, Value, json};

use super::table::{By, ROUTES, Route};
use crate::access::{COOKIE, Right};
use crate::cli::VERSION;

/// `GET /openapi.json`.
pub(super) async fn document() -> Json<Value> {
    Json(build())
}

pub(super) fn build() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ooblex",
            "version": VERSION,
            "description": "Live video in, effects on every frame, live video out. Errors are problem documents.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {"securitySchemes": security_schemes(), "schemas": {"Problem": problem_schema(), "EffectRequest": effect_schema(), "OfferRequest": offer_schema()}},
    })
}

fn operation(route: &Route) -> Value {
    let mut responses = Map::new();
    let good = http::StatusCode::from_u16(route.good).unwrap_or_default();
    let description = if route.good == 101 { "the WebSocket is open" } else { "as described" };
    let mut answer = json!({"description": description});
    if !route.gives.is_empty() {
        answer["content"] = json!({route.gives: {}});
    }
    responses.insert(good.as_str().to_owned(), answer);
    let guarded: &[u16] = if route.right == Right::Public { &[] } else { &[401, 403, 429] };
    for status in route.errors.iter().chain(guarded) {
        let status = http::StatusCode::from_u16(*status).unwrap_or_default();
        let problem = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
        responses.insert(
            status.as_str().to_owned(),
            json!({
                "description": status.canonical_reason().unwrap_or_default(),
                "content": {"application/problem+json": problem},
            }),
        );
    }
    let mut operation = json!({
        "summary": route.summary,
        "operationId": operation_id(route),
        "x-ooblex-right": route.right.as_str(),
        "responses": responses,
    });
    if route.right != Right::Public {
        let query = (route.right == Right::View).then_some("query");
        let ways = ["bearer", "cookie"].into_iter().chain(query);
        // An empty requirement: nothing is needed where no token guards the right.
        let all = ways.map(|way| json!({way: []})).chain([json!({})]);
        operation["security"] = all.collect();
    }
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if !route.takes.is_empty() {
        let content = route.takes.iter().map(|media| ((*media).to_owned(), body(route, media)));
        operation["requestBody"] = json!({"required": true, "content": content.collect::<Map<_, _>>()});
    }
    operation
}

fn body(route: &Route, media: &str) -> Value {
    match media {
        "application/json" if matches!(route.by, By::WebRtc) => {
            json!({"schema": {"$ref": "#/components/schemas/OfferRequest"}})
        }
        "application/json" => json!({"schema": {"$ref": "#/components/schemas/EffectRequest"}}),
        _ => json!({}),
    }
}

/// Parameters of path and query.
fn parameters(route: &Route) -> Vec<Value> {
    let names = route.path.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name));
    let in_path =
        names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = route.query.iter().map(
        |(name, kind, meaning)| json!({"name": name, "in": "query", "description": meaning, "schema": {"type": kind}}),
    );
    in_path.chain(in_query).collect()
}

/// For generated clients: method and path as one word.
fn operation_id(route: &Route) -> String {
    let words: String = route.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let words: Vec<&str> = words.split('_').filter(|w| !w.is_empty()).collect();
    let name = if words.is_empty() { "page".to_owned() } else { words.join("_") };
    format!("{}_{name}", route.method.to_ascii_lowercase())
}

/// How tokens travel. The way in front of the path, `/t/TOKEN/...`, has no name in OpenAPI.
fn security_schemes() -> Value {
    json!({
        "bearer": {"type": "http", "scheme": "bearer"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
        "query": {"type": "apiKey", "in": "query", "name": "token", "description": "the right to view alone"},
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "stable, for programs"},
            "detail": {"type": "string", "description": "for people"},
            "field": {"type": "string", "description": "what is wrong"},
            "value": {"description": "the offending value"},
            "limit": {"description": "what is allowed"},
            "known": {"type": "array", "items": {"type": "string"}, "description": "names that exist"},
        },
    })
}

fn effect_schema() -> Value {
    json!({
        "type": "object",
        "required": ["effect"],
        "additionalProperties": false,
        "properties": {
            "effect": {"type": "string", "description": "an effect, or several joined by | or +", "examples": ["blur|edge_detection"]},
            "params": {
                "type": "object",
                "description": "parameters by effect",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": {"type": ["number", "boolean", "string"]},
                },
            },
        },
    })
}

fn offer_schema() -> Value {
    json!({
        "type": "object",
        "required": ["sdp", "type"],
        "properties": {
            "sdp": {"type": "string", "description": "the offer; video of `a=sendrecv` comes back processed on the same connection, and with `a=recvonly` alone the stream is watched"},
            "type": {"const": "offer"},
            "stream": {"type": "string", "description": "name of the stream; if absent `default`, or the newest for an offer that only receives"},
            "model": {"type": "string", "description": "an effect, or several joined by | or +"},
        },
    })
}

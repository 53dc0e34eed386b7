//! Effects: which there are, and choosing one.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use ooblex_core::{KindSpec, Options, ParamSpec, ParamType, StreamId};
use ooblex_http::Problem;
use ooblex_models::processors::figure_of;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{AppState, fresh, problem};
use crate::config::nearest;
use crate::effect::{Params, Selection, SwitchError, from_json, to_json};

/// Largest body of a request to switch.
const MAX_BODY: usize = 64 * 1024;
/// Keys that name the effect; `model_name` and `model` are what the Python Ooblex called it.
const EFFECT_KEYS: [&str; 3] = ["effect", "model_name", "model"];

/// A JSON object in the order of its items.
pub(super) struct Ordered<K, V>(pub(super) Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Ordered<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k, v)))
    }
}

#[derive(serde::Deserialize)]
pub(super) struct Detail {
    detail: Option<String>,
}

/// `GET /effects`.
pub(super) async fn effects(
    State(state): State<AppState>,
    query: Result<Query<Detail>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|e| Problem::new(400, "bad_query", e.body_text()))?;
    let registry = state.effects().registry();
    match query.detail.as_deref() {
        None => {
            let names = registry.kinds().map(|k| (k.name.clone(), k.description.clone()));
            Ok(fresh(Json(Ordered(names.collect()))))
        }
        Some("full") => Ok(fresh(Json(registry.kinds().map(describe).collect::<Vec<_>>()))),
        Some(other) => {
            Err(Problem::new(422, "unknown_detail", format!("detail is {other:?}; allowed: full"))
                .field("detail")
                .value(other)
                .known(["full".to_owned()]))
        }
    }
}

/// One effect with everything that is known about it.
fn describe(kind: &KindSpec) -> Value {
    json!({
        "name": kind.name,
        "aliases": kind.aliases,
        "description": kind.description,
        "parameters": kind.params.iter().flatten().map(describe_parameter).collect::<Vec<_>>(),
        "needs_model": kind.needs_model.is_some(),
        "model": kind.needs_model,
        "figure": figure_of(&kind.name).map(|figure| json!({"lines": figure.lines, "points": figure.points})),
    })
}

fn describe_parameter(param: &ParamSpec) -> Value {
    let (kind, min, max) = match &param.kind {
        ParamType::Bool => ("bool", Value::Null, Value::Null),
        ParamType::Int(range) => ("int", (*range.start()).into(), (*range.end()).into()),
        ParamType::Float(range) => ("float", (*range.start()).into(), (*range.end()).into()),
        ParamType::Text(longest) => ("text", 0.into(), (*longest).into()),
        ParamType::Choice(_) => ("choice", Value::Null, Value::Null),
        _ => ("other", Value::Null, Value::Null),
    };
    let mut described = json!({
        "name": param.name,
        "type": kind,
        "min": min,
        "max": max,
        "default": to_json(&param.default),
        "unit": param.unit,
        "description": param.description,
    });
    if let ParamType::Choice(words) = &param.kind {
        described["choices"] = words.as_slice().into();
    }
    described
}

/// `POST /effect`.
pub(super) async fn switch_all(State(state): State<AppState>, body: Body) -> Result<Json<Value>, Problem> {
    let (effect, params) = request(body).await?;
    let selection = run(state, effect, params, None).await?;
    Ok(Json(answer(None, &selection)))
}

/// `POST /streams/{name}/effect`.
pub(super) async fn switch_one(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id = super::stream_of(name)?;
    let (effect, params) = request(body).await?;
    let selection = run(state, effect, params, Some(id.clone())).await?;
    Ok(Json(answer(Some(id.as_str()), &selection)))
}

/// `GET /set_effect/{name}`.
pub(super) async fn set_effect(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(name) = name.map_err(|e| Problem::new(400, "bad_name", e.body_text()).field("effect"))?;
    let selection = run(state, name, Params::new(), None).await?;
    Ok(Json(json!({"effect": selection.chain.to_string()})))
}

fn answer(stream: Option<&str>, selection: &Selection) -> Value {
    json!({"stream": stream, "effect": selection.chain.to_string(), "generation": selection.generation})
}

/// Switches on a thread that may block.
async fn run(
    state: AppState,
    effect: String,
    params: Params,
    stream: Option<StreamId>,
) -> Result<std::sync::Arc<Selection>, Problem> {
    let task = tokio::task::spawn_blocking(move || {
        let failed = |e: SwitchError| problem::switch(&e, &effect, &params);
        match stream {
            None => state.effects().switch_all(state.hub(), &effect, params.clone()).map_err(failed),
            Some(id) => match state.hub().get(&id).filter(|s| !s.pipeline().state().is_over()) {
                Some(stream) => state.effects().switch(&stream, &effect, params.clone()).map_err(failed),
                None => {
                    let live = state.hub().streams().into_iter().filter(|s| !s.pipeline().state().is_over());
                    Err(problem::unknown_stream(id.as_str(), live.map(|s| s.id().clone())))
                }
            },
        }
    });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "switching effects panicked");
        Err(Problem::new(500, "internal", "switching failed; the log says why"))
    })
}

/// Reads the body of a request to switch.
async fn request(body: Body) -> Result<(String, Params), Problem> {
    let bytes = axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| {
        Problem::new(413, "body_too_large", format!("body is larger than {MAX_BODY} bytes"))
            .field("body")
            .limit(MAX_BODY)
    })?;
    if bytes.is_empty() {
        let detail = "body is empty; send JSON like {\"effect\":\"blur\"}";
        return Err(Problem::new(400, "empty_body", detail).field("body"));
    }
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Problem::new(400, "malformed_json", format!("body is not JSON: {e}")).field("body"))?;
    let Value::Object(mut object) = value else {
        return Err(Problem::wrong_type("body", "an object like {\"effect\":\"blur\"}", &value));
    };
    let params = object.remove("params");
    let mut effects = EFFECT_KEYS.iter().filter_map(|key| object.remove(*key).map(|value| (*key, value)));
    let (key, effect) = effects.next().ok_or_else(|| {
        Problem::new(400, "missing_key", "body has no key `effect`").field("effect").known(known_keys())
    })?;
    if let Some((other, _)) = effects.next() {
        let detail = format!("body names the effect twice, as `{key}` and as `{other}`; leave one out");
        return Err(Problem::new(400, "duplicate_key", detail).field(other));
    }
    drop(effects);
    if let Some((unknown, _)) = object.iter().next() {
        let hint = nearest(unknown, known_keys()).map_or(String::new(), |k| format!("; did you mean `{k}`?"));
        let problem = Problem::new(400, "unknown_key", format!("unknown key `{unknown}`{hint}"));
        return Err(problem.field(unknown.as_str()).known(known_keys()));
    }
    let Value::String(effect) = effect else { return Err(Problem::wrong_type(key, "text", &effect)) };
    let params = match params {
        None | Some(Value::Null) => Params::new(),
        Some(Value::Object(by_effect)) => read_params(by_effect)?,
        Some(other) => {
            return Err(Problem::wrong_type("params", "an object like {\"blur\":{\"size\":9}}", &other));
        }
    };
    Ok((effect, params))
}

fn known_keys() -> Vec<String> {
    EFFECT_KEYS.iter().chain(&["params"]).map(|k| (*k).to_owned()).collect()
}

/// Reads parameters: an object of values for each effect.
pub(crate) fn read_params(by_effect: Map<String, Value>) -> Result<Params, Problem> {
    let mut params = Params::new();
    for (effect, values) in by_effect {
        let field = format!("params.{effect}");
        let Value::Object(values) = values else {
            return Err(Problem::wrong_type(&field, "an object of parameters", &values));
        };
        let mut options = Options::new();
        for (name, value) in values {
            match from_json(&value) {
                Some(value) => options.set(name, value),
                None => {
                    let field = format!("{field}.{name}");
                    let detail = format!("{field} is {value}; it must be a number, text, true or false");
                    return Err(Problem::new(422, "parameter_type", detail).field(field).value(value));
                }
            }
        }
        params.insert(effect, options);
    }
    Ok(params)
}

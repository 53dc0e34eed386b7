//! Models by their routes.

use ooblex_models::manager::{CENTERFACE, ModelsConfig, SearchPath};
use ooblex_models::testing::{Act, ScriptedEngine};

use super::*;

/// A server whose models do as they are told.
fn scripted() -> (Site, ScriptedEngine) {
    let engine = ScriptedEngine::new();
    let mut config = ModelsConfig::default();
    config.path = SearchPath::new(["/nowhere/at/all".into()]);
    let models = engine.models(config, &["doubler"]);
    let mut registry = Registry::new();
    ooblex_models::register_with(&mut registry, &models);
    (site_of(&[], registry, models), engine)
}

fn of<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().expect("a list").iter().find(|model| model["name"] == name).expect(name)
}

#[tokio::test]
async fn models_are_listed_with_everything_but_paths() {
    let (site, _) = scripted();
    let list = site.get("/models").await;
    let face = of(&list, ooblex_models::manager::BLAZEFACE);
    assert_eq!((&face["state"], &face["licence"]), (&json!("available"), &json!("Apache-2.0")));
    assert_eq!(
        (&face["engine"], &face["loaded_ms"], &face["users"]),
        (&Value::Null, &Value::Null, &json!(0))
    );
    let file = json!({"format": "onnx", "name": "blazeface_short_128.onnx", "bytes": 414_475, "place": "compiled_in"});
    assert_eq!(face["files"][0], file);
    assert_eq!(of(&list, CENTERFACE)["state"], "missing");
    assert!(!list.to_string().contains("/nowhere"), "{list}");
}

#[tokio::test]
async fn a_model_is_loaded_and_put_away() {
    let (site, engine) = scripted();
    for times in 0..2 {
        let (status, model) = site.json("POST", "/models/doubler/load", "").await;
        assert_eq!((status, &model["state"], engine.loads("doubler")), (200, &json!("loaded"), 1), "{times}");
        assert_eq!((&model["device"], &model["memory_bytes"]), (&json!("cpu"), &json!(1000)));
        assert!(model["loaded_ms"].is_u64() && model["reason"].is_string());
    }
    for _ in 0..2 {
        let (status, model) = site.json("POST", "/models/doubler/unload", "").await;
        assert_eq!((status, &model["state"], &model["memory_bytes"]), (200, &json!("available"), &json!(0)));
    }
}

#[tokio::test]
async fn a_model_in_use_or_pinned_stays() {
    let (site, _) = scripted();
    let mut handle = site.app.models().handle("doubler").expect("known");
    handle.load().expect("loads");
    let problem = site.problem("POST", "/models/doubler/unload", "", 409, "model_in_use").await;
    assert_eq!((&problem["field"], &problem["value"]), (&json!("model"), &json!("doubler")));
    assert!(problem["detail"].as_str().expect("text").contains("used by 1 running effects"), "{problem}");
    drop(handle);
    site.app.models().pin("doubler").expect("known");
    site.problem("POST", "/models/doubler/unload", "", 409, "model_pinned").await;
    assert_eq!(of(&site.get("/models").await, "doubler")["pinned"], true);
}

#[tokio::test]
async fn what_cannot_be_loaded_says_why_and_what_is_unknown_what_is_known() {
    let (site, engine) = scripted();
    for what in ["load", "unload"] {
        let path = format!("/models/dubler/{what}");
        let problem = site.problem("POST", &path, "", 404, "unknown_model").await;
        assert!(problem["known"].as_array().expect("names").contains(&json!("doubler")), "{problem}");
        site.problem("POST", &format!("/models/%FF/{what}"), "", 400, "bad_name").await;
    }
    let missing = site.problem("POST", "/models/centerface/load", "", 503, "model_unavailable").await;
    let detail = missing["detail"].as_str().expect("text");
    assert!(detail.contains("centerface.onnx is in none of the") && !detail.contains('/'), "{detail}");
    engine.next_loads("doubler", [Act::Panic]);
    site.problem("POST", "/models/doubler/load", "", 503, "model_unavailable").await;
    assert_eq!(of(&site.get("/models").await, "doubler")["state"], "failed");
    assert_eq!(site.json("POST", "/models/doubler/load", "").await.0, 200);
}

#[tokio::test]
async fn a_pinned_model_that_cannot_be_loaded_degrades_health_and_nothing_else() {
    let (site, engine) = scripted();
    assert_eq!(site.get("/health").await["status"], "healthy");
    engine.next_loads("doubler", [Act::Fail]);
    site.app.models().pin("doubler").expect("known");
    site.app.models().load_pinned();
    let health = site.get("/health").await;
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["reasons"], json!(["model doubler: running the model failed: as scripted"]));
    assert_eq!(site.json("POST", "/models/doubler/load", "").await.0, 200);
    assert_eq!(site.get("/health").await["status"], "healthy");
}

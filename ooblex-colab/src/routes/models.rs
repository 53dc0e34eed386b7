//! Models: which there are, loading them and putting them away.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use ooblex_http::Problem;
use ooblex_models::manager::{FilePlace, FileStatus, ModelError, ModelStatus, Models};
use serde_json::{Value, json};

use super::{AppState, fresh, problem};

/// `GET /models`.
pub(super) async fn list(State(app): State<AppState>) -> Result<Response, Problem> {
    let status = on_a_thread(&app, |models| models.status()).await?;
    Ok(fresh(Json(status.iter().map(describe).collect::<Vec<_>>())))
}

/// `POST /models/{model}/load`.
pub(super) async fn load(
    State(app): State<AppState>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    change(app, name, Models::load).await
}

/// `POST /models/{model}/unload`.
pub(super) async fn unload(
    State(app): State<AppState>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    change(app, name, Models::unload).await
}

/// Changes a model and tells how it is then.
async fn change(
    app: AppState,
    name: Result<Path<String>, PathRejection>,
    change: fn(&Models, &str) -> Result<(), ModelError>,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|e| Problem::new(400, "bad_name", e.body_text()).field("model"))?;
    let model = name.clone();
    let changed = on_a_thread(&app, move |models| {
        change(models, &model)?;
        models.status_by_name(&model)
    });
    match changed.await? {
        Ok(status) => Ok(fresh(Json(describe(&status)))),
        Err(error) => Err(problem::model(&error, &name)),
    }
}

/// Files are looked for, and models loaded, on a thread that may block.
async fn on_a_thread<T: Send + 'static>(
    app: &AppState,
    work: impl FnOnce(&Models) -> T + Send + 'static,
) -> Result<T, Problem> {
    let models = app.models().clone();
    tokio::task::spawn_blocking(move || work(&models)).await.map_err(|error| {
        tracing::error!(%error, "looking after models panicked");
        Problem::new(500, "internal", "looking after models failed; the log says why")
    })
}

/// One model. Names of files are told, never the folders that they lie in.
fn describe(model: &ModelStatus) -> Value {
    let accelerator = model.accelerator.as_ref();
    json!({
        "name": model.name,
        "task": model.task,
        "licence": model.licence,
        "origin": model.origin,
        "state": model.state.as_str(),
        "engine": model.engine.map(|engine| engine.as_str()),
        "device": accelerator.map(|a| a.ran.as_str()),
        "reason": accelerator.map(|a| a.reason.as_str()),
        "memory_bytes": model.memory_bytes,
        "pinned": model.is_pinned,
        "users": model.users,
        "loaded_ms": model.load_time.map(|time| time.as_millis() as u64),
        "waiting": model.waiting,
        "batches": model.batches,
        "items": model.items,
        "expired": model.expired,
        "lost": model.lost,
        "stuck": model.stuck,
        "failure": model.failure,
        "retry_in_seconds": model.retry_in.map(|time| time.as_secs() + 1),
        "degraded": model.degraded,
        "files": model.files.iter().map(describe_file).collect::<Vec<_>>(),
    })
}

fn describe_file(file: &FileStatus) -> Value {
    let place = match file.place {
        FilePlace::Embedded => "compiled_in",
        FilePlace::Found(_) => "found",
        _ => "missing",
    };
    json!({"format": file.format.as_str(), "name": file.name, "bytes": file.bytes, "place": place})
}

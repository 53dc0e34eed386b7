//! Series about models: those that are or were in memory.

use ooblex_models::manager::{ModelStatus, Models};

use super::Text;

/// A number of one model.
type PerModel = fn(&ModelStatus) -> u64;

const NUMBERS: [(&str, &str, &str, PerModel); 7] = [
    ("ooblex_model_memory_bytes", "gauge", "Memory that the model holds, as far as it is known.", |m| {
        m.memory_bytes
    }),
    ("ooblex_model_users", "gauge", "Effects that hold the model.", |m| m.users as u64),
    ("ooblex_model_waiting", "gauge", "Items that wait for their turn.", |m| m.waiting),
    ("ooblex_model_batches_total", "counter", "Runs of the engine.", |m| m.batches),
    ("ooblex_model_items_total", "counter", "Items in these runs.", |m| m.items),
    ("ooblex_model_expired_total", "counter", "Items not run because their deadline had passed.", |m| {
        m.expired
    }),
    ("ooblex_model_lost_total", "counter", "Times the model panicked, hung or failed to load.", |m| m.lost),
];

pub(super) fn models(text: &mut Text, models: &Models) {
    let known: Vec<ModelStatus> =
        models.status().into_iter().filter(|m| m.engine.is_some() || m.batches + m.lost > 0).collect();
    let name = "ooblex_model_info";
    text.family(name, "gauge", "Always 1; says what runs a model that is in memory, and on what.");
    for model in &known {
        if let (Some(engine), Some(accelerator)) = (model.engine, &model.accelerator) {
            let labels =
                [("model", &*model.name), ("engine", engine.as_str()), ("device", accelerator.ran.as_str())];
            text.sample(name, &labels, 1);
        }
    }
    let name = "ooblex_model_load_seconds";
    text.family(name, "gauge", "How long loading the model took, its first run included.");
    for model in &known {
        if let Some(took) = model.load_time {
            text.sample(name, &[("model", &model.name)], took.as_secs_f64());
        }
    }
    for (name, kind, help, read) in NUMBERS {
        text.family(name, kind, help);
        for model in &known {
            text.sample(name, &[("model", &model.name)], read(model));
        }
    }
}

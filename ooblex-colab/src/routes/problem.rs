//! Errors of effects and streams as problem documents.

use ooblex_core::{RegistryError, StreamId, Value};
use ooblex_http::Problem;
use ooblex_models::ChainError;
use ooblex_models::manager::ModelError;

use crate::effect::{Params, SwitchError, to_json};

/// The problem document of a switch that did not happen. `params` are those of the request.
pub(crate) fn switch(error: &SwitchError, effect: &str, params: &Params) -> Problem {
    match error {
        SwitchError::Chain(ChainError::Registry(inner)) => registry(inner, params),
        SwitchError::Chain(inner @ ChainError::NotInChain { name, chain }) => {
            let problem = Problem::new(422, "parameter_not_in_chain", inner.to_string());
            problem
                .field(format!("params.{name}"))
                .value(name.as_str())
                .known(chain.steps().map(str::to_owned))
        }
        SwitchError::Chain(inner @ ChainError::TooLong(steps)) => {
            let problem = Problem::new(422, "chain_too_long", inner.to_string());
            problem.field("effect").value(*steps).limit(ooblex_models::Chain::MAX_STEPS)
        }
        SwitchError::Chain(inner) => {
            Problem::new(422, "bad_chain", inner.to_string()).field("effect").value(effect)
        }
        SwitchError::WarmUp { .. } => {
            Problem::new(503, "effect_unavailable", error.to_string()).field("effect")
        }
    }
}

fn registry(error: &RegistryError, params: &Params) -> Problem {
    let detail = error.to_string();
    match error {
        RegistryError::UnknownKind { name, known } => {
            // The name may come from the chain or from the parameters.
            let field =
                if params.contains_key(name) { format!("params.{name}") } else { "effect".to_owned() };
            Problem::new(404, "unknown_effect", detail)
                .field(field)
                .value(name.as_str())
                .known(known.iter().cloned())
        }
        RegistryError::UnknownOption { kind, option, known } => {
            Problem::new(422, "unknown_parameter", detail)
                .field(format!("params.{kind}.{option}"))
                .value(option.as_str())
                .known(known.iter().cloned())
        }
        RegistryError::OptionType { option, expected, value } => Problem::new(422, "parameter_type", detail)
            .field(field_of(option, value, params))
            .value(to_json(value))
            .limit(*expected),
        RegistryError::OutOfRange { option, value, allowed } => {
            Problem::new(422, "parameter_out_of_range", detail)
                .field(field_of(option, value, params))
                .value(to_json(value))
                .limit(allowed.as_str())
        }
        _ => Problem::new(422, "effect_not_built", detail).field("effect"),
    }
}

/// The parameter's place in the request: errors name the option, the request knows whose it is.
fn field_of(option: &str, value: &Value, params: &Params) -> String {
    let given = |options: &ooblex_core::Options| options.iter().any(|(n, v)| n == option && v == value);
    let owner = params.iter().find(|(_, options)| given(options));
    owner.map_or_else(|| format!("params.{option}"), |(effect, _)| format!("params.{effect}.{option}"))
}

/// The problem document of a model that could not be loaded or put away.
pub(super) fn model(error: &ModelError, name: &str) -> Problem {
    let detail = error.to_string();
    let problem = match error {
        ModelError::Unknown { known, .. } => {
            Problem::new(404, "unknown_model", detail).known(known.iter().cloned())
        }
        ModelError::InUse { .. } => Problem::new(409, "model_in_use", detail),
        ModelError::Pinned { .. } => Problem::new(409, "model_pinned", detail),
        _ => Problem::new(503, "model_unavailable", detail),
    };
    problem.field("model").value(name)
}

/// No stream has this name.
pub(super) fn unknown_stream(name: &str, known: impl IntoIterator<Item = StreamId>) -> Problem {
    let known: Vec<String> = known.into_iter().map(|id| id.to_string()).collect();
    let list =
        if known.is_empty() { "there is none".to_owned() } else { format!("known: {}", known.join(", ")) };
    Problem::new(404, "unknown_stream", format!("no stream {name:?}; {list}"))
        .field("stream")
        .value(name)
        .known(known)
}

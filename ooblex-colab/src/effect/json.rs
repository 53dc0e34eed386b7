//! Parameters' values as JSON.

use ooblex_core::Value;

/// A parameter's value as JSON.
pub(crate) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(v) => (*v).into(),
        Value::Int(v) => (*v).into(),
        Value::Float(v) => (*v).into(),
        Value::Text(v) => v.as_str().into(),
    }
}

/// A parameter's value from JSON; `None` for null, arrays, objects and numbers that no `i64` or `f64` holds.
pub(crate) fn from_json(value: &serde_json::Value) -> Option<Value> {
    match value {
        serde_json::Value::Bool(v) => Some((*v).into()),
        serde_json::Value::Number(v) => v.as_i64().map(Value::from).or_else(|| v.as_f64().map(Value::from)),
        serde_json::Value::String(v) => Some(v.as_str().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_survive_json() {
        for json in [json!(5), json!(0.25), json!(true), json!("text")] {
            assert_eq!(to_json(&from_json(&json).expect("a value")), json);
        }
        assert!(from_json(&json!(null)).is_none() && from_json(&json!([1])).is_none());
    }
}

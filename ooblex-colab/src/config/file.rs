//! The configuration file: TOML, one key a setting.

use std::path::Path;

use ooblex_core::Secret;
use toml::de::{DeTable, DeValue};

use super::load::{Given, Invalid, Origin, Problems};
use super::{Kind, SETTINGS, Setting, find, nearest};

/// Adds what the file says; what is wrong with it goes to `problems`.
pub(super) fn read(path: &Path, text: &str, given: &mut Given, problems: &mut Problems) {
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = line_of(error.span().map_or(0, |s| s.start));
            problems.push(Invalid::Text(format!("{}:{line}: not TOML: {}", path.display(), error.message())));
            return;
        }
    };
    for (key, value) in table {
        let line = line_of(key.span().start);
        let key = key.into_inner();
        let place = format!("{}:{line}", path.display());
        let Some(setting) = find(&key) else {
            let names = SETTINGS.iter().filter(|s| !s.flag_only).flat_map(|s| s.names());
            problems
                .unknown(format!("{place}: unknown key `{key}`"), nearest(&key, names).map(str::to_owned));
            continue;
        };
        let origin = Origin::File { path: path.to_owned(), line };
        if setting.flag_only {
            problems.flag_only(setting, &origin);
            continue;
        }
        match texts(setting, value.into_inner()) {
            Ok(texts) => given.set(setting, &key, texts, origin, problems),
            Err(_) if setting.secret => {
                problems.wrong(setting, &origin, Secret::HIDDEN.into(), "not text".into())
            }
            Err(found) => problems.wrong(setting, &origin, found, String::new()),
        }
    }
}

/// The value as texts, if its TOML type fits the setting; else the value for the error.
fn texts(setting: &Setting, value: DeValue<'_>) -> Result<Vec<String>, String> {
    match (setting.kind, value) {
        (Kind::Bool | Kind::Choice(_), DeValue::Boolean(v)) => Ok(vec![v.to_string()]),
        (Kind::Int { .. }, DeValue::Integer(v)) if v.radix() == 10 => Ok(vec![v.as_str().to_owned()]),
        (Kind::Text(..) | Kind::Choice(_), DeValue::String(v)) => Ok(vec![v.into_owned()]),
        (Kind::List(..) | Kind::Words(..), DeValue::Array(items)) => {
            let text = |v: toml::Spanned<DeValue<'_>>| match v.into_inner() {
                DeValue::String(text) => Ok(text.into_owned()),
                other => Err(show(&other)),
            };
            items.into_iter().map(text).collect()
        }
        (_, other) => Err(show(&other)),
    }
}

/// A value of the wrong type, for an error.
fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(v) => format!("the text {v:?}"),
        DeValue::Integer(v) => v.as_str().to_owned(),
        DeValue::Float(v) => v.as_str().to_owned(),
        DeValue::Boolean(v) => v.to_string(),
        other => format!("of type {}", other.type_str()),
    }
}

//! Types of settings for models.

use ooblex_models::engine::EngineKind;

use super::setting::{Setting, SettingType, one, quoted};

/// Which engine is to run models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineChoice {
    /// The fastest that is there.
    Auto,
    /// This one.
    Only(EngineKind),
}

impl EngineChoice {
    pub(super) const WORDS: &'static [&'static str] = &["auto", "onnx", "rten", "candle", "torch"];

    /// The engine, if one was named.
    pub const fn kind(self) -> Option<EngineKind> {
        match self {
            Self::Auto => None,
            Self::Only(kind) => Some(kind),
        }
    }
}

impl SettingType for EngineChoice {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        match one(texts)? {
            "auto" => Ok(Self::Auto),
            text => text.parse().map(Self::Only).map_err(|_| String::new()),
        }
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(self.kind().map_or("auto", EngineKind::as_str)))
    }
}

/// Where models are fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelUrl(String);

impl ModelUrl {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SettingType for ModelUrl {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        let text = one(texts)?;
        #[cfg(feature = "fetch")]
        ooblex_models::manager::fetch::Fetcher::new(text, "").map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_has_a_word() {
        for kind in EngineKind::ALL {
            assert!(EngineChoice::WORDS.contains(&kind.as_str()));
        }
        assert_eq!(EngineChoice::WORDS.len(), EngineKind::ALL.len() + 1);
    }

    #[cfg(feature = "fetch")]
    #[test]
    fn models_come_over_https() {
        let setting = super::super::find("model_url").expect("a setting");
        let read = |text: &str| ModelUrl::read(&[text.to_owned()], setting);
        assert!(
            read("https://models.example.org/v1").is_ok() && read("http://127.0.0.1:8000/list.json").is_ok()
        );
        for bad in ["http://models.example.org/", "https://me:secret@example.org/", "models", ""] {
            let error = read(bad).expect_err(bad);
            assert!(!error.is_empty() && !error.contains("secret"), "{error}");
        }
    }
}

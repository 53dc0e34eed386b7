//! Processor factories by name, with typed and checked options.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::BoxError;
use crate::processor::{FailurePolicy, FrameProcessor};

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(untagged))]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
}

impl Value {
    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v}"),
            Self::Text(v) => write!(f, "{v:?}"),
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident as $to:ty),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(v: $from) -> Self {
                Self::$variant(<$to>::from(v))
            }
        }
    )*};
}

value_from!(bool => Bool as bool, i64 => Int as i64, i32 => Int as i64, u32 => Int as i64, u8 => Int as i64,
    f64 => Float as f64, String => Text as String, &str => Text as String);

impl From<f32> for Value {
    /// The shortest decimal that means this number, so that 0.4 is shown as 0.4.
    fn from(v: f32) -> Self {
        Self::Float(v.to_string().parse().unwrap_or(f64::from(v)))
    }
}

/// Types that an option can be read as.
pub trait FromValue: Sized {
    /// What an error calls this type.
    const EXPECTED: &'static str;
    /// The value as this type, if it fits.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_int {
    ($($to:ty),*) => {$(
        impl FromValue for $to {
            const EXPECTED: &'static str =
                concat!("a whole number that fits ", stringify!($to));
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(v) => (*v).try_into().ok(),
                    // JSON does not tell 50 from 50.0.
                    Value::Float(v) if v.fract() == 0.0 && v.abs() < 9e15 => (*v as i64).try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}

from_int!(u8, u16, u32, u64, usize, i32, i64);

impl FromValue for f64 {
    const EXPECTED: &'static str = "a finite number";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_f64().filter(|v| v.is_finite())
    }
}

impl FromValue for f32 {
    const EXPECTED: &'static str = "a finite number";
    fn from_value(value: &Value) -> Option<Self> {
        f64::from_value(value).map(|v| v as f32)
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Bool(v) = value { Some(*v) } else { None }
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "text";
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(v) = value { Some(v.clone()) } else { None }
    }
}

/// Options of one processor, by name. Reading remembers which names were asked for, so that
/// [`Registry::build`] can refuse those that nobody knows.
#[derive(Debug, Default)]
pub struct Options {
    values: BTreeMap<String, Value>,
    asked: Mutex<BTreeSet<String>>,
}

impl Options {
    /// No options: every default applies.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one option.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.values.insert(name.into(), value.into());
    }

    /// Sets one option, for building in one expression.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Reads an option that may be absent.
    ///
    /// # Errors
    /// [`RegistryError::OptionType`] if it has another type.
    pub fn get<T: FromValue>(&self, name: &str) -> Result<Option<T>, RegistryError> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        let Some(value) = self.values.get(name) else { return Ok(None) };
        let wrong = || RegistryError::OptionType {
            option: name.to_owned(),
            expected: T::EXPECTED,
            value: value.clone(),
        };
        T::from_value(value).map(Some).ok_or_else(wrong)
    }

    /// Reads an option, or takes `default`.
    ///
    /// # Errors
    /// [`RegistryError::OptionType`] if it has another type.
    pub fn get_or<T: FromValue>(&self, name: &str, default: T) -> Result<T, RegistryError> {
        Ok(self.get(name)?.unwrap_or(default))
    }

    /// Names and values in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clone for Options {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), asked: Mutex::default() }
    }
}

impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(iter: I) -> Self {
        let values = iter.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { values, asked: Mutex::default() }
    }
}

/// What values a parameter takes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ParamType {
    /// True or false.
    Bool,
    /// A whole number in a range.
    Int(RangeInclusive<i64>),
    /// A number in a range.
    Float(RangeInclusive<f64>),
    /// Text of at most this many characters.
    Text(usize),
    /// One of a few words. A whole number means the word in that place, the first one being 0; factories always see
    /// the word.
    Choice(Vec<String>),
}

/// One parameter of a kind.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ParamSpec {
    /// Name, lowercase snake case.
    pub name: String,
    /// Other names that mean the same. Factories ask for [`name`](Self::name) alone.
    pub aliases: Vec<String>,
    /// What it takes.
    pub kind: ParamType,
    /// What applies when it is not given.
    pub default: Value,
    /// Unit, empty for plain numbers.
    pub unit: String,
    /// What it does, in a few words.
    pub description: String,
}

impl ParamSpec {
    /// A parameter with a default; add a unit by [`unit`](Self::unit).
    pub fn new(name: &str, kind: ParamType, default: impl Into<Value>, description: &str) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            kind,
            default: default.into(),
            unit: String::new(),
            description: description.into(),
        }
    }

    /// Sets the unit, for example `px`.
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = unit.into();
        self
    }

    /// Adds other names.
    pub fn aliases(mut self, aliases: &[&str]) -> Self {
        self.aliases.extend(aliases.iter().map(|&a| a.to_owned()));
        self
    }

    /// Whether `name` means this parameter. Unlike names of kinds, case matters.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// The word that a number means, where words are numbered; else the value as it is.
    fn in_words(&self, value: &Value) -> Value {
        let ParamType::Choice(words) = &self.kind else { return value.clone() };
        let word = usize::from_value(value).and_then(|place| words.get(place));
        word.map_or_else(|| value.clone(), |word| Value::Text(word.clone()))
    }

    fn check(&self, value: &Value) -> Result<(), RegistryError> {
        let wrong_type = |expected| {
            Err(RegistryError::OptionType { option: self.name.clone(), expected, value: value.clone() })
        };
        let in_range = |ok: bool, allowed: String| {
            let option = self.name.clone();
            if ok { Ok(()) } else { Err(RegistryError::OutOfRange { option, value: value.clone(), allowed }) }
        };
        match &self.kind {
            ParamType::Bool => bool::from_value(value).map_or_else(|| wrong_type(bool::EXPECTED), |_| Ok(())),
            ParamType::Int(range) => match i64::from_value(value) {
                Some(v) => in_range(range.contains(&v), format!("{} to {}", range.start(), range.end())),
                None => wrong_type("a whole number"),
            },
            ParamType::Float(range) => match f64::from_value(value) {
                Some(v) => in_range(range.contains(&v), format!("{} to {}", range.start(), range.end())),
                None => wrong_type(f64::EXPECTED),
            },
            ParamType::Text(longest) => match value {
                Value::Text(v) => {
                    in_range(v.chars().count() <= *longest, format!("at most {longest} characters"))
                }
                _ => wrong_type(String::EXPECTED),
            },
            ParamType::Choice(words) => match value {
                Value::Text(v) => in_range(words.contains(v), words.join(", ")),
                Value::Int(_) | Value::Float(_) => in_range(
                    false,
                    format!("{}, or a number from 0 to {}", words.join(", "), words.len() - 1),
                ),
                Value::Bool(_) => wrong_type("one of the listed words"),
            },
        }
    }
}

/// Everything known about a kind before it is built.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KindSpec {
    /// The name users select, lowercase snake case.
    pub name: String,
    /// Other names that mean the same.
    pub aliases: Vec<String>,
    /// What it does, one line.
    pub description: String,
    /// Its parameters; `None` if the factory checks options itself.
    pub params: Option<Vec<ParamSpec>>,
    /// The model it needs, if any.
    pub needs_model: Option<String>,
    /// What viewers see of a stream while the processor is not ready or after it failed. What
    /// [`FrameProcessor::on_failure`] says of a processor of this kind is never stricter.
    pub on_failure: FailurePolicy,
}

impl KindSpec {
    /// A kind without parameters.
    pub fn new(name: &str, description: &str) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            description: description.into(),
            params: Some(Vec::new()),
            needs_model: None,
            on_failure: FailurePolicy::default(),
        }
    }

    /// Adds other names.
    pub fn aliases(mut self, aliases: &[&str]) -> Self {
        self.aliases.extend(aliases.iter().map(|&a| a.to_owned()));
        self
    }

    /// Adds a parameter.
    pub fn param(mut self, param: ParamSpec) -> Self {
        self.params.get_or_insert_default().push(param);
        self
    }

    /// Names the model it needs.
    pub fn needs_model(mut self, model: &str) -> Self {
        self.needs_model = Some(model.into());
        self
    }

    /// Says what viewers see while the processor is not ready or after it failed.
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.on_failure = policy;
        self
    }

    /// Whether `name` means this kind. Case does not matter.
    pub fn answers_to(&self, name: &str) -> bool {
        std::iter::once(&self.name).chain(&self.aliases).any(|n| n.eq_ignore_ascii_case(name))
    }
}

/// Why a processor could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No kind has this name.
    #[error("unknown effect {name:?}; known: {}", known.join(", "))]
    UnknownKind {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The kind has no such option.
    #[error("{kind} has no option {option:?}; it has: {}", if known.is_empty() { "none".into() } else { known.join(", ") })]
    UnknownOption {
        /// The kind.
        kind: String,
        /// The option given.
        option: String,
        /// Options it has.
        known: Vec<String>,
    },
    /// The option is given under two of its names.
    #[error("option {option:?} is given a second time as {also:?}; give one of them")]
    OptionTwice {
        /// Its name.
        option: String,
        /// The other name that it was given by.
        also: String,
    },
    /// The option has another type.
    #[error("option {option:?} is {value}; it must be {expected}")]
    OptionType {
        /// The option.
        option: String,
        /// What it must be.
        expected: &'static str,
        /// What was given.
        value: Value,
    },
    /// The option is outside its range.
    #[error("option {option:?} is {value}; allowed: {allowed}")]
    OutOfRange {
        /// The option.
        option: String,
        /// What was given.
        value: Value,
        /// What is allowed, for reading.
        allowed: String,
    },
    /// The factory could not build it.
    #[error("{kind} could not be built: {source}")]
    Build {
        /// The kind.
        kind: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

type Factory = dyn Fn(&Options) -> Result<Box<dyn FrameProcessor>, BoxError> + Send + Sync;

/// Kinds of processors that can be built by name. A value, not a global; filled by explicit calls. Cloning is
/// cheap and shares the factories.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: Vec<(KindSpec, Arc<Factory>)>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind whose factory reads its own options: those it never asks for are refused. A kind of the same
    /// name is replaced.
    pub fn register<P, E, F>(&mut self, name: &str, factory: F)
    where
        P: FrameProcessor,
        E: Into<BoxError>,
        F: Fn(&Options) -> Result<P, E> + Send + Sync + 'static,
    {
        let spec = KindSpec { params: None, ..KindSpec::new(name, "") };
        self.add(spec, factory);
    }

    /// Adds a kind with a description and checked parameters. A kind of the same name is replaced.
    pub fn add<P, E, F>(&mut self, spec: KindSpec, factory: F)
    where
        P: FrameProcessor,
        E: Into<BoxError>,
        F: Fn(&Options) -> Result<P, E> + Send + Sync + 'static,
    {
        self.kinds.retain(|(known, _)| known.name != spec.name);
        let boxed = move |options: &Options| match factory(options) {
            Ok(processor) => Ok(Box::new(processor) as Box<dyn FrameProcessor>),
            Err(error) => Err(error.into()),
        };
        self.kinds.push((spec, Arc::new(boxed)));
    }

    /// Every kind, in the order of registration.
    pub fn kinds(&self) -> impl Iterator<Item = &KindSpec> {
        self.kinds.iter().map(|(spec, _)| spec)
    }

    /// The kind that `name` or one of its aliases means. Case does not matter.
    ///
    /// # Errors
    /// [`RegistryError::UnknownKind`] with every known name.
    pub fn resolve(&self, name: &str) -> Result<&KindSpec, RegistryError> {
        self.find(name).map(|(spec, _)| spec)
    }

    /// Builds a processor.
    ///
    /// # Errors
    /// [`RegistryError`] naming the kind or option that does not fit, or what the factory said.
    pub fn build(&self, name: &str, options: &Options) -> Result<Box<dyn FrameProcessor>, RegistryError> {
        let (spec, factory) = self.find(name)?;
        let options = match &spec.params {
            Some(params) => canonical(spec, params, options)?,
            None => options.clone(),
        };
        let built = factory(&options).map_err(|source| match source.downcast::<RegistryError>() {
            Ok(own) => *own,
            Err(source) => RegistryError::Build { kind: spec.name.clone(), source },
        })?;
        let asked = options.asked();
        match options.iter().find(|(name, _)| spec.params.is_none() && !asked.contains(*name)) {
            Some((option, _)) => Err(unknown_option(spec, option, asked.into_iter().collect())),
            None => Ok(built),
        }
    }

    fn find(&self, name: &str) -> Result<&(KindSpec, Arc<Factory>), RegistryError> {
        let exact = self.kinds.iter().find(|(spec, _)| spec.name == name);
        let found = exact.or_else(|| self.kinds.iter().find(|(spec, _)| spec.answers_to(name)));
        found.ok_or_else(|| RegistryError::UnknownKind {
            name: name.to_owned(),
            known: self.kinds().map(|spec| spec.name.clone()).collect(),
        })
    }
}

/// Checked options under the parameters' own names.
fn canonical(spec: &KindSpec, params: &[ParamSpec], options: &Options) -> Result<Options, RegistryError> {
    let mut checked = Options::new();
    for (option, value) in options.iter() {
        let Some(param) = params.iter().find(|param| param.answers_to(option)) else {
            return Err(unknown_option(spec, option, params.iter().map(|p| p.name.clone()).collect()));
        };
        let value = param.in_words(value);
        param.check(&value)?;
        if checked.values.contains_key(&param.name) {
            let also = param.aliases.iter().rev().find(|alias| options.values.contains_key(*alias));
            return Err(RegistryError::OptionTwice {
                option: param.name.clone(),
                also: also.unwrap_or(&param.name).clone(),
            });
        }
        checked.set(param.name.clone(), value);
    }
    Ok(checked)
}

fn unknown_option(spec: &KindSpec, option: &str, known: Vec<String>) -> RegistryError {
    RegistryError::UnknownOption { kind: spec.name.clone(), option: option.to_owned(), known }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kinds().map(|spec| &spec.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::PassThrough;

    #[test]
    fn short_numbers_are_shown_short() {
        for v in [0.4f32, 0.1, 1e-7, 3.0, -2.5] {
            assert_eq!(
                Value::from(v).to_string(),
                f64::from_value(&Value::from(v)).expect("a number").to_string()
            );
            assert_eq!(f32::from_value(&Value::from(v)), Some(v));
        }
        assert_eq!(Value::from(0.4f32).to_string(), "0.4");
    }

    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry.register("posterize", |options: &Options| match options.get_or("step", 48u8)? {
            0 => Err(BoxError::from("`step` must be at least 1")),
            _ => Ok(PassThrough),
        });
        let spec = KindSpec::new("edge_detection", "Edges")
            .aliases(&["EdgeOn", "edges"])
            .param(ParamSpec::new("low", ParamType::Int(0..=1000), 100, "lower threshold"))
            .param(ParamSpec::new("mode", ParamType::Choice(vec!["a".into(), "b".into()]), "a", "which"));
        registry.add(spec, |_: &Options| Ok::<_, BoxError>(PassThrough));
        registry
    }

    fn error(name: &str, options: Options) -> String {
        registry().build(name, &options).err().expect("an error").to_string()
    }

    #[test]
    fn aliases_and_case_resolve() {
        for name in ["edge_detection", "edgeon", "EDGES"] {
            assert_eq!(registry().resolve(name).expect(name).name, "edge_detection");
        }
    }

    #[test]
    fn errors_name_the_value_and_the_fix() {
        let none = Options::new;
        assert_eq!(error("seppia", none()), "unknown effect \"seppia\"; known: posterize, edge_detection");
        assert_eq!(
            error("edges", none().with("lo", 3)),
            "edge_detection has no option \"lo\"; it has: low, mode"
        );
        assert_eq!(error("edges", none().with("low", 1001)), "option \"low\" is 1001; allowed: 0 to 1000");
        assert_eq!(
            error("edges", none().with("low", "x")),
            "option \"low\" is \"x\"; it must be a whole number"
        );
        assert_eq!(error("edges", none().with("mode", "c")), "option \"mode\" is \"c\"; allowed: a, b");
        assert_eq!(
            error("posterize", none().with("step", 0)),
            "posterize could not be built: `step` must be at least 1"
        );
        assert_eq!(
            error("posterize", none().with("step", 256)),
            "option \"step\" is 256; it must be a whole number that fits u8"
        );
        assert_eq!(
            error("posterize", none().with("setp", 5)),
            "posterize has no option \"setp\"; it has: step"
        );
    }

    #[test]
    fn good_options_build() {
        assert!(registry().build("posterize", &Options::new().with("step", 12.0)).is_ok());
        assert!(registry().build("edges", &Options::new().with("low", 0).with("mode", "b")).is_ok());
    }

    #[test]
    fn parameters_answer_to_their_aliases() {
        let mut registry = Registry::new();
        let least = ParamSpec::new("least", ParamType::Int(0..=9), 5, "").aliases(&["min", "minimum"]);
        registry.add(KindSpec::new("kind", "").param(least), |options: &Options| {
            match options.get::<u8>("least")? {
                Some(7) => Ok(PassThrough),
                other => Err(BoxError::from(format!("least is {other:?}"))),
            }
        });
        for name in ["least", "min", "minimum"] {
            assert!(registry.build("kind", &Options::new().with(name, 7)).is_ok(), "{name}");
        }
        let error = |options| registry.build("kind", &options).err().expect("an error").to_string();
        assert_eq!(error(Options::new().with("min", 10)), "option \"least\" is 10; allowed: 0 to 9");
        assert_eq!(error(Options::new().with("Min", 7)), "kind has no option \"Min\"; it has: least");
        let twice = Options::new().with("least", 7).with("min", 7);
        assert_eq!(error(twice), "option \"least\" is given a second time as \"min\"; give one of them");
        let twice = Options::new().with("minimum", 7).with("min", 7);
        assert_eq!(error(twice), "option \"least\" is given a second time as \"minimum\"; give one of them");
    }

    #[test]
    fn a_number_means_the_word_in_that_place() {
        let mut registry = Registry::new();
        let mode = ParamType::Choice(["slow", "fast"].map(String::from).into());
        registry.add(
            KindSpec::new("kind", "").param(ParamSpec::new("mode", mode, "slow", "")),
            |o: &Options| match o.get::<String>("mode")?.as_deref() {
                Some("fast") => Ok(PassThrough),
                other => Err(BoxError::from(format!("mode is {other:?}"))),
            },
        );
        for value in [Value::from("fast"), Value::Int(1), Value::Float(1.0)] {
            assert!(registry.build("kind", &Options::new().with("mode", value.clone())).is_ok(), "{value}");
        }
        let error = |value: Value| {
            registry.build("kind", &Options::new().with("mode", value)).err().expect("an error").to_string()
        };
        for value in [Value::Int(2), Value::Int(-1), Value::Float(0.5)] {
            let expected =
                format!("option \"mode\" is {value}; allowed: slow, fast, or a number from 0 to 1");
            assert_eq!(error(value), expected);
        }
        assert_eq!(error(Value::Bool(true)), "option \"mode\" is true; it must be one of the listed words");
    }

    #[test]
    fn a_kind_is_replaced_by_its_namesake() {
        let mut registry = registry();
        registry.add(KindSpec::new("posterize", "new"), |_: &Options| Ok::<_, BoxError>(PassThrough));
        assert_eq!(registry.kinds().filter(|k| k.name == "posterize").count(), 1);
    }
}

//! What a setting is, and the types that settings are read as.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What values a setting takes, as far as help, documents and files need to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number from `min` to `max`.
    Int {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
        /// Unit, empty for plain numbers.
        unit: &'static str,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Text: its placeholder in help, and what is allowed.
    Text(&'static str, &'static str),
    /// Any number of texts: the placeholder of one, and what is allowed. An array in a file, repeated on the command
    /// line, separated by commas in a variable.
    List(&'static str, &'static str),
    /// Like [`List`](Self::List), but commas belong to the texts: a flag holds one of them, and a variable separates
    /// them by blanks.
    Words(&'static str, &'static str),
}

impl Kind {
    /// Whether it takes any number of texts.
    pub const fn is_list(&self) -> bool {
        matches!(self, Self::List(..) | Self::Words(..))
    }
}

/// One setting. The table [`SETTINGS`](super::SETTINGS) drives flags, variables, file keys, help and documents.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Setting {
    /// The key in a file, lowercase snake case; flag and variable follow from it.
    pub name: &'static str,
    /// Other names for the same setting.
    pub aliases: &'static [&'static str],
    /// The heading it stands under.
    pub group: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What applies when it is not given; `None` if it is then unset.
    pub default: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
    /// Whether it may be given on the command line only.
    pub flag_only: bool,
    /// Whether nothing may show its value.
    pub secret: bool,
}

impl Setting {
    /// The flag without its dashes: `mjpeg-port`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable: `OOBLEX_MJPEG_PORT`.
    pub fn variable(&self) -> String {
        variable(self.name)
    }

    /// Name and aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// What is allowed, for reading.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Bool => "true or false".into(),
            Kind::Int { min, max, unit } => {
                let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
                format!("a whole number from {min} to {max}{unit}")
            }
            Kind::Choice(words) => words.join(", "),
            Kind::Text(_, what) | Kind::List(_, what) | Kind::Words(_, what) => what.into(),
        }
    }

    /// The placeholder for its value in help.
    pub fn placeholder(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "BOOL",
            Kind::Int { .. } => "N",
            Kind::Choice(_) => "WORD",
            Kind::Text(name, _) | Kind::List(name, _) | Kind::Words(name, _) => name,
        }
    }
}

/// The environment variable of a setting name.
pub(super) fn variable(name: &str) -> String {
    format!("OOBLEX_{}", name.to_uppercase())
}

/// A type that a setting can be read as. The texts are one value, or all items of a list.
pub(super) trait SettingType: Sized {
    /// Reads it; `Err` says what is wrong in addition to [`Setting::allowed`], or is empty.
    fn read(texts: &[String], setting: &Setting) -> Result<Self, String>;
    /// The value where there is neither a given one nor a default.
    fn unset() -> Option<Self> {
        None
    }
    /// How a file would say it; `None` if it is unset.
    fn to_toml(&self) -> Option<String>;
}

/// The one text of a setting that is not a list.
pub(super) fn one(texts: &[String]) -> Result<&str, String> {
    match texts {
        [text] => Ok(text),
        _ => Err(format!("{} values", texts.len())),
    }
}

/// A TOML basic string. JSON's escapes are a subset of TOML's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
}

pub(super) fn quoted_list<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(|i| quoted(&i.to_string())).collect();
    format!("[{}]", items.join(", "))
}

impl SettingType for bool {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        one(texts)?.parse().map_err(|_| String::new())
    }
    fn to_toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! whole_numbers {
    ($($int:ty),*) => {$(
        impl SettingType for $int {
            fn read(texts: &[String], setting: &Setting) -> Result<Self, String> {
                let text = one(texts)?;
                // TOML allows underscores between digits; so do the other forms.
                let n: u64 = text.replace('_', "").parse().map_err(|_| String::new())?;
                match setting.kind {
                    Kind::Int { min, max, .. } if !(min..=max).contains(&n) => Err(String::new()),
                    _ => n.try_into().map_err(|_| String::new()),
                }
            }
            fn to_toml(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

whole_numbers!(u8, u16, u32, u64, usize);

impl SettingType for Duration {
    fn read(texts: &[String], setting: &Setting) -> Result<Self, String> {
        u64::read(texts, setting).map(Self::from_secs)
    }
    fn to_toml(&self) -> Option<String> {
        Some(self.as_secs().to_string())
    }
}

impl SettingType for IpAddr {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        match one(texts)? {
            "localhost" => Ok(std::net::Ipv4Addr::LOCALHOST.into()),
            text => text.trim_matches(['[', ']']).parse().map_err(|_| String::new()),
        }
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl SettingType for String {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        one(texts).map(str::to_owned)
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl SettingType for PathBuf {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        match one(texts)? {
            "" => Err("it is empty".into()),
            text => Ok(text.into()),
        }
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }
}

impl SettingType for Vec<PathBuf> {
    fn read(texts: &[String], setting: &Setting) -> Result<Self, String> {
        texts.iter().map(|text| PathBuf::read(std::slice::from_ref(text), setting)).collect()
    }
    fn to_toml(&self) -> Option<String> {
        let texts: Vec<_> = self.iter().map(|path| path.to_string_lossy()).collect();
        Some(quoted_list(&texts))
    }
}

impl SettingType for Vec<String> {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        Ok(texts.to_vec())
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted_list(self))
    }
}

impl<T: SettingType> SettingType for Option<T> {
    fn read(texts: &[String], setting: &Setting) -> Result<Self, String> {
        T::read(texts, setting).map(Some)
    }
    fn unset() -> Option<Self> {
        Some(None)
    }
    fn to_toml(&self) -> Option<String> {
        self.as_ref().and_then(T::to_toml)
    }
}

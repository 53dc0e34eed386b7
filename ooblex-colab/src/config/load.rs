//! Putting the layers together.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use super::setting::{Setting, SettingType, quoted, variable};
use super::{Config, HIDDEN, Kind, SETTINGS, TunnelChoice, file, find, nearest, without_secrets};
use crate::cli::Arguments;

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// It was not given.
    Default,
    /// A file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// What is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingError {
    /// The setting.
    pub setting: &'static str,
    /// Where the value comes from.
    pub origin: Origin,
    /// The value, for reading.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
    /// What else is wrong; may be empty.
    pub reason: String,
}

/// Something that keeps a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A value does not fit its setting.
    #[error("{} (from {}) is {}; allowed: {}{}", .0.setting, .0.origin, .0.value, .0.allowed,
        if .0.reason.is_empty() { String::new() } else { format!(" ({})", .0.reason) })]
    Setting(SettingError),
    /// Anything else: an unknown name, an unreadable file.
    #[error("{0}")]
    Text(String),
}

/// Collects everything that is wrong, so that all of it is reported at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Invalid>);

impl Problems {
    pub(crate) fn push(&mut self, problem: Invalid) {
        self.0.push(problem);
    }

    pub(crate) fn unknown(&mut self, what: String, nearest: Option<String>) {
        let hint = nearest.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        self.push(Invalid::Text(format!("{what}{hint}")));
    }

    pub(crate) fn flag_only(&mut self, setting: &Setting, origin: &Origin) {
        let (name, flag) = (setting.name, setting.flag());
        self.push(Invalid::Text(format!(
            "{name} (from {origin}) is given on the command line only; use --{flag}"
        )));
    }

    pub(super) fn wrong(&mut self, setting: &Setting, origin: &Origin, value: String, reason: String) {
        self.push(Invalid::Setting(SettingError {
            setting: setting.name,
            origin: origin.clone(),
            value,
            allowed: setting.allowed(),
            reason,
        }));
    }

    pub(crate) fn into_result<T>(self, value: Option<T>) -> Result<T, Vec<Invalid>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

/// What one layer after the other says; later ones replace earlier ones.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeMap<&'static str, (Vec<String>, Origin, String)>);

impl Given {
    /// Notes the value of `setting`, given under `name`.
    pub(super) fn set(
        &mut self,
        setting: &'static Setting,
        name: &str,
        texts: Vec<String>,
        origin: Origin,
        problems: &mut Problems,
    ) {
        let before = self.0.insert(setting.name, (texts, origin.clone(), name.to_owned()));
        // Two names for one setting in the same layer: nobody can tell which was meant.
        if let Some((_, other, _)) = before.filter(|(_, other, other_name)| {
            std::mem::discriminant(other) == std::mem::discriminant(&origin) && other_name != name
        }) {
            problems.push(Invalid::Text(format!(
                "{} is given twice, by {other} and {origin}; leave one out",
                setting.name
            )));
        }
    }
}

/// Reads typed values and notes what is wrong with them.
#[derive(Default)]
pub(super) struct Reader<'a> {
    given: Option<&'a Given>,
    problems: Problems,
}

impl Reader<'_> {
    pub(super) fn read<T: SettingType>(&mut self, name: &'static str) -> Option<T> {
        // Invariant: the names come from the same table.
        let setting = find(name)?;
        let default = || match (setting.default, setting.kind) {
            (Some(text), Kind::Words(..)) => Some(split(setting, text)),
            (Some(text), _) => Some(vec![text.to_owned()]),
            (None, kind) if kind.is_list() => Some(Vec::new()),
            (None, _) => None,
        };
        let (texts, origin) = match self.given.and_then(|g| g.0.get(name)) {
            Some((texts, origin, _)) => (texts.clone(), origin.clone()),
            None => match default() {
                Some(texts) => (texts, Origin::Default),
                None => return T::unset(),
            },
        };
        match T::read(&texts, setting) {
            Ok(value) => Some(value),
            Err(reason) => {
                let texts: Vec<_> = texts.iter().map(|text| shown(setting, text)).collect();
                let shown = match texts.as_slice() {
                    [text] => quoted(text),
                    _ => super::setting::quoted_list(&texts),
                };
                self.problems.wrong(setting, &origin, shown, reason);
                None
            }
        }
    }
}

/// A value for an error: a URL without what may be secret in it.
fn shown(setting: &Setting, text: &str) -> String {
    if setting.secret {
        return HIDDEN.to_owned();
    }
    match text.find("://").map(|at| text[..at].rfind('=').map_or(0, |equals| equals + 1)) {
        Some(start) => format!("{}{}", &text[..start], without_secrets(&text[start..])),
        None => text.to_owned(),
    }
}

/// A configuration, and where it comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where each setting comes from; [`Origin::Default`] if it is absent.
    pub origins: BTreeMap<&'static str, Origin>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// Where a setting comes from.
    pub fn origin(&self, name: &str) -> &Origin {
        self.origins.get(name).unwrap_or(&Origin::Default)
    }
}

/// Name of the file that is read from the working directory when none is named.
pub(crate) const DEFAULT_FILE: &str = "ooblex.toml";
/// The variable that names a file.
pub(crate) const FILE_VARIABLE: &str = "OOBLEX_CONFIG";

/// The variable under which notebooks keep the token of ngrok.
const NGROK_VARIABLE: &str = "NGROK_AUTH_TOKEN";

/// Puts the layers together: defaults < file < `environment` < `arguments`.
///
/// The file is the one that `--config` names, else the one that `OOBLEX_CONFIG` names, else `ooblex.toml` in the
/// working directory if there is one. Names are checked in every layer: unknown ones are errors.
///
/// # Errors
/// Everything that is wrong, in every layer.
pub fn load(
    arguments: &Arguments,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, Vec<Invalid>> {
    let mut problems = Problems::default();
    let mut given = Given::default();
    let mut variables = Given::default();
    let named = read_environment(environment, &mut variables, &mut problems);
    let file = find_file(arguments, named);
    if let Some(path) = &file {
        match std::fs::read_to_string(path) {
            Ok(text) => file::read(path, &text, &mut given, &mut problems),
            Err(error) => problems.push(Invalid::Text(format!("cannot read {}: {error}", path.display()))),
        }
    }
    given.0.append(&mut variables.0);
    for (name, flag, texts) in &arguments.settings {
        if let Some(setting) = find(name) {
            given.set(setting, name, texts.clone(), Origin::Flag(flag.clone()), &mut problems);
        }
    }
    let mut reader = Reader { given: Some(&given), problems };
    let config = Config::read(&mut reader);
    let mut problems = reader.problems;
    if let Some(config) = &config {
        check_together(config, &given, &mut problems);
    }
    let origins = given.0.iter().map(|(name, (_, origin, _))| (*name, origin.clone())).collect();
    problems.into_result(config.map(|config| Loaded { config, origins, file }))
}

/// Adds what variables say; gives the file that they name.
fn read_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    given: &mut Given,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let mut file = None;
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|n| n.starts_with("OOBLEX_") || *n == NGROK_VARIABLE) else {
            continue;
        };
        if name == FILE_VARIABLE {
            file = Some(PathBuf::from(value)).filter(|f| !f.as_os_str().is_empty());
            continue;
        }
        // The one with our name counts more.
        if name == NGROK_VARIABLE && (value.is_empty() || given.0.contains_key("ngrok_auth_token")) {
            continue;
        }
        let fits = |own: &str| variable(own) == name || (own == "ngrok_auth_token" && name == NGROK_VARIABLE);
        let setting = SETTINGS.iter().find_map(|s| s.names().find(|n| fits(n)).map(|n| (s, n)));
        let Some((setting, key)) = setting else {
            let known = SETTINGS.iter().filter(|s| !s.flag_only).flat_map(|s| s.names()).map(variable);
            let nearest = nearest(name, known.chain([FILE_VARIABLE.to_owned()]));
            problems.unknown(format!("unknown variable `{name}`"), nearest);
            continue;
        };
        let origin = Origin::Variable(name.to_owned());
        match value.to_str() {
            _ if setting.flag_only => problems.flag_only(setting, &origin),
            Some(text) => given.set(setting, key, split(setting, text), origin, problems),
            None if setting.secret => problems.wrong(setting, &origin, HIDDEN.into(), "not UTF-8".into()),
            None => problems.wrong(setting, &origin, show(&value), "not UTF-8".into()),
        }
    }
    file
}

fn show(value: &OsStr) -> String {
    quoted(&value.to_string_lossy())
}

/// The items of a list, or the one text of anything else.
fn split(setting: &Setting, text: &str) -> Vec<String> {
    match setting.kind {
        Kind::List(..) => {
            text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
        }
        Kind::Words(..) => text.split_whitespace().map(str::to_owned).collect(),
        _ => vec![text.trim().to_owned()],
    }
}

fn find_file(arguments: &Arguments, named: Option<PathBuf>) -> Option<PathBuf> {
    match &arguments.config {
        _ if arguments.no_config => None,
        Some(path) => Some(path.clone()),
        None => named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|p| Path::exists(p))),
    }
}

/// What no single setting can know.
fn check_together(config: &Config, given: &Given, problems: &mut Problems) {
    let origin = |name: &str| given.0.get(name).map_or(Origin::Default, |(_, origin, _)| origin.clone());
    if config.webrtc_port.is_some_and(|p| p == config.mjpeg_port && p != 0) {
        problems.push(Invalid::Text(format!(
            "webrtc_port (from {}) and mjpeg_port (from {}) are both {}; choose another for one of them",
            origin("webrtc_port"),
            origin("mjpeg_port"),
            config.mjpeg_port
        )));
    }
    if config.demo && config.source.iter().any(|s| s.stream.as_str() == crate::sources::DEMO) {
        problems.push(Invalid::Text(format!(
            "stream `{}` is both demo (from {}) and a source (from {}); name the source otherwise",
            crate::sources::DEMO,
            origin("demo"),
            origin("source")
        )));
    }
    check_tokens(config, &origin, problems);
    check_tunnel(config, &origin, problems);
    let streams = config.source.len() + usize::from(config.demo);
    if streams > config.max_streams {
        problems.push(Invalid::Text(format!(
            "{streams} sources are given, but max_streams (from {}) is {}",
            origin("max_streams"),
            config.max_streams
        )));
    }
}

/// Whoever knows one token must not know another by it.
fn check_tokens(config: &Config, origin: &dyn Fn(&str) -> Origin, problems: &mut Problems) {
    let tokens = [
        ("publish_token", &config.publish_token),
        ("view_token", &config.view_token),
        ("control_token", &config.control_token),
    ];
    for (index, (name, token)) in tokens.iter().enumerate() {
        let same = tokens[..index].iter().find(|(_, earlier)| token.is_some() && earlier == token);
        if let Some((other, _)) = same {
            problems.push(Invalid::Text(format!(
                "{name} (from {}) and {other} (from {}) are the same; choose another for one of them",
                origin(name),
                origin(other)
            )));
        }
    }
}

/// What a tunnel cannot do without. Tokens and programs that are missing keep nothing from starting.
fn check_tunnel(config: &Config, origin: &dyn Fn(&str) -> Origin, problems: &mut Problems) {
    let mut needs = |what: &str, setting: &str, fix: &str| {
        let origin = origin(setting);
        problems.push(Invalid::Text(format!("{what} (from {origin}) needs {fix}")));
    };
    if config.tunnel == TunnelChoice::Command && config.tunnel_command.is_none() {
        needs("the tunnel `command`", "tunnel", "a program; give --tunnel-command");
    }
    if config.tunnel == TunnelChoice::Cloudflared && config.cloudflared_token.is_some() {
        if config.tunnel_url.is_none() {
            needs("cloudflared_token", "cloudflared_token", "the address of that tunnel; give --tunnel-url");
        }
        if config.tunnel_port == 0 {
            needs(
                "cloudflared_token",
                "cloudflared_token",
                "the port that this tunnel forwards to; give --tunnel-port",
            );
        }
    }
}

//! The command line: commands, flags and help, made from the table of settings.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

use crate::access;
use crate::config::{Invalid, Kind, Problems, SETTINGS, Setting, nearest};

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Run the server.
    #[default]
    Serve,
    /// List the effects.
    Effects,
    /// Say what was found, what is missing and how to fix it.
    Doctor,
    /// List, check, fetch or find models.
    Models,
    /// Replace or take back tokens of the running server.
    Tokens,
    /// Fetch the program of a tunnel.
    Tunnel,
}

/// What to do with a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokensAction {
    /// Replace it by a new one.
    #[default]
    Rotate,
    /// Take it back.
    Revoke,
}

impl TokensAction {
    const ALL: [Self; 2] = [Self::Rotate, Self::Revoke];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
        }
    }
}

/// What follows the command `tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokensArguments {
    /// What to do.
    pub action: TokensAction,
    /// With which: control, publish, view or link.
    pub kind: String,
}

/// What to do with models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelsAction {
    /// List them.
    #[default]
    List,
    /// Check that files are the published ones.
    Verify,
    /// Fetch what is missing.
    Pull,
    /// Say where files are, or are looked for.
    Path,
}

impl ModelsAction {
    const ALL: [(&'static str, Self); 4] =
        [("list", Self::List), ("verify", Self::Verify), ("pull", Self::Pull), ("path", Self::Path)];
}

/// What follows the command `models`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelsArguments {
    /// What to do.
    pub action: ModelsAction,
    /// With which models; all of them if there is none, except for fetching.
    pub names: Vec<String>,
    /// `--all`.
    pub all: bool,
}

impl Command {
    const ALL: [(&'static str, Self, &'static str); 6] = [
        ("serve", Self::Serve, "run the server (what happens without a command, too)"),
        ("effects", Self::Effects, "list the effects with their parameters, ranges and defaults"),
        ("doctor", Self::Doctor, "say what was found, what is missing and how to fix it"),
        (
            "models",
            Self::Models,
            "models list|verify|pull|path [MODEL...]: list, check, fetch or find models",
        ),
        (
            "tokens",
            Self::Tokens,
            "tokens rotate|revoke control|publish|view|link: replace or take back a token of the running server",
        ),
        ("tunnel", Self::Tunnel, "tunnel fetch-cloudflared: fetch the program cloudflared, and check it"),
    ];
}

/// A command line that was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arguments {
    /// What to do.
    pub command: Command,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--no-config`.
    pub no_config: bool,
    /// `--print-config`.
    pub print_config: bool,
    /// `--ask-stun`.
    pub ask_stun: bool,
    /// What to do with models, and with which.
    pub models: ModelsArguments,
    /// What to do with which token.
    pub tokens: TokensArguments,
    /// `--help`.
    pub help: bool,
    /// `--version`.
    pub version: bool,
    /// Settings: name or alias, flag as it was written, values.
    pub(crate) settings: Vec<(&'static str, String, Vec<String>)>,
}

/// Flags that are not settings.
const OTHER: [(&str, &str, &str); 7] = [
    ("--config", "FILE", "read settings from this TOML file"),
    ("--no-config", "", "read no file"),
    ("--print-config", "", "print the effective configuration and where each value comes from, and stop"),
    ("--ask-stun", "", "with doctor: ask the STUN servers by which address this machine is seen"),
    ("--all", "", "with models pull: every model"),
    ("--help", "", "print this"),
    ("--version", "", "print the version"),
];

impl Arguments {
    /// Reads a command line without the program's name.
    ///
    /// # Errors
    /// Everything that is wrong with it: unknown commands and flags come with a suggestion.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Vec<Invalid>> {
        let mut parser = Parser {
            rest: arguments.into_iter(),
            done: Self::default(),
            problems: Problems::default(),
            after_unknown: false,
            wants_fetch: false,
        };
        let mut commands = 0;
        while let Some(argument) = parser.rest.next() {
            let Ok(text) = argument.into_string() else {
                parser.problem("an argument is not UTF-8".into());
                continue;
            };
            if text.starts_with('-') {
                parser.after_unknown = false;
            }
            match text.strip_prefix("--") {
                Some(flag) if !flag.is_empty() => parser.flag(flag),
                _ if text == "-h" => parser.done.help = true,
                _ if text == "-V" => parser.done.version = true,
                _ if text.starts_with('-') => parser.problem(format!("unknown flag `{text}`; see --help")),
                // Probably the value of a flag that is misspelt: nobody's business, it may be a secret.
                _ if std::mem::take(&mut parser.after_unknown) => {}
                _ => {
                    commands += 1;
                    parser.command(&text, commands);
                }
            }
        }
        if parser.done.command == Command::Tokens && commands < 3 && !parser.done.help {
            parser.problem(TOKENS_USAGE.into());
        }
        if parser.done.command == Command::Tunnel && !parser.wants_fetch {
            parser.problem(format!("`tunnel` is followed by what to do: tunnel {FETCH}"));
        }
        let done = parser.done;
        parser.problems.into_result(Some(done))
    }
}

const TOKENS_USAGE: &str = "say what to do with which token: tokens rotate|revoke control|publish|view|link";

struct Parser<I> {
    rest: I,
    done: Arguments,
    problems: Problems,
    /// Whether the flag before is unknown and came without a value.
    after_unknown: bool,
    /// Whether `tunnel` is followed by what it does.
    wants_fetch: bool,
}

/// What follows the command `tunnel`.
const FETCH: &str = "fetch-cloudflared";

impl<I: Iterator<Item = OsString>> Parser<I> {
    fn problem(&mut self, text: String) {
        self.problems.push(Invalid::Text(text));
    }

    fn command(&mut self, text: &str, count: usize) {
        match Command::ALL.iter().find(|(name, ..)| *name == text) {
            _ if count > 1 && self.done.command == Command::Models => self.word_for_models(text, count),
            _ if count > 1 && self.done.command == Command::Tokens => self.word_for_tokens(text, count),
            _ if count == 2 && self.done.command == Command::Tunnel && text == FETCH => {
                self.wants_fetch = true
            }
            _ if count > 1 => self.problem(format!("unexpected argument `{text}`; give one command")),
            Some((_, command, _)) => self.done.command = *command,
            None if text == "help" => self.done.help = true,
            None => {
                let names = Command::ALL.iter().map(|(name, ..)| *name);
                self.problems
                    .unknown(format!("unknown command `{text}`"), nearest(text, names).map(str::to_owned));
            }
        }
    }

    /// What follows `models`: what to do, then names.
    fn word_for_models(&mut self, text: &str, count: usize) {
        match ModelsAction::ALL.iter().find(|(name, _)| *name == text) {
            _ if count > 2 => self.done.models.names.push(text.to_owned()),
            Some((_, action)) => self.done.models.action = *action,
            None => {
                let names = ModelsAction::ALL.iter().map(|(name, _)| *name);
                self.problems.unknown(
                    format!("unknown command `models {text}`"),
                    nearest(text, names).map(str::to_owned),
                );
            }
        }
    }

    /// What follows `tokens`: what to do, then with which.
    fn word_for_tokens(&mut self, text: &str, count: usize) {
        let action = TokensAction::ALL.into_iter().find(|action| action.as_str() == text);
        match (count, action) {
            (2, Some(action)) => self.done.tokens.action = action,
            (3, _) if access::Kind::of(text).is_some() => self.done.tokens.kind = text.to_owned(),
            _ => self.problem(TOKENS_USAGE.into()),
        }
    }

    fn flag(&mut self, text: &str) {
        let (flag, value) = match text.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (text, None),
        };
        match (flag, &value) {
            ("help", None) => self.done.help = true,
            ("version", None) => self.done.version = true,
            ("ask-stun", None) => self.done.ask_stun = true,
            ("all", None) => self.done.models.all = true,
            ("no-config", None) => self.done.no_config = true,
            ("print-config", None) => self.done.print_config = true,
            ("help" | "version" | "ask-stun" | "all" | "no-config" | "print-config", Some(_)) => {
                self.problem(format!("--{flag} takes no value"));
            }
            ("config", _) => self.done.config = self.value(flag, value, "FILE").map(PathBuf::from),
            _ => self.setting(flag, value),
        }
    }

    fn setting(&mut self, flag: &str, value: Option<String>) {
        let Some((setting, name, negated)) = resolve(flag) else {
            let flags =
                SETTINGS.iter().flat_map(Setting::names).map(|n| format!("--{}", n.replace('_', "-")));
            let known = flags.chain(OTHER.iter().map(|(flag, ..)| (*flag).to_owned()));
            let written = format!("--{flag}");
            self.after_unknown = value.is_none();
            self.problems.unknown(format!("unknown flag `{written}`"), nearest(&written, known));
            return;
        };
        let text = match (setting.kind, value) {
            (_, Some(_)) if negated => return self.problem(format!("--{flag} takes no value")),
            (Kind::Bool, None) => Some((!negated).to_string()),
            (_, value) => self.value(flag, value, setting.placeholder()),
        };
        let Some(text) = text else { return };
        let known = self.done.settings.iter_mut().find(|(n, ..)| *n == name);
        match (setting.kind, known) {
            // A path may contain a comma; sources are therefore repeated, never split.
            (kind, known) if kind.is_list() => {
                let mut items: Vec<String> = match setting.flag_only || matches!(kind, Kind::Words(..)) {
                    true => vec![text],
                    false => text.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect(),
                };
                match known {
                    Some((.., texts)) => texts.append(&mut items),
                    None => self.done.settings.push((name, format!("--{flag}"), items)),
                }
            }
            (_, Some((.., texts))) => *texts = vec![text],
            (_, None) => self.done.settings.push((name, format!("--{flag}"), vec![text])),
        }
    }

    /// The value after `=`, or else the next argument.
    fn value(&mut self, flag: &str, value: Option<String>, placeholder: &str) -> Option<String> {
        let value = value.map(OsString::from).or_else(|| self.rest.next());
        match value.map(OsString::into_string) {
            Some(Ok(text)) => Some(text),
            Some(Err(_)) => {
                self.problem(format!("the value of --{flag} is not UTF-8"));
                None
            }
            None => {
                self.problem(format!("--{flag} needs a value: --{flag} {placeholder}"));
                None
            }
        }
    }
}

/// The setting that a flag means, the name it used, and whether it was negated.
fn resolve(flag: &str) -> Option<(&'static Setting, &'static str, bool)> {
    let find = |flag: &str| {
        SETTINGS.iter().find_map(|s| s.names().find(|n| n.replace('_', "-") == flag).map(|n| (s, n)))
    };
    match find(flag) {
        Some((setting, name)) => Some((setting, name, false)),
        None => {
            find(flag.strip_prefix("no-")?).filter(|(s, _)| s.kind == Kind::Bool).map(|(s, n)| (s, n, true))
        }
    }
}

/// What `--help` prints.
pub(crate) fn help() -> String {
    let mut out =
        format!("ooblex-colab {}: live video in, effects on every frame, live video out\n", VERSION);
    out.push_str("\nUsage: ooblex-colab [COMMAND] [FLAGS]\n\nCommands:\n");
    for (name, _, what) in Command::ALL {
        entry(&mut out, name, what);
    }
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            let _ = write!(out, "\n{group}:\n");
        }
        let value =
            if setting.kind == Kind::Bool { String::new() } else { format!(" {}", setting.placeholder()) };
        let mut notes = vec![format!("allowed: {}", setting.allowed())];
        if let Some(default) = setting.default {
            notes.push(format!("default: {default}"));
        }
        if !setting.aliases.is_empty() {
            notes.push(format!(
                "also: {}",
                setting.aliases.iter().map(|a| format!("--{a}")).collect::<Vec<_>>().join(", ")
            ));
        }
        if setting.kind.is_list() {
            notes.push("may be repeated".into());
        }
        if setting.kind == Kind::Bool {
            notes.retain(|n| !n.starts_with("allowed"));
            notes.push(format!("--no-{} switches it off", setting.flag()));
        }
        entry(
            &mut out,
            &format!("--{}{value}", setting.flag()),
            &format!("{} [{}]", setting.help, notes.join("; ")),
        );
    }
    out.push_str("\nOther:\n");
    for (flag, value, what) in OTHER {
        let short = match flag {
            "--help" => "-h, ",
            "--version" => "-V, ",
            _ => "",
        };
        entry(&mut out, format!("{short}{flag} {value}").trim_end(), what);
    }
    out.push_str(
        "\nEvery setting is also a variable (--mjpeg-port is OOBLEX_MJPEG_PORT) and a key in a TOML file (mjpeg_port).\n\
         The order is: defaults < file < variables < flags. The file is --config FILE, else $OOBLEX_CONFIG, else\n\
         ./ooblex.toml if there is one. --source is given on the command line only.\n\
         \nExit status: 0 stopped cleanly, 1 could not start or run, 2 wrong configuration, 130 stopped by force.\n",
    );
    out
}

/// The version of this crate.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One line or more of help: a name, and what it means, wrapped.
fn entry(out: &mut String, name: &str, what: &str) {
    const INDENT: usize = 8;
    const WIDTH: usize = 100;
    let _ = writeln!(out, "  {name}");
    let mut line = " ".repeat(INDENT);
    for word in what.split_whitespace() {
        if line.len() + word.len() >= WIDTH && line.len() > INDENT {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(INDENT);
        }
        line.push_str(word);
        line.push(' ');
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

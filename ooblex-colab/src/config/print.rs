//! The configuration for reading: `--print-config` and `docs/CONFIG.md`.

use std::fmt::Write;

use super::setting::variable;
use super::{Config, Loaded, SETTINGS, Setting};
use crate::config::Origin;

/// The effective configuration as TOML that loads to the same settings, with the origin of each value. Passwords
/// in URLs are left out; settings that a file must not hold, and secrets, are comments.
pub fn print(loaded: &Loaded) -> String {
    let mut out = String::from("# effective configuration of ooblex-colab\n");
    if let Some(file) = &loaded.file {
        let _ = writeln!(out, "# file: {}", file.display());
    }
    let mut group = "";
    for (name, value) in loaded.config.values() {
        let Some(setting) = super::find(name) else { continue };
        if setting.group != group {
            group = setting.group;
            let _ = writeln!(out, "\n# {group}");
        }
        let origin = match loaded.origin(name) {
            Origin::Default if value.is_none() => "default: unset".to_owned(),
            origin => origin.to_string(),
        };
        let comment = if setting.flag_only || setting.secret || value.is_none() { "# " } else { "" };
        let _ = writeln!(out, "{comment}{name} = {}  # {origin}", value.as_deref().unwrap_or("..."));
    }
    out
}

/// `docs/CONFIG.md`.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            let _ = write!(
                out,
                "\n## {group}\n\n| Setting | Default | Allowed | What it does |\n|---|---|---|---|\n"
            );
        }
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            forms(setting),
            default(setting),
            setting.allowed().replace('|', "\\|"),
            setting.help.replace('|', "\\|")
        );
    }
    out.push_str("\n## The defaults as a file\n\n```toml\n");
    for (name, value) in Config::default().values() {
        if let (Some(value), Some(false)) = (value, super::find(name).map(|s| s.flag_only || s.secret)) {
            let _ = writeln!(out, "{name} = {value}");
        }
    }
    out.push_str("```\n");
    out
}

fn forms(setting: &Setting) -> String {
    let all = |name: &str| match setting.flag_only {
        true => format!("`--{}`", name.replace('_', "-")),
        false => format!("`--{}`<br>`{}`<br>`{name}`", name.replace('_', "-"), variable(name)),
    };
    let aliases: Vec<_> = setting.aliases.iter().map(|a| format!("`{a}`")).collect();
    let or = if aliases.is_empty() { String::new() } else { format!("<br>or {}", aliases.join(", ")) };
    all(setting.name) + &or
}

fn default(setting: &Setting) -> String {
    match (setting.default, setting.kind) {
        (Some(text), _) => format!("`{text}`"),
        (None, kind) if kind.is_list() => "none".into(),
        (None, _) => "unset".into(),
    }
}

const HEAD: &str = "\
# Configuration

This file is made from the table of settings in `ooblex-colab/src/config/mod.rs`; a test fails when it is out of date
and says how to renew it.

Every setting has three forms, and the later ones win: the key in a TOML file, the environment variable, the flag.
`--print-config` shows what applies and where each value comes from. Everything is checked before anything starts:
unknown keys, unknown variables that begin with `OOBLEX_`, unknown flags and values out of range are all reported at
once, and the exit status is 2.

The file is the one that `--config FILE` names, else the one that `OOBLEX_CONFIG` names, else `ooblex.toml` in the
working directory if there is one; `--no-config` reads none. A list is an array in the file, a flag given several times
(or items separated by commas), and items separated by commas in a variable; where commas belong to the items, they
are separated by blanks. A flag for true or false may be given
alone (`--demo`), with a value (`--demo=false`) or negated (`--no-demo`).

Tokens and passwords are never printed or logged. Give them by variable or file: other users of a machine can see the
flags of its programs.

## Who may do what

Without tokens everybody who reaches the server may do everything. With tokens:

| Right | What it allows | Who has it |
|---|---|---|
| view | watch, read state and effects | everybody, or with `view_token` who shows it or `control_token` |
| publish | send pictures and video | everybody, or with `publish_token` who shows it or `control_token` |
| control | change effects | who shows `control_token`; without one, who shows `publish_token`; without either, who shows `view_token` |

So a token guards its own right: with `publish_token` alone everybody may still watch. The page itself, `/openapi.json`
and the bare state of `/health` need no right. The three tokens must differ.

A token travels in a header `Authorization: Bearer TOKEN`, in front of the path (`/t/TOKEN/stream.mjpg`; opening
`/t/TOKEN/` in a browser also sets a cookie), as WebSocket subprotocol `ooblex.token.TOKEN` (offer `ooblex` beside it,
so that the answer need not repeat the token), or, for the right to view alone, as `?token=TOKEN` for players that know
only a URL. Of several tokens each counts. A wrong token is refused with 401, one without the right with 403; after
20 wrong ones an address may try one a second, and gets 429 until then.
";

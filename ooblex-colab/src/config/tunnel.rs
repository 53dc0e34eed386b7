//! Settings about tunnels.

use std::fmt;
use std::str::FromStr;

use super::HIDDEN;
use super::setting::{Setting, SettingType, one, quoted};

/// Which tunnel makes the server reachable from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelChoice {
    /// None.
    #[default]
    None,
    /// ngrok, in this process.
    Ngrok,
    /// The program `cloudflared`.
    Cloudflared,
    /// The program `ssh`, forwarding a port of this host.
    Ssh(SshHost),
    /// The program that the setting `tunnel_command` names.
    Command,
}

impl TunnelChoice {
    /// `none`, `ngrok`, `cloudflared`, `ssh` or `command`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ngrok => "ngrok",
            Self::Cloudflared => "cloudflared",
            Self::Ssh(_) => "ssh",
            Self::Command => "command",
        }
    }
}

impl FromStr for TunnelChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.split_once(':')) {
            ("none", _) => Ok(Self::None),
            ("ngrok", _) => Ok(Self::Ngrok),
            ("cloudflared", _) => Ok(Self::Cloudflared),
            ("command", _) => Ok(Self::Command),
            (_, Some(("ssh", host))) => host.parse().map(Self::Ssh),
            ("ssh", _) => Err("it names no host; write it like ssh:nokey@localhost.run".into()),
            _ => Err(String::new()),
        }
    }
}

impl SettingType for TunnelChoice {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        one(texts)?.parse()
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&match self {
            Self::Ssh(host) => format!("ssh:{host}"),
            other => other.name().to_owned(),
        }))
    }
}

/// A host to log in to: `[USER@]HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshHost {
    /// The user; the one of the system, or of the configuration of `ssh`, if `None`.
    pub user: Option<String>,
    /// The host.
    pub host: String,
    /// The port; that of `ssh` if `None`.
    pub port: Option<u16>,
}

impl FromStr for SshHost {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (user, rest) = text.rsplit_once('@').map_or((None, text), |(u, rest)| (Some(u), rest));
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        // What begins with a dash would be taken for an option by `ssh`.
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with('-')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._+".contains(c))
        };
        if !is_name(host) {
            return Err(format!("{host:?} is no host"));
        }
        if let Some(bad) = user.filter(|user| !is_name(user)) {
            return Err(format!("{bad:?} is no user"));
        }
        let port = port.map(|p| p.parse::<u16>().ok().filter(|p| *p > 0).ok_or(format!("{p:?} is no port")));
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port: port.transpose()? })
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A program and its arguments. Blanks separate them, except within single or double quotes; nothing else has a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    text: String,
    words: Vec<String>,
}

impl CommandLine {
    /// The program, and then its arguments; never empty.
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

impl FromStr for CommandLine {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for c in text.chars() {
            match quote {
                Some(open) if c == open => quote = None,
                Some(_) => word.get_or_insert_default().push(c),
                None if c == '"' || c == '\'' => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                None if c.is_whitespace() => words.extend(word.take()),
                None => word.get_or_insert_default().push(c),
            }
        }
        if let Some(open) = quote {
            return Err(format!("the quote {open} is not closed"));
        }
        words.extend(word);
        match words.first() {
            Some(program) if !program.is_empty() => Ok(Self { text: text.trim().to_owned(), words }),
            _ => Err("it names no program".into()),
        }
    }
}

impl SettingType for CommandLine {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        one(texts)?.parse()
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.text))
    }
}

/// How a program tells its public URL: text in which each `*` stands for any characters but blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPattern(String);

impl UrlPattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UrlPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let known = text.chars().filter(|c| c.is_ascii_alphanumeric()).count();
        match () {
            () if text.contains(char::is_whitespace) => Err("it contains a blank".into()),
            () if known < 3 => Err("almost everything would fit it".into()),
            () => Ok(Self(text.to_owned())),
        }
    }
}

impl SettingType for UrlPattern {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        one(texts)?.parse()
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// The address by which a tunnel is reached: a web origin, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Like `https://example.org`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its host, with the port if it is written.
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }
}

impl FromStr for PublicUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<super::WebOrigin>().map(|origin| Self(origin.as_str().to_owned()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SettingType for PublicUrl {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        one(texts)?.parse()
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// The token of an account with a provider. It can be read by [`expose`](Self::expose) alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderToken(String);

impl ProviderToken {
    /// The token itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProviderToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl SettingType for ProviderToken {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        match one(texts)?.trim() {
            text if text.len() < 16 => Err("it is too short".into()),
            text if !text.chars().all(|c| c.is_ascii_graphic()) => {
                Err("it contains a blank, or a character that no token has".into())
            }
            text => Ok(Self(text.to_owned())),
        }
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_are_named() {
        let of = |text: &str| text.parse::<TunnelChoice>();
        for text in ["none", "ngrok", "cloudflared", "command", "ssh:a@b.example:2222", "ssh:b"] {
            assert_eq!(of(text).expect(text).to_toml(), Some(format!("{text:?}")));
        }
        let Ok(TunnelChoice::Ssh(host)) = of("ssh:nokey@localhost.run") else { panic!("a host") };
        let parts = (host.user.as_deref(), host.host.as_str(), host.port);
        assert_eq!(parts, (Some("nokey"), "localhost.run", None));
        for bad in ["", "ssh", "ssh:", "ssh:-oProxyCommand=x", "ssh:a@", "ssh:a@-b", "ssh:-a@b", "ssh:b:0"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(of("ssh:b:x").is_err_and(|reason| reason.contains("no port")));
    }

    #[test]
    fn a_command_is_split_at_blanks_outside_of_quotes() {
        let of = |text: &str| text.parse::<CommandLine>().map(|line| line.words);
        let words = |words: &[&str]| Ok(words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(" bore  local {port}"), words(&["bore", "local", "{port}"]));
        assert_eq!(of("'a b' \"c 'd'\"e ''"), words(&["a b", "c 'd'e", ""]));
        assert_eq!(of("$HOME ;|"), words(&["$HOME", ";|"]));
        for bad in ["", "  ", "'' a", "a 'b"] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_says_something() {
        assert_eq!("https://*.bore.pub".parse::<UrlPattern>().expect("good").as_str(), "https://*.bore.pub");
        for bad in ["", "*", "://*", "a b c"] {
            assert!(bad.parse::<UrlPattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tokens_of_providers_are_not_shown() {
        let setting = super::super::find("ngrok_auth_token").expect("a setting");
        let token = ProviderToken::read(&["2abcdefSWORDFISH_0123".into()], setting).expect("a token");
        assert_eq!(format!("{token:?} {:?}", token.to_toml()), "*** Some(\"\\\"***\\\"\")");
        assert!(ProviderToken::read(&["short".into()], setting).is_err());
    }
}

//! Who can reach the server, and the tokens that guard it then.

use std::str::FromStr;

use super::setting::{Setting, SettingType, quoted_list};
use super::{Config, Token, TunnelChoice};

/// A name under which the server may be addressed, in lowercase; one that begins with a dot stands for all names below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for HostName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix('.').unwrap_or(text);
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match !name.is_empty() && name.split('.').all(|part| !part.is_empty() && part.chars().all(fits)) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(format!("{text:?} is no host name; neither scheme, port nor path belong to it")),
        }
    }
}

impl SettingType for Vec<HostName> {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        texts.iter().map(|t| t.parse()).collect()
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted_list(self))
    }
}

/// Tokens that were made because nobody had set them. Unlike those, they may be shown to whoever started the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MadeTokens {
    pub(crate) publish: Option<Token>,
    pub(crate) view: Option<Token>,
    pub(crate) control: Option<Token>,
}

impl Config {
    /// Whether anybody but this machine can reach a server with these settings.
    pub fn reachable_from_outside(&self) -> bool {
        !self.bind.to_canonical().is_loopback() || self.tunnel != TunnelChoice::None
    }

    /// Makes the tokens that are missing where others can reach the server, unless it is meant to be open.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn make_tokens(&mut self) -> std::io::Result<MadeTokens> {
        let mut made = MadeTokens::default();
        if self.open_access || !self.reachable_from_outside() {
            return Ok(made);
        }
        for (configured, made) in [
            (&mut self.publish_token, &mut made.publish),
            (&mut self.view_token, &mut made.view),
            (&mut self.control_token, &mut made.control),
        ] {
            if configured.is_none() {
                let token = Token::random()?;
                *configured = Some(token.clone());
                *made = Some(token);
            }
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bind: &str) -> Config {
        Config { bind: bind.parse().expect("an address"), ..Config::default() }
    }

    #[test]
    fn tokens_are_made_as_soon_as_others_can_reach_the_server() {
        for bind in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(config(bind).make_tokens().expect("random"), MadeTokens::default(), "{bind}");
        }
        for bind in ["0.0.0.0", "::", "192.0.2.1"] {
            let mut config = config(bind);
            let made = config.make_tokens().expect("random");
            let all = [&made.publish, &made.view, &made.control].map(|t| t.clone().expect("made"));
            assert!(all.iter().all(|token| token.expose().len() == 43), "256 bits");
            assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
            assert_eq!([config.publish_token, config.view_token, config.control_token], all.map(Some));
        }
    }

    #[test]
    fn what_was_set_stays_and_open_means_open() {
        let own = Token::new("0123456789abcdef").ok();
        let mut some = Config { publish_token: own.clone(), ..config("0.0.0.0") };
        let made = some.make_tokens().expect("random");
        assert_eq!((made.publish, some.publish_token), (None, own));
        assert!(made.view.is_some() && made.control.is_some());
        let mut open = Config { open_access: true, ..config("0.0.0.0") };
        assert_eq!(open.make_tokens().expect("random"), MadeTokens::default());
        assert_eq!(open.control_token, None);
    }

    #[test]
    fn host_names_are_names_alone() {
        for good in ["cam.example", ".example", "A-1_b.c"] {
            assert_eq!(good.parse::<HostName>().expect(good).as_str(), good.to_ascii_lowercase());
        }
        for bad in ["", ".", "*", "a..b", "https://a.example", "a.example:80", "a/b", "a b"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }
}

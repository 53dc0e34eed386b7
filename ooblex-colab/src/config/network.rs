//! Settings about addresses, ports and servers of WebRTC.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ooblex_core::Secret;

use super::setting::{Setting, SettingType, one, quoted, quoted_list};

/// UDP ports that may be used, in a row: `50000-50100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRange(RangeInclusive<u16>);

impl PortRange {
    /// The ports.
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.0.clone()
    }
}

impl FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |t: &str| t.trim().parse::<u16>().ok().filter(|p| *p > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(first..=last)),
            (Some(first), Some(last)) => Err(format!("{first} is above {last}")),
            _ => Err(String::new()),
        }
    }
}

impl SettingType for PortRange {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        one(texts)?.parse()
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&format!("{}-{}", self.0.start(), self.0.end())))
    }
}

impl SettingType for Vec<IpAddr> {
    fn read(texts: &[String], setting: &Setting) -> Result<Self, String> {
        texts.iter().map(|t| IpAddr::read(std::slice::from_ref(t), setting)).collect()
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted_list(self))
    }
}

/// A STUN or TURN server as it was given: `URL[,user,credential]`.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServerText(Secret);

impl IceServerText {
    /// All of it, the credential included.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl IceServerText {
    /// Its URL alone.
    pub fn url(&self) -> &str {
        self.expose().split(',').next().unwrap_or_default().trim()
    }
}

impl FromStr for IceServerText {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        #[cfg(feature = "whip")]
        text.parse::<ooblex_ingest::ice::IceServer>().map_err(|e| e.to_string())?;
        Ok(Self(Secret::new(text.trim())))
    }
}

impl fmt::Display for IceServerText {
    /// Without user name and credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expose().split_once(',') {
            Some((url, _)) => write!(f, "{url},{}", Secret::HIDDEN),
            None => f.write_str(self.expose()),
        }
    }
}

impl fmt::Debug for IceServerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where TURN servers come from, as it was given: a server, or a provider with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnText(Secret);

impl TurnText {
    /// All of it, secrets included.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for TurnText {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        #[cfg(feature = "whip")]
        text.parse::<ooblex_ingest::ice::provider::ProviderSpec>().map_err(|e| e.to_string())?;
        Ok(Self(Secret::new(text.trim())))
    }
}

impl fmt::Display for TurnText {
    /// The kind of provider alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expose().split_once(':') {
            Some((kind, _)) => write!(f, "{kind}:{}", Secret::HIDDEN),
            None => f.write_str(self.expose()),
        }
    }
}

impl fmt::Debug for TurnText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SettingType for Vec<TurnText> {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        texts.iter().map(|t| t.parse()).collect()
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted_list(self))
    }
}

/// The word that stands for an empty list where the default is not empty.
const NONE: &str = "none";

impl SettingType for Vec<IceServerText> {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        match texts {
            [word] if word == NONE => Ok(Self::new()),
            _ => texts.iter().map(|t| t.parse()).collect(),
        }
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted_list(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ports() {
        let of = |text: &str| text.parse::<PortRange>().map(|r| r.ports());
        assert_eq!(of("50000-50100"), Ok(50_000..=50_100));
        assert_eq!(of(" 7 - 7 "), Ok(7..=7));
        assert_eq!(of("9"), Ok(9..=9));
        assert_eq!(of("10-9"), Err("10 is above 9".into()));
        for bad in ["", "-", "0-5", "1-65536", "a-b", "1-2-3", "5-"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_of_servers_are_not_shown() {
        let server: IceServerText = "turn:turn.example.org,me,swordfish,1".parse().expect("a server");
        let shown = format!("{server} {server:?} {:?}", vec![server.clone()].to_toml());
        assert!(shown.contains("turn.example.org") && !shown.contains("swordfish"), "{shown}");
        assert!(server.expose().ends_with(",me,swordfish,1"));
        let provider: TurnText = "cloudflare:key,swordfish".parse().expect("a provider");
        let shown = format!("{provider} {provider:?} {:?}", vec![provider.clone()].to_toml());
        assert!(shown.contains("cloudflare:***") && !shown.contains("swordfish"), "{shown}");
        assert_eq!("vdo-ninja".parse::<TurnText>().expect("a provider").to_string(), "vdo-ninja");
    }
}

//! Types of single settings.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ooblex_core::StreamId;

use super::setting::{Setting, SettingType, one, quoted, quoted_list};

/// Whether an accelerator is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UseGpu {
    /// If there is one.
    Auto,
    /// Never.
    Off,
    /// The server refuses to start without one.
    Required,
}

impl UseGpu {
    pub(super) const WORDS: &'static [&'static str] = &["auto", "true", "off", "false", "required"];

    /// `auto`, `off` or `required`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Required => "required",
        }
    }
}

impl SettingType for UseGpu {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        match one(texts)? {
            "auto" | "true" => Ok(Self::Auto),
            "off" | "false" => Ok(Self::Off),
            "required" => Ok(Self::Required),
            _ => Err(String::new()),
        }
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(self.as_str()))
    }
}

/// How lines of output look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LineFormat {
    pub(super) const WORDS: &'static [&'static str] = &["text", "json"];
}

impl SettingType for LineFormat {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        match one(texts)? {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(String::new()),
        }
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(if *self == Self::Text { "text" } else { "json" }))
    }
}

/// What is logged: a level, or several by target: `info,ooblex_mjpeg=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl LogLevel {
    /// The filter.
    pub fn targets(&self) -> tracing_subscriber::filter::Targets {
        // Invariant: `read` accepts only what parses.
        self.0.parse().unwrap_or_default()
    }
}

impl SettingType for LogLevel {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        let text = one(texts)?;
        let level = |l: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&l.trim());
        // A bare word would otherwise be taken for a target at full detail.
        let known = text.split(',').all(|part| part.split_once('=').map_or(level(part), |(_, l)| level(l)));
        match text.parse::<tracing_subscriber::filter::Targets>() {
            Ok(_) if known => Ok(Self(text.to_owned())),
            _ => Err(String::new()),
        }
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// A web origin that may use the API from a page of its own: `https://example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// As browsers write it: scheme, host, port if it is not the scheme's own; lowercase, no slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WebOrigin {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Err("`*` would let every web page use this server; list the origins".into());
        }
        let text = text.trim().to_ascii_lowercase();
        let uri: http::Uri = text.parse().map_err(|e| format!("{text:?}: {e}"))?;
        match (uri.scheme_str(), uri.authority(), uri.path(), uri.query()) {
            (Some(scheme @ ("http" | "https")), Some(authority), "/" | "", None)
                if !authority.as_str().contains('@') =>
            {
                let own = if scheme == "http" { ":80" } else { ":443" };
                let authority = authority.as_str();
                Ok(Self(format!("{scheme}://{}", authority.strip_suffix(own).unwrap_or(authority))))
            }
            _ => Err(format!("{text:?} is not an origin; write it like https://example.org")),
        }
    }
}

impl SettingType for Vec<WebOrigin> {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        texts.iter().map(|t| t.parse()).collect()
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted_list(self))
    }
}

/// A source given on the command line, with the name of its stream: `NAME=WHERE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// The stream.
    pub stream: StreamId,
    /// Where its frames come from.
    pub place: SourcePlace,
}

/// Where a source's frames come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourcePlace {
    /// The test pattern.
    Pattern,
    /// A clip, a Y4M file or a folder of pictures; played in a loop.
    File(PathBuf),
    /// An MJPEG stream over HTTP.
    Mjpeg(String),
}

impl FromStr for SourceSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = match text.split_once('=') {
            // An equals sign after the scheme belongs to the query of a URL.
            Some((name, place)) if !name.contains("://") => (name, place),
            _ => return Err("it has no name; write NAME= in front of it".into()),
        };
        let stream = StreamId::new(name.trim()).map_err(|e| e.to_string())?;
        let lower = place.to_ascii_lowercase();
        let place = match place {
            "" => {
                return Err(format!(
                    "{text:?} names no source; write {name}=pattern, a path or an http:// URL"
                ));
            }
            "pattern" => SourcePlace::Pattern,
            _ if lower.starts_with("http://") => SourcePlace::Mjpeg(place.to_owned()),
            _ if lower.starts_with("https://") => {
                return Err(format!(
                    "{} is HTTPS, which sources do not speak; use http://",
                    without_secrets(place)
                ));
            }
            _ => SourcePlace::File(place.into()),
        };
        Ok(Self { stream, place })
    }
}

impl fmt::Display for SourceSpec {
    /// Passwords in URLs are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            SourcePlace::Pattern => write!(f, "{}=pattern", self.stream),
            SourcePlace::File(path) => write!(f, "{}={}", self.stream, path.display()),
            SourcePlace::Mjpeg(url) => write!(f, "{}={}", self.stream, without_secrets(url)),
        }
    }
}

/// A URL without what may be secret in it: user, password and the values of its query.
pub(crate) fn without_secrets(url: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(b, q)| (b, Some(q)));
    let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("***@{host}"));
    let query = query.map_or(String::new(), |_| "?***".to_owned());
    format!("{scheme}://{host}{path}{query}")
}

impl SettingType for Vec<SourceSpec> {
    fn read(texts: &[String], _: &Setting) -> Result<Self, String> {
        let all: Self = texts.iter().map(|t| t.parse()).collect::<Result<_, String>>()?;
        for (index, spec) in all.iter().enumerate() {
            if all[..index].iter().any(|other| other.stream == spec.stream) {
                return Err(format!("stream {} is named twice", spec.stream));
            }
        }
        Ok(all)
    }
    fn to_toml(&self) -> Option<String> {
        Some(quoted_list(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_checked_and_normalized() {
        let of = |text: &str| text.parse::<WebOrigin>().map(|o| o.0);
        assert_eq!(of("https://Example.org/"), Ok("https://example.org".into()));
        assert_eq!(of("http://localhost:3000"), Ok("http://localhost:3000".into()));
        assert_eq!(of("https://example.org:443"), Ok("https://example.org".into()));
        for bad in ["*", "example.org", "https://example.org/path", "ftp://x", "https://u:p@x", "null", ""] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sources_are_read() {
        let of = |text: &str| text.parse::<SourceSpec>();
        assert_eq!(of("a=pattern").expect("pattern").place, SourcePlace::Pattern);
        assert_eq!(of("a=x=y.mp4").expect("file").place, SourcePlace::File("x=y.mp4".into()));
        assert_eq!(of("a=HTTP://h/s").expect("url").place, SourcePlace::Mjpeg("HTTP://h/s".into()));
        for bad in ["clip.mp4", "http://h/s?a=b", "a=", "a b=pattern", "stream=pattern", "a=https://h/s"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_of_urls_are_left_out() {
        for (url, shown) in [
            ("http://u:secret@h:80/s.mjpg?key=secret", "http://***@h:80/s.mjpg?***"),
            ("http://h/a@b", "http://h/a@b"),
            ("http://u@h", "http://***@h"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}

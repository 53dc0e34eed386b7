//! Providers as text, as they stand on a command line.

use std::net::IpAddr;
use std::str::FromStr;

use http::uri::{Scheme, Uri};

use super::coturn::Coturn;
use super::http::HttpProvider;
use crate::ice::{IceServer, IceServerError, IceTransport, IceUrl, IceUrlError, Secret};

/// Where servers come from.
///
/// | Text | Means |
/// |---|---|
/// | `stun:HOST[:PORT]` | a STUN server |
/// | `turn:HOST[:PORT][?transport=tcp],USER,CREDENTIAL`, `turns:...` | a TURN server with credentials of long life, which browsers are not told |
/// | `public:turn:...` | the same, but browsers are told |
/// | `coturn:HOST[:PORT],SECRET` | coturn with `use-auth-secret`, over UDP and TCP |
/// | `coturn:URL[+URL...],SECRET` | the same, at these URLs |
/// | `vdo-ninja` | VDO.Ninja's public list; ask its owners before you build on it |
/// | `cloudflare:KEY_ID,API_TOKEN` | Cloudflare Realtime TURN |
/// | `twilio:ACCOUNT_SID,AUTH_TOKEN` | Twilio Network Traversal |
/// | `metered:APP,API_KEY` | Metered, Open Relay |
/// | `https://HOST/PATH[,TOKEN]` | a list of servers as JSON, asked with the bearer token |
/// | `https://HOST/PATH,header:NAME=VALUE` | the same, asked with that header |
///
/// None holds a blank, so that several can stand in one line.
///
/// ```
/// use ooblex_ingest::ice::provider::ProviderSpec;
///
/// let spec: ProviderSpec = "coturn:turn.example.org,my-shared-secret".parse()?;
/// assert_eq!(spec.name(), "coturn turn.example.org");
/// assert!(!format!("{spec:?}").contains("my-shared-secret"));
/// # Ok::<(), ooblex_ingest::ice::provider::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderSpec {
    /// One server. Browsers are told its credentials only if it is public.
    Server {
        /// The server.
        server: IceServer,
        /// Whether anybody may know its credentials.
        public: bool,
    },
    /// Servers that share a secret with this one.
    Coturn(Coturn),
    /// A list that is fetched.
    Http(HttpProvider),
}

/// A text that names no provider. Shows nothing of what it holds but a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// It begins like none.
    #[error(
        "not a source of ICE servers; write `stun:HOST:PORT`, `turn:HOST:PORT,USER,CREDENTIAL`, \
         `coturn:HOST:PORT,SECRET`, `vdo-ninja`, `cloudflare:KEY_ID,API_TOKEN`, `twilio:ACCOUNT_SID,AUTH_TOKEN`, \
         `metered:APP,API_KEY` or `https://HOST/PATH,TOKEN`"
    )]
    Unknown,
    /// A server that is refused.
    #[error(transparent)]
    Server(#[from] IceServerError),
    /// A part is missing or malformed.
    #[error("the {what} is missing or malformed; write `{example}`")]
    Part {
        /// Which part.
        what: &'static str,
        /// What is right.
        example: &'static str,
    },
    /// Credentials would travel in the clear.
    #[error(
        "http://{0} would show credentials to everybody on the way; use https:// (plain http is for 127.0.0.1 alone)"
    )]
    Plain(String),
}

const COTURN: &str = "coturn:turn.example.org:3478,SECRET";
const CLOUDFLARE: &str = "cloudflare:KEY_ID,API_TOKEN";
const TWILIO: &str = "twilio:ACCOUNT_SID,AUTH_TOKEN";
const METERED: &str = "metered:APP,API_KEY";
const HTTPS: &str = "https://turn.example.org/servers.json,TOKEN";

impl ProviderSpec {
    /// What it is called in reports: without credentials, but with a host that tells it from others.
    pub fn name(&self) -> String {
        match self {
            Self::Server { server, .. } => server.urls.first().cloned().unwrap_or_default(),
            Self::Coturn(coturn) => {
                format!("coturn {}", coturn.urls().first().map(IceUrl::host).unwrap_or_default())
            }
            Self::Http(provider) => provider.name().to_owned(),
        }
    }
}

impl FromStr for ProviderSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == "vdo-ninja" {
            return Ok(Self::Http(HttpProvider::vdo_ninja()));
        }
        let (kind, rest) = text.split_once(':').ok_or(SpecError::Unknown)?;
        match kind.to_ascii_lowercase().as_str() {
            "stun" | "stuns" | "turn" | "turns" => Ok(Self::Server { server: text.parse()?, public: false }),
            "public" => match rest.parse::<IceServer>() {
                Err(IceServerError::Url(IceUrlError::Scheme)) => Err(SpecError::Unknown),
                server => Ok(Self::Server { server: server?, public: true }),
            },
            "coturn" => coturn(rest).map(Self::Coturn),
            "cloudflare" => {
                let (key, token) = pair(rest, "key", CLOUDFLARE)?;
                Ok(Self::Http(HttpProvider::cloudflare(key, Secret::new(token))))
            }
            "twilio" => {
                let (account, token) = pair(rest, "account", TWILIO)?;
                Ok(Self::Http(HttpProvider::twilio(account, &Secret::new(token))))
            }
            "metered" => {
                let (app, key) = pair(rest, "application", METERED)?;
                Ok(Self::Http(HttpProvider::metered(app, &Secret::new(key))))
            }
            "https" | "http" => list(text).map(Self::Http),
            _ => Err(SpecError::Unknown),
        }
    }
}

/// A name that goes into a URL, and a secret.
fn pair<'a>(
    rest: &'a str,
    what: &'static str,
    example: &'static str,
) -> Result<(&'a str, &'a str), SpecError> {
    let (name, secret) = rest.split_once(',').ok_or(SpecError::Part { what: "secret", example })?;
    let name = name.trim();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return Err(SpecError::Part { what, example });
    }
    Ok((name, checked(secret, example)?))
}

fn checked<'a>(secret: &'a str, example: &'static str) -> Result<&'a str, SpecError> {
    let secret = secret.trim();
    let printable = secret.bytes().all(|b| (b' '..=b'~').contains(&b));
    (!secret.is_empty() && secret.len() <= 4096 && printable)
        .then_some(secret)
        .ok_or(SpecError::Part { what: "secret", example })
}

fn coturn(rest: &str) -> Result<Coturn, SpecError> {
    let part = |what| SpecError::Part { what, example: COTURN };
    let (place, secret) = rest.split_once(',').ok_or(part("secret"))?;
    let mut urls: Vec<IceUrl> = Vec::new();
    for word in place.split('+').map(str::trim).filter(|word| !word.is_empty()) {
        let schemes = ["turn:", "turns:"];
        if schemes
            .iter()
            .any(|scheme| word.get(..scheme.len()).is_some_and(|w| w.eq_ignore_ascii_case(scheme)))
        {
            urls.push(word.parse().map_err(IceServerError::from)?);
        } else {
            for query in ["", "?transport=tcp"] {
                urls.push(format!("turn:{word}{query}").parse().map_err(|_| part("host"))?);
            }
        }
    }
    if urls.is_empty() || urls.len() > 16 {
        return Err(part("host"));
    }
    urls.sort_by_key(|url| url.transport() != IceTransport::Udp);
    Ok(Coturn::new(urls, Secret::new(checked(secret, COTURN)?)))
}

fn list(text: &str) -> Result<HttpProvider, SpecError> {
    let part = |what| SpecError::Part { what, example: HTTPS };
    let (url, access) = match text.split_once(',') {
        Some((url, access)) => (url.trim(), Some(checked(access, HTTPS)?)),
        None => (text, None),
    };
    let url: Uri = url.parse().map_err(|_| part("URL"))?;
    let authority = url.authority().ok_or(part("URL"))?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    // Credentials in the URL would be shown by whatever shows URLs.
    if host.is_empty() || authority.as_str().contains('@') {
        return Err(part("URL"));
    }
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if url.scheme() != Some(&Scheme::HTTPS) && !loopback {
        return Err(SpecError::Plain(host));
    }
    let provider = HttpProvider::list(url).ok_or(part("URL"))?;
    let Some(access) = access else { return Ok(provider) };
    match access.strip_prefix("header:") {
        Some(header) => {
            let (name, value) = header.split_once('=').ok_or(part("header"))?;
            provider.with_header(name.trim(), value.trim()).ok_or(part("header"))
        }
        None => provider.with_header("authorization", &format!("Bearer {access}")).ok_or(part("token")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_table_is_understood() {
        for (text, name) in [
            ("stun:stun.example:19302", "stun:stun.example:19302"),
            ("turn:t.example?transport=tcp,me,topsecret", "turn:t.example?transport=tcp"),
            ("public:turns:t.example,me,topsecret", "turns:t.example"),
            ("coturn:t.example:3479,topsecret", "coturn t.example"),
            ("coturn:turns:t.example:443+turn:u.example,top,secret", "coturn u.example"),
            (" vdo-ninja ", "vdo-ninja"),
            ("cloudflare:0a1b2c,topsecret", "cloudflare"),
            ("twilio:AC123,topsecret", "twilio"),
            ("metered:myapp,topsecret", "metered"),
            ("https://ice.example/list?key=topsecret", "https://ice.example"),
            ("https://ice.example:8443/list,topsecret", "https://ice.example:8443"),
            ("https://ice.example/list,header:X-Api-Key=topsecret", "https://ice.example"),
            ("http://127.0.0.1:8080/list,topsecret", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
        ] {
            let spec: ProviderSpec = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(spec.name(), name, "{text}");
            let printed = format!("{spec:?}");
            assert!(!printed.contains("secret"), "{printed}");
        }
    }

    #[test]
    fn coturn_without_a_scheme_is_asked_by_udp_and_tcp() {
        let Ok(ProviderSpec::Coturn(coturn)) = "coturn:t.example,s".parse() else { panic!("no coturn") };
        let urls: Vec<String> = coturn.urls().iter().map(IceUrl::to_string).collect();
        assert_eq!(urls, ["turn:t.example:3478", "turn:t.example:3478?transport=tcp"]);
    }

    #[test]
    fn only_what_is_marked_public_is_public() {
        let public = |text: &str| match text.parse() {
            Ok(ProviderSpec::Server { public, .. }) => public,
            other => panic!("{other:?}"),
        };
        assert!(!public("turn:t.example,me,secret") && public("public:turn:t.example,me,secret"));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_right_and_nothing_secret() {
        for (text, wanted) in [
            ("topsecret", "`coturn:HOST:PORT,SECRET`"),
            ("ftp://topsecret/", "`https://HOST/PATH,TOKEN`"),
            ("public:topsecret", "`turn:HOST:PORT,USER,CREDENTIAL`"),
            ("turn:t.example", ",user,credential`"),
            (
                "coturn:t.example",
                "the secret is missing or malformed; write `coturn:turn.example.org:3478,SECRET`",
            ),
            ("coturn:,topsecret", "the host is missing"),
            ("coturn:top secret!,x", "the host is missing"),
            ("coturn:turn:a@topsecret,x", "needs a host name"),
            ("cloudflare:topsecret", "`cloudflare:KEY_ID,API_TOKEN`"),
            ("cloudflare:top/secret,x", "the key is missing or malformed"),
            ("twilio:AC1,", "`twilio:ACCOUNT_SID,AUTH_TOKEN`"),
            ("metered:,topsecret", "`metered:APP,API_KEY`"),
            ("https://user:topsecret@ice.example/", "the URL is missing or malformed"),
            ("https:///topsecret", "the URL is missing or malformed"),
            ("https://ice.example/,header:Bad Header=topsecret", "the header is missing or malformed"),
            ("http://ice.example/,topsecret", "http://ice.example would show credentials"),
            ("https://ice.example/,top\nsecret", "the secret is missing or malformed"),
        ] {
            let error = text.parse::<ProviderSpec>().expect_err(text);
            let shown = error.to_string();
            assert!(shown.contains(wanted), "{text:?}: {shown}");
            assert!(!format!("{shown} {error:?}").contains("topsecret"), "{text:?}: {error:?}");
        }
    }
}

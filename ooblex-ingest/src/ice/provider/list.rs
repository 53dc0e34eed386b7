//! Lists of servers as providers send them.
//!
//! One reader for all: the list is the whole document or one of its members, a server is an object, a URL a string or
//! several. Names differ by provider and are compared without case and underscores. A list is taken as a whole or
//! not at all, so that half a list never hides what is wrong with the other half.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::ice::{IceServer, IceServerError, IceUrl, IceUrlError};

/// Longest list in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most servers.
pub const MAX_SERVERS: usize = 32;
/// Longest life that is believed.
const MAX_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Browsers refuse to connect to the port of DNS and wait for it to fail.
const BLOCKED_PORT: u16 = 53;

// What the members are called, folded: VDO.Ninja, Cloudflare, Twilio, Amazon Kinesis, Matrix, Metered.
const LISTS: [&str; 3] = ["iceservers", "servers", "iceserverlist"];
const URLS: [&str; 4] = ["urls", "url", "uris", "uri"];
const USERNAMES: [&str; 2] = ["username", "user"];
const CREDENTIALS: [&str; 3] = ["credential", "password", "pass"];
const LIVES: [&str; 2] = ["ttl", "lifetime"];

/// Servers, and how long their credentials last if the list says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceList {
    /// The servers, at least one.
    pub servers: Vec<IceServer>,
    /// From the moment of the answer.
    pub life: Option<Duration>,
}

/// Why a list is refused. Shows nothing of credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Too long.
    #[error("the list has more than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON.
    #[error("the answer is not JSON (line {line}, column {column})")]
    NotJson {
        /// Where it stops being JSON.
        line: usize,
        /// In that line.
        column: usize,
    },
    /// JSON, but without a list of servers.
    #[error("the answer holds no list of servers: neither an array nor a member `iceServers` or `servers`")]
    NoList,
    /// An empty list.
    #[error("the list holds no server")]
    Empty,
    /// Too many.
    #[error("the list holds {0} servers; at most {MAX_SERVERS} are allowed")]
    TooMany(usize),
    /// An entry that is no server.
    #[error("server {0} of the list is not an object with `urls`")]
    NotAServer(usize),
    /// A member of the wrong type.
    #[error("server {index} of the list: `{member}` is not a string")]
    NotText {
        /// Which, from 1.
        index: usize,
        /// Which member.
        member: &'static str,
    },
    /// A server that is refused.
    #[error("server {index} of the list: {source}")]
    Server {
        /// Which, from 1.
        index: usize,
        /// Why.
        source: IceServerError,
    },
}

impl IceList {
    /// Reads a provider's answer.
    ///
    /// # Errors
    /// [`ListError`]: the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        if bytes.len() > MAX_BYTES {
            return Err(ListError::TooLong);
        }
        let document: Value = serde_json::from_slice(bytes)
            .map_err(|e| ListError::NotJson { line: e.line(), column: e.column() })?;
        let list = find_list(&document).ok_or(ListError::NoList)?;
        if list.len() > MAX_SERVERS {
            return Err(ListError::TooMany(list.len()));
        }
        let mut servers = Vec::with_capacity(list.len());
        let mut life = document.as_object().and_then(life_of);
        for (index, entry) in list.iter().enumerate() {
            servers.extend(server(index + 1, entry)?);
            life = shorter(life, entry.as_object().and_then(life_of));
        }
        if servers.is_empty() {
            return Err(ListError::Empty);
        }
        Ok(Self { servers, life })
    }
}

fn find_list(document: &Value) -> Option<&[Value]> {
    let object = match document {
        Value::Array(list) => return Some(list),
        Value::Object(object) => object,
        _ => return None,
    };
    match member(object, &LISTS) {
        Some(Value::Array(list)) => Some(list),
        Some(one @ Value::Object(_)) => Some(std::slice::from_ref(one)),
        Some(_) => None,
        // The document is a server itself.
        None => member(object, &URLS).map(|_| std::slice::from_ref(document)),
    }
}

/// The member that has the first of the names, folded.
fn member<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    let fold = |key: &str| key.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect::<String>();
    names.iter().find_map(|name| {
        object.iter().find(|(key, value)| fold(key) == *name && !value.is_null()).map(|(_, value)| value)
    })
}

fn server(index: usize, entry: &Value) -> Result<Option<IceServer>, ListError> {
    let object = entry.as_object().ok_or(ListError::NotAServer(index))?;
    let urls = match member(object, &URLS) {
        Some(Value::String(url)) => vec![url.as_str()],
        Some(Value::Array(urls)) => {
            let texts: Option<Vec<&str>> = urls.iter().map(Value::as_str).collect();
            texts.ok_or(ListError::NotText { index, member: "urls" })?
        }
        _ => return Err(ListError::NotAServer(index)),
    };
    let text = |names: &[&str], member_name| match member(object, names) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(ListError::NotText { index, member: member_name }),
    };
    let wrap = |source| ListError::Server { index, source };
    if urls.is_empty() || urls.len() > crate::ice::server::MAX_URLS {
        return Err(wrap(IceServerError::UrlCount(urls.len())));
    }
    let mut kept = Vec::with_capacity(urls.len());
    for url in urls {
        match url.parse::<IceUrl>() {
            Ok(parsed) if parsed.port() == BLOCKED_PORT => {}
            Ok(parsed) => kept.push(parsed.to_string()),
            // A good URL of a kind that is not used here.
            Err(IceUrlError::Dtls) => {}
            Err(e) => return Err(wrap(e.into())),
        }
    }
    if kept.is_empty() {
        return Ok(None);
    }
    let username = text(&USERNAMES, "username")?;
    let credential = text(&CREDENTIALS, "credential")?;
    IceServer { urls: kept, username, credential }.checked().map(Some).map_err(wrap)
}

/// A number of seconds, or a string of one, as Twilio sends it.
fn life_of(object: &Map<String, Value>) -> Option<Duration> {
    let seconds = match member(object, &LIVES)? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(MAX_LIFE.as_secs_f64())))
}

fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<IceList, ListError> {
        IceList::parse(text.as_bytes())
    }

    fn urls(list: &IceList) -> Vec<&str> {
        list.servers.iter().flat_map(|s| s.urls.iter().map(String::as_str)).collect()
    }

    #[test]
    fn every_providers_shape_is_read() {
        let turn = ["turn:t.example:3478", "turn:t.example:3478?transport=tcp", "turns:t.example:443"];
        let as_list = r#"["turn:t.example:3478","turn:t.example:3478?transport=tcp","turns:t.example:443?transport=tcp"]"#;
        for (name, text, life) in [
            (
                "VDO.Ninja",
                format!(
                    r#"{{"servers":[{{"username":"u","credential":"c","urls":{as_list},"udp":true,"locale":"eu"}}],"v":2}}"#
                ),
                None,
            ),
            (
                "Cloudflare",
                format!(
                    r#"{{"iceServers":[{{"urls":["turn:t.example:53"]}},{{"urls":{as_list},"username":"u","credential":"c"}}]}}"#
                ),
                None,
            ),
            (
                "Cloudflare before",
                format!(r#"{{"iceServers":{{"urls":{as_list},"username":"u","credential":"c"}}}}"#),
                None,
            ),
            (
                "Twilio",
                r#"{"username":"x","password":"y","ttl":"86400","ice_servers":[
                    {"url":"turn:t.example","urls":"turn:t.example","username":"u","credential":"c"},
                    {"url":"x","urls":"turn:t.example?transport=tcp","username":"u","credential":"c"},
                    {"urls":"turns:t.example:443?transport=tcp","username":"u","credential":"c"}]}"#
                    .into(),
                Some(86_400),
            ),
            (
                "Metered",
                r#"[{"urls":"turn:t.example","username":"u","credential":"c"},
                    {"urls":"turn:t.example?transport=tcp","username":"u","credential":"c"},
                    {"urls":"turns:t.example:443","username":"u","credential":"c"}]"#
                    .into(),
                None,
            ),
            (
                "Matrix",
                format!(r#"{{"uris":{as_list},"username":"u","password":"c","ttl":3600.5}}"#),
                Some(3600),
            ),
            (
                "Kinesis",
                format!(
                    r#"{{"IceServerList":[{{"Uris":{as_list},"Username":"u","Password":"c","Ttl":300}}]}}"#
                ),
                Some(300),
            ),
        ] {
            let list = parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(urls(&list), turn, "{name}");
            assert_eq!(list.life.map(|l| l.as_secs()), life, "{name}");
            for server in &list.servers {
                assert_eq!(
                    (server.username.as_deref(), server.credential.as_deref()),
                    (Some("u"), Some("c")),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn servers_without_credentials_are_for_stun_alone() {
        let list = parse(r#"[{"urls":["stun:s.example"],"username":"","credential":null}]"#).expect("a list");
        assert_eq!((urls(&list), list.servers[0].username.as_deref()), (vec!["stun:s.example:3478"], None));
        let error = parse(r#"[{"urls":"turn:t.example"}]"#).expect_err("no credential");
        assert!(error.to_string().starts_with("server 1 of the list: turn:t.example:3478 needs"), "{error}");
    }

    #[test]
    fn one_bad_server_spoils_the_list_and_nothing_secret_is_told() {
        let good = r#"{"urls":"stun:s.example"}"#;
        for (bad, wanted) in [
            (r#"{"urls":"http://topsecret"}"#, "server 2 of the list: not an ICE server URL"),
            (r#"{"urls":"turn:topsecret@x,y","username":"u","credential":"c"}"#, "server 2"),
            (r#"{"urls":[]}"#, "server 2 of the list: 0 URLs"),
            (r#"{"urls":["stun:s",7]}"#, "server 2 of the list: `urls` is not a string"),
            (r#"{"url":7}"#, "server 2 of the list is not an object with `urls`"),
            (r#""topsecret""#, "server 2 of the list is not an object with `urls`"),
            (
                r#"{"urls":"turn:t","username":"u","credential":["topsecret"]}"#,
                "`credential` is not a string",
            ),
        ] {
            let error = parse(&format!("[{good},{bad}]")).expect_err(bad).to_string();
            assert!(error.contains(wanted) && !error.contains("topsecret"), "{error}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(parse(""), Err(ListError::NotJson { line: 1, column: 0 }));
        for text in ["7", "null", "{}", r#"{"error":"no"}"#, r#"{"servers":"none"}"#] {
            assert_eq!(parse(text), Err(ListError::NoList), "{text}");
        }
        for text in
            ["[]", r#"{"servers":[]}"#, r#"[{"urls":"stun:s:53"}]"#, r#"[{"urls":"turns:t?transport=udp"}]"#]
        {
            assert_eq!(parse(text), Err(ListError::Empty), "{text}");
        }
        let many = format!("[{}]", vec![r#"{"urls":"stun:s"}"#; 33].join(","));
        assert_eq!(parse(&many), Err(ListError::TooMany(33)));
        assert_eq!(parse(&" ".repeat(MAX_BYTES + 1)), Err(ListError::TooLong));
        assert!(parse(&"[".repeat(MAX_BYTES)).is_err(), "deep nesting");
    }

    #[test]
    fn strange_lives_are_no_lives() {
        for (ttl, wanted) in
            [("0", None), ("-5", None), ("\"x\"", None), ("[1]", None), ("1e300", Some(604_800))]
        {
            let list = parse(&format!(r#"{{"servers":[{{"urls":"stun:s"}}],"ttl":{ttl}}}"#)).expect("a list");
            assert_eq!(list.life.map(|l| l.as_secs()), wanted, "{ttl}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = IceList::parse(&bytes);
        }

        #[test]
        fn any_member_may_be_anything(key in "servers|urls|username|credential|ttl", value in "[0-9]{1,4}|null|true|\"\"|\\[\\]|\\{\\}") {
            let text = format!(r#"{{"servers":[{{"urls":"turn:t","username":"u","credential":"c","{key}":{value}}}],"{key}":{value}}}"#);
            let _ = parse(&text);
        }
    }
}

//! What clients say.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Codec;

/// Most bytes of a text message.
pub const MAX_TEXT: usize = 64 * 1024;
/// Most characters of what the parser says that are repeated: it may write six for each that came.
const LONGEST_REASON: usize = 300;
/// Longest chain of effects.
const MAX_CHAIN: usize = 1024;

/// A text message of a client.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Who it is and what it wants.
    Hello(Hello),
    /// A picture was shown, or dropped.
    Ack {
        /// The picture.
        seq: u64,
        /// From capture to display.
        #[serde(default)]
        age_ms: Option<f64>,
        /// Whether it was shown.
        #[serde(default)]
        shown: bool,
    },
    /// It needs a key frame.
    Key,
    /// It wants to know the time.
    Ping {
        /// Comes back.
        #[serde(default)]
        t: Value,
    },
    /// Limits from now on.
    Rate {
        /// Most thousand bits a second.
        #[serde(default)]
        max_kbps: Option<u32>,
        /// Most pixels of height.
        #[serde(default)]
        max_height: Option<u32>,
    },
    /// Another effect.
    Effect {
        /// The chain.
        effect: String,
        /// An object of parameters for each effect.
        #[serde(default)]
        params: Map<String, Value>,
        /// Comes back.
        #[serde(default)]
        id: Value,
    },
}

/// The first message.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Hello {
    /// What it can send.
    #[serde(default)]
    pub publish: Option<Publishes>,
    /// What it can show.
    #[serde(default)]
    pub view: Option<Views>,
    /// The chain to begin with.
    #[serde(default)]
    pub effect: Option<String>,
    /// Its parameters.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// The token of an earlier welcome.
    #[serde(default)]
    pub resume: Option<String>,
}

/// What a publisher can send.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Publishes {
    /// The best first.
    pub codecs: Kinds,
}

/// What a viewer can show.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Views {
    /// The best first.
    pub codecs: Kinds,
    /// Most thousand bits a second.
    #[serde(default)]
    pub max_kbps: Option<u32>,
    /// Most pixels of height.
    #[serde(default)]
    pub max_height: Option<u32>,
}

/// Names of kinds, the best first. Those that are not known here are passed over: a client may know more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Kinds(pub Vec<String>);

impl Kinds {
    /// The first one that is among `known`.
    pub fn choose(&self, known: impl Fn(Codec) -> bool) -> Option<Codec> {
        self.0.iter().filter_map(|name| name.parse().ok()).find(|codec| known(*codec))
    }
}

/// Why a text message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MessageError(String);

impl ClientMessage {
    /// Reads a text message. Members that are not known are passed over.
    ///
    /// # Errors
    /// [`MessageError`], which says what is wrong.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let refuse = |text: String| Err(MessageError(text));
        if text.len() > MAX_TEXT {
            return refuse(format!("a text message may have {MAX_TEXT} bytes, this has {}", text.len()));
        }
        let message = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => {
                let why: String = error.to_string().chars().take(LONGEST_REASON).collect();
                return refuse(format!("not a message of this protocol: {why}"));
            }
        };
        let chain = match &message {
            Self::Effect { effect, .. } => Some(effect),
            Self::Hello(Hello { effect, .. }) => effect.as_ref(),
            _ => None,
        };
        if let Some(chain) = chain.filter(|chain| chain.is_empty() || chain.len() > MAX_CHAIN) {
            return refuse(format!("effect has {} bytes; it must have 1 to {MAX_CHAIN}", chain.len()));
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<ClientMessage, String> {
        ClientMessage::parse(&value.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_messages_of_the_document_are_read() {
        let hello = parse(json!({
            "type": "hello", "publish": {"codecs": ["av1", "h264"]}, "future": 7,
            "view": {"codecs": ["vp8", "jpeg"], "max_kbps": 2500, "max_height": 720},
            "effect": "edge_detection", "params": {"edge_detection": {"low": 50}}, "resume": "TOKEN"
        }));
        let Ok(ClientMessage::Hello(hello)) = hello else { panic!("{hello:?}") };
        let publish = hello.publish.expect("publishes");
        assert_eq!(publish.codecs.choose(|_| true), Some(Codec::H264));
        assert_eq!(publish.codecs.choose(|codec| codec != Codec::H264), None);
        assert_eq!(hello.view.map(|v| (v.max_kbps, v.max_height)), Some((Some(2500), Some(720))));
        assert_eq!(
            (hello.effect.as_deref(), hello.resume.as_deref()),
            (Some("edge_detection"), Some("TOKEN"))
        );
        assert_eq!(parse(json!({"type": "key"})), Ok(ClientMessage::Key));
        assert_eq!(
            parse(json!({"type": "ack", "seq": 123, "age_ms": 41.5, "shown": true})),
            Ok(ClientMessage::Ack { seq: 123, age_ms: Some(41.5), shown: true })
        );
        assert_eq!(
            parse(json!({"type": "rate", "max_kbps": 800})),
            Ok(ClientMessage::Rate { max_kbps: Some(800), max_height: None })
        );
        assert_eq!(
            parse(json!({"type": "ping", "t": [1, "a"]})),
            Ok(ClientMessage::Ping { t: json!([1, "a"]) })
        );
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_reason() {
        for (value, why) in [
            (json!({"type": "reboot"}), "unknown variant `reboot`"),
            (json!({}), "missing field `type`"),
            (json!([]), "not a message"),
            (json!({"type": "ack"}), "missing field `seq`"),
            (json!({"type": "ack", "seq": -1}), "invalid value"),
            (json!({"type": "effect", "effect": ""}), "1 to 1024"),
            (json!({"type": "hello", "effect": "x".repeat(1025)}), "1 to 1024"),
            (json!({"type": "hello", "publish": {}}), "missing field `codecs`"),
            (json!({"type": "effect", "effect": "blur", "params": 7}), "invalid type"),
        ] {
            let error = parse(value.clone()).expect_err("refused");
            assert!(error.contains(why), "{value}: {error}");
        }
        let deep = format!(r#"{{"type":"ping","t":{}"#, "[".repeat(60_000));
        assert!(ClientMessage::parse(&deep).is_err());
        assert!(ClientMessage::parse(&" ".repeat(MAX_TEXT + 1)).is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_is_text_panics(text in ".*", seq: i64, age: f64) {
            let _ = ClientMessage::parse(&text);
            let _ = ClientMessage::parse(&format!(r#"{{"type":"ack","seq":{seq},"age_ms":{age}}}"#));
        }
    }
}

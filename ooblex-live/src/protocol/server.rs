//! What the server says.

use ooblex_http::Problem;
use serde::Serialize;
use serde_json::{Value, json};

/// A text message of the server.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The session begins.
    Welcome {
        /// The stream; none while a viewer waits for the first one.
        stream: Option<String>,
        /// For a publisher: what gives it its stream back.
        resume: Option<String>,
        /// The server's clock.
        time: u64,
        /// What may be sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        publish: Option<Publishing>,
        /// What will be sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        view: Option<Viewing>,
    },
    /// What became of a picture.
    Ack {
        /// The publisher's number.
        seq: u64,
        /// The stream's number.
        #[serde(skip_serializing_if = "Option::is_none")]
        frame: Option<u64>,
        /// Why it was not used.
        #[serde(skip_serializing_if = "Option::is_none")]
        dropped: Option<&'static str>,
    },
    /// A key frame is needed.
    Key,
    /// An answer.
    Pong {
        /// What came.
        t: Value,
        /// The server's clock.
        time: u64,
    },
    /// The effect was switched.
    Effect {
        /// The chain.
        effect: String,
        /// Its number.
        generation: u64,
        /// What came.
        #[serde(skip_serializing_if = "Value::is_null")]
        id: Value,
    },
    /// What a viewer gets from the next picture on.
    Quality {
        /// The stream.
        stream: String,
        /// The kind.
        codec: &'static str,
        /// Most pixels of height.
        height: u32,
        /// Most thousand bits a second.
        kbps: u32,
        /// Why.
        reason: &'static str,
    },
    /// How a viewer is doing.
    Stats {
        /// Pictures sent.
        sent: u64,
        /// Pictures acknowledged.
        acked: u64,
        /// Pictures left out.
        skipped: Skipped,
        /// Acknowledged in the last second.
        kbps: u32,
        /// There and back, without waiting.
        rtt_ms: Option<f64>,
        /// From capture to display.
        age_ms: Option<Percentiles>,
    },
    /// The stream has ended.
    End {
        /// Why.
        reason: String,
    },
}

/// The publisher's part of a welcome.
#[derive(Clone, Debug, Serialize)]
pub struct Publishing {
    /// The kind to send.
    pub codec: &'static str,
    /// Pictures that may be on their way.
    pub window: usize,
    /// Most bytes of a picture, without its header.
    pub max_bytes: usize,
}

/// The viewer's part of a welcome.
#[derive(Clone, Debug, Serialize)]
pub struct Viewing {
    /// The kind that comes.
    pub codec: &'static str,
    /// A picture that is older when it could be shown is not.
    pub budget_ms: u64,
}

/// Pictures left out for a viewer, by reason.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Skipped {
    /// The viewer was behind.
    pub behind: u64,
    /// The viewer dropped it because it was too old.
    pub late: u64,
}

/// Of the last second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are below.
    pub p50: f64,
    /// Almost all are below.
    pub p99: f64,
}

impl Percentiles {
    /// Of `values`, which are sorted for it; `None` of none.
    pub fn of(values: &mut [f64]) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |percent: usize| values[(last * percent).div_ceil(100)];
        Some(Self { p50: at(50), p99: at(99) })
    }
}

impl ServerMessage {
    /// A picture's way ended here.
    pub(crate) fn dropped(seq: u64, reason: &'static str) -> Self {
        Self::Ack { seq, frame: None, dropped: Some(reason) }
    }

    /// As it is sent.
    pub fn to_text(&self) -> String {
        // Invariant: strings, numbers and JSON values always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A problem document as a message: its `type` gives way to that of the message.
pub(crate) fn problem_text(problem: &Problem, id: &Value) -> String {
    let mut value = problem.to_value();
    value["type"] = json!("error");
    if !id.is_null() {
        value["id"] = id.clone();
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(message: &ServerMessage) -> Value {
        serde_json::from_str(&message.to_text()).expect("JSON")
    }

    #[test]
    fn messages_are_written_as_the_document_has_them() {
        let ack = ServerMessage::Ack { seq: 17, frame: Some(123), dropped: None };
        assert_eq!(value(&ack), json!({"type": "ack", "seq": 17, "frame": 123}));
        let dropped = ServerMessage::dropped(17, "behind");
        assert_eq!(value(&dropped), json!({"type": "ack", "seq": 17, "dropped": "behind"}));
        assert_eq!(value(&ServerMessage::Key), json!({"type": "key"}));
        let problem = Problem::new(422, "bad_chain", "no such chain");
        let text: Value = serde_json::from_str(&problem_text(&problem, &json!(5))).expect("JSON");
        assert_eq!((&text["type"], &text["status"], &text["id"]), (&json!("error"), &json!(422), &json!(5)));
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        assert_eq!(Percentiles::of(&mut []), None);
        assert_eq!(Percentiles::of(&mut [7.0]), Some(Percentiles { p50: 7.0, p99: 7.0 }));
        let mut values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(Percentiles::of(&mut values), Some(Percentiles { p50: 50.0, p99: 99.0 }));
    }
}

//! Commands over a data channel: the publisher chooses its effect while it sends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ooblex_core::StreamId;
use ooblex_http::{Allowance, Problem};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use super::peer::MAX_MESSAGE;
use crate::control::StreamControl;

/// Commands that may come at once, and how fast the allowance returns: a slider that is dragged sends about 60 a
/// second.
const BURST: u32 = 60;
const REFILL: Duration = Duration::from_millis(16);
/// A chain that is longer than this has no place in a command.
const MAX_CHAIN: usize = 1024;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Command {
    SetTransform {
        #[serde(default)]
        name: Option<String>,
        /// The Python server's page sends the chain under another name.
        #[serde(default, alias = "transform", alias = "effect", alias = "model")]
        chain: Option<String>,
    },
    ToggleTransform {
        enabled: bool,
    },
}

/// Serves one data channel until it closes.
pub(super) async fn serve(channel: Arc<dyn DataChannel>, stream: StreamId, control: Arc<dyn StreamControl>) {
    let mut allowance = Allowance::new(BURST, REFILL, Instant::now());
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnMessage(message) => {
                let reply = if allowance.take(Instant::now()) {
                    answer(&message.data, &stream, control.as_ref()).await
                } else {
                    let text = format!("more than {BURST} commands came at once; send fewer");
                    error(&Problem::new(429, "rate", text).retry_after(REFILL), None)
                };
                // A peer that does not read gets no more replies; its commands still count.
                if channel.try_send_text(&reply.to_string()).await.is_err() {
                    tracing::debug!(%stream, "a reply on a data channel was dropped");
                }
            }
            DataChannelEvent::OnClose => break,
            _ => {}
        }
    }
}

/// The reply to one message.
async fn answer(data: &[u8], stream: &StreamId, control: &dyn StreamControl) -> Value {
    if data.len() > MAX_MESSAGE {
        let detail = format!("message is {} bytes, limit {MAX_MESSAGE}", data.len());
        return error(&Problem::new(413, "message_too_large", detail), None);
    }
    let (command, done) = match parse(data) {
        Ok(Command::SetTransform { name, chain }) => {
            let chain = name.or(chain).unwrap_or_default();
            let done = if chain.is_empty() || chain.len() > MAX_CHAIN {
                let detail = format!("set_transform needs a `name` of 1 to {MAX_CHAIN} bytes");
                Err(Problem::new(400, "bad_command", detail).field("name"))
            } else {
                control.set_effect(stream, &chain, Map::new()).await.map(drop)
            };
            ("set_transform", done)
        }
        Ok(Command::ToggleTransform { enabled }) => {
            ("toggle_transform", control.enable(stream, enabled).await)
        }
        Err(problem) => return error(&problem, None),
    };
    match done {
        Ok(()) => json!({"type": "ack", "command": command, "status": "ok"}),
        Err(problem) => error(&problem, Some(command)),
    }
}

fn parse(data: &[u8]) -> Result<Command, Problem> {
    serde_json::from_slice(data).map_err(|error| {
        let detail = format!("not a command: {error}; known are set_transform and toggle_transform");
        Problem::new(400, "bad_command", detail)
    })
}

/// A problem document as a reply: its `type` gives way to that of the reply.
fn error(problem: &Problem, command: Option<&str>) -> Value {
    let mut value = problem.to_value();
    value["type"] = "error".into();
    if let Some(command) = command {
        value["command"] = command.into();
    }
    value
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::control::Chosen;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<String>>);

    #[async_trait::async_trait]
    impl StreamControl for Recorder {
        async fn check(&self, chain: &str) -> Result<(), Problem> {
            match chain {
                "nonsense" => Err(Problem::new(404, "unknown_effect", "no effect nonsense").value(chain)),
                _ => Ok(()),
            }
        }
        async fn set_effect(
            &self,
            stream: &StreamId,
            chain: &str,
            _params: Map<String, Value>,
        ) -> Result<Chosen, Problem> {
            self.check(chain).await?;
            self.0.lock().expect("lock").push(format!("{stream} {chain}"));
            Ok(Chosen::default())
        }
        async fn enable(&self, stream: &StreamId, enabled: bool) -> Result<(), Problem> {
            self.0.lock().expect("lock").push(format!("{stream} {enabled}"));
            Ok(())
        }
    }

    #[tokio::test]
    async fn commands_are_carried_out_and_acknowledged() {
        let control = Recorder::default();
        let stream = StreamId::default();
        let ack = |command| json!({"type": "ack", "command": command, "status": "ok"});
        for (message, reply) in [
            (r#"{"type":"set_transform","name":"blur|sepia"}"#, ack("set_transform")),
            (r#"{"type":"set_transform","effect":"edge"}"#, ack("set_transform")),
            (r#"{"type":"toggle_transform","enabled":false}"#, ack("toggle_transform")),
        ] {
            assert_eq!(answer(message.as_bytes(), &stream, &control).await, reply, "{message}");
        }
        assert_eq!(*control.0.lock().expect("lock"), ["default blur|sepia", "default edge", "default false"]);
    }

    #[tokio::test]
    async fn bad_messages_get_a_problem_and_change_nothing() {
        let control = Recorder::default();
        let stream = StreamId::default();
        let long = format!(r#"{{"type":"set_transform","name":"{}"}}"#, "x".repeat(2_000));
        for (message, status) in [
            (r#"{"type":"set_transform","name":"nonsense"}"#, 404),
            (r#"{"type":"set_transform"}"#, 400),
            (long.as_str(), 400),
            (r#"{"type":"toggle_transform","enabled":"yes"}"#, 400),
            (r#"{"type":"reboot"}"#, 400),
            ("\u{0}", 400),
        ] {
            let reply = answer(message.as_bytes(), &stream, &control).await;
            assert_eq!((&reply["type"], &reply["status"]), (&json!("error"), &json!(status)), "{reply}");
        }
        let reply = answer(&vec![b' '; MAX_MESSAGE + 1], &stream, &control).await;
        assert_eq!(reply["status"], 413);
        assert!(control.0.lock().expect("lock").is_empty());
    }

    #[test]
    fn commands_are_limited_in_number_over_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(BURST, REFILL, start);
        let taken = |allowance: &mut Allowance, now| (0..1000).filter(|_| allowance.take(now)).count();
        assert_eq!(taken(&mut allowance, start), BURST as usize);
        assert_eq!(taken(&mut allowance, start + REFILL * 5 / 2), 2);
        assert_eq!(taken(&mut allowance, start + REFILL * 3), 1, "nothing is lost in between");
        assert_eq!(taken(&mut allowance, start + Duration::from_secs(60)), BURST as usize);
    }
}

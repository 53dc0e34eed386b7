//! The publishing half of a session: pictures in, acknowledgements out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ooblex_core::hub::Stream;
use ooblex_core::pipeline::Pushed;
use ooblex_core::{BoxError, BufferPool, DropReason, Frame, Rotation};
use ooblex_http::Problem;
use ooblex_ingest::decode::VideoCodec;
use ooblex_ingest::live::{self, Coding, DecodeThread, Feedback, LiveError, Unit, Units};
use tokio::sync::mpsc;

use super::SocketConfig;
use super::owners::Claim;
use crate::Codec;
use crate::protocol::{Close, CloseCode, Header, ServerMessage};

/// A key frame is asked for this often.
const KEY_EVERY: Duration = Duration::from_millis(500);
/// A capture time further back than this is no capture time: the clocks do not agree.
const OLDEST: Duration = Duration::from_secs(10);

/// What became of a picture.
pub(super) struct Became {
    seq: u64,
    fate: Fate,
}

enum Fate {
    /// It is this frame of the stream.
    Frame(u64),
    Dropped(&'static str),
    /// Its picture comes later, after others.
    Held,
    Undecodable(String),
}

/// What the session is to do.
pub(super) enum Reply {
    Say(ServerMessage),
    Problem(Problem),
}

pub(super) struct Publish {
    pub(super) claim: Claim,
    codec: Codec,
    units: Units,
    thread: DecodeThread,
    pub(super) became: mpsc::Receiver<Became>,
    /// Pictures without an acknowledgement.
    open: VecDeque<u64>,
    window: usize,
    last_seq: Option<u64>,
    last_pts: i64,
    /// A key frame has come.
    begun: bool,
    needs_key: bool,
    key_asked: Option<Instant>,
    /// A problem was told at that time.
    told: Option<Instant>,
}

impl Publish {
    pub(super) fn start(
        claim: Claim,
        codec: Codec,
        stream: Arc<Stream>,
        config: &SocketConfig,
    ) -> std::io::Result<Self> {
        let units = Units::default();
        // Never full: each picture becomes one thing, and no more are open than that.
        let (events, became) = mpsc::channel(4 * config.window);
        let (id, limits) = (stream.id().clone(), config.pictures);
        let output = ToStream { stream, events, made: Vec::new() };
        let thread = DecodeThread::start("live-decode", id, limits, units.clone(), output)?;
        Ok(Self {
            claim,
            codec,
            units,
            thread,
            became,
            open: VecDeque::new(),
            window: config.window,
            last_seq: None,
            last_pts: i64::MIN,
            begun: false,
            needs_key: false,
            key_asked: None,
            told: None,
        })
    }

    /// What the decoding thread has to say.
    pub(super) fn thread_feedback(&self) -> Arc<Feedback> {
        self.thread.feedback().clone()
    }

    /// Takes a picture; `data` is what follows the header.
    pub(super) fn picture(
        &mut self,
        header: Header,
        data: Bytes,
        now: Instant,
        replies: &mut Vec<Reply>,
    ) -> Result<(), Close> {
        let protocol = |reason: String| Err(Close::new(CloseCode::Protocol, reason));
        if header.codec != self.codec {
            let (sent, agreed) = (header.codec, self.codec);
            return Err(Close::new(CloseCode::Kind, format!("{sent} was sent, {agreed} was agreed on")));
        }
        if let Some(last) = self.last_seq
            && header.sequence != last.wrapping_add(1)
        {
            return protocol(format!("picture {} follows {last}; numbers rise by 1", header.sequence));
        }
        self.last_seq = Some(header.sequence);
        if self.open.len() >= 2 * self.window {
            let window = self.window;
            return protocol(format!(
                "too many pictures at once; wait for acks, {window} may be on their way"
            ));
        }
        let seq = header.sequence;
        if !self.begun && !header.is_key {
            replies.push(Reply::Say(ServerMessage::dropped(seq, "no_key")));
            self.ask(now, replies);
            return Ok(());
        }
        self.begun = true;
        self.needs_key &= !header.is_key;
        self.open.push_back(seq);
        let unit = self.unit(header, data, now);
        match self.units.push(unit, now) {
            live::Pushed::Queued => {}
            // Those that waited before it were dropped.
            live::Pushed::Restarted(dropped) => self.drop_open(dropped, 1, "superseded", replies),
            live::Pushed::Behind(dropped) => {
                self.drop_open(dropped, 0, "behind", replies);
                self.ask(now, replies);
            }
        }
        Ok(())
    }

    fn unit(&mut self, header: Header, data: Bytes, now: Instant) -> Unit {
        // Times tell the order of showing; each must be another one.
        let ticks = (header.captured_us / 100 * 9) as i64;
        self.last_pts = if ticks == self.last_pts { ticks + 1 } else { ticks };
        Unit {
            number: header.sequence,
            coding: match header.codec {
                Codec::H264 => Coding::Video(VideoCodec::H264),
                Codec::Vp8 => Coding::Video(VideoCodec::Vp8),
                Codec::Jpeg => Coding::Picture,
            },
            data,
            pts: self.last_pts,
            keyframe: header.is_key,
            // Of single pictures only the newest is worth its work.
            fresh: header.codec == Codec::Jpeg,
            received: now,
            captured: Some(captured(header.captured_us, SystemTime::now())),
            rotation: Rotation::None,
            mirrored: false,
        }
    }

    /// Of the open pictures, all but the last `keep`, `count` from behind were dropped.
    fn drop_open(&mut self, count: u64, keep: usize, reason: &'static str, replies: &mut Vec<Reply>) {
        let kept = self.open.len().saturating_sub(keep);
        let from = kept.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        for seq in self.open.drain(from..kept) {
            replies.push(Reply::Say(ServerMessage::dropped(seq, reason)));
        }
    }

    /// Acknowledges a picture that the decoder has done with.
    pub(super) fn settle(&mut self, became: Became, now: Instant, replies: &mut Vec<Reply>) {
        let Became { seq, fate } = became;
        let Some(place) = self.open.iter().position(|open| *open == seq) else { return };
        self.open.remove(place);
        let (frame, dropped) = match fate {
            Fate::Frame(frame) => (Some(frame), None),
            Fate::Held => (None, None),
            Fate::Dropped(reason) => (None, Some(reason)),
            Fate::Undecodable(why) => {
                if self.told.is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(1)) {
                    self.told = Some(now);
                    replies.push(Reply::Problem(Problem::new(422, "undecodable", why)));
                }
                (None, Some("undecodable"))
            }
        };
        replies.push(Reply::Say(ServerMessage::Ack { seq, frame, dropped }));
    }

    /// Does what the decoding thread wants, and what is still to be done.
    ///
    /// # Errors
    /// If it has stopped.
    pub(super) fn look_after(&mut self, now: Instant, replies: &mut Vec<Reply>) -> Result<(), Close> {
        if let Some(why) = self.thread.feedback().over() {
            return Err(Close::new(CloseCode::Normal, why));
        }
        if self.thread.feedback().take_keyframe() || self.needs_key {
            self.ask(now, replies);
        }
        Ok(())
    }

    fn ask(&mut self, now: Instant, replies: &mut Vec<Reply>) {
        self.needs_key = true;
        if self.key_asked.is_none_or(|at| now.saturating_duration_since(at) >= KEY_EVERY) {
            self.key_asked = Some(now);
            replies.push(Reply::Say(ServerMessage::Key));
        }
    }

    /// Lets go of the stream, which ends if the publisher has.
    pub(super) async fn stop(self, ended: bool) {
        self.thread.stop().await;
        if ended {
            self.claim.end();
        }
    }
}

/// When a picture was taken: not in the future, and not long ago.
fn captured(micros: u64, now: SystemTime) -> SystemTime {
    let said = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros)).unwrap_or(now);
    said.clamp(now.checked_sub(OLDEST).unwrap_or(now), now)
}

/// The decoding thread's way into the stream.
struct ToStream {
    stream: Arc<Stream>,
    events: mpsc::Sender<Became>,
    /// What was pushed since the last unit.
    made: Vec<(u64, Pushed)>,
}

impl ToStream {
    fn tell(&self, seq: u64, fate: Fate) {
        // If nobody is there any more, nobody wants to know.
        let _ = self.events.try_send(Became { seq, fate });
    }
}

impl live::Output for ToStream {
    fn open(&mut self) -> Result<BufferPool, BoxError> {
        Ok(self.stream.pool().clone())
    }

    fn push(&mut self, number: u64, frame: Frame) -> bool {
        let pushed = self.stream.pipeline().input().push(frame);
        pushed.map(|pushed| self.made.push((number, pushed))).is_ok()
    }

    fn decoded(&mut self, number: u64) {
        let mut made = std::mem::take(&mut self.made).into_iter();
        let fate = match made.find(|(of, _)| *of == number) {
            Some((_, Pushed::Queued(frame))) => Fate::Frame(frame),
            Some((_, Pushed::Dropped(_, reason))) => Fate::Dropped(reason.as_str()),
            Some((_, other)) => Fate::Frame(other.sequence()),
            None => Fate::Held,
        };
        self.tell(number, fate);
    }

    fn skipped(&mut self, number: u64) {
        self.stream.pipeline().input().lost(DropReason::DecodeFailed);
        self.tell(number, Fate::Dropped("no_key"));
    }

    fn failed(&mut self, number: u64, error: &LiveError) {
        self.stream.pipeline().input().lost(DropReason::DecodeFailed);
        self.tell(number, Fate::Undecodable(error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_times_are_kept_within_reason() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let micros =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("later").as_micros() as u64;
        let a_moment_ago = now - Duration::from_millis(40);
        assert_eq!(captured(micros(a_moment_ago), now), a_moment_ago);
        assert_eq!(captured(micros(now + OLDEST), now), now);
        assert_eq!(captured(0, now), now - OLDEST);
        assert_eq!(captured(u64::MAX, now), now);
    }
}

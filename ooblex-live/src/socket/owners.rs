//! Who publishes which stream, and gets it back after a broken connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ooblex_core::StreamId;
use ooblex_core::hub::Hub;
use ooblex_http::Problem;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;

use super::KIND;

/// Bytes of a token: 192 bits, far beyond guessing.
const TOKEN_BYTES: usize = 24;
/// Names that are kept for publishers who may come back.
const MOST_LOST: usize = 1024;
/// A publisher without its token takes over only what has been silent for this long.
const TAKEOVER_AFTER: Duration = Duration::from_secs(2);
/// Letters of names that the server makes up: none that look alike.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// All publishers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Owners(Arc<Inner>);

struct Inner {
    hub: Hub,
    grace: Duration,
    resume_within: Duration,
    owners: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_stream: HashMap<StreamId, Owner>,
    /// The number of the last session.
    last: u64,
}

struct Owner {
    session: u64,
    caller: Option<u64>,
    token: String,
    /// When its connection broke, if it did.
    lost: Option<Instant>,
    /// Tells it that another connection takes over.
    takeover: Option<oneshot::Sender<()>>,
    /// Ends when it has let go of the stream.
    released: Option<oneshot::Receiver<()>>,
}

/// What a publisher asks for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) stream: Option<&'a StreamId>,
    pub(super) token: Option<&'a str>,
    pub(super) caller: Option<u64>,
}

/// A publisher's hold on its stream. What is not given back by [`end`](Claim::end) was lost.
pub(super) struct Claim {
    owners: Owners,
    session: u64,
    pub(super) stream: StreamId,
    pub(super) token: String,
    /// Ends when another connection takes over.
    pub(super) takeover: oneshot::Receiver<()>,
    /// Ends when the connection before has let go of the stream.
    pub(super) before: Option<oneshot::Receiver<()>>,
    _release: oneshot::Sender<()>,
}

impl Owners {
    pub(super) fn new(hub: Hub, grace: Duration, resume_within: Duration) -> Self {
        Self(Arc::new(Inner { hub, grace, resume_within, owners: Mutex::default() }))
    }

    /// Gives a publisher its stream: the one that its token names, the one that it names, or a new one.
    ///
    /// # Errors
    /// 409 if the name is taken, 404 if the token names another stream or none any more.
    pub(super) fn claim(&self, wanted: Wanted<'_>, now: Instant) -> Result<Claim, Problem> {
        let internal = || Problem::new(500, "internal", "the system has no random numbers");
        let token = token().ok_or_else(internal)?;
        let mut table = self.lock();
        let stream = match (table.of_token(wanted.token), wanted.stream) {
            (Some(stream), None) => stream,
            // A token of another stream is as good as none.
            (_, Some(stream)) => stream.clone(),
            (None, None) => self.new_name(&table).ok_or_else(internal)?,
        };
        let owner = table.by_stream.get(&stream);
        match owner {
            Some(owner) if wanted.token == Some(&owner.token) => {}
            Some(owner) if !self.may_take_over(&stream, owner, wanted.caller, now) => {
                return Err(taken(&stream, "another connection"));
            }
            Some(_) => {}
            None => {
                let live = self.0.hub.get(&stream).filter(|s| !s.pipeline().state().is_over());
                if let Some(other) = live.filter(|s| s.kind() != KIND) {
                    return Err(taken(&stream, other.kind()));
                }
            }
        }
        table.last += 1;
        let (session, (takeover, told), (release, released)) =
            (table.last, oneshot::channel(), oneshot::channel());
        let owner = Owner {
            session,
            caller: wanted.caller,
            token: token.clone(),
            lost: None,
            takeover: Some(takeover),
            released: Some(released),
        };
        let mut before = table.by_stream.insert(stream.clone(), owner);
        table.forget_the_oldest();
        if let Some(takeover) = before.as_mut().and_then(|before| before.takeover.take()) {
            let _ = takeover.send(());
        }
        let before = before.and_then(|before| before.released);
        drop(table);
        Ok(Claim { owners: self.clone(), session, stream, token, takeover: told, before, _release: release })
    }

    /// Publishers that are connected.
    pub(super) fn connected(&self) -> usize {
        self.lock().by_stream.values().filter(|owner| owner.lost.is_none()).count()
    }

    /// Whether somebody without the token may have a name.
    fn may_take_over(&self, stream: &StreamId, owner: &Owner, caller: Option<u64>, now: Instant) -> bool {
        if let Some(lost) = owner.lost
            && now.saturating_duration_since(lost) >= self.0.grace
        {
            return true;
        }
        let last = self.0.hub.get(stream).and_then(|stream| stream.pipeline().input().last_at());
        let silent = last.is_none_or(|last| now.saturating_duration_since(last) >= TAKEOVER_AFTER);
        silent && caller.is_some() && owner.caller == caller
    }

    fn new_name(&self, table: &Table) -> Option<StreamId> {
        for _ in 0..32 {
            let mut letters = [0; 6];
            SystemRandom::new().fill(&mut letters).ok()?;
            let name: String = letters.iter().map(|n| LETTERS[usize::from(n % 32)] as char).collect();
            // Invariant: letters, digits and a dash.
            let stream = StreamId::new(&format!("camera-{name}")).ok()?;
            if !table.by_stream.contains_key(&stream) && self.0.hub.get(&stream).is_none() {
                return Some(stream);
            }
        }
        None
    }

    fn lost(&self, stream: &StreamId, session: u64) {
        if let Some(owner) = self.lock().of_session(stream, session) {
            owner.lost = Some(Instant::now());
        } else {
            return;
        }
        let (owners, stream) = (self.clone(), stream.clone());
        let Inner { grace, resume_within, .. } = *self.0;
        // Without a runtime the process is about to end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(grace).await;
                if owners.lock().of_session(&stream, session).is_some() {
                    owners.0.hub.end(&stream);
                }
                tokio::time::sleep(resume_within.saturating_sub(grace)).await;
                let mut table = owners.lock();
                if table.of_session(&stream, session).is_some() {
                    table.by_stream.remove(&stream);
                }
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn of_token(&self, token: Option<&str>) -> Option<StreamId> {
        let token = token?;
        self.by_stream.iter().find(|(_, owner)| owner.token == token).map(|(stream, _)| stream.clone())
    }

    fn of_session(&mut self, stream: &StreamId, session: u64) -> Option<&mut Owner> {
        self.by_stream.get_mut(stream).filter(|owner| owner.session == session)
    }

    fn forget_the_oldest(&mut self) {
        let lost = |table: &Self| table.by_stream.values().filter(|owner| owner.lost.is_some()).count();
        if lost(self) > MOST_LOST {
            let oldest =
                self.by_stream.iter().filter_map(|(stream, owner)| Some((owner.lost?, stream.clone())));
            if let Some((_, stream)) = oldest.min() {
                self.by_stream.remove(&stream);
            }
        }
    }
}

impl Claim {
    /// The publisher has ended: its stream ends with it.
    pub(super) fn end(self) {
        let mut table = self.owners.lock();
        if table.of_session(&self.stream, self.session).is_some() {
            table.by_stream.remove(&self.stream);
            drop(table);
            self.owners.0.hub.end(&self.stream);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.owners.lost(&self.stream, self.session);
    }
}

fn taken(stream: &StreamId, by: &str) -> Problem {
    let detail = format!("stream {stream} is fed by {by}; choose another name");
    Problem::new(409, "name_taken", detail).field("stream").value(stream.as_str())
}

fn token() -> Option<String> {
    let mut bytes = [0; TOKEN_BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests;

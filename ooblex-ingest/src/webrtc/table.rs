//! Which sessions there are, and who may have another: policy without clocks or sockets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ooblex_core::StreamId;
use tokio::sync::mpsc;

use super::handle::{Command, SessionHandle};
use super::viewer::ViewerHandle;
use super::{PublishError, PublishRequest, SessionId, WebRtcConfig};

/// All sessions of an endpoint, publishers' and viewers'. At most one publisher owns a stream: the one that was admitted
/// last for it.
#[derive(Default)]
pub(super) struct Table {
    sessions: HashMap<SessionId, Arc<SessionHandle>>,
    owners: HashMap<StreamId, SessionId>,
    viewers: HashMap<SessionId, Arc<ViewerHandle>>,
    closed: bool,
}

impl Table {
    /// Whether `request` may have a session at `now`; the session that it would replace, if any.
    pub(super) fn admit(
        &self,
        request: &PublishRequest,
        config: &WebRtcConfig,
        now: Instant,
    ) -> Result<Option<Arc<SessionHandle>>, PublishError> {
        if self.closed {
            return Err(PublishError::ShuttingDown);
        }
        let owner = self.owner(&request.stream);
        if let Some(owner) = &owner {
            let taken = |retry_after| PublishError::NameTaken { stream: request.stream.clone(), retry_after };
            if owner.publisher != request.publisher {
                return Err(taken(None));
            }
            let silent = owner.shared.silent_for(now);
            if silent < config.takeover_after {
                return Err(taken(Some(config.takeover_after - silent)));
            }
        }
        // What is about to be replaced does not count.
        let others = || {
            let replaced = owner.as_ref().map(Arc::as_ptr);
            self.sessions.values().filter(move |session| Some(Arc::as_ptr(session)) != replaced)
        };
        if others().count() >= config.max_sessions {
            return Err(PublishError::TooManySessions { limit: config.max_sessions });
        }
        let waiting = others().filter(|session| !session.shared.has_connected());
        let waiting = waiting.map(|session| session.address).chain(self.waiting_viewers());
        check_half_open(waiting, request.address, config)?;
        Ok(owner)
    }

    /// Whether one more viewer may have a session, from `address`.
    pub(super) fn admit_viewer(
        &self,
        address: Option<IpAddr>,
        config: &WebRtcConfig,
    ) -> Result<(), PublishError> {
        if self.closed {
            return Err(PublishError::ShuttingDown);
        }
        if self.viewers.len() >= config.max_viewers {
            return Err(PublishError::TooManySessions { limit: config.max_viewers });
        }
        let waiting = self.sessions.values().filter(|session| !session.shared.has_connected());
        let waiting = waiting.map(|session| session.address).chain(self.waiting_viewers());
        check_half_open(waiting, address, config)
    }

    /// Where viewers come from that have not connected.
    fn waiting_viewers(&self) -> impl Iterator<Item = Option<IpAddr>> {
        self.viewers.values().filter(|viewer| !viewer.has_connected()).map(|viewer| viewer.address)
    }

    pub(super) fn enter_viewer(&mut self, id: SessionId, viewer: Arc<ViewerHandle>) {
        self.viewers.insert(id, viewer);
    }

    pub(super) fn remove_viewer(&mut self, id: &SessionId) {
        self.viewers.remove(id);
    }

    pub(super) fn viewer(&self, id: &SessionId) -> Option<Arc<ViewerHandle>> {
        self.viewers.get(id).cloned()
    }

    pub(super) fn viewers(&self) -> impl Iterator<Item = &Arc<ViewerHandle>> {
        self.viewers.values()
    }

    /// The way to a session's task, whichever kind it is of.
    pub(super) fn commands(&self, id: &SessionId) -> Option<mpsc::Sender<Command>> {
        let publisher = self.sessions.get(id).map(|session| &session.commands);
        publisher.or_else(|| self.viewers.get(id).map(|viewer| &viewer.commands)).cloned()
    }

    /// The ways to all of them.
    pub(super) fn all_commands(&self) -> Vec<mpsc::Sender<Command>> {
        let publishers = self.sessions.values().map(|session| &session.commands);
        publishers.chain(self.viewers.values().map(|viewer| &viewer.commands)).cloned().collect()
    }

    /// Enters a session and makes it the owner of its stream.
    pub(super) fn enter(&mut self, id: SessionId, session: Arc<SessionHandle>) {
        self.owners.insert(session.stream.clone(), id);
        self.sessions.insert(id, session);
    }

    /// Removes a session; whether it owned its stream.
    pub(super) fn remove(&mut self, id: &SessionId) -> bool {
        let Some(session) = self.sessions.remove(id) else { return false };
        let owned = self.owners.get(&session.stream) == Some(id);
        if owned {
            self.owners.remove(&session.stream);
        }
        owned
    }

    /// Removes a session that never began; the one that it was to replace owns the stream again if it still runs.
    pub(super) fn abandon(&mut self, id: &SessionId, replaced: Option<&Arc<SessionHandle>>) {
        let Some(session) = self.sessions.get(id).cloned() else { return };
        if self.remove(id)
            && let Some(replaced) = replaced
            && let Some((old, _)) = self.sessions.iter().find(|(_, s)| Arc::ptr_eq(s, replaced))
        {
            self.owners.insert(session.stream.clone(), *old);
        }
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<SessionHandle>> {
        self.sessions.get(id).cloned()
    }

    /// The session that owns a stream.
    pub(super) fn owner(&self, stream: &StreamId) -> Option<Arc<SessionHandle>> {
        self.owners.get(stream).and_then(|id| self.get(id))
    }

    /// Streams that have an owner.
    pub(super) fn streams(&self) -> impl Iterator<Item = &StreamId> {
        self.owners.keys()
    }

    pub(super) fn all(&self) -> Vec<Arc<SessionHandle>> {
        self.sessions.values().cloned().collect()
    }

    /// Refuses all further requests.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }
}

/// Whether one more session may wait for its peer beside those from `waiting`.
fn check_half_open(
    waiting: impl Iterator<Item = Option<IpAddr>>,
    address: Option<IpAddr>,
    config: &WebRtcConfig,
) -> Result<(), PublishError> {
    let (mut all, mut same) = (0, 0);
    for from in waiting {
        all += 1;
        same += usize::from(address.is_some() && from == address);
    }
    if all >= config.max_half_open {
        return Err(PublishError::TooManySessions { limit: config.max_half_open });
    }
    let limit = config.max_half_open_per_address;
    if same >= limit { Err(PublishError::TooManyFromAddress { limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::webrtc::PublisherId;
    use crate::webrtc::handle::testing::handle;

    fn request(stream: &str, publisher: &str, address: Option<&str>) -> PublishRequest {
        PublishRequest {
            stream: StreamId::new(stream).expect("name"),
            publisher: PublisherId::of_token(publisher),
            address: address.map(|address| address.parse().expect("address")),
        }
    }

    /// Admits and enters, as the endpoint does.
    fn add(table: &mut Table, request: &PublishRequest, now: Instant) -> Result<SessionId, PublishError> {
        let replaced = table.admit(request, &config(), now)?;
        let id = SessionId::random().expect("random");
        table.enter(id, handle(request, now));
        drop(replaced);
        Ok(id)
    }

    fn config() -> WebRtcConfig {
        WebRtcConfig { max_sessions: 5, max_half_open: 4, max_half_open_per_address: 2, ..Default::default() }
    }

    #[test]
    fn the_same_publisher_takes_over_after_silence_and_a_stranger_never() {
        let (mut table, start) = (Table::default(), Instant::now());
        let old = add(&mut table, &request("a", "me", None), start).expect("admitted");
        table.get(&old).expect("there").shared.on_packet(start + Duration::from_secs(10), 1);
        let at = |ms: u64| start + Duration::from_millis(10_000 + ms);
        let refused = |table: &Table, who, ms| match table.admit(&request("a", who, None), &config(), at(ms))
        {
            Err(PublishError::NameTaken { retry_after, .. }) => retry_after,
            _ => panic!("{who} was admitted after {ms} ms"),
        };
        assert_eq!(refused(&table, "me", 1_500), Some(Duration::from_millis(500)));
        assert_eq!(refused(&table, "stranger", 60_000), None);
        let new = add(&mut table, &request("a", "me", None), at(2_000)).expect("taken over");
        let a = StreamId::new("a").expect("name");
        let owned_by = |table: &Table, id| {
            table.owner(&a).is_some_and(|s| Arc::ptr_eq(&s, &table.get(id).expect("there")))
        };
        assert!(owned_by(&table, &new));
        // A take-over that fails leaves everything as it was.
        let replaced = table.get(&new).expect("there");
        let failed = SessionId::random().expect("random");
        table.enter(failed, handle(&request("a", "me", None), at(5_000)));
        assert!(owned_by(&table, &failed) && !owned_by(&table, &new));
        table.abandon(&failed, Some(&replaced));
        assert!(owned_by(&table, &new) && table.get(&failed).is_none());
        assert!(!table.remove(&old), "the old one owns nothing any more");
        assert!(table.owner(&a).is_some());
        assert!(table.remove(&new));
        assert!(!table.remove(&new), "gone");
        assert_eq!(table.streams().count(), 0);
    }

    #[test]
    fn half_open_sessions_are_few_in_total_and_per_address() {
        let (mut table, now) = (Table::default(), Instant::now());
        let from = |n: u32, address| request(&format!("s{n}"), "x", Some(address));
        for n in 0..2 {
            add(&mut table, &from(n, "192.0.2.1"), now).expect("room");
        }
        let error = add(&mut table, &from(2, "192.0.2.1"), now).expect_err("full");
        assert!(matches!(error, PublishError::TooManyFromAddress { limit: 2 }));
        for n in 2..4 {
            add(&mut table, &from(n, "192.0.2.2"), now).expect("another address");
        }
        let error = add(&mut table, &from(4, "192.0.2.3"), now).expect_err("full in total");
        assert!(matches!(error, PublishError::TooManySessions { limit: 4 }));
        // Whoever has connected does not count among them.
        for session in table.all() {
            session.shared.on_connected();
        }
        add(&mut table, &from(4, "192.0.2.1"), now).expect("room");
        let error = add(&mut table, &from(5, "192.0.2.1"), now).expect_err("all are taken");
        assert!(matches!(error, PublishError::TooManySessions { limit: 5 }));
        // The one that would be replaced makes its own room.
        add(&mut table, &from(0, "192.0.2.1"), now + Duration::from_secs(3)).expect("a take-over");
        table.close();
        assert!(matches!(add(&mut table, &from(9, "192.0.2.9"), now), Err(PublishError::ShuttingDown)));
    }

    #[test]
    fn viewers_have_limits_of_their_own_but_wait_with_publishers() {
        let (mut table, now) = (Table::default(), Instant::now());
        let config = WebRtcConfig { max_viewers: 3, ..config() };
        let from = |address: &str| Some(address.parse().expect("address"));
        let enter = |table: &mut Table, address| {
            let id = SessionId::random().expect("random");
            let commands = mpsc::channel(1).0;
            let codec = crate::decode::VideoCodec::Vp8;
            let viewer = Arc::new(ViewerHandle::new(None, address, codec, now, commands));
            table.enter_viewer(id, viewer.clone());
            (id, viewer)
        };
        add(&mut table, &request("a", "me", Some("192.0.2.1")), now).expect("room");
        enter(&mut table, from("192.0.2.1"));
        let error = table.admit_viewer(from("192.0.2.1"), &config).expect_err("two wait");
        assert!(matches!(error, PublishError::TooManyFromAddress { limit: 2 }));
        let error = add(&mut table, &request("b", "me", Some("192.0.2.1")), now).expect_err("likewise");
        assert!(matches!(error, PublishError::TooManyFromAddress { limit: 2 }));
        table.admit_viewer(None, &config).expect("no address, no such limit");
        let (id, viewer) = enter(&mut table, from("192.0.2.2"));
        enter(&mut table, None);
        for viewer in table.viewers() {
            viewer.on_connected();
        }
        let error = table.admit_viewer(None, &config).expect_err("three are there");
        assert!(matches!(error, PublishError::TooManySessions { limit: 3 }));
        // No viewer owns a stream or is found as a publisher.
        assert!(table.get(&id).is_none() && table.commands(&id).is_some() && table.streams().count() == 1);
        table.remove_viewer(&id);
        assert!(table.commands(&id).is_none() && viewer.has_connected());
        table.admit_viewer(None, &config).expect("room again");
    }
}

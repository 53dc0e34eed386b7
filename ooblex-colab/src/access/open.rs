//! What was let in by a token and is still open: connections and WebRTC sessions, to be ended with their token.

use std::collections::HashMap;

use ooblex_http::Line;

use super::book::Grant;
use super::kind::Kind;

/// Entries beyond which those that are gone are looked for.
const LOOK_FROM: usize = 64;

/// Bounded by what is open: entries of what is gone are dropped whenever there are twice as many as then were open.
pub(super) struct Open {
    lines: HashMap<u64, (Grant, Line)>,
    sessions: HashMap<String, Grant>,
    look_at: usize,
    look_at_sessions: usize,
}

impl Default for Open {
    fn default() -> Self {
        let (lines, sessions) = (HashMap::new(), HashMap::new());
        Self { lines, sessions, look_at: LOOK_FROM, look_at_sessions: LOOK_FROM }
    }
}

impl Open {
    /// Notes by what the newest request of a connection was let in.
    pub(super) fn line(&mut self, grant: Grant, line: &Line) {
        if self.lines.len() >= self.look_at {
            self.lines.retain(|_, (_, line)| line.is_open());
            self.look_at = LOOK_FROM.max(self.lines.len() * 2);
        }
        self.lines.insert(line.id(), (grant, line.clone()));
    }

    /// Notes a session; `lives` tells whether one is still there.
    pub(super) fn session(&mut self, grant: Grant, id: &str, lives: impl Fn(&str) -> bool) {
        if self.sessions.len() >= self.look_at_sessions {
            self.sessions.retain(|id, _| lives(id));
            self.look_at_sessions = LOOK_FROM.max(self.sessions.len() * 2);
        }
        self.sessions.insert(id.to_owned(), grant);
    }

    /// Takes out what was let in by a token of that kind.
    pub(super) fn take(&mut self, kind: Kind) -> Ended {
        let lines = self.lines.extract_if(|_, (grant, _)| grant.is_by(kind)).map(|(_, (_, line))| line);
        let lines = lines.filter(Line::is_open).collect();
        let sessions = self.sessions.extract_if(|_, grant| grant.is_by(kind)).map(|(id, _)| id).collect();
        Ended { lines, sessions }
    }
}

/// What must end.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) lines: Vec<Line>,
    pub(crate) sessions: Vec<String>,
}

//! Puts packets into the order of their sequence numbers and decides when to give up what is missing.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::wait::RecoveryWait;
use super::{AssemblerStats, Packet};

/// A jump further ahead than this is a restart, or a packet that went astray (RFC 3550 appendix A.1).
const MAX_AHEAD: i64 = 3000;
/// A packet further behind than this is no straggler.
const MAX_BEHIND: i64 = 1024;
/// So many packets in a row with successive numbers far from all others are a restart.
const FAR_RUN: usize = 3;
/// So many packets in a row with successive numbers that have all passed before are a restart, too.
const LATE_RUN: usize = 64;
/// How long the first packet waits for one before it, unless it starts a frame.
const START_WAIT: Duration = Duration::from_millis(20);
/// Gaps that were given up and are remembered, to tell late packets from duplicates.
const MAX_GIVEN_UP: usize = 64;

/// A packet and when it came.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) packet: Packet,
    pub(super) at: Instant,
}

/// What comes next in the order of sequence numbers.
#[derive(Debug)]
pub(super) enum Event {
    Packet(Arrived),
    /// So many packets will not come any more.
    Lost(u64),
    /// What follows has nothing to do with what was before.
    Restarted,
}

/// Packets `first..end` are missing.
#[derive(Clone, Copy, Debug)]
struct Gap {
    first: i64,
    end: i64,
    noticed: Instant,
}

#[derive(Debug)]
pub(super) struct Reorder {
    wait: RecoveryWait,
    max_packets: usize,
    max_bytes: usize,
    /// The number that is due; none before the first packet was passed on.
    next: Option<i64>,
    /// When the first packet came, while `next` is unknown.
    began: Option<Instant>,
    /// The highest number seen.
    highest: i64,
    /// A packet that was due when it came: passes without a look at the map.
    due: Option<Arrived>,
    held: BTreeMap<i64, Arrived>,
    held_bytes: usize,
    gaps: VecDeque<Gap>,
    given_up: VecDeque<Gap>,
    /// Packets that fit nowhere but follow each other: the newest number and how many.
    run: Option<(u16, usize)>,
    /// Those of the run that are far from all others.
    far: Vec<Arrived>,
    restarted: bool,
}

impl Reorder {
    pub(super) fn new(max_wait: Duration, max_packets: usize, max_bytes: usize) -> Self {
        Self {
            wait: RecoveryWait::new(max_wait),
            max_packets,
            max_bytes,
            next: None,
            began: None,
            highest: 0,
            due: None,
            held: BTreeMap::new(),
            held_bytes: 0,
            gaps: VecDeque::new(),
            given_up: VecDeque::with_capacity(MAX_GIVEN_UP),
            run: None,
            far: Vec::new(),
            restarted: false,
        }
    }

    pub(super) fn wait(&self) -> Duration {
        self.wait.current()
    }

    /// When the next event comes without another packet.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match (self.next, self.began) {
            (None, began) => began.map(|at| at + self.start_wait()),
            (Some(_), _) => self.gaps.front().map(|gap| gap.noticed + self.wait.current()),
        }
    }

    fn start_wait(&self) -> Duration {
        START_WAIT.min(self.wait.current())
    }

    /// Takes a packet; the caller then takes events until there are none.
    pub(super) fn insert(&mut self, packet: Packet, now: Instant, stats: &mut AssemblerStats) {
        if self.next.is_none() && self.held.is_empty() {
            let number = i64::from(packet.sequence);
            self.began = Some(now);
            self.highest = number;
            self.hold(number, Arrived { packet, at: now });
            return;
        }
        let distance = packet.sequence.wrapping_sub(self.highest as u16) as i16;
        let number = self.highest + i64::from(distance);
        let lowest = self.next.unwrap_or(self.highest - MAX_BEHIND);
        let far = number > self.highest + MAX_AHEAD || number < lowest - MAX_BEHIND;
        if far || number < lowest {
            self.misfit(far, number, packet, now, stats);
            return;
        }
        if self.held.contains_key(&number) {
            stats.duplicates += 1;
            return;
        }
        if self.run.take().is_some() {
            self.far.clear();
        }
        let arrived = Arrived { packet, at: now };
        if self.next == Some(number) && self.gaps.is_empty() && self.due.is_none() {
            self.highest = number;
            self.due = Some(arrived);
            return;
        }
        self.account(number, now, stats);
        self.hold(number, arrived);
    }

    /// Keeps the list of gaps true when `number` comes.
    fn account(&mut self, number: i64, now: Instant, stats: &mut AssemblerStats) {
        if number > self.highest {
            if number > self.highest + 1 {
                self.gaps.push_back(Gap { first: self.highest + 1, end: number, noticed: now });
            }
            self.highest = number;
            return;
        }
        let Some(at) = self.gaps.iter().position(|gap| (gap.first..gap.end).contains(&number)) else {
            // Before the first packet of all, which is not passed on yet.
            if let Some((&lowest, _)) = self.held.first_key_value()
                && number + 1 < lowest
            {
                self.gaps.push_front(Gap { first: number + 1, end: lowest, noticed: now });
            }
            return;
        };
        let gap = self.gaps[at];
        stats.recovered += 1;
        self.wait.came(now.saturating_duration_since(gap.noticed));
        let parts = [Gap { end: number, ..gap }, Gap { first: number + 1, ..gap }];
        self.gaps.remove(at);
        for part in parts.into_iter().rev().filter(|part| part.first < part.end) {
            self.gaps.insert(at, part);
        }
    }

    fn hold(&mut self, number: i64, arrived: Arrived) {
        self.held_bytes += arrived.packet.payload.len();
        self.held.insert(number, arrived);
    }

    /// A packet that is too late, was there before, or is far from all others.
    fn misfit(&mut self, far: bool, number: i64, packet: Packet, now: Instant, stats: &mut AssemblerStats) {
        let sequence = packet.sequence;
        let count = match self.run {
            Some((last, count)) if last.wrapping_add(1) == sequence => count + 1,
            _ => {
                self.far.clear();
                1
            }
        };
        self.run = Some((sequence, count));
        if far {
            stats.stray += 1;
            self.far.push(Arrived { packet, at: now });
            if self.far.len() == FAR_RUN {
                stats.stray -= FAR_RUN as u64;
                self.restart(stats);
            }
            return;
        }
        if count == LATE_RUN {
            self.far = vec![Arrived { packet, at: now }];
            self.restart(stats);
        } else if let Some(gap) = self.given_up.iter().find(|gap| (gap.first..gap.end).contains(&number)) {
            self.wait.came(now.saturating_duration_since(gap.noticed));
            stats.late += 1;
        } else {
            stats.duplicates += 1;
        }
    }

    /// Begins anew with the packets in `far`, which follow each other.
    fn restart(&mut self, stats: &mut AssemblerStats) {
        stats.restarts += 1;
        self.next = None;
        self.due = None;
        self.held.clear();
        self.held_bytes = 0;
        self.gaps.clear();
        self.given_up.clear();
        self.run = None;
        self.restarted = true;
        self.began = self.far.first().map(|arrived| arrived.at);
        self.highest = self.far.first().map_or(0, |arrived| i64::from(arrived.packet.sequence)) - 1;
        for arrived in std::mem::take(&mut self.far) {
            self.highest += 1;
            self.hold(self.highest, arrived);
        }
    }

    /// The next event that is due. `starts_frame` tells whether a payload surely is the first of its frame.
    pub(super) fn next(&mut self, now: Instant, starts_frame: impl Fn(&[u8]) -> bool) -> Option<Event> {
        if std::mem::take(&mut self.restarted) {
            return Some(Event::Restarted);
        }
        let next = match self.next {
            Some(next) => next,
            None => {
                let (&lowest, arrived) = self.held.first_key_value()?;
                let waited = self.began.is_none_or(|began| now >= began + self.start_wait());
                if !waited && !self.is_full() && !starts_frame(&arrived.packet.payload) {
                    return None;
                }
                self.next = Some(lowest);
                lowest
            }
        };
        if let Some(arrived) = self.due.take() {
            self.next = Some(next + 1);
            return Some(Event::Packet(arrived));
        }
        if let Some(arrived) = self.held.remove(&next) {
            self.held_bytes -= arrived.packet.payload.len();
            self.next = Some(next + 1);
            return Some(Event::Packet(arrived));
        }
        let gap = *self.gaps.front()?;
        if now < gap.noticed + self.wait.current() && !self.is_full() {
            return None;
        }
        self.gaps.pop_front();
        self.wait.stayed_away();
        if self.given_up.len() == MAX_GIVEN_UP {
            self.given_up.pop_front();
        }
        self.given_up.push_back(gap);
        self.next = Some(gap.end);
        Some(Event::Lost(gap.end.abs_diff(gap.first)))
    }

    fn is_full(&self) -> bool {
        self.held.len() > self.max_packets || self.held_bytes > self.max_bytes
    }
}

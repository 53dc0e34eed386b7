//! Counting frames over all streams, those that are gone included.

use std::collections::BTreeMap;
use std::time::Instant;

use ooblex_core::StreamId;
use ooblex_core::hub::Hub;

use super::document::Totals;

/// Totals, and what of them each listed stream has brought.
#[derive(Debug, Default)]
pub(super) struct Tally {
    totals: Totals,
    seen: BTreeMap<StreamId, Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Tells a stream from an earlier one of its name.
    started: Instant,
    received: u64,
    processed: u64,
}

impl Tally {
    pub(super) fn from(totals: Totals) -> Self {
        Self { totals, seen: BTreeMap::new() }
    }

    /// Adds what has come since the last call. Ended streams stay listed for seconds, so none is missed by a call every
    /// half second.
    pub(super) fn observe(&mut self, hub: &Hub) -> Totals {
        let streams = hub.streams().into_iter();
        let now = streams.map(|stream| {
            let (received, processed) = (stream.stats().received.get(), stream.stats().processed.get());
            (stream.id().clone(), Seen { started: stream.started(), received, processed })
        });
        self.take(now.collect())
    }

    fn take(&mut self, now: BTreeMap<StreamId, Seen>) -> Totals {
        for (id, seen) in &now {
            let before = self.seen.get(id).filter(|before| before.started == seen.started);
            let (received, processed) = before.map_or((0, 0), |b| (b.received, b.processed));
            self.totals.received += seen.received.saturating_sub(received);
            self.totals.processed += seen.processed.saturating_sub(processed);
        }
        self.seen = now;
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_frame_counts_once_also_those_of_streams_that_are_gone() {
        let mut tally = Tally::from(Totals { received: 100, processed: 90, resumed: 2 });
        let id = StreamId::new("cam").expect("a name");
        let first = Instant::now();
        let seen =
            |started, received, processed| [(id.clone(), Seen { started, received, processed })].into();
        assert_eq!(tally.take(seen(first, 10, 8)), Totals { received: 110, processed: 98, resumed: 2 });
        assert_eq!(tally.take(seen(first, 12, 12)), Totals { received: 112, processed: 102, resumed: 2 });
        // The publisher comes back under the same name.
        let again = first + Duration::from_secs(1);
        assert_eq!(tally.take(seen(again, 3, 3)).received, 115);
        assert_eq!(tally.take(BTreeMap::new()).received, 115);
        assert_eq!(tally.take(seen(again + Duration::from_secs(1), 1, 1)).received, 116);
    }
}

//! What has passed tunnels in this month, over all servers that keep it in one folder: providers go on counting when a
//! server ends.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::tunnel::{Count, TunnelHub};

/// A month of the calendar in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Month {
    year: i32,
    /// From 1 on.
    month: u8,
}

/// What has passed the tunnel of one provider in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Used {
    #[serde(flatten)]
    month: Month,
    #[serde(flatten)]
    count: Count,
}

/// By the names of providers, those that are not in use now included, so that they are not forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage(BTreeMap<String, Used>);

impl Month {
    pub(super) fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = i64::try_from(seconds).unwrap_or_default();
        let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self { year: date.year(), month: date.month().into() }
    }
}

impl Usage {
    /// Takes over what another server has kept. Each begins with what those before it had, so the most is the sum.
    pub(super) fn merge(&mut self, other: Self) {
        for (provider, used) in other.0 {
            let own = self.0.entry(provider).or_insert(used);
            if own.month == used.month {
                own.count = own.count.most(used.count);
            } else if own.month < used.month {
                *own = used;
            }
        }
    }

    /// Forgets earlier months, and has a tunnel that is not open yet count from what was used of this one.
    pub(super) fn recall(&mut self, tunnel: &TunnelHub, month: Month) {
        self.0.retain(|_, used| used.month >= month);
        if let Some(used) = self.0.get(tunnel.provider()) {
            tunnel.count_from(used.count);
        }
    }

    /// Notes what has passed a tunnel, which counts anew where a month begins, and gives all that is known.
    pub(super) fn observe(&mut self, tunnel: &TunnelHub, month: Month) -> Self {
        let own = self.0.get(tunnel.provider()).copied();
        if own.is_some_and(|own| own.month < month) {
            tunnel.count_from(Count::default());
        }
        if let Some(count) = tunnel.used() {
            // A clock that is set back begins no month.
            let month = own.map_or(month, |own| own.month.max(month));
            self.0.insert(tunnel.provider().to_owned(), Used { month, count });
        }
        self.clone()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, TunnelChoice};

    const NOVEMBER: Month = Month { year: 2026, month: 11 };
    const DECEMBER: Month = Month { year: 2026, month: 12 };

    fn sent(sent: u64) -> Count {
        Count { sent, received: 0, requests: 3 }
    }

    fn usage(month: Month, count: Count) -> Usage {
        Usage([("ngrok".to_owned(), Used { month, count })].into())
    }

    /// So many bytes in a month.
    pub(crate) fn example(bytes: u64) -> Usage {
        usage(NOVEMBER, sent(bytes))
    }

    fn tunnel() -> TunnelHub {
        TunnelHub::new(&Config { tunnel: TunnelChoice::Ngrok, ..Config::default() })
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        for (seconds, year, month) in [
            (0, 1970, 1),
            (951_782_399, 2000, 2),
            (951_868_799, 2000, 2),
            (951_868_800, 2000, 3),
            (1_798_761_599, 2026, 12),
            (1_798_761_600, 2027, 1),
            (4_107_542_399, 2100, 2),
            (4_107_542_400, 2100, 3),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Month::of(time), Month { year, month }, "{seconds}");
        }
        assert_eq!(
            Month::of(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
            Month { year: 1970, month: 1 }
        );
    }

    #[test]
    fn of_what_others_have_kept_the_newest_month_and_in_it_the_most_counts() {
        let mut own = usage(NOVEMBER, sent(700));
        own.merge(usage(NOVEMBER, Count { received: 9, ..sent(500) }));
        assert_eq!(own, usage(NOVEMBER, Count { received: 9, ..sent(700) }));
        own.merge(usage(DECEMBER, sent(20)));
        own.merge(usage(NOVEMBER, sent(900)));
        assert_eq!(own, usage(DECEMBER, sent(20)));
        let mut none = Usage::default();
        none.merge(own.clone());
        assert_eq!(none, own);
    }

    #[test]
    fn a_tunnel_counts_from_what_was_used_of_the_month_and_anew_in_the_next() {
        let (mut kept, tunnel) = (usage(NOVEMBER, sent(700)), tunnel());
        kept.recall(&tunnel, NOVEMBER);
        assert_eq!(tunnel.used(), Some(sent(700)));
        assert_eq!(kept.observe(&tunnel, NOVEMBER), usage(NOVEMBER, sent(700)));
        kept.observe(&tunnel, DECEMBER);
        assert_eq!(kept, usage(DECEMBER, Count::default()));
        tunnel.count_from(sent(5));
        kept.observe(&tunnel, NOVEMBER);
        assert_eq!(kept, usage(DECEMBER, sent(5)), "a clock that was set back");
    }

    #[test]
    fn what_was_used_of_an_earlier_month_or_of_another_provider_does_not_count() {
        let tunnel = tunnel();
        let mut old = usage(NOVEMBER, sent(700));
        old.recall(&tunnel, DECEMBER);
        assert_eq!(old, Usage::default());
        let mut kept = Usage([("ssh".to_owned(), Used { month: DECEMBER, count: sent(9) })].into());
        kept.recall(&tunnel, DECEMBER);
        assert_eq!(tunnel.used(), Some(Count::default()));
        kept.observe(&tunnel, DECEMBER);
        assert_eq!(kept.0.len(), 2, "the other one is not forgotten");
        let before = kept.clone();
        kept.observe(&TunnelHub::new(&Config::default()), DECEMBER);
        assert_eq!(kept, before, "no tunnel, nothing to note");
    }
}

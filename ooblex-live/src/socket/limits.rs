//! How many sockets, and how many messages on each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ooblex_http::Allowance;

/// Text messages that may come at once, and how fast the allowance returns: a viewer acknowledges 60 pictures a second,
/// and a slider that is dragged sends as many effects.
const BURST: u32 = 300;
const REFILL: Duration = Duration::from_millis(5);
/// The same in messages a second.
pub(super) const TEXTS_A_SECOND: u128 = 1000 / REFILL.as_millis();

/// The text messages that a new socket may send.
pub(super) fn texts(now: Instant) -> Allowance {
    Allowance::new(BURST, REFILL, now)
}

/// Counts sockets, in total and by caller.
#[derive(Clone, Default)]
pub(super) struct Seats(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    total: usize,
    by_caller: HashMap<u64, usize>,
}

/// One socket's place; given back when it is dropped.
pub(super) struct Seat {
    seats: Seats,
    caller: Option<u64>,
}

impl Seats {
    /// A place, unless `most` or, for the caller, `most_of_caller` are taken: then the limit.
    pub(super) fn take(
        &self,
        caller: Option<u64>,
        most: usize,
        most_of_caller: usize,
    ) -> Result<Seat, usize> {
        let mut taken = self.lock();
        if taken.total >= most {
            return Err(most);
        }
        if let Some(caller) = caller {
            let of_caller = taken.by_caller.entry(caller).or_default();
            if *of_caller >= most_of_caller {
                return Err(most_of_caller);
            }
            *of_caller += 1;
        }
        taken.total += 1;
        drop(taken);
        Ok(Seat { seats: self.clone(), caller })
    }

    pub(super) fn total(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.total -= 1;
        if let Some(caller) = self.caller
            && let Some(of_caller) = taken.by_caller.get_mut(&caller)
        {
            *of_caller -= 1;
            if *of_caller == 0 {
                taken.by_caller.remove(&caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_limited_over_time() {
        let start = Instant::now();
        let mut allowance = texts(start);
        let taken = |allowance: &mut Allowance, now| (0..1000).filter(|_| allowance.take(now)).count();
        assert_eq!(taken(&mut allowance, start), BURST as usize);
        assert_eq!(taken(&mut allowance, start + REFILL * 5 / 2), 2);
        assert_eq!(taken(&mut allowance, start + REFILL * 3), 1, "nothing is lost in between");
        assert_eq!(taken(&mut allowance, start + Duration::from_secs(60)), BURST as usize);
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let seats = Seats::default();
        let one = seats.take(Some(1), 3, 1).unwrap_or_else(|_| panic!("a place"));
        assert_eq!(seats.take(Some(1), 3, 1).err(), Some(1));
        let others = [seats.take(Some(2), 3, 1).ok(), seats.take(None, 3, 1).ok()];
        assert_eq!((seats.take(Some(3), 3, 1).err(), seats.total()), (Some(3), 3));
        drop(one);
        assert!(seats.take(Some(1), 3, 1).is_ok());
        drop(others);
        assert_eq!((seats.total(), seats.lock().by_caller.len()), (0, 0));
    }
}

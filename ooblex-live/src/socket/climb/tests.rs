use super::super::flight::Flight;
use super::*;

const BUDGET: Duration = Duration::from_millis(250);

#[test]
fn limits_choose_the_best_rung_that_fits() {
    let best = |max_kbps, max_height| Limits { max_kbps, max_height }.best();
    assert_eq!((best(None, None), best(Some(1_200), None), best(None, Some(480))), (0, 1, 2));
    assert_eq!((best(Some(2_500), Some(360)), best(Some(1), Some(1))), (3, 4));
    let now = Instant::now();
    let mut climb = Climb::new(Codec::H264, Limits::default(), BUDGET, now);
    assert_eq!(climb.rung(), FIRST);
    assert_eq!(climb.limit(Limits { max_kbps: Some(400), max_height: None }, now), Some(Why::Limit));
    assert_eq!(climb.rung(), 3);
    assert_eq!(climb.look(None, now + Duration::from_secs(60)), None, "no higher than the limit");
    assert_eq!(climb.limit(Limits::default(), now), None, "there is time to climb");
    assert_eq!(climb.look(None, now + Duration::from_secs(120)), Some(Why::Room));
    assert_eq!(climb.rung(), 2);
}

#[test]
fn a_rung_that_did_not_last_is_tried_later_each_time() {
    let mut now = Instant::now();
    let mut climb = Climb::new(Codec::Vp8, Limits::default(), BUDGET, now);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let begun = now;
        loop {
            now += WINDOW;
            climb.acked(Duration::ZERO, 100_000);
            if climb.look(None, now) == Some(Why::Room) {
                break;
            }
        }
        waits.push((now - begun).as_secs());
        now += WINDOW;
        climb.acked(BUDGET, 200_000);
        assert_eq!(climb.look(None, now), Some(Why::Congested));
    }
    assert_eq!(waits, [2, 5, 10, 20, 40]);
}

/// A link that carries one byte after the other, with stalls, to a viewer that shows what is within the budget.
struct Link {
    kbps: u64,
    way: Duration,
    /// Every so long, for so long.
    stalls: Option<(Duration, Duration)>,
}

#[derive(Default)]
struct Seen {
    /// Age when it arrived, and when that was.
    ages: Vec<(Duration, Duration)>,
    rungs: Vec<usize>,
}

impl Seen {
    fn shown(&self, from: u64, to: u64) -> Vec<Duration> {
        let within = Duration::from_secs(from)..Duration::from_secs(to);
        let ages = self.ages.iter().filter(|(at, age)| within.contains(at) && *age <= BUDGET);
        ages.map(|(_, age)| *age).collect()
    }
}

/// 30 pictures a second over a link that may change at some times.
fn simulate(seconds: u64, link: impl Fn(Duration) -> Link) -> Seen {
    const STEP: Duration = Duration::from_millis(1);
    let begin = Instant::now();
    let (mut flight, mut climb) =
        (Flight::new(BUDGET), Climb::new(Codec::H264, Limits::default(), BUDGET, begin));
    flight.measured(link(Duration::ZERO).way * 2, begin);
    let mut seen = Seen::default();
    // Sequence number, captured, bytes left; then on its way back.
    let (mut queue, mut back) = (std::collections::VecDeque::new(), std::collections::VecDeque::new());
    let (mut needs_key, mut seq) = (true, 0);
    for ms in 0..seconds * 1000 {
        let passed = Duration::from_millis(ms);
        let (now, link) = (begin + passed, link(passed));
        if ms % 33 == 0 {
            seq += 1;
            let blocked = !flight.may_send(now);
            needs_key |= blocked;
            if !blocked {
                let picture = u64::from(LADDER[climb.rung()].kbps) * 33 / 8;
                let bytes = if std::mem::take(&mut needs_key) { picture * 5 } else { picture };
                flight.sent(seq, bytes as usize, now);
                queue.push_back((seq, passed, bytes * 8));
            }
        }
        let stalled = link
            .stalls
            .is_some_and(|(every, lasts)| passed.as_millis() % every.as_millis() < lasts.as_millis());
        let mut room = if stalled { 0 } else { link.kbps };
        while let Some((seq, captured, bits)) = queue.front_mut() {
            let taken = room.min(*bits);
            (room, *bits) = (room - taken, *bits - taken);
            if *bits > 0 {
                break;
            }
            seen.ages.push((passed, passed + link.way - *captured));
            back.push_back((*seq, now + 2 * link.way));
            queue.pop_front();
        }
        while let Some((seq, at)) = back.front().copied().filter(|(_, at)| *at <= now) {
            back.pop_front();
            if let Ok(Some(acked)) = flight.acked(seq, at) {
                climb.acked(acked.waited, acked.bytes);
            }
        }
        if climb.look(flight.waiting(now), now + STEP).is_some() {
            needs_key = true;
            seen.rungs.push(climb.rung());
        }
    }
    seen
}

fn median(mut ages: Vec<Duration>) -> Duration {
    ages.sort();
    ages[ages.len() / 2]
}

#[test]
fn a_fast_link_with_stalls_keeps_the_best_quality_and_is_live_within_a_second_after_each() {
    let (every, lasts) = (Duration::from_millis(3_300), Duration::from_millis(300));
    let way = Duration::from_millis(40);
    let seen = simulate(60, |_| Link { kbps: 8_000, way, stalls: Some((every, lasts)) });
    assert_eq!(seen.rungs, [0], "up once and never down");
    for stall in 0..18 {
        let over = every * stall + lasts;
        let live = seen.ages.iter().find(|(at, age)| *at >= over && *age <= 2 * way);
        let after = live.expect("live again").0 - over;
        assert!(after <= Duration::from_secs(1), "stall {stall}: live after {after:?}");
    }
    let shown = seen.shown(5, 60);
    assert!(shown.len() > 55 * 30 * 85 / 100, "{} of {} are shown", shown.len(), 55 * 30);
    assert!(median(shown) <= way * 2);
}

#[test]
fn a_slow_link_gets_what_it_carries() {
    let way = Duration::from_millis(40);
    let seen = simulate(60, |_| Link { kbps: 500, way, stalls: None });
    assert!(seen.rungs.first().is_some_and(|rung| *rung >= 3), "at once to what fits: {:?}", seen.rungs);
    assert!(seen.rungs.iter().all(|rung| *rung >= 2) && seen.rungs.len() < 12, "{:?}", seen.rungs);
    let shown = seen.shown(5, 60);
    assert!(shown.len() > 55 * 30 * 80 / 100, "{} of {} are shown: {:?}", shown.len(), 55 * 30, seen.rungs);
    assert!(median(shown) <= BUDGET / 2);
}

#[test]
fn a_link_that_recovers_is_used_again() {
    let way = Duration::from_millis(20);
    let bad = |passed: Duration| (10..20).contains(&passed.as_secs());
    let seen = simulate(60, |passed| Link { kbps: if bad(passed) { 300 } else { 8_000 }, way, stalls: None });
    assert_eq!(seen.rungs.first(), Some(&0));
    assert_eq!(seen.rungs.iter().max(), Some(&4), "{:?}", seen.rungs);
    assert_eq!(seen.rungs.last(), Some(&0), "{:?}", seen.rungs);
    let shown = seen.shown(50, 60);
    assert!(shown.len() > 290 && median(shown) <= 2 * way);
}

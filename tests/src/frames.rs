//! What a viewer saw of one publisher, held against what the publisher sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::child::Child;
use crate::mark::{self, Mark, Rgb};
use crate::multipart::Viewer;

/// One picture of a publisher as a viewer got it.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The publisher's number of it.
    pub counter: u32,
    /// The server's number of it.
    pub sequence: u64,
    /// Seconds since 1970 when it had been read.
    pub at: f64,
    /// Width and height.
    pub size: (usize, usize),
    /// How far it is from what was drawn: the mean over the whole picture and the worst mean of a 16x16 block, levels
    /// of a channel.
    pub error: (f64, f64),
    /// How colourful its lower half is.
    pub colour: f64,
}

/// Reads pictures for so long and keeps those of a publisher. Others, such as the placeholder, may come only before the
/// first of them.
///
/// # Panics
/// When a picture of somebody else comes, or a broken one.
#[track_caller]
pub fn watch(viewer: &mut Viewer, id: u8, time: Duration) -> Vec<Shot> {
    let (mut shots, start) = (Vec::new(), Instant::now());
    // Decoded afterwards, so that reading is not what drops pictures.
    let mut parts = Vec::new();
    while start.elapsed() < time {
        let part = viewer.next();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        parts.push((part, wall));
    }
    for (part, at) in parts {
        let picture = part.picture();
        match shot(&picture, part.sequence, at) {
            Some((seen, shot)) => {
                assert_eq!(seen, id, "a picture of another publisher");
                shots.push(shot);
            }
            None => assert!(
                shots.is_empty(),
                "a picture of {}x{} without a mark, {:.2} s after {:?}",
                picture.width,
                picture.height,
                at - shots.last().map_or(at, |shot: &Shot| shot.at),
                shots.last()
            ),
        }
    }
    shots
}

/// What is to be known of one picture, and whose it is.
pub fn shot(picture: &Rgb, sequence: u64, at: f64) -> Option<(u8, Shot)> {
    let Mark { id, counter } = picture.mark()?;
    let size = (picture.width, picture.height);
    let error = difference(picture, &mark::draw(Mark { id, counter }, size.0, size.1));
    Some((id, Shot { counter, sequence, at, size, error, colour: picture.colourfulness() }))
}

/// The mean distance of two pictures of one size, and the largest of any 16x16 block, in levels of a channel.
pub fn difference(a: &Rgb, b: &Rgb) -> (f64, f64) {
    const SIDE: usize = 16;
    assert_eq!((a.width, a.height), (b.width, b.height));
    let (columns, rows) = (a.width.div_ceil(SIDE), a.height.div_ceil(SIDE));
    let mut sums = vec![(0u64, 0u64); columns * rows];
    for y in 0..a.height {
        for x in 0..a.width {
            let start = (y * a.width + x) * 3;
            let distance: u64 = (start..start + 3).map(|at| u64::from(a.data[at].abs_diff(b.data[at]))).sum();
            let block = &mut sums[y / SIDE * columns + x / SIDE];
            *block = (block.0 + distance, block.1 + 3);
        }
    }
    let (sum, count) = sums.iter().fold((0, 0), |total, block| (total.0 + block.0, total.1 + block.1));
    let worst = sums.iter().map(|(sum, count)| *sum as f64 / *count as f64).fold(0.0, f64::max);
    (sum as f64 / count as f64, worst)
}

/// Checks that pictures never go back, and that the server's numbers rise with the publisher's.
///
/// # Panics
/// When they do not.
#[track_caller]
pub fn check_order(shots: &[Shot]) {
    check_rising(shots);
    for pair in shots.windows(2) {
        assert_eq!(pair[1].sequence == pair[0].sequence, pair[1].counter == pair[0].counter, "{pair:?}");
    }
}

/// Checks that pictures never go back. Of a publisher whose camera may show one of them twice.
///
/// # Panics
/// When one does.
#[track_caller]
pub fn check_rising(shots: &[Shot]) {
    for pair in shots.windows(2) {
        assert!(pair[1].counter >= pair[0].counter, "{} after {}", pair[1].counter, pair[0].counter);
        assert!(pair[1].sequence >= pair[0].sequence, "{pair:?}");
    }
}

/// Checks that every picture looks as it was drawn, up to what an encoder does: at its bit rate it may leave a block of
/// 16x16 half as it was, but the box of another picture, or a grey field, is off by far more.
///
/// # Panics
/// When one does not.
#[track_caller]
pub fn check_pixels(shots: &[Shot]) {
    for shot in shots {
        let (mean, worst) = shot.error;
        assert!(mean < 3.0 && worst < 100.0, "a broken picture: {shot:?}");
    }
}

/// When each picture went to the encoder, in seconds since 1970, by its number.
pub fn sent(peer: &Child) -> BTreeMap<u32, f64> {
    let number = |line: &Value| Some((line["counter"].as_u64()? as u32, line["at"].as_f64()?));
    peer.lines().iter().filter(|line| line["event"] == "sent").filter_map(number).collect()
}

/// How many pictures the publisher had sent after each one when it was shown, oldest first; repeats are left out.
pub fn ages(shots: &[Shot], sent: &BTreeMap<u32, f64>) -> Vec<usize> {
    let mut fresh = shots.to_vec();
    fresh.dedup_by_key(|shot| shot.counter);
    fresh
        .iter()
        .map(|shot| sent.range(shot.counter + 1..).take_while(|(_, at)| **at <= shot.at).count())
        .collect()
}

/// How many pictures between the first and the last one were not shown, and how many there are.
pub fn missing(shots: &[Shot]) -> (usize, usize) {
    let counters: std::collections::BTreeSet<u32> = shots.iter().map(|shot| shot.counter).collect();
    let (Some(first), Some(last)) = (counters.first(), counters.last()) else { return (0, 0) };
    let all = (last - first + 1) as usize;
    (all - counters.len(), all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg;

    #[test]
    fn a_misplaced_block_is_noticed() {
        let picture = mark::draw(Mark { id: 3, counter: 50 }, 320, 240);
        let decoded = jpeg::decode(&jpeg::encode(&picture, 75));
        let (_, good) = shot(&decoded, 1, 0.0).unwrap();
        assert_eq!((good.counter, good.size), (50, (320, 240)));
        check_pixels(&[good]);
        // The box of another picture: what is left of lost references.
        let other = mark::draw(Mark { id: 3, counter: 20 }, 320, 240);
        let mut broken = decoded;
        let half = broken.data.len() / 2;
        broken.data[half..].copy_from_slice(&other.data[half..]);
        let (_, bad) = shot(&broken, 1, 0.0).unwrap();
        assert!(std::panic::catch_unwind(|| check_pixels(&[bad])).is_err());
    }

    #[test]
    fn order_ages_and_gaps_are_counted() {
        let shot = |counter: u32, at: f64| Shot {
            counter,
            sequence: u64::from(counter) + 7,
            at,
            size: (320, 240),
            error: (1.0, 2.0),
            colour: 30.0,
        };
        let shots = [shot(3, 0.35), shot(4, 0.45), shot(4, 0.5), shot(7, 1.05)];
        check_order(&shots);
        let sent = (0..20).map(|counter| (counter, f64::from(counter) / 10.0)).collect();
        assert_eq!(ages(&shots, &sent), [0, 0, 3]);
        assert_eq!(missing(&shots), (2, 5));
        assert!(std::panic::catch_unwind(|| check_order(&[shot(4, 0.0), shot(3, 0.1)])).is_err());
        // One picture under two numbers.
        let twice = [shot(4, 0.0), Shot { sequence: 12, ..shot(4, 0.1) }];
        check_rising(&twice);
        assert!(std::panic::catch_unwind(|| check_order(&twice)).is_err());
    }
}

//! From the order of decoding to the order of showing.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{Decoded, SequenceParameters};

/// Pictures that H.264 lets a decoder hold back at most (`MaxDpbFrames`, annex A.3.1).
const MAX_DEPTH: usize = 16;

/// How pictures may be held back to bring them into the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Every picture comes out at once: for streams that are known not to reorder.
    AsDecoded,
    /// As many as the stream allows, all that there can be if it does not say: for files, where it costs nothing.
    AsShown,
    /// As many as the stream says, none if it does not say, until a picture arrives too late: latency comes first.
    Live,
}

/// Holds decoded pictures back until no earlier one can follow (the "bumping" of section C.4.5.3, by time).
pub(super) struct Reorder {
    order: Order,
    depth: usize,
    held: BinaryHeap<Held>,
    /// Time of the picture that was let out last.
    last: Option<i64>,
}

/// Ordered so that the earliest is the greatest.
struct Held(Decoded);

impl Reorder {
    pub(super) fn new(order: Order) -> Self {
        let depth = if order == Order::AsShown { MAX_DEPTH } else { 0 };
        Self { order, depth, held: BinaryHeap::new(), last: None }
    }

    /// Takes over what a stream says about itself.
    pub(super) fn configure(&mut self, sps: &SequenceParameters) {
        self.depth = match (self.order, sps.max_reorder) {
            (Order::AsDecoded, _) => 0,
            _ if !sps.may_reorder => 0,
            (_, Some(depth)) => MAX_DEPTH.min(depth as usize),
            (Order::AsShown, None) => MAX_DEPTH,
            // What was learnt of this stream stays known when it repeats its parameters.
            (Order::Live, None) => self.depth,
        };
    }

    /// A picture to which the order of earlier ones does not matter: those are let out.
    pub(super) fn restart(&mut self, out: &mut Vec<Decoded>) {
        self.flush(out);
        self.last = None;
    }

    /// Takes a picture and lets out what is due. A bidirectional picture that is earlier than what was shown already
    /// is dropped; of the next ones, one more is held back.
    pub(super) fn push(&mut self, decoded: Decoded, bidirectional: bool, out: &mut Vec<Decoded>) {
        if bidirectional && self.order == Order::Live && self.last.is_some_and(|last| decoded.pts < last) {
            self.depth = MAX_DEPTH.min(self.depth + 1);
            return;
        }
        if self.depth == 0 && self.held.is_empty() {
            self.last = Some(decoded.pts);
            out.push(decoded);
            return;
        }
        self.held.push(Held(decoded));
        while self.held.len() > self.depth {
            self.let_out(out);
        }
    }

    /// Lets everything out.
    pub(super) fn flush(&mut self, out: &mut Vec<Decoded>) {
        while !self.held.is_empty() {
            self.let_out(out);
        }
    }

    fn let_out(&mut self, out: &mut Vec<Decoded>) {
        if let Some(Held(earliest)) = self.held.pop() {
            self.last = Some(earliest.pts);
            out.push(earliest);
        }
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.pts.cmp(&self.0.pts)
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.0.pts == other.0.pts
    }
}

impl Eq for Held {}

#[cfg(test)]
mod tests {
    use ooblex_core::{ColorSpace, Image, PixelFormat};

    use super::*;

    fn picture(pts: i64) -> Decoded {
        let image = Image::from_vec(PixelFormat::Gray8, 1, 1, ColorSpace::JPEG, vec![0]).expect("a pixel");
        Decoded { image, pts }
    }

    /// Times that come out for each of the times that go in; B pictures are those that precede an earlier one.
    fn run(reorder: &mut Reorder, times: &[i64]) -> Vec<Vec<i64>> {
        let mut latest = i64::MIN;
        let mut one = |&pts: &i64| {
            let mut out = Vec::new();
            reorder.push(picture(pts), pts < latest, &mut out);
            latest = latest.max(pts);
            out.iter().map(|d| d.pts).collect()
        };
        times.iter().map(&mut one).collect()
    }

    fn rest(reorder: &mut Reorder) -> Vec<i64> {
        let mut out = Vec::new();
        reorder.flush(&mut out);
        out.iter().map(|d| d.pts).collect()
    }

    fn sps(may_reorder: bool, max_reorder: Option<u32>) -> SequenceParameters {
        let mut sps = SequenceParameters::parse(&[0x67, 66, 0, 10, 0xF8, 0x41, 0xA2, 0x80]).expect("parses");
        (sps.may_reorder, sps.max_reorder) = (may_reorder, max_reorder);
        sps
    }

    #[test]
    fn a_stream_that_does_not_reorder_waits_for_nothing() {
        for (order, says) in [
            (Order::Live, None),
            (Order::Live, Some(0)),
            (Order::AsShown, Some(0)),
            (Order::AsDecoded, Some(3)),
        ] {
            let mut reorder = Reorder::new(order);
            reorder.configure(&sps(says != Some(0), says));
            assert_eq!(run(&mut reorder, &[0, 1, 2]), [[0], [1], [2]], "{order:?}");
        }
    }

    #[test]
    fn pictures_wait_as_long_as_the_stream_says() {
        let mut reorder = Reorder::new(Order::Live);
        reorder.configure(&sps(true, Some(2)));
        let out = run(&mut reorder, &[0, 4, 2, 1, 3, 8, 6, 5, 7]);
        assert_eq!(out, [vec![], vec![], vec![0], vec![1], vec![2], vec![3], vec![4], vec![5], vec![6]]);
        assert_eq!(rest(&mut reorder), [7, 8]);
    }

    #[test]
    fn a_live_stream_that_does_not_say_loses_one_picture_for_each_place() {
        let mut reorder = Reorder::new(Order::Live);
        reorder.configure(&sps(true, None));
        let out = run(&mut reorder, &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8]);
        let flat: Vec<i64> = out.into_iter().flatten().chain(rest(&mut reorder)).collect();
        assert!(flat.is_sorted(), "{flat:?}");
        assert_eq!(flat.len(), 8, "{flat:?}");
        reorder.configure(&sps(true, None));
        assert_eq!(run(&mut reorder, &[20, 22, 21]), [vec![], vec![], vec![20]], "the depth is kept");
    }

    #[test]
    fn a_clock_that_jumps_back_drops_nothing() {
        let mut reorder = Reorder::new(Order::Live);
        let mut out = Vec::new();
        for pts in [1000, 1001, 5, 6] {
            reorder.push(picture(pts), false, &mut out);
        }
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn a_restart_lets_out_what_is_held_and_forgets_the_clock() {
        let mut reorder = Reorder::new(Order::AsShown);
        assert_eq!(run(&mut reorder, &[7, 5, 6]).concat(), [0; 0]);
        let mut out = Vec::new();
        reorder.restart(&mut out);
        assert_eq!(out.iter().map(|d| d.pts).collect::<Vec<_>>(), [5, 6, 7]);
    }
}

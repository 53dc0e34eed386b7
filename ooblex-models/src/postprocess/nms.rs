//! Which of many boxes are of the same thing: non-maximum suppression, plain and weighted.

/// Most candidates that are compared with each other, the best ones: what a model says of noise must not take for ever.
const MOST: usize = 1000;

/// Something found that may be of the same thing as another.
pub(crate) trait Candidate {
    /// Left, top, width, height.
    fn rect(&self) -> &[f32; 4];

    fn score(&self) -> f32;

    /// Candidates of different classes are never of the same thing.
    fn class(&self) -> usize {
        0
    }
}

/// Intersection over union of two rectangles: left, top, width, height. 0 for what has no area, or no place.
pub(crate) fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    let both = side(0) * side(1);
    let all = a[2] * a[3] + b[2] * b[3] - both;
    // Far from the origin rounding makes sides longer than they are.
    if all > 0.0 { (both / all).min(1.0) } else { 0.0 }
}

/// The best candidate of each thing, the best ones first: two of a class that overlap by more than `same` are of the
/// same thing.
pub(crate) fn best<T: Candidate>(mut candidates: Vec<T>, same: f32) -> Vec<T> {
    sort(&mut candidates);
    let mut things: Vec<T> = Vec::new();
    for candidate in candidates {
        if !things.iter().any(|thing| are_same(thing, &candidate, same)) {
            things.push(candidate);
        }
    }
    things
}

/// What `merge` makes of all candidates of each thing, of which the first is the best one; the best things first.
pub(crate) fn merged<T: Candidate>(
    mut candidates: Vec<T>,
    same: f32,
    mut merge: impl FnMut(&[T]) -> T,
) -> Vec<T> {
    sort(&mut candidates);
    let mut things = Vec::new();
    while !candidates.is_empty() {
        let mut group = vec![candidates.remove(0)];
        let (more, others) =
            candidates.into_iter().partition(|candidate| are_same(&group[0], candidate, same));
        candidates = others;
        group.extend::<Vec<T>>(more);
        things.push(merge(&group));
    }
    things
}

fn are_same<T: Candidate>(a: &T, b: &T, same: f32) -> bool {
    a.class() == b.class() && overlap(a.rect(), b.rect()) > same
}

/// The best [`MOST`], the best ones first.
fn sort<T: Candidate>(candidates: &mut Vec<T>) {
    let order = |a: &T, b: &T| b.score().total_cmp(&a.score());
    if candidates.len() > MOST {
        candidates.select_nth_unstable_by(MOST, order);
        candidates.truncate(MOST);
    }
    candidates.sort_by(order);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Found {
        rect: [f32; 4],
        score: f32,
        class: usize,
    }

    impl Candidate for Found {
        fn rect(&self) -> &[f32; 4] {
            &self.rect
        }
        fn score(&self) -> f32 {
            self.score
        }
        fn class(&self) -> usize {
            self.class
        }
    }

    fn found(x: f32, score: f32, class: usize) -> Found {
        Found { rect: [x, 10.0, 20.0, 30.0], score, class }
    }

    #[test]
    fn overlap_is_intersection_over_union() {
        let a = [0.0, 0.0, 4.0, 2.0];
        for (b, expected) in [
            (a, 1.0),
            ([2.0, 0.0, 4.0, 2.0], 1.0 / 3.0),
            ([1.0, 0.5, 2.0, 1.0], 0.25),
            ([4.0, 0.0, 4.0, 2.0], 0.0),
            ([1.0, 1.0, 0.0, 0.0], 0.0),
            ([3.0, 1.0, -2.0, 1.0], 0.0),
            ([f32::NAN, 0.0, 1.0, 1.0], 0.0),
            ([0.0, 0.0, f32::INFINITY, 1.0], 0.0),
        ] {
            assert_eq!((overlap(&a, &b), overlap(&b, &a)), (expected, expected), "{b:?}");
        }
        assert_eq!(overlap(&[0.0; 4], &[0.0; 4]), 0.0);
    }

    #[test]
    fn of_each_thing_the_best_is_kept() {
        let all = vec![found(0.0, 0.5, 0), found(1.0, 0.9, 0), found(30.0, 0.7, 0), found(1.0, 0.6, 1)];
        let scores = |found: Vec<Found>| found.into_iter().map(|f| f.score).collect::<Vec<_>>();
        assert_eq!(scores(best(all.clone(), 0.6)), [0.9, 0.7, 0.6]);
        assert_eq!(scores(best(all, 0.95)), [0.9, 0.7, 0.6, 0.5]);
    }

    #[test]
    fn what_overlaps_only_with_one_that_is_suppressed_is_kept() {
        // Each overlaps with its neighbour by 0.6, with the one after that by 0.33.
        let row = vec![found(0.0, 0.9, 0), found(5.0, 0.8, 0), found(10.0, 0.7, 0)];
        assert_eq!(best(row.clone(), 0.5), [row[0].clone(), row[2].clone()]);
    }

    #[test]
    fn candidates_of_one_thing_are_merged() {
        let all = vec![found(2.0, 0.5, 0), found(60.0, 0.7, 0), found(0.0, 0.9, 0)];
        let mut groups = Vec::new();
        let things = merged(all, 0.5, |group| {
            groups.push(group.len());
            assert!(group[1..].iter().all(|other| other.score <= group[0].score));
            group[0].clone()
        });
        assert_eq!(groups, [2, 1]);
        assert_eq!(things.iter().map(|f| f.score).collect::<Vec<_>>(), [0.9, 0.7]);
    }

    #[test]
    fn only_the_best_of_too_many_count() {
        let all: Vec<Found> = (0..5000).map(|i| found(i as f32 * 50.0, (i % 4999) as f32, 0)).collect();
        let kept = best(all.clone(), 0.5);
        assert_eq!((kept.len(), kept[0].score, kept[MOST - 1].score), (MOST, 4998.0, 3999.0));
        assert_eq!(merged(all, 0.5, |group| group[0].clone()), kept);
    }

    fn any() -> impl Strategy<Value = Vec<Found>> {
        let number = prop_oneof![8 => -2f32..2.0, 1 => proptest::num::f32::ANY];
        let one = (prop::array::uniform4(number.clone()), number, 0usize..3);
        prop::collection::vec(one.prop_map(|(rect, score, class)| Found { rect, score, class }), 0..60)
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(all in any(), same in 0f32..1.0) {
            let kept = best(all.clone(), same);
            prop_assert!(kept.len() <= all.len() && kept.is_empty() == all.is_empty());
            for (i, a) in kept.iter().enumerate() {
                for b in &kept[..i] {
                    prop_assert!(a.class != b.class || overlap(&a.rect, &b.rect) <= same);
                    prop_assert!(a.score.total_cmp(&b.score).is_le());
                }
            }
            let mut count = 0;
            let things = merged(all.clone(), same, |group| {
                count += group.len();
                group[0].clone()
            });
            prop_assert!(count == all.len() && things.len() >= kept.len().min(1));
        }

        #[test]
        fn an_overlap_is_a_share(a in prop::array::uniform4(proptest::num::f32::ANY),
                                 b in prop::array::uniform4(proptest::num::f32::ANY)) {
            prop_assert!((0.0..=1.0).contains(&overlap(&a, &b)));
            prop_assert!(overlap(&a, &b) == overlap(&b, &a));
        }
    }
}

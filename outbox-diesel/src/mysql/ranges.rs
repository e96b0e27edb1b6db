//! Sets of event numbers, as ascending ranges: `100-199,205`.
//!
//! A batch says which events it holds with one of these, and what a route has seen is their union. Ten thousand events that
//! were committed one after the other are a single range.

use std::fmt::Write;

/// Disjoint ranges, both ends included, ascending, with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    /// Of numbers in any order, repeated or not.
    pub(super) fn of(numbers: impl IntoIterator<Item = i64>) -> Self {
        Self::merged(numbers.into_iter().map(|number| (number, number)).collect())
    }

    /// From `lo` to `hi`, both included. Empty when they cross.
    pub(super) fn span(lo: i64, hi: i64) -> Self {
        Self::merged(vec![(lo, hi)])
    }

    /// The union of any ranges.
    pub(super) fn union(sets: impl IntoIterator<Item = Self>) -> Self {
        Self::merged(sets.into_iter().flat_map(|set| set.0).collect())
    }

    fn merged(mut ranges: Vec<(i64, i64)>) -> Self {
        ranges.retain(|(lo, hi)| lo <= hi);
        ranges.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(ranges.len());
        for (lo, hi) in ranges {
            match merged.last_mut() {
                Some(last) if lo <= last.1.saturating_add(1) => last.1 = last.1.max(hi),
                _ => merged.push((lo, hi)),
            }
        }
        Self(merged)
    }

    /// What is in this set and not in `other`.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        let mut holes = other.0.iter().peekable();
        for &(mut lo, hi) in &self.0 {
            while holes.next_if(|hole| hole.1 < lo).is_some() {}
            let mut ahead = holes.clone();
            while let Some(&&(hole_lo, hole_hi)) = ahead.peek() {
                if hole_lo > hi || lo > hi {
                    break;
                }
                if hole_lo > lo {
                    left.push((lo, hole_lo - 1));
                }
                lo = hole_hi.saturating_add(1);
                ahead.next();
            }
            if lo <= hi {
                left.push((lo, hi));
            }
        }
        Self(left)
    }

    /// What is in both.
    pub(super) fn common(&self, other: &Self) -> Self {
        self.without(&self.without(other))
    }

    /// Whether all of it is in `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.without(other).is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        let after = self.0.partition_point(|(lo, _)| *lo <= number);
        after.checked_sub(1).is_some_and(|index| self.0[index].1 >= number)
    }

    /// The last `count` ranges.
    pub(super) fn last(&self, count: usize) -> Self {
        Self(self.0[self.0.len().saturating_sub(count)..].to_vec())
    }

    /// `100-199,205`.
    pub(super) fn encode(&self) -> String {
        let mut text = String::with_capacity(self.0.len() * 12);
        for &(lo, hi) in &self.0 {
            let separator = if text.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = match lo == hi {
                true => write!(text, "{separator}{lo}"),
                false => write!(text, "{separator}{lo}-{hi}"),
            };
        }
        text
    }

    /// What [`encode`](Self::encode) wrote. None: it did not.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            let (lo, hi) = range.split_once('-').unwrap_or((range, range));
            let (lo, hi) = (lo.parse().ok()?, hi.parse().ok()?);
            if lo > hi || ranges.last().is_some_and(|last| last.1 >= lo) {
                return None;
            }
            ranges.push((lo, hi));
        }
        Some(Self(ranges))
    }

    /// A condition on `column`, in SQL, that holds for these numbers. The text of numbers alone: nothing is to be bound.
    pub(super) fn condition(&self, column: &str) -> String {
        let mut text = String::new();
        let mut single = String::new();
        for &(lo, hi) in &self.0 {
            let _ = match lo == hi {
                true => write!(single, "{}{lo}", if single.is_empty() { "" } else { "," }),
                false => write!(text, "{}{column} BETWEEN {lo} AND {hi}", if text.is_empty() { "" } else { " OR " }),
            };
        }
        match (text.is_empty(), single.is_empty()) {
            (true, true) => "FALSE".to_owned(),
            (false, true) => format!("({text})"),
            (true, false) => format!("{column} IN ({single})"),
            (false, false) => format!("({text} OR {column} IN ({single}))"),
        }
    }

    /// The same numbers in pieces of at most `count` ranges, for statements that must not grow without bounds.
    pub(super) fn pieces(&self, count: usize) -> impl Iterator<Item = Self> + '_ {
        self.0.chunks(count).map(|piece| Self(piece.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Ranges {
        Ranges::decode(text).expect("ascending ranges")
    }

    #[test]
    fn ranges_read_back_as_they_were_written() {
        for text in ["", "7", "1-3", "1-3,5,9-12"] {
            assert_eq!(ranges(text).encode(), text);
        }
        for text in ["3-1", "1,1", "5,2", "x", "1-", "1-3,3"] {
            assert_eq!(Ranges::decode(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_that_touch_are_one_range() {
        assert_eq!(Ranges::of([5, 1, 2, 3, 3]).encode(), "1-3,5");
        assert_eq!(Ranges::union([ranges("1-3"), ranges("4,9"), ranges("2-5")]).encode(), "1-5,9");
        assert!(Ranges::span(4, 3).is_empty());
    }

    #[test]
    fn sets_behave_as_sets_do() {
        // Against the plain way to do it.
        let mut rng = fastrand_like(7);
        for _ in 0..2000 {
            let mut set =
                || Ranges::of((0..rng() % 12).map(|_| i64::try_from(rng() % 20).unwrap_or(0)).collect::<Vec<_>>());
            let (a, b) = (set(), set());
            for number in 0..20 {
                let (in_a, in_b) = (a.contains(number), b.contains(number));
                assert_eq!(a.without(&b).contains(number), in_a && !in_b, "{a:?} {b:?}");
                assert_eq!(a.common(&b).contains(number), in_a && in_b, "{a:?} {b:?}");
            }
            assert_eq!(a.is_within(&b), a.common(&b) == a);
            assert_eq!(ranges(&a.without(&b).encode()), a.without(&b), "it stays in its form");
        }
    }

    fn fastrand_like(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        }
    }

    #[test]
    fn a_condition_holds_for_every_number_and_no_other() {
        assert_eq!(ranges("").condition("seq"), "FALSE");
        assert_eq!(ranges("1-3,5,7").condition("e.seq"), "(e.seq BETWEEN 1 AND 3 OR e.seq IN (5,7))");
        let pieces: Vec<_> = ranges("1,3,5").pieces(2).map(|piece| piece.encode()).collect();
        assert_eq!(pieces, ["1,3", "5"]);
        assert_eq!(ranges("1,3,5").last(2).encode(), "3,5");
    }
}

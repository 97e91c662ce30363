//! How fast a group gets on: records a second, and when it will have caught up.
//!
//! A group commits every few seconds and not with every record, so the pace between two looks is all or nothing. What is
//! said here is the mean over [`WINDOW`]: long enough for several commits of a consumer that commits every five seconds.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::Description;
use crate::kafka::TopicPartition;

/// How far back a mean goes.
const WINDOW: i64 = 30_000;
/// Two commits of a consumer with Java's default interval have come by then.
const SETTLED: i64 = 10_000;
/// Looks that are kept, however often somebody looks.
const LOOKS: usize = 600;

/// How fast a group gets on, in a partition or in all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Records consumed a second: offsets committed, to be exact.
    pub rate: f64,
    /// When nothing will be behind any more if all goes on like this, new records included; `None` where it grows, or
    /// does not change.
    pub until_caught_up: Option<Duration>,
    /// Looked at for long enough that a group which committed nothing is one that does not get on.
    pub is_settled: bool,
}

/// What was seen of a group, to tell its pace from.
#[derive(Debug, Default)]
pub struct Paces {
    looks: VecDeque<Look>,
}

#[derive(Debug)]
struct Look {
    at: i64,
    /// Committed offset and lag.
    partitions: BTreeMap<TopicPartition, (i64, i64)>,
}

impl Paces {
    pub fn look(&mut self, description: &Description) {
        let seen = description
            .partitions
            .iter()
            .filter_map(|progress| Some((progress.partition.clone(), (progress.committed?, progress.lag()?))));
        let look = Look { at: description.at, partitions: seen.collect() };
        self.looks.push_back(look);
        // the one that is WINDOW old stays: with it the window is whole
        while self.looks.get(1).is_some_and(|second| description.at - second.at >= WINDOW) || self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
    }

    /// `None` until it has been seen twice.
    pub fn of(&self, partition: &TopicPartition) -> Option<Pace> {
        self.pace(|name| name == partition)
    }

    /// Of all partitions together; the last of them decides when all is caught up.
    pub fn total(&self) -> Option<Pace> {
        self.pace(|_| true)
    }

    fn pace(&self, counts: impl Fn(&TopicPartition) -> bool) -> Option<Pace> {
        let last = self.looks.back()?;
        let (mut rate, mut until, mut catches_up, mut longest) = (0.0, Duration::ZERO, true, None);
        for (partition, &(committed, lag)) in last.partitions.iter().filter(|(partition, _)| counts(partition)) {
            let first = self.looks.iter().find_map(|look| Some((look.at, look.partitions.get(partition)?)));
            let Some((at, &(then, lag_then))) = first.filter(|(at, _)| *at < last.at) else { continue };
            longest = longest.max(Some(last.at - at));
            let seconds = (last.at - at) as f64 / 1000.0;
            // a reset moves backwards: that is no pace
            rate += (committed - then).max(0) as f64 / seconds;
            let closing = (lag_then - lag) as f64 / seconds;
            if lag > 0 && closing > 0.0 {
                until = until.max(Duration::try_from_secs_f64(lag as f64 / closing).unwrap_or(Duration::MAX));
            } else if lag > 0 {
                catches_up = false;
            }
        }
        let is_settled = longest? >= SETTLED;
        Some(Pace { rate, until_caught_up: catches_up.then_some(until), is_settled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::groups::Progress,
        kafka::{Group, GroupKind},
    };

    fn seen(at: i64, offsets: &[(i64, i64)]) -> Description {
        let progress = |(number, &(committed, end)): (usize, &(i64, i64))| Progress {
            partition: TopicPartition::new("t", number as i32),
            committed: Some(committed),
            start: Some(0),
            end: Some(end),
            oldest: None,
            member: None,
        };
        let group = Group {
            name: "g".into(),
            kind: GroupKind::Classic,
            state: String::new(),
            protocol_type: String::new(),
            assignor: String::new(),
            coordinator: None,
            members: Vec::new(),
        };
        Description { group, partitions: offsets.iter().enumerate().map(progress).collect(), at, gaps: Vec::new() }
    }

    fn pace(rate: f64, until: Option<u64>) -> Option<Pace> {
        Some(Pace { rate, until_caught_up: until.map(Duration::from_secs), is_settled: false })
    }

    fn paces(looks: &[Description]) -> Paces {
        let mut paces = Paces::default();
        looks.iter().for_each(|look| paces.look(look));
        paces
    }

    #[test]
    fn one_look_tells_no_pace() {
        assert_eq!(paces(&[seen(0, &[(5, 10)])]).total(), None);
    }

    #[test]
    fn a_pace_is_the_mean_of_the_window_and_the_slowest_partition_decides() {
        // 100 and 10 a second; 800 behind and closing by 100, 90 behind and closing by 5, for 5 a second come in
        let paces = paces(&[seen(0, &[(0, 1000), (0, 100)]), seen(2_000, &[(200, 1000), (20, 110)])]);
        let of = |number| paces.of(&TopicPartition::new("t", number));
        assert_eq!(of(0), pace(100.0, Some(8)));
        assert_eq!(of(1), pace(10.0, Some(18)));
        assert_eq!(paces.total(), pace(110.0, Some(18)));
        assert_eq!(of(2), None);
    }

    #[test]
    fn who_falls_behind_never_catches_up_and_who_is_there_has() {
        let falling = paces(&[seen(0, &[(0, 100)]), seen(1_000, &[(10, 200)])]);
        assert_eq!(falling.total(), pace(10.0, None));
        let there = paces(&[seen(0, &[(0, 10)]), seen(1_000, &[(10, 10)])]);
        assert_eq!(there.total(), pace(10.0, Some(0)));
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let looks: Vec<_> = (0..100).map(|n| seen(n * 1_000, &[(if n < 50 { 0 } else { n * 10 }, 10_000)])).collect();
        let paces = paces(&looks);
        assert_eq!(paces.looks.len(), 31);
        assert_eq!(paces.total().map(|pace| (pace.rate, pace.is_settled)), Some((10.0, true)));
    }
}

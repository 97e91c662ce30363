//! What members have said of themselves, and what must be true of all of it together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::member::{End, Kind, Member, Place, Word};

/// Words of two processes reach the test in another order than they were said, by so much at most.
const SLACK: Duration = Duration::from_secs(3);

/// A partition in the hands of one member, from its word that it has it.
#[derive(Debug)]
pub struct Claim {
    pub member: String,
    pub kind: Kind,
    pub place: Place,
    pub began: Instant,
    /// `None` while it lasts.
    pub over: Option<(Instant, Over)>,
    pub offsets: Vec<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    GivenUp,
    Lost,
    Left,
    Killed,
}

impl Claim {
    /// What it had handled need not have been committed. kcat does not tell what it gave up from what it lost.
    fn may_be_repeated(&self) -> bool {
        match self.over {
            Some((_, Over::Lost | Over::Killed)) => true,
            Some((_, Over::GivenUp)) => self.kind == Kind::Kcat,
            _ => false,
        }
    }
}

/// All claims of a group's members, those that have ended included, and who said to own what in which generation.
#[derive(Debug, Default)]
pub struct History {
    pub claims: Vec<Claim>,
    generations: BTreeMap<(i32, Place), BTreeSet<String>>,
    /// kcats that a signal has asked to end. Each drops, and commits, the record that it has in hand then (`if (!conf.run)
    /// return;` in its `consume_cb`).
    ended_kcats: Vec<String>,
}

impl History {
    /// Fails where a member handles what it does not have, by its own words.
    #[track_caller]
    pub fn add(&mut self, member: &Member, end: Option<End>) {
        let mut open: BTreeMap<Place, Claim> = BTreeMap::new();
        let mut last = None;
        if member.kind == Kind::Kcat && matches!(end, Some(End::Left(_))) {
            self.ended_kcats.push(member.name.clone());
        }
        for (at, word) in member.words() {
            last = Some(at);
            match word {
                Word::Assigned { generation, partitions } => {
                    for place in partitions {
                        let (name, kind) = (member.name.clone(), member.kind);
                        let claim = Claim { member: name, kind, place, began: at, over: None, offsets: Vec::new() };
                        let before = open.insert(claim.place.clone(), claim);
                        assert!(before.is_none(), "{} is given what it has: {before:?}", member.name);
                    }
                    self.owns(generation, &open, &member.name);
                }
                Word::Keeps { generation } => self.owns(Some(generation), &open, &member.name),
                Word::Revoked(places) => self.close(&mut open, &places, at, Over::GivenUp, &member.name),
                Word::Lost(places) => self.close(&mut open, &places, at, Over::Lost, &member.name),
                Word::Record(place, offset, _) => {
                    let name = &member.name;
                    let claim = open.get_mut(&place);
                    let claim = claim.unwrap_or_else(|| panic!("{name} handles {place:?} {offset}, which it has not"));
                    claim.offsets.push(offset);
                }
                Word::Else(_) => {}
            }
        }
        let over = end.map(|end| if end == End::Killed { Over::Killed } else { Over::Left });
        for (_, mut claim) in open {
            claim.over = over.map(|over| (last.unwrap_or(claim.began), over));
            self.claims.push(claim);
        }
    }

    fn owns(&mut self, generation: Option<i32>, open: &BTreeMap<Place, Claim>, member: &str) {
        let Some(generation) = generation else { return };
        for place in open.keys() {
            self.generations.entry((generation, place.clone())).or_default().insert(member.to_owned());
        }
    }

    fn close(&mut self, open: &mut BTreeMap<Place, Claim>, places: &[Place], at: Instant, over: Over, member: &str) {
        for place in places {
            let mut claim =
                open.remove(place).unwrap_or_else(|| panic!("{member} gives up {place:?}, which it has not"));
            claim.over = Some((at, over));
            self.claims.push(claim);
        }
    }

    /// In each claim the offsets rise by one.
    #[track_caller]
    pub fn has_no_holes(&self) {
        for claim in &self.claims {
            for pair in claim.offsets.windows(2) {
                assert_eq!(pair[1], pair[0] + 1, "{} in {:?}", claim.member, claim.place);
            }
        }
    }

    /// By the members' own words on generations; kcat says none.
    #[track_caller]
    pub fn has_one_owner_in_each_generation(&self) {
        for ((generation, place), owners) in &self.generations {
            assert_eq!(owners.len(), 1, "generation {generation}, {place:?}: {owners:?}");
        }
        assert!(!self.generations.is_empty());
    }

    /// By time, and so for kcat too: what a member says to have given up, nobody had before it said so. Their words come on
    /// pipes of their own, which is what the slack is for: a member that goes on beside another one for longer is seen,
    /// one that does so for a moment is not. Of claims that ended with their member, or were lost, it says nothing.
    #[track_caller]
    pub fn has_no_overlap(&self) {
        for first in &self.claims {
            let Some((until, Over::GivenUp)) = first.over else { continue };
            let beside = |second: &&Claim| {
                second.place == first.place && second.began > first.began && second.began + SLACK < until
            };
            assert!(self.claims.iter().find(beside).is_none(), "{first:?}: {:?}", self.claims.iter().find(beside));
        }
    }

    /// Takes the kcat that it must have been out of `droppers`.
    fn was_dropped_by_kcat<'a>(&'a self, place: &Place, offset: i64, droppers: &mut BTreeSet<&'a String>) -> bool {
        let at_its_end =
            |claim: &&Claim| claim.place == *place && claim.offsets.last().is_none_or(|last| last + 1 == offset);
        let mut had = self.claims.iter().filter(at_its_end).map(|claim| &claim.member);
        let Some(dropper) = had.find(|name| droppers.contains(name)) else { return false };
        println!("{dropper} dropped {place:?} {offset} when it ended");
        droppers.remove(dropper)
    }

    /// Each record of the log (offsets per partition, from 0) was handled, and more than once only where all but one of its
    /// handlers were killed or lost it (or are kcat, which need not have committed what it gave up).
    #[track_caller]
    pub fn has_handled_all(&self, log: &BTreeMap<Place, i64>) {
        let mut handlers: HashMap<(&Place, i64), Vec<&Claim>> = HashMap::new();
        for claim in &self.claims {
            for &offset in &claim.offsets {
                handlers.entry((&claim.place, offset)).or_default().push(claim);
            }
        }
        let mut droppers: BTreeSet<&String> = self.ended_kcats.iter().collect();
        for (place, &end) in log {
            let mut missing: Vec<i64> = (0..end).filter(|&offset| !handlers.contains_key(&(place, offset))).collect();
            missing.retain(|&offset| !self.was_dropped_by_kcat(place, offset, &mut droppers));
            assert!(missing.is_empty(), "{} of {end} in {place:?} are handled by nobody: {missing:?}", missing.len());
        }
        for ((place, offset), claims) in &handlers {
            let final_ones: Vec<_> = claims.iter().filter(|claim| !claim.may_be_repeated()).collect();
            assert!(final_ones.len() <= 1, "{place:?} {offset} was handled again without need: {final_ones:#?}");
        }
        println!("{} records, {} times handled", handlers.len(), handlers.values().map(Vec::len).sum::<usize>());
    }
}

/// What is left in a member's hands after these words.
pub fn owned<'a>(words: impl Iterator<Item = &'a Word>) -> Vec<Place> {
    let mut owned = BTreeSet::new();
    for word in words {
        match word {
            Word::Assigned { partitions, .. } => owned.extend(partitions.iter().cloned()),
            Word::Revoked(places) | Word::Lost(places) => owned.retain(|place| !places.contains(place)),
            _ => {}
        }
    }
    owned.into_iter().collect()
}

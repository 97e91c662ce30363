//! Whole groups, simulated: machines of either protocol, a coordinator, and a world that loses answers, kills members, and
//! lets readers take their time, in any order that proptest comes up with.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    assignor::{Assignor, Member, Plan},
    classic::{self, Classic},
    kip848::Kip848,
    membership::{Action, Ask, Event, Joined, Membership, Told},
    protocol::Subscription,
};
use crate::kafka::{
    error::{Code, Error},
    record::TopicPartition,
};

type Partitions = BTreeSet<TopicPartition>;

/// Answers, by client.
type Answers = Vec<(usize, Event)>;

/// The coordinator's side of a protocol.
trait Coordinator {
    fn ask(&mut self, client: usize, ask: Ask) -> Answers;
    /// The session of this client ends.
    fn give_up(&mut self, client: usize) -> Answers;
    /// The longest wait for members in a rebalance is over.
    fn out_of_patience(&mut self) -> Answers;
    /// A partition more.
    fn grow(&mut self);
    /// A client that the group counts as a member, whatever the client knows of it.
    fn has(&self, client: usize) -> bool;
    fn partitions(&self) -> Partitions;
    fn counts(&self) -> BTreeMap<Arc<str>, i32>;
}

fn refused(code: Code) -> Event {
    Event::Refused(Error::broker("asking", code.0))
}

fn all(counts: &BTreeMap<Arc<str>, i32>) -> Partitions {
    let of = |(topic, count): (&Arc<str>, &i32)| {
        let topic = Arc::clone(topic);
        (0..*count).map(move |number| TopicPartition::new(Arc::clone(&topic), number))
    };
    counts.iter().flat_map(of).collect()
}

// ---- the classic coordinator: GroupCoordinator's states, without its timers

#[derive(Default)]
struct ClassicGroup {
    counts: BTreeMap<Arc<str>, i32>,
    topics: Vec<Arc<str>>,
    generation: i32,
    phase: Phase,
    assignor: Option<Assignor>,
    last_id: usize,
    named: BTreeMap<Arc<str>, usize>,
    members: BTreeMap<Arc<str>, Inside>,
    plan: Plan,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Phase {
    #[default]
    Stable,
    Preparing,
    Completing,
}

struct Inside {
    client: usize,
    subscription: Subscription,
    joining: bool,
    syncing: bool,
}

impl ClassicGroup {
    fn new(assignor: Assignor) -> Self {
        let counts = BTreeMap::from([("a".into(), 4), ("b".into(), 3)]);
        Self { topics: counts.keys().cloned().collect(), counts, assignor: Some(assignor), ..Self::default() }
    }

    fn join(&mut self, client: usize, id: Arc<str>, generation: i32, owned: Vec<TopicPartition>) -> Answers {
        if id.is_empty() {
            self.last_id += 1;
            let id: Arc<str> = format!("member-{}", self.last_id).into();
            self.named.insert(Arc::clone(&id), client);
            return vec![(client, Event::Named(id))];
        }
        if self.named.get(&id) != Some(&client) {
            return vec![(client, refused(Code::UNKNOWN_MEMBER_ID))];
        }
        let subscription = Subscription { topics: self.topics.clone(), owned, generation };
        self.members.insert(id, Inside { client, subscription, joining: true, syncing: false });
        let mut answers = self.prepare();
        answers.extend(self.complete());
        answers
    }

    /// Who waits for an assignment hears that there will be another one.
    fn prepare(&mut self) -> Answers {
        self.phase = Phase::Preparing;
        let waiting = self.members.values_mut().filter(|inside| inside.syncing);
        waiting
            .map(|inside| {
                inside.syncing = false;
                (inside.client, refused(Code::REBALANCE_IN_PROGRESS))
            })
            .collect()
    }

    /// The next generation, when all members have joined.
    fn complete(&mut self) -> Answers {
        if self.phase != Phase::Preparing || self.members.values().any(|member| !member.joining) {
            return Vec::new();
        }
        self.generation += 1;
        self.phase = Phase::Completing;
        let list: Vec<Member> = self
            .members
            .iter()
            .map(|(id, inside)| Member {
                id: Arc::clone(id),
                instance_id: None,
                subscription: inside.subscription.clone(),
            })
            .collect();
        let leader = list.first().map(|member| Arc::clone(&member.id));
        let (generation, assignor) = (self.generation, self.assignor.unwrap_or_default().name().to_owned());
        let answer = |(id, inside): (&Arc<str>, &mut Inside)| {
            (inside.joining, inside.syncing) = (false, false);
            let lead = (leader.as_ref() == Some(id)).then(|| list.clone());
            let (member_id, assignor) = (Arc::clone(id), assignor.clone());
            (inside.client, Event::Joined(Joined { generation, member_id, assignor, lead, skip_assignment: false }))
        };
        self.members.iter_mut().map(answer).collect()
    }

    fn sync(&mut self, client: usize, id: &Arc<str>, generation: i32, plan: Plan) -> Answers {
        let Some(inside) = self.members.get_mut(id) else {
            return vec![(client, refused(Code::UNKNOWN_MEMBER_ID))];
        };
        if generation != self.generation {
            return vec![(client, refused(Code::ILLEGAL_GENERATION))];
        }
        inside.syncing = true;
        match self.phase {
            Phase::Preparing => return vec![(client, refused(Code::REBALANCE_IN_PROGRESS))],
            Phase::Completing if plan.is_empty() => return Vec::new(), // until the leader has divided
            Phase::Completing => (self.plan, self.phase) = (plan, Phase::Stable),
            Phase::Stable => {}
        }
        let plan = &self.plan;
        let answer = |(id, inside): (&Arc<str>, &mut Inside)| {
            let assigned = || Event::Synced(plan.get(id).cloned().unwrap_or_default());
            std::mem::take(&mut inside.syncing).then(|| (inside.client, assigned()))
        };
        self.members.iter_mut().filter_map(answer).collect()
    }

    fn remove(&mut self, id: &Arc<str>) -> Answers {
        self.named.remove(id);
        let Some(inside) = self.members.remove(id) else { return Vec::new() };
        let mut answers = self.prepare();
        answers.extend(self.complete());
        if inside.joining || inside.syncing {
            answers.push((inside.client, refused(Code::UNKNOWN_MEMBER_ID)));
        }
        answers
    }
}

impl Coordinator for ClassicGroup {
    fn ask(&mut self, client: usize, ask: Ask) -> Answers {
        match ask {
            Ask::Join { member_id, generation, owned } => self.join(client, member_id, generation, owned),
            Ask::Counts(_) => vec![(client, Event::Counts(self.counts.clone()))],
            Ask::Sync { member_id, generation, plan, .. } => self.sync(client, &member_id, generation, plan),
            Ask::Heartbeat { member_id, generation } => {
                let answer = match self.members.get(&member_id) {
                    None => refused(Code::UNKNOWN_MEMBER_ID),
                    Some(_) if generation != self.generation => refused(Code::ILLEGAL_GENERATION),
                    Some(_) if self.phase == Phase::Preparing => refused(Code::REBALANCE_IN_PROGRESS),
                    Some(_) => Event::Beaten,
                };
                vec![(client, answer)]
            }
            Ask::Leave { member_id } => {
                let mut answers = self.remove(&member_id);
                answers.push((client, Event::Left));
                answers
            }
            Ask::Tell { .. } => unreachable!("KIP-848"),
        }
    }

    fn give_up(&mut self, client: usize) -> Answers {
        let ids: Vec<_> = self.members.iter().filter(|(_, m)| m.client == client).map(|(id, _)| id.clone()).collect();
        ids.iter().flat_map(|id| self.remove(id)).collect()
    }

    fn out_of_patience(&mut self) -> Answers {
        if self.phase != Phase::Preparing || self.members.values().all(|member| !member.joining) {
            return Vec::new();
        }
        self.named.retain(|id, _| self.members.get(id).is_none_or(|inside| inside.joining));
        self.members.retain(|_, inside| inside.joining);
        self.complete()
    }

    fn grow(&mut self) {
        *self.counts.entry("a".into()).or_default() += 1;
    }

    fn has(&self, client: usize) -> bool {
        self.members.values().any(|inside| inside.client == client)
    }

    fn partitions(&self) -> Partitions {
        all(&self.counts)
    }

    fn counts(&self) -> BTreeMap<Arc<str>, i32> {
        self.counts.clone()
    }
}

// ---- the coordinator of KIP-848: a target for the group, and each member brought to its part of it step by step

struct Kip848Group {
    counts: BTreeMap<Arc<str>, i32>,
    epoch: i32,
    target: Plan,
    members: BTreeMap<Arc<str>, Led>,
}

struct Led {
    client: usize,
    epoch: i32,
    /// What it may have: nobody else gets it before this member has said that it let go.
    assigned: Partitions,
    /// What it was told last to have.
    told: Partitions,
}

impl Kip848Group {
    fn new() -> Self {
        let counts = BTreeMap::from([("a".into(), 4), ("b".into(), 3)]);
        Self { counts, epoch: 0, target: Plan::new(), members: BTreeMap::new() }
    }

    fn aim(&mut self) {
        self.epoch += 1;
        let topics: Vec<Arc<str>> = self.counts.keys().cloned().collect();
        let member = |id: &Arc<str>| Member {
            id: Arc::clone(id),
            instance_id: None,
            subscription: Subscription { topics: topics.clone(), owned: Vec::new(), generation: -1 },
        };
        let members: Vec<Member> = self.members.keys().map(member).collect();
        self.target = Assignor::RoundRobin.assign(&members, &self.counts);
    }

    fn tell(&mut self, client: usize, id: Arc<str>, epoch: i32, owned: Option<Vec<TopicPartition>>) -> Event {
        let interval = Duration::from_secs(5);
        let told = |epoch, assignment| Told { member_id: None, epoch, heartbeat_interval: interval, assignment };
        if epoch < 0 {
            if self.members.remove(&id).is_some() {
                self.aim();
            }
            return Event::Told(told(epoch, None));
        }
        if epoch == 0 {
            assert!(owned.as_ref().is_some_and(Vec::is_empty), "who joins owns nothing");
            let new = Led { client, epoch: 0, assigned: Partitions::new(), told: Partitions::new() };
            if self.members.insert(Arc::clone(&id), new).is_none() {
                self.aim();
            }
        } else if !self.members.contains_key(&id) {
            return refused(Code::UNKNOWN_MEMBER_ID);
        }
        let others: Partitions =
            self.members.iter().filter(|(other, _)| **other != id).flat_map(|(_, led)| led.assigned.clone()).collect();
        let target: Partitions = self.target.get(&id).into_iter().flatten().cloned().collect();
        let Some(led) = self.members.get_mut(&id) else { return refused(Code::UNKNOWN_MEMBER_ID) };
        if epoch > 0 && epoch != led.epoch {
            // an answer was lost: it is one behind, and may go on if it has no more than it was given
            let owns_no_more = owned.as_ref().is_some_and(|owned| owned.iter().all(|p| led.assigned.contains(p)));
            if !owns_no_more {
                return refused(Code::FENCED_MEMBER_EPOCH);
            }
        }
        let says_all = owned.is_some();
        // who does not say what it has may have all that it was given
        let owned: Partitions = owned.map_or_else(|| led.assigned.clone(), |owned| owned.into_iter().collect());
        assert!(owned.is_subset(&led.assigned), "{owned:?} of {:?}", led.assigned);
        led.assigned = if owned.is_subset(&target) {
            led.epoch = self.epoch;
            target.difference(&others).cloned().collect()
        } else {
            owned // until it has said that it let go, nobody else gets what it has
        };
        let told_before = std::mem::replace(&mut led.told, led.assigned.intersection(&target).cloned().collect());
        let changed = says_all || led.told != told_before;
        Event::Told(told(led.epoch.max(1), changed.then(|| led.told.clone())))
    }
}

impl Coordinator for Kip848Group {
    fn ask(&mut self, client: usize, ask: Ask) -> Answers {
        match ask {
            Ask::Tell { member_id, epoch, owned, .. } => vec![(client, self.tell(client, member_id, epoch, owned))],
            _ => unreachable!("the classic protocol"),
        }
    }

    fn give_up(&mut self, client: usize) -> Answers {
        self.members.retain(|_, led| led.client != client);
        self.aim();
        Vec::new()
    }

    fn out_of_patience(&mut self) -> Answers {
        Vec::new()
    }

    fn grow(&mut self) {
        *self.counts.entry("a".into()).or_default() += 1;
        self.aim();
    }

    fn has(&self, client: usize) -> bool {
        self.members.values().any(|led| led.client == client)
    }

    fn partitions(&self) -> Partitions {
        all(&self.counts)
    }

    fn counts(&self) -> BTreeMap<Arc<str>, i32> {
        self.counts.clone()
    }
}

// ---- members and the world

/// A member task and its reader, as far as a machine sees them.
struct Client {
    machine: Box<dyn Membership>,
    asking: Option<Ask>,
    /// Sent, and not answered.
    sent: bool,
    /// What the reader may be handling.
    held: Partitions,
    taken: Vec<Vec<TopicPartition>>,
    ended: bool,
}

struct World<C> {
    coordinator: C,
    clients: Vec<Client>,
    make: fn(usize) -> Box<dyn Membership>,
    now: Instant,
}

/// What happens next; the number picks to whom.
#[derive(Clone, Copy, Debug)]
enum Step {
    NewMember,
    Send(usize),
    /// It arrives; the answer does not.
    SendAndLose(usize),
    Release(usize),
    CommitRefused(usize, i16),
    Stall(usize),
    Stop(usize),
    /// The process is killed.
    Kill(usize),
    /// The coordinator takes one for dead that may be alive.
    GiveUp(usize),
    OutOfPatience,
    Grow,
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0usize..8;
    prop_oneof![
        2 => Just(Step::NewMember),
        12 => n.clone().prop_map(Step::Send),
        2 => n.clone().prop_map(Step::SendAndLose),
        8 => n.clone().prop_map(Step::Release),
        1 => (n.clone(), prop_oneof![Just(22i16), Just(25), Just(27), Just(113)])
            .prop_map(|(n, code)| Step::CommitRefused(n, code)),
        1 => n.clone().prop_map(Step::Stall),
        1 => n.clone().prop_map(Step::Stop),
        1 => n.clone().prop_map(Step::Kill),
        1 => n.prop_map(Step::GiveUp),
        1 => Just(Step::OutOfPatience),
        1 => Just(Step::Grow),
        6 => (0u64..6000).prop_map(Step::Time),
    ]
}

impl<C: Coordinator> World<C> {
    fn new(coordinator: C, make: fn(usize) -> Box<dyn Membership>) -> Self {
        Self { coordinator, clients: Vec::new(), make, now: Instant::now() }
    }

    fn live(&self, pick: usize) -> Option<usize> {
        let live: Vec<usize> = (0..self.clients.len()).filter(|&client| !self.clients[client].ended).collect();
        (!live.is_empty()).then(|| live[pick % live.len()])
    }

    fn new_member(&mut self) {
        let machine = (self.make)(self.clients.len());
        let (held, taken) = (Partitions::new(), Vec::new());
        self.clients.push(Client { machine, asking: None, sent: false, held, taken, ended: false });
        self.feed(self.clients.len() - 1, Event::Start);
    }

    fn feed(&mut self, at: usize, event: Event) {
        let said = format!("{event:?}");
        let actions = self.clients[at].machine.on(event, self.now);
        for action in actions {
            match action {
                Action::Ask(ask) => (self.clients[at].asking, self.clients[at].sent) = (Some(ask), false),
                Action::Give(partitions) => {
                    for partition in partitions {
                        for (other, client) in self.clients.iter().enumerate() {
                            let clash = other != at && !client.ended && client.held.contains(&partition);
                            // one that was given up, and has not heard of it, acts on what it was told before
                            let members = self.coordinator.has(at) && self.coordinator.has(other);
                            assert!(
                                !(clash && members),
                                "{partition} is given to {at} by {said}, and {other}, a member, holds it"
                            );
                        }
                        assert!(self.clients[at].held.insert(partition.clone()), "{partition} is given twice to {at}");
                    }
                }
                Action::Take { partitions, commit } => {
                    let client = &mut self.clients[at];
                    assert!(!commit || client.machine.committer().is_some(), "nobody to commit: {said}");
                    assert!(partitions.iter().all(|partition| client.held.contains(partition)), "{said}");
                    client.taken.push(partitions);
                }
                Action::End(result) => {
                    assert!(result.is_ok(), "{at} ends by {said}: {result:?}");
                    self.clients[at].ended = true;
                    self.clients[at].held.clear();
                }
            }
        }
    }

    fn send(&mut self, at: usize, lose: bool) {
        let client = &mut self.clients[at];
        let Some(ask) = client.asking.clone().filter(|_| !client.sent) else { return };
        client.sent = true;
        let answers = self.coordinator.ask(at, ask);
        for (to, event) in answers {
            if !(lose && to == at) {
                self.answer(to, event);
            }
        }
        if lose && self.clients[at].asking.take().is_some() {
            let cause = "cut".into();
            self.feed(at, Event::Refused(Error::Disconnected { address: "broker".into(), cause }));
        }
    }

    /// An answer to a question that was given up finds nobody.
    fn answer(&mut self, to: usize, event: Event) {
        let client = &mut self.clients[to];
        let fits = matches!(
            (&client.asking, &event),
            (_, Event::Refused(_))
                | (Some(Ask::Join { .. }), Event::Joined(_) | Event::Named(_))
                | (Some(Ask::Counts(_)), Event::Counts(_))
                | (Some(Ask::Sync { .. }), Event::Synced(_))
                | (Some(Ask::Heartbeat { .. }), Event::Beaten)
                | (Some(Ask::Leave { .. }), Event::Left)
                | (Some(Ask::Tell { .. }), Event::Told(_))
        );
        if fits && client.sent && !client.ended {
            client.asking = None;
            self.feed(to, event);
        }
    }

    fn release(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.taken.is_empty() {
            return;
        }
        for partition in client.taken.remove(0) {
            client.held.remove(&partition);
        }
        self.feed(at, Event::Released);
    }

    fn time(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let due = client.machine.wake_at().is_some_and(|wake| wake <= self.now);
            if !client.ended && client.asking.is_none() && due {
                self.feed(at, Event::Wake);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::NewMember if self.clients.iter().filter(|client| !client.ended).count() < 5 => self.new_member(),
            Step::Send(n) => self.live(n).into_iter().for_each(|at| self.send(at, false)),
            Step::SendAndLose(n) => self.live(n).into_iter().for_each(|at| self.send(at, true)),
            Step::Release(n) => self.live(n).into_iter().for_each(|at| self.release(at)),
            Step::CommitRefused(n, code) => {
                // a commit is only ever made by who may make one, and the refusal of a member that is none is true
                let refusal = |at: &usize| !self.coordinator.has(*at) || code == 113;
                let at = self.live(n).filter(refusal).filter(|&at| self.clients[at].machine.committer().is_some());
                let event = || Event::CommitRefused(Error::broker("committing", code));
                at.into_iter().for_each(|at| self.feed(at, event()));
            }
            Step::Stall(n) => self.live(n).into_iter().for_each(|at| self.feed(at, Event::Stalled)),
            Step::Stop(n) => {
                if let Some(at) = self.live(n) {
                    self.clients[at].taken.clear();
                    self.clients[at].held.clear();
                    self.feed(at, Event::Stop);
                }
            }
            Step::Kill(n) => {
                if let Some(at) = self.live(n) {
                    self.clients[at].ended = true;
                }
            }
            Step::GiveUp(n) => {
                let known: Vec<usize> = (0..self.clients.len()).filter(|&at| self.coordinator.has(at)).collect();
                let answers = known.get(n % known.len().max(1)).map(|&at| self.coordinator.give_up(at));
                for (to, event) in answers.into_iter().flatten() {
                    self.answer(to, event);
                }
            }
            Step::OutOfPatience => {
                for (to, event) in self.coordinator.out_of_patience() {
                    self.answer(to, event);
                }
            }
            Step::Grow => self.coordinator.grow(),
            Step::Time(ms) => self.time(ms),
            Step::NewMember => {}
        }
    }

    /// Nothing more goes wrong, and the dead are found out.
    fn calm_down(&mut self) {
        for round in 0..200 {
            for at in 0..self.clients.len() {
                if self.clients[at].ended {
                    continue;
                }
                let counts = self.coordinator.counts();
                if !self.clients[at].machine.watched().is_empty() {
                    self.feed(at, Event::Counts(counts));
                }
                self.send(at, false);
                self.release(at);
            }
            self.time(3000);
            if round % 10 == 9 {
                self.bury();
                self.take(Step::OutOfPatience);
            }
        }
    }

    fn bury(&mut self) {
        for dead in 0..self.clients.len() {
            if self.clients[dead].ended && self.coordinator.has(dead) {
                for (to, event) in self.coordinator.give_up(dead) {
                    self.answer(to, event);
                }
            }
        }
    }

    fn is_shared_fully(&self) {
        let live: Vec<&Client> = self.clients.iter().filter(|client| !client.ended).collect();
        if live.is_empty() {
            return;
        }
        let held: Vec<&TopicPartition> = live.iter().flat_map(|client| &client.held).collect();
        let distinct: Partitions = held.iter().map(|partition| (*partition).clone()).collect();
        assert_eq!(held.len(), distinct.len(), "at rest two members hold the same");
        assert_eq!(distinct, self.coordinator.partitions(), "at rest");
        for client in live {
            assert_eq!(client.machine.owned(), &client.held);
        }
    }

    fn run(mut self, steps: Vec<Step>) {
        self.new_member();
        for step in steps {
            self.take(step);
        }
        self.calm_down();
        self.is_shared_fully();
    }
}

fn classic(assignors: Vec<Assignor>) -> Box<dyn Membership> {
    Box::new(Classic::new(classic::Config { assignors, instance_id: None, heartbeat_interval: Duration::from_secs(3) }))
}

proptest! {
    #[test]
    fn an_eager_group_never_has_two_owners_and_comes_to_rest(steps in prop::collection::vec(step(), 0..120)) {
        World::new(ClassicGroup::new(Assignor::Range), |_| classic(vec![Assignor::Range])).run(steps);
    }

    #[test]
    fn a_cooperative_group_never_has_two_owners_and_comes_to_rest(steps in prop::collection::vec(step(), 0..120)) {
        let member = |_| classic(vec![Assignor::CooperativeSticky]);
        World::new(ClassicGroup::new(Assignor::CooperativeSticky), member).run(steps);
    }

    #[test]
    fn a_group_by_kip_848_never_has_two_owners_and_comes_to_rest(steps in prop::collection::vec(step(), 0..120)) {
        let member = |n: usize| -> Box<dyn Membership> {
            Box::new(Kip848::new(format!("member-{n}").into(), None, Duration::from_secs(45)))
        };
        World::new(Kip848Group::new(), member).run(steps);
    }
}

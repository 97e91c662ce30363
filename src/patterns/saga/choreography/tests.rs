use std::collections::{HashSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::patterns::{
    order::OrderEvent,
    saga::{
        Saga, Status,
        participant::{Fault, FaultKind},
    },
};

const SERVICES: [Service; 3] = [ORDER, PAYMENT, SHIPPING];
const TOPICS: [&str; 4] = ["order-commands", "orders", "payments", "shipments"];

/// The three services, and topics that have no order among each other.
struct World {
    states: [Option<Vec<u8>>; 3],
    timers: [bool; 3],
    seen: [HashSet<Uuid>; 3],
    /// By service and topic.
    queues: Vec<VecDeque<NewMessage>>,
    /// All that was ever said.
    said: Vec<NewMessage>,
    /// Which service took back what it had done, in order.
    undone: Vec<usize>,
    gave_up: bool,
}

fn data(at: usize, kind: FaultKind, compensation_fails: u32) -> Value {
    let fault = Fault { at, kind, compensation_fails, late_ms: 750 };
    json!({
        "order_id": "o-1", "user_id": "ada", "product_id": "mug", "price": {"currency": "USD", "amount": "9.99"},
        "fault": fault,
    })
}

impl World {
    fn new(data: Value) -> Self {
        let mut world = Self {
            states: [None, None, None],
            timers: [false; 3],
            seen: Default::default(),
            queues: vec![VecDeque::new(); 12],
            said: Vec::new(),
            undone: Vec::new(),
            gave_up: false,
        };
        let effects = ORDER.request("o-1", data, None).unwrap();
        world.take(0, effects);
        world
    }

    fn kept(&self, service: usize) -> Option<Kept> {
        self.states[service].as_deref().map(|state| serde_json::from_slice(state).unwrap())
    }

    fn saga(&self) -> Saga {
        let kept = [self.kept(0), self.kept(1), self.kept(2)];
        gathered("o-1", [kept[0].as_ref(), kept[1].as_ref(), kept[2].as_ref()]).unwrap()
    }

    fn take(&mut self, service: usize, effects: Effects) {
        if let Some(state) = effects.state {
            let before = self.kept(service).map_or(0, |kept| kept.undone);
            self.states[service] = Some(state);
            self.timers[service] = effects.timer.is_some();
            let after = self.kept(service).unwrap();
            self.undone.extend((before..after.undone).map(|_| service));
            self.gave_up |= after.flow.unwrap().is_unanswered;
        }
        for message in effects.messages {
            let topic = TOPICS.iter().position(|topic| Some(*topic) == message.topic.as_deref()).unwrap();
            for service in 0..3 {
                self.queues[service * 4 + topic].push_back(message.clone());
            }
            self.said.push(message);
        }
    }

    /// What can happen next: a message of a queue, or a timer.
    fn can(&self) -> Vec<usize> {
        let queues = (0..12).filter(|at| !self.queues[*at].is_empty());
        queues.chain((0..3).filter(|at| self.timers[*at]).map(|at| 12 + at)).collect()
    }

    fn happens(&mut self, what: usize) {
        if let Some(service) = what.checked_sub(12) {
            self.timers[service] = false;
            let state = self.states[service].clone().unwrap();
            self.take(service, SERVICES[service].due("o-1", &state).unwrap());
            return;
        }
        let (service, topic) = (what / 4, what % 4);
        let new = self.queues[what].pop_front().unwrap();
        let headers: Value = serde_json::from_str(&new.headers).unwrap();
        let text = |name: &str| headers[name].as_str().map(str::to_owned);
        let envelope = Envelope {
            id: new.id.to_string(),
            source: text("ce_source").unwrap(),
            event_type: new.event_type.clone(),
            subject: Some(new.aggregate_id.clone()),
            correlation_id: text("ce_correlationid"),
            causation_id: text("ce_causationid"),
            ..Envelope::default()
        };
        let message = Message { topic: TOPICS[topic], envelope: &envelope, data: &new.payload, is_replay: false };
        if SERVICES[service].entity(&message).is_some() && self.seen[service].insert(new.id) {
            let effects = SERVICES[service].handle(self.states[service].as_deref(), &message).unwrap();
            self.take(service, effects);
        }
    }

    /// By the choices, and then what comes first, until nothing does; messages before timers.
    fn run(&mut self, choices: &[u8]) {
        for nth in 0..400 {
            let can = self.can();
            if can.is_empty() {
                return;
            }
            let choice = choices.get(nth).map_or(0, |choice| usize::from(*choice) % can.len());
            self.happens(can[choice]);
        }
        panic!("it never comes to an end");
    }

    fn names(&self) -> Vec<&str> {
        self.said.iter().map(|message| message.event_type.rsplit('.').next().unwrap()).collect()
    }
}

/// Lamport's.
fn clock(message: &NewMessage) -> u64 {
    let said: Value = serde_json::from_slice(&message.payload).unwrap();
    said["context"]["clock"].as_u64().unwrap()
}

fn run(at: usize, kind: FaultKind, compensation_fails: u32) -> World {
    let mut world = World::new(data(at, kind, compensation_fails));
    world.run(&[]);
    world
}

#[test]
fn each_reacts_to_the_one_before_it() {
    let world = run(0, FaultKind::Declined, 0);
    assert_eq!(world.names(), ["CreateOrder", "OrderCreated", "OrderPaid", "OrderShipped"]);
    assert_eq!(world.saga().status, Status::Completed);
}

#[test]
fn a_failure_goes_back_from_service_to_service() {
    let world = run(3, FaultKind::Declined, 0);
    let said = ["CreateOrder", "OrderCreated", "OrderPaid", "ShipmentFailed", "PaymentRefunded", "OrderCancelled"];
    assert_eq!(world.names(), said);
    assert_eq!((world.saga().status, world.undone.as_slice()), (Status::Compensated, &[1, 0][..]));
    assert_eq!(run(2, FaultKind::Declined, 0).names()[2..], ["PaymentDeclined", "OrderCancelled"]);
}

#[test]
fn behind_the_deadline_the_last_one_takes_back_first() {
    let world = run(3, FaultKind::Timeout, 0);
    assert_eq!(world.names()[3..], ["OrderCancelled", "ShipmentCancelled", "PaymentRefunded"]);
    assert_eq!(world.undone, [2, 1, 0]);
}

/// Each step has the whole of it, and the log says whose word did not come.
#[test]
fn the_deadline_begins_anew_with_the_payment() {
    for (at, of) in [(2, "payment"), (3, "shipping")] {
        let reason = run(at, FaultKind::Timeout, 0).kept(0).unwrap().flow.unwrap().reason;
        assert_eq!(reason, Some(format!("no word of {of} in time")));
    }
}

#[test]
fn what_is_parked_lets_the_earlier_ones_run_and_is_tried_once_more() {
    let mut world = run(3, FaultKind::Declined, 5);
    assert_eq!(world.saga().status, Status::Parked);
    assert!(world.names().contains(&"PaymentRefundFailed"), "{:?}", world.names());
    for (service, rules) in SERVICES.iter().enumerate().take(2) {
        let mut kept = world.kept(service).unwrap();
        kept.data["fault"]["compensation_fails"] = json!(0);
        let effects = rules.retry(kept).unwrap().expect("something to try");
        world.take(service, effects);
    }
    world.run(&[]);
    assert_eq!(world.saga().status, Status::Compensated);
}

#[test]
fn the_domains_own_events_are_what_others_read() {
    for (at, count) in [(0, 3), (3, 4)] {
        let world = run(at, FaultKind::Declined, 0);
        let is_known = |message: &&NewMessage| OrderEvent::decode(&message.event_type, &message.payload).is_ok();
        assert_eq!(world.said.iter().filter(is_known).count(), count, "{:?}", world.names());
    }
}

#[test]
fn other_sources_of_the_same_topics_are_not_heard() {
    let envelope = Envelope {
        source: "/kafkalab/es".to_owned(),
        event_type: "orders.v1.OrderCreated".to_owned(),
        subject: Some("o-1".to_owned()),
        ..Envelope::default()
    };
    let message = Message { topic: "orders", envelope: &envelope, data: b"{}", is_replay: false };
    assert_eq!(PAYMENT.entity(&message), None);
    let envelope = Envelope { source: format!("{SOURCE}order"), ..envelope.clone() };
    assert!(PAYMENT.entity(&Message { envelope: &envelope, ..message }).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// In whatever order messages of the topics and timers come: it ends, with all effects or with none, what was taken back
    /// was so in reverse, and each message but the first has a cause that was said before, by the clocks of both as well.
    #[test]
    fn in_any_order_it_ends_with_all_or_nothing(
        at in 0usize..4,
        kind in 0usize..6,
        fails in 0u32..5,
        choices in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut world = World::new(data(at, FaultKind::ALL[kind].1, fails));
        world.run(&choices);
        let saga = world.saga();
        let done: Vec<_> = (0..3).map(|at| world.kept(at).map_or((0, 0), |kept| (kept.done, kept.undone))).collect();
        match saga.status {
            Status::Completed => prop_assert_eq!(&done, &[(1, 0); 3]),
            Status::Compensated => prop_assert!(done.iter().all(|(done, undone)| done == undone && *done <= 1), "{:?}", done),
            other => prop_assert!(false, "{} is no end: {:#?}", other, saga.log),
        }
        if !world.gave_up {
            prop_assert!(world.undone.windows(2).all(|pair| pair[0] > pair[1]), "{:?}", world.undone);
        }
        for (nth, message) in world.said.iter().enumerate() {
            let headers: Value = serde_json::from_str(&message.headers).unwrap();
            let cause = world.said[..nth].iter().find(|said| headers["ce_causationid"] == said.id.to_string());
            prop_assert!(cause.is_some() || nth == 0, "{:?}", message);
            prop_assert!(cause.is_none_or(|cause| clock(cause) < clock(message)), "{:?}", message);
            let repeats = world.said[..nth].iter().filter(|said| said.id == message.id).count();
            prop_assert_eq!(repeats, 0, "{:?}", message);
        }
    }
}

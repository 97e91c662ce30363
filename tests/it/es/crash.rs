//! kill -9 at every crash point: appending processes and publishers die there, and others go on.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use super::{Place, judge::judged};
use crate::{
    cluster::soak,
    harness::{Ended, need_kafka},
    process::{Running, start},
    random::Random,
};

/// Events of a transaction, so that a few events are several of them.
const BATCH: usize = 3;
/// Longer than a lease: who follows a killed publisher waits for its end.
const TAKEOVER: Duration = Duration::from_secs(50);

fn was_killed(ended: &Ended) -> bool {
    ended.status.signal() == Some(9)
}

/// Orders that live, each command a process; some die at a point of the append.
struct Appending<'a> {
    place: &'a Place,
    /// Where a process dies now and then.
    point: &'static str,
    random: Random,
    name: String,
    killed: usize,
}

impl Appending<'_> {
    /// A life of an order. What was killed before its commit never happened, what was killed behind it did; then it is
    /// done again, which makes no second event of it.
    fn life(&mut self, number: usize) {
        let order = format!("{}-{number}", self.name);
        let create = ["create", "--price", "USD:9.99", "--order", &order];
        self.command(&create, &order, 0, 1);
        if self.random.below(4) == 0 {
            self.command(&["cancel", &order], &order, 1, 1);
            return;
        }
        self.command(&["pay", &order], &order, 1, 1);
        match self.random.below(3) {
            0 => self.command(&["cancel", &order], &order, 2, 2),
            1 => self.command(&["ship", &order], &order, 2, 1),
            _ => {}
        }
    }

    fn command(&mut self, arguments: &[&str], order: &str, before: u64, events: u64) {
        if self.random.below(3) == 0 {
            let ended = self.place.es(arguments).arguments(["-q", "--crash-at", self.point]).run();
            assert!(was_killed(&ended), "{ended:?}");
            self.killed += 1;
            let version = self.place.sql(&format!("SELECT count(*) FROM events WHERE stream_id = 'order-{order}'"));
            let happened = if self.point == "append.after-commit" { events } else { 0 };
            assert_eq!(version, [[(before + happened).to_string()]], "{arguments:?} at {}", self.point);
        }
        self.place.done(arguments);
    }
}

fn publisher(place: &Place, arguments: &[&str]) -> Running {
    let batch = BATCH.to_string();
    start(place.es(&["publish", "--batch", &batch, "--every", "20ms"]).arguments(arguments))
}

/// Several processes append while publishers die at `point`; gives what was published twice.
fn run(point: &'static str, mut random: Random) {
    let place = Place::new("crash");
    let relay = point.starts_with("relay.");
    place.done(&["create", "--price", "USD:1", "--order", "first"]);
    let at = format!("{point}:{}", 1 + random.below(3));
    let mut first = if relay { publisher(&place, &["--crash-at", &at]) } else { publisher(&place, &[]) };
    let mut appending: Vec<_> = (0..2)
        .map(|writer| {
            let point = ["append.before-commit", "append.after-commit"][random.below(2)];
            let point = if relay { point } else { crash_point(at.split(':').next().unwrap_or_default()) };
            Appending { place: &place, point, random: random.fork(), name: format!("w{writer}"), killed: 0 }
        })
        .collect();
    thread::scope(|scope| {
        for writer in &mut appending {
            scope.spawn(|| (0..4).for_each(|number| writer.life(number)));
        }
    });
    let mut crashes = 0;
    if relay {
        crashes += usize::from(was_killed(&first.end()));
        assert_eq!(crashes, 1, "the first publisher did not come to {at}");
        // the next one may die as well
        let next = place.es(&["publish", "--once", "--batch", "3", "--crash-at", point]).deadline(TAKEOVER).run();
        crashes += usize::from(was_killed(&next));
        assert!(was_killed(&next) || next.code() == 0, "{next:?}");
    } else {
        assert!(appending.iter().map(|writer| writer.killed).sum::<usize>() > 0, "nobody was killed");
        first.signal(Signal::TERM);
        assert_eq!(first.end().code(), 143);
    }
    // two at once, to the end
    let mut last: Vec<_> = (0..2).map(|_| publisher(&place, &["--once"])).collect();
    for publisher in &mut last {
        let ended = publisher.end();
        assert_eq!(ended.code(), 0, "{ended:?}");
    }
    let twice = judged(&place);
    let allowed = if point == "relay.after-ack" { crashes * BATCH } else { 0 };
    let at_least = usize::from(point == "relay.after-ack");
    assert!((at_least..=allowed.max(at_least)).contains(&twice), "{twice} twice after {crashes} crashes at {at}");
}

fn crash_point(name: &str) -> &'static str {
    POINTS.iter().find(|point| **point == name).expect("a crash point")
}

const POINTS: [&str; 6] = [
    "append.before-commit",
    "append.after-commit",
    "relay.after-claim",
    "relay.after-send",
    "relay.after-ack",
    "relay.after-mark",
];

#[test]
fn the_points_are_those_that_the_program_lists() {
    let listed = crate::harness::kafkalab(["crash-points", "-J"]).run().ok().text();
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let names = listed["crash_points"].as_array().expect("a list").iter().filter_map(|point| point["name"].as_str());
    let of_the_log: Vec<_> = names.filter(|name| name.starts_with("append.") || name.starts_with("relay.")).collect();
    assert_eq!(of_the_log, POINTS);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn killed_anywhere_the_log_is_whole_and_all_of_it_is_published_in_order() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let runs = if soak() { 50 } else { 12 };
    let work = (0..runs).map(|run| (POINTS[run % 6], random.fork())).collect::<Vec<_>>();
    let work = Mutex::new(work);
    // most of a run is waiting for the end of a lease
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some((point, random)) = next else { return };
                    println!("{point}, {random:?}");
                    run(point, random);
                }
            });
        }
    });
}

/// So many orders, each with three events.
fn filled(place: &Place, orders: usize) {
    use kafkalab::app::{
        money::Money,
        order::{CreateOrder, OrderId, PayOrder, ShipOrder},
    };
    let price: Money = "USD:9.99".parse().expect("a price");
    let life = |number: usize| {
        let order_id: OrderId = format!("o{number}").parse().expect("an id");
        let (user_id, product_id) = ("ada".parse().expect("an id"), "lamp".parse().expect("an id"));
        let create = CreateOrder { order_id: order_id.clone(), user_id, product_id, price };
        let payment_id = format!("p{number}").parse().expect("an id");
        let pay = PayOrder { order_id: order_id.clone(), payment_id, amount: price };
        [create.into(), pay.into(), ShipOrder { order_id, shipment_id: "s".parse().expect("an id") }.into()]
    };
    place.handle((0..orders).flat_map(life).collect());
}

fn published(ended: &Ended) -> usize {
    let line = ended.stderr.lines().last().unwrap_or_default();
    line.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{ended:?}"))
}

#[test]
#[ignore = "needs kcat"]
fn two_publishers_at_once_publish_nothing_twice() {
    let place = Place::new("two");
    filled(&place, 50);
    let mut both: Vec<_> = (0..2).map(|_| publisher(&place, &["--once"])).collect();
    let ended: Vec<_> = both.iter_mut().map(|one| one.end().ok()).collect();
    assert_eq!(judged(&place), 0);
    assert_eq!(ended.iter().map(published).sum::<usize>(), 150, "{ended:?}");
}

#[test]
#[ignore = "needs kcat"]
fn who_finds_everything_published_by_another_waits_for_nobody() {
    let place = Place::new("waits");
    filled(&place, 1);
    let mut other = publisher(&place, &[]);
    other.until_stdout_has("OrderShipped");
    let ended = place.es(&["publish", "--once"]).deadline(Duration::from_secs(8)).run().ok(); // less than a lease
    assert_eq!(ended.text(), "");
    other.signal(Signal::TERM);
    assert_eq!(other.end().code(), 143);
    assert_eq!(judged(&place), 0);
}

#[test]
#[ignore = "needs Apache Kafka"]
fn a_publisher_that_is_stopped_beyond_its_lease_sends_nothing_old_when_it_goes_on() {
    need_kafka();
    let place = Place::new("stopped");
    filled(&place, 300);
    let mut stopped = publisher(&place, &["--json"]);
    // in the middle of it
    stopped.until_stdout_has("\"position\":20,");
    place.stop(&stopped);
    let next = place.es(&["publish", "--once", "--batch", "100"]).deadline(TAKEOVER).run().ok();
    assert!(published(&next) > 0, "{next:?}");
    assert!(next.stderr.contains("another publisher holds the lease; waiting for it\n"), "{next:?}");
    stopped.signal(Signal::CONT);
    stopped.until_stderr_has("trying again: ");
    place.done(&["create", "--price", "USD:1", "--order", "late"]);
    stopped.until_stdout_has("\"position\":901,");
    stopped.signal(Signal::TERM);
    assert_eq!(stopped.end().code(), 143);
    let twice = judged(&place);
    assert!(twice <= BATCH, "{twice} twice");
    let sent: BTreeSet<_> = super::judge::all_sent(&place).iter().map(|record| record.id().to_owned()).collect();
    assert_eq!(sent.len(), 901);
}

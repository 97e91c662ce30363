//! kill -9 at every crash point: those who take orders, relay and handle die there, and others go on.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use super::{
    cancel,
    judge::{effects, judged, rows},
    pay, ship,
};
use crate::{
    cluster::soak,
    es::Place,
    harness::{Ended, Program, need_kafka},
    membership::until,
    process::{Running, start},
    random::Random,
};

/// Records of a transaction, so that a few messages are several of them.
const BATCH: usize = 3;
/// Longer than a relay's lease: who follows a killed one waits for its end.
const TAKEOVER: Duration = Duration::from_secs(60);
/// Longer than a member's session of 45 s: its partitions are given to others after that.
const REJOIN: Duration = Duration::from_secs(150);

const POINTS: [&str; 8] = [
    "outbox.before-commit",
    "outbox.after-commit",
    "relay.after-claim",
    "relay.after-send",
    "relay.after-ack",
    "relay.after-mark",
    "handler.before-commit",
    "handler.after-commit",
];

fn was_killed(ended: &Ended) -> bool {
    ended.status.signal() == Some(9)
}

/// Orders that are taken and live on; some who take them die at a point of the outbox.
struct Taking<'a> {
    place: &'a Place,
    point: &'static str,
    random: Random,
    name: String,
    killed: usize,
}

impl Taking<'_> {
    /// What was killed before its commit never happened, neither the order nor its message; what was killed behind it did.
    fn life(&mut self, number: usize) {
        let order = format!("{}-{number}", self.name);
        let arguments = ["order", "--price", "USD:9.99", "--product", "lamp", "--order", &order, "-q"];
        if self.random.below(3) == 0 {
            let ended = self.place.outbox(&arguments).arguments(["--crash-at", self.point]).run();
            assert!(was_killed(&ended), "{ended:?}");
            self.killed += 1;
            let happened = if self.point == "outbox.after-commit" { "1" } else { "0" };
            for table in
                ["events WHERE stream_id = 'order-", "outbox WHERE aggregatetype = 'order' AND aggregateid = '"]
            {
                let count = self.place.sql(&format!("SELECT count(*) FROM {table}{order}'"));
                assert_eq!(count, [[happened]], "{table} at {}", self.point);
            }
        }
        self.place.outbox(&arguments).run().ok();
        self.place.take(match self.random.below(4) {
            0 => vec![cancel(&order)],
            1 => vec![pay(&order), cancel(&order)],
            2 => vec![pay(&order), ship(&order)],
            _ => Vec::new(),
        });
    }

    /// Many at once, in shared commits. Whoever was told that an order is taken can rely on it.
    fn many(&mut self) {
        let at = format!("{}:{}", self.point, 1 + self.random.below(2));
        let ended = self.place.outbox(&["order", "--price", "USD:9.99", "-n", "12", "-q", "--crash-at", &at]).run();
        self.killed += usize::from(was_killed(&ended));
        let told: Vec<_> = ended.text().lines().map(str::to_owned).collect();
        assert!(was_killed(&ended) || told.len() == 12, "{ended:?}");
        let there: BTreeSet<String> = rows(self.place).into_iter().map(|row| row.aggregate).collect();
        assert!(told.iter().all(|order| there.contains(order)), "taken, and not there: {told:?}");
    }
}

fn relaying(place: &Place, arguments: &[&str]) -> Program {
    place.outbox(&["relay", "--every", "20ms", "--batch", &BATCH.to_string()]).arguments(arguments)
}

fn consuming(place: &Place, group: &str, arguments: &[&str]) -> Program {
    place.outbox(&["consume", "--batch", &BATCH.to_string(), "-g", &place.topic(group)]).arguments(arguments)
}

fn stop(mut running: Running) {
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_eq!(ended.code(), 143, "{ended:?}");
}

/// Orders are taken, relayed and handled at the same time, and one of the three dies at `point`.
fn run(place: &Place, point: &'static str, mut random: Random) {
    place.outbox(&["order", "--price", "USD:1", "--order", "first"]).run().ok();
    let (relays, handles) = (point.starts_with("relay."), point.starts_with("handler."));
    let at = format!("{point}:{}", 1 + random.below(3));
    let armed = |is_it: bool| if is_it { vec!["--crash-at", at.as_str()] } else { Vec::new() };
    let mut relay = start(relaying(place, &armed(relays)));
    let mut consumer = start(consuming(place, "group", &armed(handles)));
    let mut taking: Vec<_> = (0..2)
        .map(|taker| {
            let of_the_outbox = [POINTS[0], POINTS[1]];
            let point = if of_the_outbox.contains(&point) { point } else { of_the_outbox[random.below(2)] };
            Taking { place, point, random: random.fork(), name: format!("t{taker}"), killed: 0 }
        })
        .collect();
    thread::scope(|scope| {
        for taker in &mut taking {
            scope.spawn(|| {
                (0..4).for_each(|number| taker.life(number));
                taker.many();
            });
        }
    });
    assert!(relays || handles || taking.iter().map(|taker| taker.killed).sum::<usize>() > 0, "nobody was killed");
    if handles {
        let ended = consumer.end();
        assert!(was_killed(&ended), "the consumer did not come to {at}: {ended:?}");
        // in another group all of it comes again, and whoever handles it may die as well
        let again = consuming(place, "again", &["--once", "--crash-at", point]).run();
        assert!(was_killed(&again) || again.code() == 0, "{again:?}");
    } else {
        stop(consumer);
    }
    let mut kills = 0;
    if relays {
        let ended = relay.end();
        assert!(was_killed(&ended), "the relay did not come to {at}: {ended:?}");
        let next = relaying(place, &["--once", "--crash-at", point]).deadline(TAKEOVER).run();
        assert!(was_killed(&next) || next.code() == 0, "{next:?}");
        kills = 1 + usize::from(was_killed(&next));
    } else {
        stop(relay);
    }
    settled(place);
    let twice = judged(place);
    assert!(twice.values().all(|twice| *twice <= kills * BATCH), "{kills} killed at {at}, and twice: {twice:?}");
    assert!(point != "relay.after-ack" || !twice.is_empty(), "nothing came twice: did {at} kill a relay?");
}

/// Two relays at once, and a consumer, until there is nothing to do.
fn settled(place: &Place) {
    let mut last: Vec<_> = (0..2).map(|_| start(relaying(place, &["--once"]))).collect();
    for relay in &mut last {
        let ended = relay.end();
        assert_eq!(ended.code(), 0, "{ended:?}");
    }
    judged(place);
    // what was committed last may not be there for readers yet
    until("effects, each once", Duration::from_secs(60), || {
        let ended = consuming(place, "group", &["--once"]).deadline(REJOIN).run().ok();
        assert!(ended.stderr.ends_with(" 0 dead letters\n"), "{ended:?}");
        effects(place)
    });
    relaying(place, &["--once"]).run().ok();
}

#[test]
fn the_points_are_those_that_the_program_lists() {
    let listed = crate::harness::kafkalab(["crash-points", "-J"]).run().ok().text();
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let names = listed["crash_points"].as_array().expect("a list").iter().filter_map(|point| point["name"].as_str());
    let is_ours = |name: &&str| ["outbox.", "relay.", "handler."].iter().any(|of| name.starts_with(of));
    let of_the_outbox: Vec<_> = names.filter(is_ours).collect();
    assert_eq!(of_the_outbox, POINTS);
}

/// In turn on the database under test and on SQLite: each point as often as the others, on both.
#[test]
#[ignore = "needs Apache Kafka"]
fn killed_anywhere_all_of_it_is_published_in_order_and_in_effect_once() {
    need_kafka();
    let mut random = Random::from_seed_or_new();
    let runs = if soak() { 104 } else { 16 };
    let work: Vec<_> = (0..runs).map(|run| (run, POINTS[run % 8], random.fork())).collect();
    let work = Mutex::new(work);
    // most of a run is waiting for the end of a lease or a session
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some((number, point, random)) = next else { return };
                    let place =
                        if (number / 8 + number) % 2 == 0 { Place::new("crash") } else { Place::sqlite("crash") };
                    println!("{point} on {}, {random:?}", place.shown());
                    run(&place, point, random);
                }
            });
        }
    });
}

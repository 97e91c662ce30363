//! Consumers that are killed again and again, under load.

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use super::{
    consuming, counted, drain, judged,
    receiver::{Mode, Receiver},
    write,
};
use crate::{bytes::files::Folder, cluster::soak, es::Place, membership::until, process::start, random::Random};

/// What is on its way at a kill, at most: `AT_ONCE` of the sender.
const IN_FLIGHT: usize = 32;
const POINTS: [&str; 4] = ["handler.before-commit", "handler.after-commit", "notify.after-claim", "notify.after-send"];
/// Under which a member comes back at once.
const NAME: [&str; 2] = ["--instance-id", "one"];

/// Kills the consumers so many times while orders come, and gives how often.
fn killed(place: &Place, random: &mut Random, target: &str, progress: impl Fn() -> usize) -> usize {
    let kills = if soak() { 120 } else { 8 };
    let mut writer = start(place.cqrs(&["write", "--rate", "150", "--seed", "11", "-q"]));
    let arguments = ["-q", "--notify", target, "--batch", "20", NAME[0], NAME[1]];
    for kill in 0..kills {
        if kill % 5 == 4 {
            // anywhere, and not at a point that somebody has thought of
            let before = progress();
            let mut consumers = consuming(place, &arguments);
            until("something is sent", Duration::from_secs(90), || {
                let now = progress();
                if now > before { Ok(()) } else { Err(format!("{before}, {now}")) }
            });
            std::thread::sleep(Duration::from_millis(random.below(40) as u64)); // where it is hit is left to chance
            consumers.signal(Signal::KILL);
            assert_eq!(consumers.end().status.signal(), Some(9));
        } else {
            let point = format!("{}:{}", POINTS[kill % 5], 1 + random.below(4));
            let ended = consuming(place, &[&arguments[..], &["--crash-at", &point]].concat()).end();
            assert_eq!(ended.status.signal(), Some(9), "{point}: {ended:?}");
        }
    }
    writer.signal(Signal::INT);
    assert_eq!(writer.end().code(), 130);
    kills
}

#[test]
#[ignore = "needs kcat"]
fn no_notification_is_missing_and_who_heeds_the_id_has_each_once() {
    let (place, mut random) = (Place::new("killed"), Random::from_seed_or_new());
    let receiver = Receiver::start(Mode::Heeds);
    let kills = killed(&place, &mut random, &receiver.url(), || receiver.heard().len());
    drain(&place, &["--notify", &receiver.url(), NAME[0], NAME[1]]);
    let (_, created) = counted(&place);
    assert!(created.len() > 20, "{created:?}");
    assert_eq!(receiver.orders(), created, "an id for each order, and an order for each id");
    let repeats: usize = receiver.heard().values().map(|times| times.len() - 1).sum();
    assert!(receiver.heard().values().all(|times| times.len() <= 1 + kills), "{:?}", receiver.heard());
    assert!(repeats <= kills * IN_FLIGHT, "{repeats} repeats of {kills} kills");
    assert!(repeats > 0, "no kill between sending and marking: the test sees nothing");
    println!("{} orders, {kills} kills, {repeats} repeats", created.len());
    judged(&place);
}

#[test]
#[ignore = "needs kcat"]
fn a_file_has_each_order_and_no_torn_line() {
    let (place, mut random, folder) = (Place::new("file"), Random::from_seed_or_new(), Folder::new("told"));
    let path = folder.0.join("told.jsonl");
    let target = format!("file:{}", path.display());
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    killed(&place, &mut random, &target, || read().lines().count());
    // what a process leaves that is killed within a write
    let torn = format!("{}{}", read(), "{\"id\":\"0190-torn");
    std::fs::write(&path, torn).expect("the file");
    write(&place, 20, 12);
    drain(&place, &["--notify", &target, NAME[0], NAME[1]]);
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for line in read().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |key: &str| line[key].as_str().expect(key).to_owned();
        *times.entry(text("id")).or_default() += 1;
        ids.insert(text("id"), text("order_id"));
    }
    let mut orders: Vec<String> = ids.into_values().collect();
    orders.sort();
    assert_eq!(orders, counted(&place).1);
    println!("{} orders, {} repeats", orders.len(), times.values().map(|times| times - 1).sum::<usize>());
    judged(&place);
}

//! Rebuilds: under load, killed, from topics.

use std::{
    os::unix::process::ExitStatusExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use kafkalab::{app::Store, store::StoreUrl};
use rustix::process::Signal;
use serde_json::Value;

use super::{drain, judged, read_on, reading, stats, tables, write};
use crate::{es::Place, process::start};

fn rebuild(place: &Place, arguments: &[&str]) -> Value {
    let said = place.cqrs(&["rebuild"]).arguments(arguments).arguments(["--json"]).run().ok().text();
    serde_json::from_str(&said).expect("a document")
}

/// Asks all the time until it is told to stop; gives how often. At each moment users, products and statuses know as many
/// orders, and none is lost.
fn ask(url: &str, stop: &AtomicBool) -> usize {
    let url: StoreUrl = url.parse().expect("a URL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&url).await.expect("the store");
        let (mut asked, mut last) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let told = store.tell(100, 100).await.expect("an answer");
            let users: i64 = told.users.iter().map(|row| row.orders).sum();
            let products: i64 = told.products.iter().map(|row| row.orders).sum();
            let created = told.statuses.iter().filter(|row| row.key != "AWAITED").map(|row| row.orders).sum::<i64>();
            assert_eq!((users, products), (created, created), "after {asked} answers");
            assert!(users >= last, "{users} orders, and there were {last}");
            assert_eq!(told.recent.len() as i64, users.min(100));
            (asked, last) = (asked + 1, users);
        }
        asked
    })
}

#[test]
#[ignore = "needs kcat"]
fn under_load_it_switches_with_no_wrong_answer_in_between() {
    let place = Place::new("rebuild-load");
    write(&place, 200, 31);
    read_on(&place, &["-q"]);
    let readers = [0; 2].map(|_| reading(&place, &["--batch", "40"]));
    let mut writer = start(place.cqrs(&["write", "--rate", "200", "--seed", "32", "-q"]));
    let (stop, url) = (AtomicBool::new(false), place.url());
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&url, &stop));
        for _ in 0..4 {
            rebuild(&place, &["all"]);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(asking.join().expect("no wrong answer") > 20);
    });
    writer.signal(Signal::INT);
    assert_eq!(writer.end().code(), 130);
    for mut reader in readers {
        reader.signal(Signal::INT);
        let ended = reader.end();
        assert_eq!(ended.code(), 130, "{ended:?}");
    }
    drain(&place, None);
    judged(&place);
}

#[test]
#[ignore = "needs kcat"]
fn killed_before_the_switch_the_old_one_serves_and_behind_it_the_new_one_does() {
    let place = Place::new("rebuild-killed");
    write(&place, 80, 41);
    read_on(&place, &["-q"]);
    let before = tables(&place);
    let live = || place.sql("SELECT generation FROM views WHERE is_live = 1 AND models <> 0 ORDER BY generation");
    let old = live();
    let ended = place.cqrs(&["rebuild", "all", "--crash-at", "rebuild.before-switch"]).run();
    assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
    assert_eq!((live(), tables(&place)), (old.clone(), before.clone()));
    // what comes meanwhile is fed to both
    place.cqrs(&["write", "create", "--price", "USD:1", "--order", "between"]).run().ok();
    read_on(&place, &["-q"]);
    let resumed = rebuild(&place, &["all", "--compare"]);
    assert!(resumed["resumed_at"].as_u64() > Some(0) && resumed["differences"] == 0, "{resumed}");
    assert_ne!(live(), old);
    let new = live();
    let ended = place.cqrs(&["rebuild", "all", "--crash-at", "rebuild.after-switch"]).run();
    assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
    assert_ne!(live(), new);
    judged(&place);
    // nothing of the old ones is left
    assert_eq!(place.sql("SELECT count(DISTINCT generation) FROM view_orders"), [["1"]]);
    assert_eq!(place.sql("SELECT count(*) FROM views"), [["1"]]);
}

#[test]
#[ignore = "needs kcat"]
fn one_model_is_rebuilt_by_itself_and_what_was_damaged_is_mended() {
    let place = Place::new("rebuild-one");
    write(&place, 300, 51);
    read_on(&place, &["-q"]);
    let whole = tables(&place);
    place.sql("UPDATE view_users SET orders = orders + 7 RETURNING orders");
    place.sql("UPDATE view_revenue SET paid = 1 RETURNING paid");
    assert!(rebuild(&place, &["users", "--compare"])["differences"].as_u64() > Some(0));
    let mended = tables(&place);
    assert_eq!(mended["users"], whole["users"]);
    assert_ne!(mended["revenue"], whole["revenue"]);
    rebuild(&place, &["revenue"]);
    assert_eq!(tables(&place), whole);
    // all views go on together
    write(&place, 60, 52);
    read_on(&place, &["-q"]);
    judged(&place);
}

#[test]
#[ignore = "needs kcat"]
fn from_the_topics_it_is_the_same_as_from_the_log() {
    let place = Place::new("rebuild-topics");
    write(&place, 90, 61);
    read_on(&place, &["-q"]);
    let said = rebuild(&place, &["all", "--from", "topics", "--compare"]);
    assert_eq!(said["differences"], 0, "{said}");
    assert_eq!(stats(&place)["orders"].to_string(), place.sql("SELECT count(DISTINCT stream_id) FROM events")[0][0]);
    judged(&place);
}

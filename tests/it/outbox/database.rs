//! Databases that are restarted, locked or full, and rows that are committed late.

use std::{io::Write, path::PathBuf, thread, time::Duration};

use rustix::process::Signal;
use uuid::Uuid;

use super::{
    PUBLISHED, WAITING, create,
    judge::{judged, rows},
    published, relay, relay_in_threes, two_each,
};
use crate::{
    cluster::soak,
    es::{Place, judge::log},
    harness::{Ended, program},
    membership::until,
    process::start,
};

/// A PostgreSQL of the test's own, since it is stopped and killed.
pub struct Server {
    folder: PathBuf,
    pub url: String,
}

impl Server {
    pub fn start() -> Self {
        let folder = std::env::temp_dir().join(crate::harness::topic("a-postgres"));
        let mut server = Self { folder, url: String::new() };
        server.url = server.run("start").trim().to_owned();
        server
    }

    pub fn run(&self, command: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/postgres/postgres.sh");
        program(script, [command, "--dir", &self.folder.display().to_string()]).run().ok().text()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/postgres/postgres.sh");
        let _ = std::process::Command::new(script).args(["stop", "--purge", "--dir"]).arg(&self.folder).output();
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_database_that_is_restarted_or_killed_is_waited_for_and_nothing_is_lost() {
    let server = Server::start();
    let place = Place::on("restarted", &server.url);
    two_each(&place, 200);
    let relays = [(); 2].map(|()| relay_in_threes(&place, &[]));
    let mut consumer = start(place.outbox(&["consume", "-q", "-g", &place.topic("group")]));
    let mut seen = 0;
    for commands in [&["restart"][..], &["kill", "restart"]] {
        until("more of it", Duration::from_secs(60), || {
            let now = place.count(PUBLISHED);
            (now > seen + 20).then_some(()).ok_or(format!("{now} published"))
        });
        for command in commands {
            server.run(command);
        }
        seen = place.count(PUBLISHED);
        place.take((0..40).map(|order| create(&format!("behind-{seen}-{order}"))).collect());
    }
    until("all of it published", Duration::from_secs(120), || {
        (place.count(PUBLISHED) >= 480 && place.count(WAITING) == 0)
            .then_some(())
            .ok_or(format!("{:?}", rows(&place).len()))
    });
    until("all effects, each once", Duration::from_secs(60), || super::judge::effects(&place));
    until("what follows from them published", Duration::from_secs(60), || {
        (place.count(WAITING) == 0).then_some(()).ok_or("not yet".to_owned())
    });
    for mut relay in relays {
        relay.signal(Signal::TERM);
        let ended = relay.end();
        assert_eq!(ended.code(), 143, "{ended:?}");
    }
    consumer.signal(Signal::TERM);
    assert_eq!(consumer.end().code(), 143);
    let twice = judged(&place);
    println!("twice: {twice:?}");
    // a batch that was published and could not be marked; two outages, two relays
    assert!(twice.values().all(|twice| *twice <= 2 * 3), "{twice:?}");
}

/// Who polls by `seq > last` loses the lower one.
#[test]
#[ignore = "needs PostgreSQL"]
fn a_row_that_is_committed_after_a_higher_one_is_published() {
    let server = Server::start();
    let place = Place::on("late", &server.url);
    place.take(vec![create("first")]);
    let mut relay = relay(&place, &[]);
    relay.until_stdout_has("first");
    let mut slow = start(program("psql", ["-qXAt", "-v", "ON_ERROR_STOP=1", &server.url]));
    let row = |aggregate: &str| place.row(Uuid::now_v7(), ("order", aggregate), "orders.v1.OrderCreated", "{}", None);
    let say = |psql: &mut crate::process::Running, line: &str| {
        let stdin = psql.stdin.as_mut().expect("its input");
        writeln!(stdin, "{line};").and_then(|()| stdin.flush()).expect("a statement");
    };
    // both of one shard, and the lower one in a transaction that takes its time
    let schema = place.sql("SELECT current_schema()")[0][0].clone();
    say(&mut slow, &format!("SET search_path = {schema}"));
    say(&mut slow, "BEGIN");
    say(&mut slow, &row("late-aggregate"));
    slow.until_stdout_has("\n");
    place.sql(&place.row(Uuid::now_v7(), ("order", "quick-aggregate"), "orders.v1.OrderCreated", "{}", None));
    relay.until_stdout_has("quick-aggregate");
    say(&mut slow, "COMMIT");
    relay.until_stdout_has("late-aggregate");
    let seqs = place.sql("SELECT aggregateid FROM outbox ORDER BY seq");
    assert_eq!(seqs, [["first"], ["late-aggregate"], ["quick-aggregate"]]);
    drop(slow.stdin.take());
    slow.end().ok();
    relay.signal(Signal::TERM);
    assert_eq!(relay.end().code(), 143);
}

#[test]
#[ignore = "needs kcat"]
fn a_locked_database_is_waited_for_by_a_relay_and_refuses_an_order_whole() {
    let place = Place::sqlite("locked");
    two_each(&place, 20);
    let database = rusqlite::Connection::open(place.path()).expect("the store's file");
    database.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let mut relay = relay(&place, &["--once", "--give-up-after", "2m"]);
    if soak() {
        // an order waits for a while, then it is refused
        let ended = place.outbox(&["order", "--price", "USD:1"]).run();
        assert!(ended.code() == 1 && ended.stderr.contains("is locked by another process: "), "{ended:?}");
        relay.until_stderr_has("trying again: ");
    } else {
        thread::sleep(Duration::from_secs(2)); // how long it is locked, not a wait for anything
    }
    assert_eq!((place.count(PUBLISHED), place.count(WAITING)), (0, 40));
    database.execute_batch("ROLLBACK").expect("unlocking");
    assert_eq!(published(&relay.end().ok()), 40);
    assert_eq!(judged(&place), [].into());
}

/// With files of at most so many blocks of 512 bytes: a disk that is full, as far as the program sees it.
fn limited(place: &Place, blocks: u64, arguments: &[&str]) -> Ended {
    let script = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" outbox \"$@\"");
    let shell = program("sh", ["-c", &script, env!("CARGO_BIN_EXE_kafkalab")]).arguments(arguments);
    shell.env("KAFKALAB_STORE", &place.url()).run()
}

#[test]
#[ignore = "needs kcat"]
fn on_a_full_disk_an_order_is_refused_with_neither_event_nor_message() {
    let place = Place::sqlite("full");
    place.take(vec![create("first")]);
    let size = std::fs::metadata(place.path()).expect("the file").len();
    let (mut failed, mut taken) = (0, 1);
    for blocks in (0..size / 512 + 400).step_by(10) {
        let order = format!("o{blocks}");
        let ended = limited(&place, blocks, &["order", "--price", "USD:1", "--order", &order, "-q"]);
        if ended.code() == 0 {
            taken += 1;
            assert_eq!(ended.text(), format!("{order}\n"), "{blocks}");
        } else {
            failed += 1;
            assert!(ended.code() == 1 && ended.stderr.contains("free some space and try again"), "{blocks}: {ended:?}");
            assert!(ended.stderr.contains(&place.url()) && ended.stdout.is_empty(), "{blocks}: {ended:?}");
        }
        assert_eq!((log(&place).len(), rows(&place).len()), (taken, taken), "{blocks}");
    }
    assert!(failed > 3 && taken > 1, "{failed} failed, {taken} taken");
    place.outbox(&["relay", "--once", "-q"]).run().ok();
    assert_eq!(judged(&place), [].into());
}

/// A consumer's disk is full: nobody's record is at fault, so nothing is put aside, and it goes on when there is room.
#[test]
fn on_a_full_disk_a_consumer_waits_and_puts_nothing_aside() {
    let place = Place::sqlite("full-consumer");
    two_each(&place, 200);
    place.outbox(&["relay", "--once", "-q"]).run().ok();
    let blocks = 128; // 64 KiB: a few effects fit into SQLite's log, and never all 400
    let group = place.topic("group");
    let script = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" outbox \"$@\"");
    let arguments = ["consume", "--once", "--give-up-after", "1s", "-g", &group];
    let shell = program("sh", ["-c", &script, env!("CARGO_BIN_EXE_kafkalab")]).arguments(arguments);
    let full = shell.env("KAFKALAB_STORE", &place.url()).env("KAFKALAB_TOPIC_PREFIX", &place.prefix);
    let ended = full.env("KAFKALAB_BROKERS", crate::harness::brokers()).run();
    assert!(ended.code() == 1 && ended.stderr.contains("free some space"), "{ended:?}");
    let ended = place.outbox(&["consume", "--once", "-g", &group]).run().ok();
    assert!(ended.stderr.ends_with(" 0 dead letters\n"), "{ended:?}");
    assert_eq!(super::judge::effects(&place), Ok(()));
}

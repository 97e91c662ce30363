//! A reader that is killed again and again, under load.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use rustix::process::Signal;

use super::{drain, judged, reading, stats};
use crate::{cluster::soak, es::Place, membership::until, process::start, random::Random};

/// Events of a transaction, so that there are many of them.
const BATCH: &str = "20";

#[test]
#[ignore = "needs kcat"]
fn killed_again_and_again_its_tables_are_those_of_a_rebuild() {
    let (place, mut random) = (Place::new("killed"), Random::from_seed_or_new());
    let kills = if soak() { 200 } else { 6 };
    let mut writer = start(place.cqrs(&["write", "--rate", "150", "--seed", "11", "-q"]));
    for kill in 0..kills {
        let at = ["handler.before-commit", "handler.after-commit"][kill % 2];
        let arguments = ["--batch", BATCH, "--instance-id", "one"];
        if kill % 3 == 2 {
            // anywhere, and not at a point that somebody has thought of
            let before = stats(&place)["orders"].as_i64();
            let mut reader = reading(&place, &arguments);
            until("the reader reads", Duration::from_secs(90), || {
                let now = stats(&place)["orders"].as_i64();
                if now > before { Ok(()) } else { Err(format!("{before:?}, {now:?}")) }
            });
            std::thread::sleep(Duration::from_millis(random.below(40) as u64)); // where it is hit is left to chance
            reader.signal(Signal::KILL);
            assert_eq!(reader.end().status.signal(), Some(9));
        } else {
            let point = format!("{at}:{}", 1 + random.below(5));
            let ended = reading(&place, &[&arguments[..], &["--crash-at", &point]].concat()).end();
            assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
        }
    }
    writer.signal(Signal::INT);
    assert_eq!(writer.end().code(), 130);
    drain(&place, Some("one"));
    judged(&place);
}

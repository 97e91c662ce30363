//! Waiting costs nothing.

use std::time::{Duration, Instant};

use crate::{
    harness::{kafkalab, topic},
    load::Running,
};

/// CPU time that a process has used, by Linux' own account, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields behind the name").split_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

/// The embedded broker answers empty fetches at once, Apache Kafka after half a second: neither keeps the client busy.
#[test]
fn a_consumer_of_an_idle_topic_does_not_spin() {
    let topic = topic("idle");
    kafkalab(["produce", &topic]).stdin("one\n").run().ok();
    let mut running = Running::start(kafkalab(["consume", &topic]));
    running.lines(1, Duration::from_secs(20));
    let before = ticks(running.pid());
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(3)); // what is measured: three seconds of nothing
    let used = (ticks(running.pid()) - before) as f64 / 100.0;
    let share = used / began.elapsed().as_secs_f64();
    // one that spins uses all of it; tests beside this one make each look cost more
    assert!(share < 0.10, "{:.1} % of a processor", share * 100.0);
}

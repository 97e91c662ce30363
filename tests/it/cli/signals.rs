//! Ctrl-C and SIGTERM: what is in hand is finished and said, and the exit code tells which it was.

use std::{io::Write, thread};

use rustix::process::Signal;

use crate::{
    harness::{kafkalab, topic},
    process::start,
};

const BOTH: [(Signal, i32); 2] = [(Signal::INT, 130), (Signal::TERM, 143)];

#[test]
fn a_stopped_producer_sends_what_it_has_taken_and_says_how_much() {
    for (signal, code) in BOTH {
        let topic = topic("stopped");
        // open batches wait for a minute's company or for the end: there is one when the signal comes
        let options = ["-p", "0", "--linger", "60s", "--rate", "2000"];
        let mut producer = start(kafkalab(["produce", &topic]).arguments(options));
        let mut stdin = producer.stdin.take().expect("a pipe");
        let writer =
            thread::spawn(move || (0u32..).take_while(|n| stdin.write_all(line(*n).as_bytes()).is_ok()).count());
        kafkalab(["consume", &topic, "-n", "1"]).run().ok(); // the first batch is there
        producer.signal(signal);
        let ended = producer.end();
        assert_eq!((ended.code(), ended.text().as_str()), (code, ""), "{ended:?}");
        let there = kafkalab(["consume", &topic, "-e"]).run().ok().text();
        let count = there.lines().count() as u32;
        assert!(there == (0..count).map(line).collect::<String>(), "the first {count} lines");
        let said = format!("{count} acknowledged: {topic}[0] {count} up to offset {}\n", count - 1);
        let told = ended.stderr.split_once("stopping; once more to stop at once\n").expect("word of the signal").1;
        assert_eq!(told, said);
        assert!(writer.join().expect("the writer") >= count as usize);
    }
}

fn line(number: u32) -> String {
    format!("{number} {}\n", "x".repeat(1500))
}

#[test]
fn a_stopped_consumer_has_printed_what_it_says() {
    for (signal, code) in BOTH {
        let topic = topic("stopped");
        kafkalab(["produce", &topic]).stdin("one\ntwo\n").run().ok();
        let mut consumer = start(kafkalab(["consume", &topic]));
        consumer.until_stdout_has("two\n");
        consumer.signal(signal);
        let ended = consumer.end();
        assert_eq!((ended.code(), ended.text().as_str()), (code, "one\ntwo\n"), "{ended:?}");
        assert_eq!(ended.stderr, "stopping; once more to stop at once\n");
    }
}

#[test]
fn who_waits_for_a_topic_can_be_stopped_and_sees_it_come() {
    let topic = topic("awaited");
    let mut consumer = start(kafkalab(["consume", &topic, "-n", "1"]));
    consumer.until_stderr_has("does not exist yet");
    let mut impatient = start(kafkalab(["consume", &topic]));
    impatient.until_stderr_has("does not exist yet");
    impatient.signal(Signal::INT);
    let ended = impatient.end();
    assert_eq!(ended.code(), 130);
    let waiting = format!("topic {topic} does not exist yet; waiting for it, Ctrl-C to stop\n");
    assert_eq!(ended.stderr, format!("{waiting}stopping; once more to stop at once\n"));
    kafkalab(["produce", &topic]).stdin("here\n").run().ok();
    let ended = consumer.end();
    assert_eq!((ended.code(), ended.text().as_str(), ended.stderr), (0, "here\n", waiting));
}

#[test]
fn a_stopped_broker_stops_its_command() {
    for (signal, code) in BOTH {
        let mut broker = start(kafkalab(["broker", "--port", "0"]).env_remove("KAFKALAB_BROKERS"));
        broker.until_stderr_has("in another terminal");
        broker.signal(signal);
        let ended = broker.end();
        assert_eq!(ended.code(), code, "{ended:?}");
        assert!(ended.stderr.starts_with("embedded broker on 127.0.0.1:"), "{}", ended.stderr);
    }
    let mut around = start(kafkalab(["broker", "--", "sh", "-c", "echo up; exec sleep 300"]));
    around.until_stdout_has("up\n");
    around.signal(Signal::TERM);
    assert_eq!(around.end().code(), 143); // its pipes end with the command's: the command has ended too
}

//! Every example runs as its README says, and prints what it should.

use std::time::Duration;

use crate::harness::{Ended, program};

/// Runs a command as `kafkalab broker -- COMMAND...` in the repository's folder: a broker of its own each time.
fn with_broker(command: &[&str]) -> Ended {
    program(env!("CARGO_BIN_EXE_kafkalab"), ["broker", "--"])
        .arguments(command)
        .env("NO_COLOR", "1")
        .deadline(Duration::from_secs(300)) // cargo may have to build
        .run()
        .ok()
}

#[test]
#[ignore = "needs jq"]
fn first_records() {
    let ended = with_broker(&["sh", "examples/01-first-records.sh"]);
    let expected = "partition 0 offset 0: ada is first programmer\n\
                    partition 0 offset 1: grace is first compiler\n\
                    partition 0 offset 2: ada is first again\n\
                    first programmer\n\
                    first again\n";
    assert_eq!(ended.text(), expected);
}

#[test]
fn produce_and_consume_as_a_library() {
    let ended = with_broker(&["cargo", "run", "-q", "--example", "02-produce-and-consume"]);
    assert_eq!(ended.text(), "1000 acknowledged\n1000 read, 2890 bytes\n");
}

#[test]
#[ignore = "needs jq"]
fn subcommands_chained_by_json_and_jq() {
    let ended = with_broker(&["sh", "examples/03-pipes.sh"]);
    let expected = "waiting: 4 orders.v1.OrderCreated\no-1 for ADA\no-2 for ADA\no-3 for ADA\no-4 for ADA\n\
                    audit is 3 behind\n";
    assert_eq!(ended.text(), expected);
}

#[test]
fn a_handler_of_ones_own() {
    let ended = with_broker(&["cargo", "run", "-q", "--example", "04-handler"]);
    let expected = "3 records: 3 effects, 0 repeats\n3 records: 0 effects, 3 repeats\nada: 2 points\ngrace: 1 points\n";
    assert_eq!(ended.text(), expected);
}

#[test]
fn a_saga_of_ones_own_turns_back_before_its_pivot_and_never_behind_it() {
    let ended = with_broker(&["cargo", "run", "-q", "--example", "05-trip-saga"]);
    let expected = "all-well COMPLETED\n  1 BookFlight\n  1 SagaStepCompleted\n  2 BookHotel\n  2 SagaStepCompleted\n  \
                    3 RentCar\n  3 SagaStepCompleted\n  SagaCompleted\n\
                    no-room COMPENSATED\n  1 BookFlight\n  1 SagaStepCompleted\n  2 BookHotel\n  \
                    2 SagaStepFailed: declined\n  1 CancelFlight\n  1 SagaStepCompensated\n  SagaCompensated\n\
                    no-car-yet COMPLETED\n  1 BookFlight\n  1 SagaStepCompleted\n  2 BookHotel\n  2 SagaStepCompleted\n  \
                    3 RentCar\n  3 SagaStepFailed: unavailable just now\n  3 RentCar\n  3 SagaStepFailed: unavailable just \
                    now\n  3 RentCar\n  3 SagaStepCompleted\n  SagaCompleted\n";
    assert_eq!(ended.text(), expected);
}

#[test]
#[ignore = "needs jq"]
fn a_saga_over_several_processes_one_of_them_killed_in_between() {
    let ended = with_broker(&["bash", "examples/06-saga-processes.sh"]);
    let expected = "o-1 COMPLETED\npayment is dead; o-2: done asked open\no-2 COMPLETED\no-2: done done done\n\
                    charge done 1, undone 0\norder done 1, undone 0\nparcel done 1, undone 0\n";
    assert_eq!(ended.text(), expected);
}

/// It has an Apache Kafka of its own, because it kills it.
#[test]
#[ignore = "needs Apache Kafka"]
fn outbox_kafka_down() {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_kafkalab")).parent().expect("the program's folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").expect("a path"));
    let run = program("bash", ["examples/outbox-kafka-down.sh"]).env("PATH", &path).deadline(Duration::from_secs(300));
    let ended = run.run().ok();
    let expected = "Kafka is dead: 700 orders are taken, and not all of their messages are out\n\
                    Kafka is back: 1000 orders taken, 1000 arrived\n";
    assert_eq!(ended.text(), expected);
}

#[test]
fn every_example_stands_in_the_index() {
    let index = std::fs::read_to_string("examples/README.md").expect("the index");
    for number in 1..=6 {
        assert!(index.contains(&format!("examples/0{number}-")) || index.contains(&format!("--example 0{number}-")));
    }
    for entry in std::fs::read_dir("examples").expect("the examples") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
        let stem = name.trim_end_matches(".rs");
        assert!(name == "README.md" || index.contains(stem), "{name} is not in examples/README.md");
    }
}

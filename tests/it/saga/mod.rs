//! Sagas by the real program: every way to fail, and what the services have of it afterwards.

mod chaos;
mod faults;
mod matrix;
mod services;
mod sleepers;
mod transcript;
mod wrong;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    es::Place,
    harness::{Program, kafkalab},
};

const KEEPS: [&str; 3] = ["order", "charge", "parcel"];
const STYLES: [&str; 2] = ["orchestration", "choreography"];
const STEPS: [&str; 3] = ["CreateOrder", "ProcessPayment", "ShipOrder"];

/// `kafkalab saga ARGUMENTS` on the place's store and topics.
fn saga(place: &Place, arguments: &[&str]) -> Program {
    let program = kafkalab(["saga"]).arguments(arguments);
    program.env("KAFKALAB_STORE", &place.url()).env("KAFKALAB_TOPIC_PREFIX", &place.prefix).env("USER", "tester")
}

/// A saga as `saga show` has it.
struct Shown {
    status: String,
    steps: Vec<String>,
    /// Status, how often done, how often undone: by what a service keeps.
    effects: BTreeMap<String, (String, u64, u64)>,
    /// What was sent and heard, in order.
    log: Vec<(String, Option<u64>)>,
    /// Steps that were compensated, in order; those apart of which nothing was done.
    compensated: Vec<u64>,
}

/// The entry of a log that says that a step is compensated.
const COMPENSATED: [&str; 5] =
    ["SagaStepCompensated", "ShipmentCancelled", "PaymentRefunded", "PaymentVoided", "OrderCancelled"];

fn shown(place: &Place, id: &str) -> Shown {
    let json = saga(place, &["show", id, "--json"]).run().ok().text();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let effect = |(keeps, kept): (&String, &Value)| {
        let kept = (text(&kept["status"]), kept["done"].as_u64().unwrap_or(0), kept["undone"].as_u64().unwrap_or(0));
        (keeps.clone(), kept)
    };
    let log = json["saga"]["log"].as_array().expect("a log");
    let is_compensation =
        |entry: &&Value| COMPENSATED.contains(&text(&entry["what"]).as_str()) && entry["note"].is_null();
    Shown {
        compensated: log.iter().filter(is_compensation).filter_map(|entry| entry["step"].as_u64()).collect(),
        status: text(&json["saga"]["status"]),
        steps: json["saga"]["steps"].as_array().expect("steps").iter().map(text).collect(),
        effects: json["effects"].as_object().expect("effects").iter().map(effect).collect(),
        log: log
            .iter()
            .filter(|entry| entry["note"] != "ignored") // a reply that came twice, or late
            .map(|entry| (text(&entry["what"]), entry["step"].as_u64()))
            .collect(),
    }
}

impl Shown {
    /// What holds for each saga that is over, whatever has happened: all of it or none of it, and what was undone was undone
    /// in reverse, each step once.
    #[track_caller]
    fn judged(&self, context: &str) {
        let done = |keeps: &str| self.effects.get(keeps).map_or((0, 0), |(_, done, undone)| (*done, *undone));
        match self.status.as_str() {
            "COMPLETED" => {
                for keeps in KEEPS {
                    assert_eq!(done(keeps), (1, 0), "{context}: {keeps} of a completed saga; {:?}", self.effects);
                    assert_eq!(self.effects[keeps].0, "DONE", "{context}: the lock is off; {:?}", self.effects);
                }
            }
            "COMPENSATED" => {
                for keeps in KEEPS {
                    let (done, undone) = done(keeps);
                    assert!(
                        done == undone && done <= 1,
                        "{context}: {keeps} of a compensated saga; {:?}",
                        self.effects
                    );
                }
            }
            other => panic!("{context}: {other} is no end; {:?}", self.log),
        }
        let in_reverse = self.compensated.windows(2).all(|pair| pair[0] > pair[1]);
        assert!(in_reverse, "{context}: in reverse, once each: {:?}", self.compensated);
        for (keeps, step) in KEEPS.iter().zip(1..) {
            let was_done = self.status == "COMPENSATED" && done(keeps) == (1, 1);
            assert!(!was_done || self.compensated.contains(&step), "{context}: {keeps} was undone: {:?}", self.log);
        }
    }
}

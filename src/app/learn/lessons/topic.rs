//! a topic is a log with a name

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "topic",
    title: "a topic is a log with a name",
    text: "\
A topic is a log: records are appended at its end, and stay. Reading takes nothing away, so two readers see the same
records, and whoever comes later can begin at the beginning.

Make the topic `greetings`, append two records, and read it twice. -e ends at the end of what is there now.",
    commands: &[
        "kafkalab topics create greetings -p 1",
        "printf 'hello\\nhello again\\n' | kafkalab produce greetings",
        "kafkalab consume greetings -e",
        "kafkalab consume greetings -e",
    ],
    hint: "each line that `kafkalab produce greetings` reads becomes a record",
    learned: "the records are still there after being read: a topic is no queue",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let records = place.records("greetings").await?.len();
    need(records >= 2, &format!("greetings has {records} of two records"))?;
    Ok(format!("greetings has {records} records"))
}

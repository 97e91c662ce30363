//! a topic is cut into partitions; order holds within one

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "partition",
    title: "a topic is cut into partitions; order holds within one",
    text: "\
A topic is cut into partitions, each a log of its own. They are what is spread over brokers and readers. Records have an
order within their partition, and none across: look at the offsets, which count for each partition anew.

Make `tasks` with three partitions, and append to the first and to the last of them.",
    commands: &[
        "kafkalab topics create tasks -p 3",
        "printf 'a\\nb\\n' | kafkalab produce tasks -p 0",
        "printf 'c\\n' | kafkalab produce tasks -p 2",
        "kafkalab consume tasks -e -f 'partition %p offset %o: %v\\n'",
    ],
    hint: "-p of `topics create` is how many, -p of `produce` is which one, from 0",
    learned: "offset 0 is there twice: an offset belongs to a partition, and so does order",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let partitions = place.partitions("tasks").await?;
    need(partitions == 3, &format!("tasks has {partitions} of three partitions"))?;
    let records = place.records("tasks").await?;
    for number in [0, 2] {
        let has = records.iter().any(|record| record.partition == number);
        need(has, &format!("partition {number} of tasks has no record"))?;
    }
    Ok("partitions 0 and 2 of tasks have records".to_owned())
}

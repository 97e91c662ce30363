//! the members of a group share a topic

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "group",
    title: "the members of a group share a topic",
    text: "\
Readers with one group name share the partitions of a topic among them, and each record goes to one of them. What the
group has read is committed on the broker, under the group's name: whoever comes next goes on there.

Append ten jobs, let the group `crew` do them, and let it look for more: there is nothing left for it. Another group would
get all ten.",
    commands: &[
        "kafkalab topics create jobs -p 2",
        "seq 10 | kafkalab produce jobs",
        "kafkalab consume jobs -g crew -o beginning -e",
        "kafkalab consume jobs -g crew -e",
        "kafkalab groups describe crew",
    ],
    hint: "-g crew makes the reader a member of the group crew; its lag must come down to 0",
    learned: "lag is the distance between the end of the topic and what the group has committed",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let records = place.records("jobs").await?.len();
    need(records >= 10, &format!("jobs has {records} of ten records"))?;
    let (committed, lag) = place.group("crew").await?;
    need(committed >= 10 && lag == 0, &format!("crew has done {committed} jobs, and {lag} are left"))?;
    Ok(format!("crew has committed {committed} records, and its lag is 0"))
}

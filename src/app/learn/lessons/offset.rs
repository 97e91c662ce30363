//! an offset is a place; a group can be put elsewhere

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "offset",
    title: "an offset is a place; a group can be put elsewhere",
    text: "\
An offset is the number of a record within its partition. It never changes, so it can be kept: reading from an offset is
going back, or ahead. What a group has committed is such a number, and it can be moved while nobody is in the group.

Append ten records, read the last three, let the group `again` read them all, and put it back to offset 4.",
    commands: &[
        "kafkalab topics create numbers -p 1",
        "seq 0 9 | kafkalab produce numbers",
        "kafkalab consume numbers -o 7 -e",
        "kafkalab consume numbers -g again -o beginning -e",
        "kafkalab groups reset again --to 4 -y",
        "kafkalab groups describe again",
    ],
    hint: "`kafkalab groups reset again --to 4 -y` works once no member is left in the group",
    learned: "the next member begins at offset 4: six records come once more, so a handler must bear repeats",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let records = place.records("numbers").await?.len();
    need(records >= 10, &format!("numbers has {records} of ten records"))?;
    let (committed, lag) = place.group("again").await?;
    need(committed == 4 && lag > 0, &format!("the group again stands at offset {committed}, not at 4"))?;
    Ok(format!("the group again goes on at offset 4, {lag} records behind the end"))
}

//! one key, one partition: that is how order is kept

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "key",
    title: "one key, one partition: that is how order is kept",
    text: "\
A record may have a key. Whoever produces hashes it, and the hash names the partition: all records of one key are in one
partition, in the order in which they were appended. So the key is what must keep its order: an order's id, a user's.

Append records of ada and of grace. With -K: the text before the first colon is the key.",
    commands: &[
        "kafkalab topics create people -p 4",
        "printf 'ada:first programmer\\ngrace:first compiler\\nada:first again\\n' | kafkalab produce people -K:",
        "kafkalab consume people -e -f 'partition %p: %k is %v\\n'",
    ],
    hint: "without -K: the whole line is the value, and the record has no key",
    learned: "kcat, Java and kafkalab hash alike (murmur2): a key is where all of them look for it",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    let records = place.records("people").await?;
    let of = |key: &str| records.iter().filter(move |record| record.key.as_deref() == Some(key)).collect::<Vec<_>>();
    let (ada, grace) = (of("ada"), of("grace"));
    need(ada.len() >= 2, &format!("people has {} of two records with the key ada", ada.len()))?;
    need(!grace.is_empty(), "people has no record with the key grace")?;
    let together = ada.iter().all(|record| record.partition == ada[0].partition);
    need(together, "records of ada are in several partitions: somebody chose them by hand (-p)")?;
    Ok(format!("all {} records of ada are in partition {}", ada.len(), ada[0].partition))
}

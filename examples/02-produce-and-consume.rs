//! The client as a library: `kafkalab broker -- cargo run --example 02-produce-and-consume`
//!
//! A thousand records leave without a future each; their outcome comes per batch. Then they are read back, borrowed from
//! the answer's buffer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kafkalab::kafka::{
    Assignment, Cluster, ConnectOptions, Consumer, ConsumerConfig, Error, Fetched, NewRecord, Offset, Outcome,
    Producer, ProducerConfig, TopicPartition,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let brokers = std::env::var("KAFKALAB_BROKERS").unwrap_or_else(|_| "localhost:9092".to_owned());
    let addresses = brokers.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let cluster = Cluster::connect(addresses, ConnectOptions::default()).await?;

    // Each record ends acknowledged, failed or unknown; the sender calls back once per batch.
    let acknowledged = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&acknowledged);
    let producer =
        Producer::start(cluster.clone(), ProducerConfig::default(), move |delivery| match delivery.outcome {
            Outcome::Acknowledged { .. } => {
                count.fetch_add(u64::from(delivery.count), Ordering::Relaxed);
            }
            Outcome::Failed(error) | Outcome::Unknown(error) => eprintln!("{} records: {error}", delivery.count),
        })
        .await?;

    let topic = producer.topic("numbers").await?;
    for number in 0..1000 {
        let (key, value) = (format!("k{}", number % 10), number.to_string());
        let record = NewRecord { key: Some(key.as_bytes()), value: Some(value.as_bytes()), ..NewRecord::default() };
        producer.append(topic, None, &record).await?;
    }
    producer.close().await?;
    println!("{} acknowledged", acknowledged.load(Ordering::Relaxed));

    // From the start up to the end as it is now.
    let partitions = 0..cluster.topic("numbers").await?.count();
    let mut assignments = Vec::new();
    for number in partitions {
        let partition = TopicPartition::new("numbers", number);
        let places = [(partition.clone(), Offset::Start), (partition.clone(), Offset::End)];
        let ends = cluster.resolve(&places, ConsumerConfig::default().isolation).await?;
        assignments.push(Assignment { partition, from: ends[0], until: Some(ends[1]) });
    }
    let mut consumer = Consumer::start(cluster, assignments, ConsumerConfig::default());
    let (mut records, mut bytes) = (0, 0);
    while let Some(fetched) = consumer.next().await? {
        let Fetched::Records(mut chunk) = fetched else { continue };
        while let Some(record) = chunk.records.next()? {
            records += 1;
            bytes += record.value.map_or(0, <[u8]>::len);
        }
    }
    println!("{records} read, {bytes} bytes");
    Ok(())
}

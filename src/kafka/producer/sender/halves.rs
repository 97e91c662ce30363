//! A batch that was refused for some record in it, in two.

use bytes::Bytes;

use crate::kafka::{
    Compression,
    batch::{BatchBuilder, Records},
    error::{Error, Result},
    producer::{Batch, Payload, lane},
    record::NewRecord,
};

/// Two batches with the records of one. The waiters and the memory go with their records.
pub(super) fn halves(mut batch: Batch, compression: Compression) -> Result<[Batch; 2], Box<(Batch, Error)>> {
    let middle = batch.count / 2;
    let Payload::Sealed(bytes) = &batch.payload else { return Err(Box::new((batch, Error::Closed))) };
    let payloads = match rebuild(bytes, middle, compression) {
        Ok(payloads) => payloads,
        Err(error) => return Err(Box::new((batch, error))),
    };
    let [front, back] = payloads;
    let behind = batch.first + middle;
    let (before, after) = batch.waiters.drain(..).partition(|waiter| waiter.index < behind);
    let stamp = batch.stamp;
    let second = Batch {
        id: batch.id,
        topic: batch.topic,
        partition: batch.partition,
        first: behind,
        count: batch.count - middle,
        held: batch.held / 2,
        born: batch.born,
        payload: Payload::Finished(back),
        stamp: stamp.map(|stamp| lane::advance(stamp, middle)),
        ambiguous: false,
        waiters: after,
    };
    let first = Batch {
        count: middle,
        held: batch.held - second.held,
        payload: Payload::Finished(front),
        ambiguous: false,
        waiters: before,
        ..batch
    };
    Ok([first, second])
}

fn rebuild(bytes: &Bytes, middle: u32, compression: Compression) -> Result<[Vec<u8>; 2]> {
    let mut builders = [BatchBuilder::new(usize::MAX, Vec::new()), BatchBuilder::new(usize::MAX, Vec::new())];
    let mut records = Records::new(bytes.clone(), 0, i64::MAX, Vec::new());
    let mut index = 0;
    while let Some(record) = records.next()? {
        let headers: Vec<_> = record.headers.iter().collect();
        let (key, value, timestamp) = (record.key, record.value, Some(record.timestamp));
        let copy = NewRecord { key, value, headers: &headers, timestamp };
        builders[usize::from(index >= middle)].append(&copy, record.timestamp);
        index += 1;
    }
    let [front, back] = builders.map(|builder| builder.finish(compression));
    let failed = |error: std::io::Error| Error::Invalid(format!("compressing a batch: {error}"));
    Ok([front.map_err(failed)?, back.map_err(failed)?])
}

//! What was built is read; what was built and then broken is an error or records, and never more than that.

use std::time::{SystemTime, UNIX_EPOCH};

use proptest::{prelude::*, sample::select, test_runner::RngSeed};

use super::*;
use crate::kafka::{
    NewRecord, Record,
    batch::{BatchBuilder, Stamp, seal},
};

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// The seed is printed, and `KAFKALAB_TEST_SEED` repeats it.
fn seeded() -> ProptestConfig {
    let new = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let seed = std::env::var("KAFKALAB_TEST_SEED").map_or_else(|_| new(), |seed| seed.parse().expect("a seed"));
    println!("KAFKALAB_TEST_SEED={seed}");
    ProptestConfig { rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::with_cases(500) }
}

type Field = Option<Vec<u8>>;

#[derive(Clone, Debug)]
struct Given {
    key: Field,
    value: Field,
    headers: Vec<(Vec<u8>, Field)>,
    timestamp: i64,
}

fn field() -> impl Strategy<Value = Field> {
    // null, nothing, noise, and what a codec makes small
    prop_oneof![
        Just(None),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Some),
        (any::<u8>(), 0..9000usize).prop_map(|(byte, count)| Some(vec![byte; count])),
    ]
}

fn record() -> impl Strategy<Value = Given> {
    let header = (prop::collection::vec(any::<u8>(), 0..9), field());
    let timestamp = prop_oneof![any::<i64>(), 1_700_000_000_000..1_700_000_001_000i64];
    (field(), field(), prop::collection::vec(header, 0..3), timestamp)
        .prop_map(|(key, value, headers, timestamp)| Given { key, value, headers, timestamp })
}

#[derive(Clone, Debug)]
struct Built {
    records: Vec<Given>,
    codec: Compression,
    /// Offsets without a record before it: compaction leaves such gaps.
    gap: i64,
}

fn batch() -> impl Strategy<Value = Built> {
    (prop::collection::vec(record(), 1..12), select(&CODECS[..]), 0..5i64).prop_map(|(records, codec, gap)| Built {
        records,
        codec,
        gap,
    })
}

impl Built {
    /// In the encoding of the wire, with the base offset that a broker gives.
    fn encode(&self, base_offset: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(usize::MAX, Vec::new());
        for Given { key, value, headers, timestamp } in &self.records {
            let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
            let (key, value, timestamp) = (key.as_deref(), value.as_deref(), Some(*timestamp));
            assert!(builder.append(&NewRecord { key, value, headers: &headers, timestamp }, 0));
        }
        let finished = builder.finish(self.codec).expect("packing into memory");
        let mut bytes = Vec::from(seal(finished, Stamp { producer_id: 7, epoch: 0, sequence: 0 }, false));
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes
    }
}

/// One behind the other, from offset `from` on, and what must come out of them.
fn piece(batches: &[Built], from: i64) -> (Vec<u8>, Vec<(i64, Given)>) {
    let (mut bytes, mut expected, mut next) = (Vec::new(), Vec::new(), from);
    for batch in batches {
        next += batch.gap;
        bytes.extend(batch.encode(next));
        expected.extend((next..).zip(batch.records.iter().cloned()));
        next += batch.records.len() as i64;
    }
    (bytes, expected)
}

fn as_given(record: Record) -> (i64, Given) {
    let field = |bytes: Option<Bytes>| bytes.map(Vec::from);
    let headers = record.headers.into_iter().map(|header| (header.key.into(), field(header.value))).collect();
    let (key, value, timestamp) = (field(record.key), field(record.value), record.timestamp);
    (record.offset, Given { key, value, headers, timestamp })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..seeded() })]

    #[test]
    fn what_was_built_is_read_from_any_offset_on(
        batches in prop::collection::vec(batch(), 1..5),
        base in 0..1_000_000i64,
        skip in 0..20i64,
        cut in 0..200usize,
    ) {
        let (mut bytes, expected) = piece(&batches, base);
        let whole = bytes.len();
        let last = batches.last().map_or(0, |batch| batch.encode(0).len());
        // a fetch may end within a batch
        bytes.extend_from_slice(&bytes[whole - last..].to_vec()[..cut.min(last - 1)]);
        let scan = scan(&bytes, base).expect("whole headers");
        let next_offset = expected.last().map_or(base, |(offset, _)| offset + 1);
        let missing = batches.iter().map(|batch| batch.gap as u64).sum();
        prop_assert_eq!(scan, Scan { next_offset, whole, missing });

        let from = base + skip;
        let mut records = Records::new(Bytes::from(bytes), from, i64::MAX, Vec::new());
        let mut found = Vec::new();
        while let Some(record) = records.next().expect("nothing is broken") {
            found.push(as_given(record.to_owned()));
        }
        let wanted: Vec<_> = expected.into_iter().filter(|(offset, _)| *offset >= from).collect();
        prop_assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
    }
}

/// Something that a broken disk or a liar does to bytes. Places are taken modulo what is there.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(usize, u8),
    Overwrite(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Truncate(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // what a length can be that is none: the ends of i32 and of zigzag varints, and a varint without an end
    let lengths = select(vec![
        vec![0x7f, 0xff, 0xff, 0xff],
        vec![0x80, 0, 0, 0],
        vec![0xff, 0xff, 0xff, 0xff, 0x0f],
        vec![0xfe, 0xff, 0xff, 0xff, 0x0f],
        vec![0xff; 11],
        vec![0],
        vec![1],
    ]);
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 1..9), lengths];
    // most of what matters stands at the front
    let at = || prop_oneof![any::<usize>(), 0..80usize];
    prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (at(), bytes.clone()).prop_map(|(at, bytes)| Mutation::Overwrite(at, bytes)),
        (at(), bytes).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (at(), 1..20usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        at().prop_map(Mutation::Truncate),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        let within = |at: &usize| at % (bytes.len() + 1);
        let (at, removed, put) = match mutation {
            Mutation::Flip(at, bit) => {
                let at = within(at);
                let flipped = bytes.get(at).map(|byte| byte ^ 1 << bit);
                (at, 1, flipped.into_iter().collect())
            }
            Mutation::Overwrite(at, put) => (within(at), put.len(), put.clone()),
            Mutation::Insert(at, put) => (within(at), 0, put.clone()),
            Mutation::Remove(at, count) => (within(at), *count, Vec::new()),
            Mutation::Truncate(at) => (within(at), usize::MAX, Vec::new()),
        };
        let end = at.saturating_add(removed).min(bytes.len());
        bytes.splice(at..end, put);
    }
}

/// A liar's batch: length and checksum fit what it holds now, so that the rest is all that stands against it.
fn reseal(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().max(HEADER_LEN), 0);
    let length = (bytes.len() - LENGTH_OVERHEAD) as i32;
    bytes[AT_LENGTH..AT_LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    bytes[AT_MAGIC] = 2;
    let crc = crc32c::crc32c(&bytes[AT_ATTRIBUTES..]);
    bytes[AT_CRC..AT_CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

/// Reads all there is; fails where it is more than the bytes can hold, or goes on behind an error. The records, and
/// whether an error ended them.
fn read(bytes: &[u8]) -> Result<(Vec<Record>, bool), TestCaseError> {
    const BEHIND: i64 = 1 << 40;
    let _ = scan(bytes, 0); // the fetcher's first look
    let mut records = Records::new(Bytes::copy_from_slice(bytes), 0, BEHIND, Vec::new());
    let mut found = Vec::new();
    let broken = loop {
        match records.next() {
            Ok(Some(record)) => {
                prop_assert!((0..BEHIND).contains(&record.offset), "offset {}", record.offset);
                prop_assert_eq!(record.headers.iter().count(), record.headers.len(), "headers");
                found.push(record.to_owned());
            }
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    if broken {
        prop_assert!(matches!(records.next(), Ok(None)), "a record behind an error");
    }
    prop_assert!(records.unpacked.capacity() <= 2 * MAX_UNPACKED, "{} bytes", records.unpacked.capacity());
    Ok((found, broken))
}

/// Of length, attributes and five varints each takes a byte at the least.
const SMALLEST_RECORD: usize = 7;

proptest! {
    #![proptest_config(seeded())]

    /// Every byte from the attributes on is under the checksum; before it stand the base offset, the length, the leader
    /// epoch (which nobody reads), the format and the checksum itself.
    #[test]
    fn a_broken_batch_is_an_error_or_its_own_records(
        built in batch(),
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let good = built.encode(100);
        let mut bytes = good.clone();
        mutate(&mut bytes, &mutations);
        let (found, broken) = read(&bytes)?;
        // whatever was put behind a whole batch is at the most a second one
        if bytes.get(AT_CRC..good.len()) == Some(&good[AT_CRC..]) && bytes[AT_LENGTH..12] == good[AT_LENGTH..12] {
            return Ok(());
        }
        prop_assert!(found.is_empty(), "{} records; an error: {broken}", found.len());
    }

    /// What the checksum does not cover moves the records, and changes none.
    #[test]
    fn before_the_checksum_only_the_offset_can_lie(built in batch(), at in 0..AT_CRC, byte: u8) {
        let mut bytes = built.encode(100);
        bytes[at] = byte;
        let (found, broken) = read(&bytes)?;
        if !broken && !found.is_empty() {
            let fields = |given: &Given| format!("{given:?}");
            let found: Vec<_> = found.into_iter().map(|record| fields(&as_given(record).1)).collect();
            let sent: Vec<_> = built.records.iter().map(fields).collect();
            prop_assert_eq!(found, sent);
        }
    }

    #[test]
    fn a_lie_under_a_good_checksum_gives_no_more_than_its_bytes(
        built in batch(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut bytes = built.encode(100);
        mutate(&mut bytes, &mutations);
        reseal(&mut bytes);
        read(&bytes)?;
    }

    /// The records lie, and the codec packs the lie as it would the truth.
    #[test]
    fn lying_records_give_no_more_than_their_bytes(
        built in batch(),
        mutations in prop::collection::vec(mutation(), 1..6),
        count in prop::option::of(any::<i32>()),
    ) {
        let plain = Built { codec: Compression::None, ..built.clone() }.encode(100);
        let (head, mut lies) = (&plain[..HEADER_LEN], plain[HEADER_LEN..].to_vec());
        mutate(&mut lies, &mutations);
        let mut bytes = head.to_vec();
        built.codec.pack(&lies, &mut bytes).expect("packing into memory");
        bytes[AT_ATTRIBUTES..AT_ATTRIBUTES + 2].copy_from_slice(&built.codec.code().to_be_bytes());
        if let Some(count) = count {
            bytes[AT_COUNT..AT_COUNT + 4].copy_from_slice(&count.to_be_bytes());
        }
        reseal(&mut bytes);
        let (found, _) = read(&bytes)?;
        prop_assert!(found.len() <= lies.len() / SMALLEST_RECORD, "{} of {} bytes", found.len(), lies.len());
        let size = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
        let headers = |record: &Record| record.headers.iter().map(|h| h.key.len() + size(&h.value)).sum::<usize>();
        let taken: usize = found.iter().map(|record| size(&record.key) + size(&record.value) + headers(record)).sum();
        prop_assert!(taken <= lies.len(), "{taken} of {} bytes", lies.len());
    }
}

//! From pieces of input to appended records.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use color_eyre::{Result, eyre::WrapErr};
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::{
    super::{
        escape,
        exit::Usage,
        input::{KeySplit, LineSplitter},
        json_record,
        session::Stop,
        stderr,
    },
    Print,
    source::{Piece, Pieces},
};
use crate::app::{
    NewRecord, TopicNumber,
    produce::{Appended, Outbound},
    sample::{SampleEvent, SampleEvents},
};

/// The longest line: what a broker takes by default (1 MiB) is less, but its limit can be raised.
const LONGEST_LINE: usize = 64 * 1024 * 1024;

/// Sample events with a seed begin here, so that the same seed gives the same bytes: 2026-01-01T00:00:00Z.
const SAMPLE_EPOCH_MS: i64 = 1_767_225_600_000;

pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// What a line becomes.
pub struct Shape {
    pub key: Option<Vec<u8>>,
    pub split: Option<KeySplit>,
    pub headers: Vec<Header>,
    pub partition: Option<i32>,
    pub tombstone: bool,
    pub json: bool,
}

pub struct Feed<'a> {
    pub outbound: &'a Outbound,
    pub shape: Shape,
    /// The topic of the command line.
    pub topic: Option<TopicNumber>,
    /// Topics that JSON records named.
    pub topics: HashMap<String, TopicNumber>,
    pub limit: u64,
    pub sent: u64,
    pub bad: u64,
    pub skip_bad: bool,
    pub pace: Option<Pace>,
    pub print: Print<'a>,
}

/// A run of lines ended before its piece did.
enum Pause {
    /// No memory for the line at this place in the piece.
    Full,
    /// The rate's next record is not due.
    Wait(Instant),
    /// A topic that is not known yet.
    Topic(String),
}

impl Feed<'_> {
    /// Appends all that comes, until the input, the limit or the person says stop.
    pub async fn input(&mut self, mut pieces: Pieces, delimiter: u8, stop: &Stop, bar: &ProgressBar) -> Result<()> {
        let mut lines = LineSplitter::new(delimiter, LONGEST_LINE);
        loop {
            let piece = tokio::select! {
                piece = pieces.next() => piece,
                () = stop.asked() => return Ok(()),
                () = self.receipts_due(), if self.print.json => {
                    self.print.receipts(self.outbound.receipts())?;
                    continue;
                }
            };
            match piece {
                Some(Piece::Bytes(bytes)) => {
                    self.chunk(&mut lines, &bytes, stop).await?;
                    bar.inc(bytes.len() as u64);
                    pieces.give_back(bytes);
                }
                Some(Piece::NextFile) => self.last_line(&mut lines, stop).await?,
                Some(Piece::Failed(path, error)) => {
                    return Err(error).wrap_err_with(|| format!("reading {}", path.display()));
                }
                None => return self.last_line(&mut lines, stop).await,
            }
            if self.sent >= self.limit || stop.is_asked() {
                return Ok(());
            }
            self.print.receipts(self.outbound.receipts())?;
            tokio::task::yield_now().await; // the sender's turn
        }
    }

    /// While nothing comes in, receipts are looked for now and then.
    async fn receipts_due(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    async fn chunk(&mut self, lines: &mut LineSplitter, bytes: &[u8], stop: &Stop) -> Result<()> {
        let mut run = lines.feed(bytes);
        while self.sent < self.limit && !stop.is_asked() {
            // The door is open for as many lines as fit; it must be closed before anything is waited for.
            let outbound = self.outbound;
            let mut door = outbound.door();
            let stopped = loop {
                if self.sent >= self.limit {
                    return Ok(());
                }
                let Some(line) = run.next_line() else { return Ok(()) };
                let line = match line {
                    Ok(line) => line,
                    Err(error) => {
                        self.bad(format_args!("{error}"))?;
                        continue;
                    }
                };
                if let Some(pause) = self.append(&mut door, line.number, line.bytes)? {
                    break (line.number, line.bytes, pause);
                }
            };
            drop(door);
            let (number, bytes, pause) = stopped;
            if !self.append_slowly(number, bytes, pause, stop).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn last_line(&mut self, lines: &mut LineSplitter, stop: &Stop) -> Result<()> {
        if self.sent < self.limit
            && !stop.is_asked()
            && let Some(line) = lines.finish()
        {
            let pause = self.append(&mut self.outbound.door(), line.number, line.bytes)?;
            if let Some(pause) = pause {
                self.append_slowly(line.number, line.bytes, pause, stop).await?;
            }
        }
        Ok(())
    }

    /// Waits for what was missing and tries again, until the line is in; false where the person said stop.
    async fn append_slowly(&mut self, number: u64, bytes: &[u8], mut pause: Pause, stop: &Stop) -> Result<bool> {
        loop {
            tokio::select! {
                ready = self.wait_out(pause, number) => ready?,
                () = stop.asked() => return Ok(false),
            }
            let outbound = self.outbound;
            match self.append(&mut outbound.door(), number, bytes)? {
                None => return Ok(true),
                Some(again) => pause = again,
            }
        }
    }

    async fn wait_out(&mut self, pause: Pause, number: u64) -> Result<()> {
        match pause {
            Pause::Full => self.outbound.room().await?,
            Pause::Wait(until) => tokio::time::sleep_until(until).await,
            Pause::Topic(name) => {
                let topic =
                    self.outbound.topic(&name).await.wrap_err_with(|| format!("line {number}: topic {name}"))?;
                self.topics.insert(name, topic);
            }
        }
        Ok(())
    }

    #[inline]
    fn append(&mut self, door: &mut crate::app::produce::Door<'_>, number: u64, line: &[u8]) -> Result<Option<Pause>> {
        if let Some(until) = self.pace.as_ref().and_then(Pace::early) {
            return Ok(Some(Pause::Wait(until)));
        }
        if self.shape.json {
            return self.append_json(door, number, line);
        }
        let (key, value) = match &self.shape.split {
            Some(split) => split.split(line),
            None => (self.shape.key.as_deref(), line),
        };
        let value = (!(self.shape.tombstone && value.is_empty())).then_some(value);
        let headers: Vec<(&[u8], Option<&[u8]>)>;
        let headers = if self.shape.headers.is_empty() {
            &[][..]
        } else {
            headers = borrowed(&self.shape.headers);
            &headers
        };
        let record = NewRecord { key, value, headers, timestamp: None };
        let Some(topic) = self.topic else { return Err(Usage("no topic named".to_owned()).into()) };
        self.appended(door.append(topic, self.shape.partition, &record, number))
    }

    fn append_json(
        &mut self,
        door: &mut crate::app::produce::Door<'_>,
        number: u64,
        line: &[u8],
    ) -> Result<Option<Pause>> {
        let input = match json_record::parse(line) {
            Ok(input) => input,
            Err(error) => {
                self.bad(format_args!("line {number}: {error}"))?;
                return Ok(None);
            }
        };
        let topic = match (self.topic, &input.topic) {
            (Some(topic), _) => topic,
            (None, Some(name)) => match self.topics.get(name) {
                Some(&topic) => topic,
                None => return Ok(Some(Pause::Topic(name.clone()))),
            },
            (None, None) => {
                self.bad(format_args!("line {number}: no topic in the record, and none on the command line"))?;
                return Ok(None);
            }
        };
        let mut headers = borrowed(&self.shape.headers);
        headers.extend(borrowed(&input.headers));
        let key = input.key.as_deref().or(self.shape.key.as_deref());
        let value = input.value.as_deref().filter(|value| !(self.shape.tombstone && value.is_empty()));
        let record = NewRecord { key, value, headers: &headers, timestamp: input.timestamp };
        // A record that goes where it says goes to its partition too. Where the command names the topic, that one may
        // have other partitions, and the key decides.
        let own = if self.topic.is_none() { input.partition } else { None };
        self.appended(door.append(topic, self.shape.partition.or(own), &record, number))
            .wrap_err_with(|| format!("line {number}"))
    }

    #[inline]
    fn appended(&mut self, result: Result<Appended, crate::app::Error>) -> Result<Option<Pause>> {
        match result? {
            Appended::Full => Ok(Some(Pause::Full)),
            Appended::Yes => {
                self.sent += 1;
                if let Some(pace) = &mut self.pace {
                    pace.sent();
                }
                Ok(None)
            }
        }
    }

    /// Reports a bad line; without `--skip-bad` nothing more is read.
    fn bad(&mut self, what: std::fmt::Arguments<'_>) -> Result<()> {
        self.bad += 1;
        if !self.skip_bad {
            return Err(Usage(what.to_string()).into());
        }
        stderr::line(format_args!("skipped: {}", escape::text(&what.to_string())));
        Ok(())
    }

    /// Sends sample events.
    pub async fn samples(&mut self, count: u64, seed: Option<u64>, stop: &Stop, bar: &ProgressBar) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let events = match seed {
            Some(seed) => SampleEvents::new(seed, SAMPLE_EPOCH_MS),
            None => SampleEvents::new(now.as_nanos() as u64, now.as_millis() as i64),
        };
        for (number, event) in (1..=count.min(self.limit)).zip(events) {
            if stop.is_asked() {
                break;
            }
            tokio::select! {
                sent = self.sample(number, &event) => sent?,
                () = stop.asked() => break,
            }
            bar.inc(1);
            if number % 1000 == 0 || self.pace.is_some() {
                self.print.receipts(self.outbound.receipts())?;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn sample(&mut self, number: u64, event: &SampleEvent) -> Result<()> {
        let Some(topic) = self.topic else { return Err(Usage("no topic named".to_owned()).into()) };
        let mut headers: Vec<(&[u8], Option<&[u8]>)> =
            event.headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))).collect();
        let own = self.shape.headers.clone();
        headers.extend(borrowed(&own));
        let record = NewRecord {
            key: Some(event.key.as_bytes()),
            value: Some(event.json.as_bytes()),
            headers: &headers,
            timestamp: None,
        };
        loop {
            if let Some(until) = self.pace.as_ref().and_then(Pace::early) {
                tokio::time::sleep_until(until).await;
            }
            let appended = self.outbound.door().append(topic, self.shape.partition, &record, number);
            match self.appended(appended)? {
                None => return Ok(()),
                Some(_) => self.outbound.room().await?,
            }
        }
    }
}

fn borrowed(headers: &[Header]) -> Vec<(&[u8], Option<&[u8]>)> {
    headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect()
}

/// `--rate`: the next record is not due before its turn, counted from the first one.
pub struct Pace {
    began: Instant,
    rate: u32,
    sent: u64,
}

impl Pace {
    pub fn new(rate: u32) -> Self {
        Self { began: Instant::now(), rate, sent: 0 }
    }

    /// When the next record is due, if it is not yet.
    fn early(&self) -> Option<Instant> {
        let due = self.began + Duration::from_secs_f64(self.sent as f64 / f64::from(self.rate));
        (due > Instant::now()).then_some(due)
    }

    fn sent(&mut self) {
        self.sent += 1;
    }
}

//! A shard of the outbox, as a relay's source.

use std::{collections::HashSet, time::Duration};

use tokio::sync::watch;
use uuid::Uuid;

use super::{ATTEMPTS, Busy, Share};
use crate::{
    app::relay::{LEASE, Options, Outgoing, Refusal, RelayError, Source, Stop, Told, jitter, prefixed},
    patterns::envelope::Headers,
    store::{Lease, Marks, OutboxRow, SetAside, Store},
};

/// Rows of a batch at most: each of the shards has one in memory.
const ROWS: usize = 2000;
/// Before the second attempt of a row; doubled each time.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) struct OutboxShard {
    store: Store,
    number: u64,
    name: String,
    prefix: String,
    once: bool,
    share: watch::Receiver<Share>,
    busy: watch::Receiver<Busy>,
    /// The word of [`Busy`] that is known: only a newer one is news.
    word: u64,
    /// What is on its way: what its records do not say.
    rows: Vec<Going>,
    /// What was parked on the way there.
    told: Vec<Told<'static>>,
}

struct Going {
    seq: i64,
    id: Uuid,
    aggregate_type: String,
    attempts: u64,
}

impl OutboxShard {
    pub fn new(
        store: Store,
        number: u64,
        options: &Options,
        share: watch::Receiver<Share>,
        busy: watch::Receiver<Busy>,
    ) -> Self {
        let (prefix, once) = (options.prefix.clone(), options.once);
        Self {
            store,
            number,
            name: format!("outbox-{number}"),
            prefix,
            once,
            share,
            busy,
            word: 0,
            rows: Vec::new(),
            told: Vec::new(),
        }
    }

    /// For whoever follows it by hand.
    pub fn alone(store: Store, number: u64, options: &Options) -> Self {
        let (share, busy) = (watch::channel(Share { place: 0, of: 1 }).1, watch::channel(Busy::default()).1);
        Self::new(store, number, options, share, busy)
    }

    fn is_busy(&mut self) -> bool {
        let busy = self.busy.borrow_and_update();
        busy.word > self.word && busy.shards.contains(&self.number)
    }

    /// Says what became of rows that do not go out, so that they are not met again.
    async fn put_away(&mut self, marks: Marks, lease: &Lease) -> Result<(), RelayError> {
        if !marks.held.is_empty() || !marks.set_aside.is_empty() {
            self.store.outbox_mark(self.number, marks, lease).await?;
        }
        Ok(())
    }
}

impl Source for OutboxShard {
    fn shard(&self) -> &str {
        &self.name
    }

    /// A relay that stays takes all shards of its share, so that the first message finds it ready; one that goes only those
    /// in which something waits.
    async fn claim(&mut self, stop: &Stop) -> Result<bool, RelayError> {
        while !stop.is_cancelled() {
            let is_busy = !self.once || self.is_busy();
            if is_busy && self.is_wanted() {
                return Ok(true);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                changed = self.share.changed() => if changed.is_err() { break },
                changed = self.busy.changed() => if changed.is_err() { break },
            }
        }
        Ok(false)
    }

    fn is_wanted(&self) -> bool {
        self.share.borrow().has(self.number)
    }

    async fn begin(&mut self) -> Result<(), RelayError> {
        self.word = self.busy.borrow_and_update().word;
        Ok(())
    }

    async fn next(&mut self, lease: &Lease, limit: usize) -> Result<Vec<Outgoing>, RelayError> {
        self.told.clear();
        loop {
            let rows = self.store.outbox_waiting(self.number, limit.min(ROWS)).await?;
            let (found, mut marks) = (rows.len(), Marks::default());
            let (mut records, mut going) = (Vec::with_capacity(found), Vec::with_capacity(found));
            let mut blocked: HashSet<(String, String)> = HashSet::new();
            for row in rows {
                let aggregate = || (row.row.aggregate_type.clone(), row.row.aggregate_id.clone());
                if row.is_blocked || (!blocked.is_empty() && blocked.contains(&aggregate())) {
                    marks.held.push(row.seq);
                    continue;
                }
                let letter = row.row.letter().map(|letter| (prefixed(&self.prefix, letter.topic), letter.headers));
                match letter {
                    Ok((topic, headers)) => {
                        let (record, row) = outgoing(row, topic, headers);
                        records.push(record);
                        going.push(row);
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        self.told.push(Told::SetAside { id: row.row.id, reason: reason.clone(), parked: true });
                        blocked.insert((row.row.aggregate_type, row.row.aggregate_id));
                        marks.set_aside.push(SetAside { seq: row.seq, reason, again: None });
                    }
                }
            }
            self.put_away(marks, lease).await?;
            self.rows = going;
            if found == 0 || !records.is_empty() {
                return Ok(records);
            }
        }
    }

    fn set_aside(&mut self) -> Vec<Told<'static>> {
        std::mem::take(&mut self.told)
    }

    async fn mark(&mut self, lease: &Lease) -> Result<(), RelayError> {
        let published = self.rows.iter().map(|row| row.seq).collect();
        self.store.outbox_mark(self.number, Marks { published, ..Marks::default() }, lease).await?;
        self.rows.clear();
        Ok(())
    }

    /// The first refused row of each aggregate is tried again later, or parked; what stands behind it is found blocked by the
    /// next look, and the others go out then.
    async fn refused(
        &mut self,
        records: &[Outgoing],
        refusals: Vec<Refusal>,
        lease: &Lease,
    ) -> Result<Vec<Told<'static>>, RelayError> {
        let (mut marks, mut told, mut seen) = (Marks::default(), Vec::new(), HashSet::new());
        for (row, record) in self.rows.iter().zip(records) {
            let Some(refusal) = refusals.iter().find(|refusal| refusal.place == row.seq as u64) else { continue };
            if !seen.insert((&row.aggregate_type, &record.key)) {
                continue;
            }
            let attempt = row.attempts + 1;
            let again = (refusal.may_pass && attempt < ATTEMPTS)
                .then(|| jitter(AGAIN * 2_u32.saturating_pow(u32::try_from(attempt).unwrap_or(u32::MAX))));
            let reason = refusal.reason.clone();
            told.push(Told::SetAside { id: row.id, reason: reason.clone(), parked: again.is_none() });
            marks.set_aside.push(SetAside { seq: row.seq, reason, again });
        }
        self.put_away(marks, lease).await?;
        Ok(told)
    }

    /// Until something waits here, or it is time for a sign of life.
    async fn rest(&mut self, _: Duration, stop: &Stop) {
        let until = tokio::time::sleep(LEASE / 4);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut until => return,
                changed = self.share.changed() => {
                    if changed.is_err() || !self.is_wanted() {
                        return;
                    }
                }
                changed = self.busy.changed() => {
                    if changed.is_err() || self.is_busy() {
                        self.word = self.busy.borrow().word;
                        return;
                    }
                }
            }
        }
    }
}

/// A row in its two parts.
fn outgoing(row: OutboxRow, topic: String, headers: Headers) -> (Outgoing, Going) {
    let OutboxRow { seq, attempts, row, .. } = row;
    let going = Going { seq, id: row.id, aggregate_type: row.aggregate_type, attempts };
    let (key, value, event_type) = (row.aggregate_id, row.payload, row.event_type);
    let record = Outgoing { topic, key, value, headers, timestamp: row.created_at_ms, event_type, place: seq as u64 };
    (record, going)
}

//! Shared commits: what waits for the writer together is one transaction, and waits for the disk once.
//!
//! Each piece stands under a savepoint: one that fails is rolled back to it, and the others do not notice. All are answered
//! when the transaction has ended.
//!
//! A savepoint keeps the pages that it may have to give back, and SQLite writes them into a file beside the log. For a few
//! rows that is less than another wait for the disk; for many it is more, so they have a transaction of their own.

use std::iter;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{
    super::{
        AppendError, Appended, StoreError,
        writer::{self, Append, BATCH},
    },
    Writer, explain,
};

/// Rows that are too many for a savepoint.
const MANY: usize = 100;

/// What the writer's thread does.
pub(in crate::store) enum Work {
    Append(Append),
    Piece(Box<dyn Piece>),
}

impl From<Append> for Work {
    fn from(append: Append) -> Self {
        Work::Append(append)
    }
}

/// A part of a transaction.
pub(in crate::store) trait Piece: Send {
    /// How many rows it is about.
    fn rows(&self) -> usize;

    /// An error rolls this piece back.
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;

    /// The transaction has ended so: tells whoever waits what became of it.
    fn answer(self: Box<Self>, ended: Result<(), StoreError>);
}

/// A caller's piece.
pub(super) struct Job<F, T> {
    rows: usize,
    job: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    /// Called behind the commit, before the caller hears of it.
    committed: Box<dyn FnOnce() + Send>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Job<F, T>
where
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    T: Send + 'static,
{
    /// For the queue, with what will be answered.
    pub fn work(
        rows: usize,
        job: F,
        committed: Box<dyn FnOnce() + Send>,
    ) -> (Work, oneshot::Receiver<Result<T, StoreError>>) {
        let (answer, answered) = oneshot::channel();
        (Work::Piece(Box::new(Self { rows, job: Some(job), outcome: None, committed, answer })), answered)
    }
}

impl<F, T> Piece for Job<F, T>
where
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn rows(&self) -> usize {
        self.rows
    }

    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let Some(job) = self.job.take() else { return Ok(()) };
        let outcome = job(connection);
        let ran = outcome.as_ref().map(drop).map_err(StoreError::clone);
        self.outcome = Some(outcome);
        ran
    }

    fn answer(self: Box<Self>, ended: Result<(), StoreError>) {
        let outcome = match (self.outcome, ended) {
            (Some(Ok(found)), Ok(())) => {
                (self.committed)();
                Ok(found)
            }
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (None, Ok(())) => return, // it did not run: the caller is told that the store is closed
        };
        let _ = self.answer.send(outcome); // the caller may have gone
    }
}

/// What became of each append, and the crash points behind the commit.
pub(super) type Outcomes = (Vec<Result<Appended, AppendError>>, &'static [&'static str]);

/// The appends of a transaction: what they are refused for is decided for all at once.
struct Batch {
    writer: Writer,
    appends: Vec<Append>,
    outcome: Option<Result<Outcomes, StoreError>>,
}

impl Piece for Batch {
    fn rows(&self) -> usize {
        self.appends.iter().map(|append| append.events.len() + append.messages.len()).sum()
    }

    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let outcome = self.writer.append(connection, &self.appends).map_err(|error| explain(&self.writer.at, &error));
        let ran = outcome.as_ref().map(drop).map_err(StoreError::clone);
        self.outcome = Some(outcome);
        ran
    }

    fn answer(self: Box<Self>, ended: Result<(), StoreError>) {
        match (self.outcome, ended) {
            (Some(Ok((outcomes, points))), Ok(())) => {
                points.iter().for_each(|point| (self.writer.options.crash_point)(point));
                writer::answer(self.appends, outcomes);
            }
            (Some(Err(error)), _) | (_, Err(error)) => writer::answer_all(self.appends, &error),
            (None, Ok(())) => {} // it did not run
        }
    }
}

impl Writer {
    pub fn run(&self, mut connection: Connection, mut queue: mpsc::Receiver<Work>) {
        let mut work = Vec::with_capacity(BATCH);
        while queue.blocking_recv_many(&mut work, BATCH) > 0 {
            let (mut appends, mut pieces): (Vec<Append>, Vec<Box<dyn Piece>>) = (Vec::new(), Vec::new());
            for work in work.drain(..) {
                match work {
                    Work::Append(append) => appends.push(append),
                    Work::Piece(piece) => pieces.push(piece),
                }
            }
            if !appends.is_empty() {
                pieces.push(Box::new(Batch { writer: self.clone(), appends, outcome: None }));
            }
            let (large, small): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.rows() >= MANY);
            let each = large.into_iter().map(|piece| vec![piece]); // behind the small ones: they wait for less
            for mut pieces in iter::once(small).chain(each).filter(|pieces| !pieces.is_empty()) {
                let ended = self.transaction(&mut connection, &mut pieces);
                for piece in pieces {
                    piece.answer(ended.clone());
                }
            }
        }
    }

    /// An error is everybody's: the disk is full, or somebody else has the lock.
    ///
    /// BEGIN IMMEDIATE: a transaction that becomes a writer later fails at once where another has written meanwhile
    /// (SQLITE_BUSY_SNAPSHOT), whatever the busy time-out is.
    fn transaction(&self, connection: &mut Connection, pieces: &mut [Box<dyn Piece>]) -> Result<(), StoreError> {
        let explained = |error| explain(&self.at, &error);
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explained)?;
        if let [alone] = pieces {
            alone.run(&transaction)?;
            return transaction.commit().map_err(explained);
        }
        for piece in pieces {
            let savepoint = transaction.savepoint().map_err(explained)?;
            match piece.run(&savepoint) {
                Ok(()) => savepoint.commit().map_err(explained)?,
                // SQLite has rolled everything back
                Err(error) if savepoint.is_autocommit() => return Err(error),
                Err(_) => savepoint.finish().map_err(explained)?,
            }
        }
        transaction.commit().map_err(explained)
    }
}

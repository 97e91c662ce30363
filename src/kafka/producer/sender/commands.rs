//! Transactions: begun, committed and rolled back by command, between the batches.

use super::Sender;
use crate::kafka::{
    error::{Error, Result},
    producer::{Command, lane::Lane},
};

impl Sender {
    pub(super) async fn obey(&mut self, command: Command) {
        let Some(transaction) = &mut self.transaction else {
            let (Command::Begin(done) | Command::End { done, .. }) = command;
            let _ = done.send(Err(Error::Invalid("the producer has no transactional id".to_owned())));
            return;
        };
        match command {
            Command::Begin(done) => {
                let result = if let Some(error @ Error::Fenced { .. }) = self.accumulator.refused() {
                    Err(error)
                } else if transaction.open {
                    Err(Error::Invalid("a transaction is open already".to_owned()))
                } else {
                    transaction.open = true;
                    self.accumulator.refuse(None);
                    Ok(())
                };
                let _ = done.send(result);
            }
            Command::End { commit, done } => {
                let _ = done.send(self.end_transaction(commit).await);
            }
        }
    }

    async fn end_transaction(&mut self, commit: bool) -> Result<()> {
        let Some(transaction) = &mut self.transaction else { return Err(no_transaction()) };
        if !transaction.open {
            return Err(no_transaction());
        }
        if commit && let Some(error) = &transaction.failed {
            return Err(error.clone());
        }
        let result = transaction.end(&self.cluster, commit).await;
        match &result {
            Ok(()) => {
                if self.identity != Some(transaction.identity) {
                    self.identity = Some(transaction.identity);
                    self.lanes.values_mut().for_each(Lane::reset);
                }
                self.accumulator.refuse(Some(no_transaction()));
            }
            // it may be committed: only the same call again can tell
            Err(error) if commit && error.is_transient() => self.accumulator.refuse(Some(error.clone())),
            Err(error) => self.fail_transaction(error.clone()),
        }
        result
    }

    /// Nothing but a roll back can follow; after a fence not even that.
    pub(super) fn fail_transaction(&mut self, error: Error) {
        if let Some(transaction) = &mut self.transaction {
            self.accumulator.refuse(Some(error.clone()));
            transaction.failed.get_or_insert(error);
        }
    }
}

pub(super) fn no_transaction() -> Error {
    Error::Invalid("no transaction is open: call begin first".to_owned())
}

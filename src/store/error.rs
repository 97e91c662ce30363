//! What can go wrong with a store, in words that a person can act on: the address (never its password), and what to do.

use std::{error::Error, sync::Arc};

use uuid::Uuid;

use crate::patterns::event_sourcing::WrongExpectedVersion;

/// A store that cannot do what it was asked. Cheap to clone: one failed commit answers every append that shared it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "{at} was made by a newer kafkalab: its schema is version {found}, this kafkalab knows versions up to {known}. \
         Use the newer kafkalab, or name another store"
    )]
    NewerSchema { at: Arc<str>, found: i64, known: i64 },

    #[error(
        "{at} has tables that are not this kafkalab's ({cause}). Name another store, or an empty database or schema"
    )]
    ForeignSchema { at: Arc<str>, cause: Arc<str> },

    #[error("the folder {folder} of {at} cannot be made: {cause}. Make it, or name another path")]
    NoFolder { at: Arc<str>, folder: Arc<str>, cause: Arc<str> },

    #[error("{at} cannot be opened: {cause}. Is it a file, and may this user read and write it and its folder?")]
    CannotOpen { at: Arc<str>, cause: Arc<str> },

    #[error("{at} can only be read: {cause}. Allow this user to write the file and its folder, or name another store")]
    ReadOnly { at: Arc<str>, cause: Arc<str> },

    #[error("no space is left for {at}: {cause}. Nothing of this was written; free some space and try again")]
    DiskFull { at: Arc<str>, cause: Arc<str> },

    /// A quota, a limit on a file's size, a disk that fails.
    #[error(
        "the disk of {at} does not do what it should: {cause}. Is it full or failing, or is a quota used up? See to \
             it, free some space and try again"
    )]
    Disk { at: Arc<str>, cause: Arc<str> },

    #[error("{at} is locked by another process: {cause}. Nothing was written; end that process or try again")]
    Locked { at: Arc<str>, cause: Arc<str> },

    #[error("{at} is damaged, or is no store: {cause}. Restore a copy of it, or name another store")]
    Damaged { at: Arc<str>, cause: Arc<str> },

    #[error("no PostgreSQL answers at {at}: {cause}. Start it, or check host and port")]
    Unreachable { at: Arc<str>, cause: Arc<str> },

    #[error("{at} refuses the login: {cause}. Check user, password and database of the store's URL")]
    Refused { at: Arc<str>, cause: Arc<str> },

    /// The connection ended, or no answer came in time, after the database may have committed.
    #[error(
        "{at} was lost on the way: {cause}. Whether it was written is not known; the same event ids may be sent again"
    )]
    Unknown { at: Arc<str>, cause: Arc<str> },

    /// Whoever holds the lease now has a higher token; what this holder still does must have no effect.
    #[error("the lease {name:?} has passed to another owner, or was given back. Acquire it anew before going on")]
    LeaseLost { name: String },

    /// A mistake in the arguments.
    #[error("{0}")]
    Invalid(String),

    #[error("{at}: {cause}")]
    Database { at: Arc<str>, cause: Arc<str> },

    #[error("{at} was closed")]
    Closed { at: Arc<str> },
}

/// An append that was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else has written: load the stream again and decide anew.
    #[error("stream {stream:?}: {wrong}")]
    Conflict { stream: String, wrong: WrongExpectedVersion },

    /// The id belongs to an event that this append did not make: another stream, or only a part of it.
    #[error("event id {id} is taken by version {version} of stream {stream:?}: give a new event a new id")]
    IdTaken { id: Uuid, stream: String, version: u64 },

    /// A mistake in the arguments.
    #[error("{0}")]
    Invalid(String),

    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreError {
    /// Worth another try after a pause: nothing about the request is wrong.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Locked { .. } | StoreError::Unreachable { .. } | StoreError::Unknown { .. })
    }
}

/// An error with all that is under it, in one line: drivers keep what a person needs in the last of them.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = error.source();
    }
    text
}

/// Why a schema cannot be brought up to date; `last` is the last step that the database has.
pub(super) fn schema(
    at: &Arc<str>,
    error: &refinery::Error,
    runner: &refinery::Runner,
    last: Option<&refinery::Migration>,
) -> StoreError {
    let known = runner.get_migrations().iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0);
    let at = Arc::clone(at);
    match error.kind() {
        refinery::error::Kind::MissingVersion(found) => {
            let found = last.unwrap_or(found);
            StoreError::NewerSchema { at, found: i64::from(found.version()), known }
        }
        _ => StoreError::ForeignSchema { at, cause: causes(error).into() },
    }
}

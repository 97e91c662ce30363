//! The consumers behind the orders' service: analytics, notifications, search index. They read the topics, and need no server.
//!
//! ```text
//! orders, payments, shipments --> analytics       its group and inbox --> counts
//!                             --> notifications   its group and inbox --> a queue --> sender --> file, webhook
//!                             --> search-index    its group and inbox --> documents, words
//! ```
//!
//! Each is a [`Handler`] on a page of [`crate::patterns`], run by the loop of [`super::handler`]: a group, an inbox and dead
//! letters of its own. They share a process and a store, and nothing else: one that fails is tried again by itself, and the
//! others go on.
//!
//! # The guarantee
//! Counts and index are effectively once: each event counts once, whatever is repeated or killed. Notifications are queued
//! once, and sent at-least-once; see [`send`].

pub mod meters;
pub mod rebuild;
pub mod send;

use std::{fmt, str::FromStr, time::Duration};

use futures::future::{join, join_all};
use tokio::sync::Notify;

use self::send::{Sending, send};
use super::{
    handler::{self, HandlerError, Report},
    relay::{Backoff, Stop, rest},
};
pub use crate::patterns::projection::TOPICS;
use crate::{
    kafka::Cluster,
    patterns::{
        analytics::{self, Analytics},
        inbox::Handler,
        notifications::{self, Notifications},
        search::{self, SearchIndex},
    },
    store::{Store, StoreError},
};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Consumer {
    Analytics,
    Notifications,
    SearchIndex,
}

impl Consumer {
    pub const ALL: [Consumer; 3] = [Consumer::Analytics, Consumer::Notifications, Consumer::SearchIndex];

    pub fn name(self) -> &'static str {
        match self {
            Consumer::Analytics => analytics::NAME,
            Consumer::Notifications => notifications::NAME,
            Consumer::SearchIndex => search::NAME,
        }
    }

    fn handler(self) -> &'static dyn Handler {
        match self {
            Consumer::Analytics => &Analytics,
            Consumer::Notifications => &Notifications,
            Consumer::SearchIndex => &SearchIndex,
        }
    }

    /// The group of a store's consumers. It carries the store's id: another store has counts of its own, and must read all.
    pub fn group(self, store: &Store) -> String {
        format!("{}-{}", self.name(), store.id())
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Consumer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| format!("write one of {}", names()))
    }
}

/// What they say while they work.
#[derive(Debug)]
pub enum Told<'a> {
    Handler {
        consumer: Consumer,
        told: handler::Told<'a>,
    },
    /// One cannot go on by itself; it is tried again. The others go on.
    Failed {
        consumer: Consumer,
        error: &'a HandlerError,
    },
    Send(send::Told<'a>),
}

pub type Tell<'a> = &'a (dyn Fn(Told<'_>) + Send + Sync);

/// A run of some of them, all in this process.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub store: &'a Store,
    pub cluster: &'a Cluster,
    pub consumers: &'a [Consumer],
    /// The group of each is its own.
    pub options: &'a handler::Options,
    /// Whom to tell; `None`: notifications wait.
    pub sending: Option<&'a Sending>,
}

/// What a run has done.
#[derive(Debug, Default)]
pub struct Ended {
    pub handled: Vec<(Consumer, Result<Report, HandlerError>)>,
    pub sent: send::Report,
}

/// After trouble that does not pass by itself, at most.
const AGAIN: Duration = Duration::from_secs(30);

impl Run<'_> {
    /// Until it is told to stop; with [`once`](handler::Options::once) to the end of what is there, and until no notification
    /// waits.
    ///
    /// # Errors
    /// Each consumer's are in [`Ended::handled`], and only with `once`. This is the queue's: [`StoreError`], where it lasts
    /// longer than [`patience`](handler::Options::patience), with `once` alone.
    pub async fn run(self, stop: &Stop, tell: Tell<'_>) -> Result<Ended, StoreError> {
        let (queued, ended) = (Notify::new(), Stop::new());
        let handled = async {
            let run = |&consumer| {
                let queued = &queued;
                async move { (consumer, self.keep(consumer, queued, stop, tell).await) }
            };
            let handled = join_all(self.consumers.iter().map(run)).await;
            ended.cancel();
            queued.notify_one();
            handled
        };
        let sent = async {
            match self.sending {
                Some(sending) => {
                    let patience = self.options.once.then_some(self.options.patience);
                    let tell = |told: send::Told<'_>| tell(Told::Send(told));
                    send(self.store, sending, &queued, &ended, patience, stop, &tell).await
                }
                None => Ok(send::Report::default()),
            }
        };
        let (handled, sent) = join(handled, sent).await;
        Ok(Ended { handled, sent: sent? })
    }

    /// One of them, again and again where it fails.
    async fn keep(
        &self,
        consumer: Consumer,
        queued: &Notify,
        stop: &Stop,
        tell: Tell<'_>,
    ) -> Result<Report, HandlerError> {
        let options = handler::Options { group: Some(consumer.group(self.store)), ..self.options.clone() };
        let tell_of = |told: handler::Told<'_>| {
            if matches!(told, handler::Told::Committed { effects, .. } if effects > 0) {
                queued.notify_one();
            }
            tell(Told::Handler { consumer, told });
        };
        let mut backoff = Backoff::default();
        loop {
            let error = match handler::run(consumer.handler(), self.store, self.cluster, &options, stop, &tell_of).await
            {
                Err(error) if !options.once => error,
                outcome => return outcome,
            };
            tell(Told::Failed { consumer, error: &error });
            if !rest(backoff.pause().min(AGAIN), stop).await {
                return Err(error);
            }
        }
    }
}

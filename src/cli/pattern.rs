//! What the patterns' commands share: where their store is, who acts, where they die, and how their errors are said.

use std::{net::SocketAddr, time::Duration};

use color_eyre::{
    Report, Result, Section,
    eyre::{WrapErr, eyre},
};
use uuid::Uuid;

use super::{
    exit::Usage,
    session::{Session, duration},
    slips,
};
use crate::app::{
    Cluster, Error, Store, StoreOptions, StoreUrl, UrlError,
    crash::Crash,
    handler::HandlerError,
    order::OrderId,
    relay::{RelayError, prefixed},
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of the pattern and its parts")]
pub struct Options {
    /// The store: sqlite:PATH or postgres://USER@HOST/DATABASE [default: a file in the user's data folder]
    ///
    /// The demonstration takes a temporary file where none is named. KAFKALAB_STORE and the setting `store` name one too; a
    /// password belongs there, or into ~/.pgpass, and not into the command line.
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// Before the names of all topics
    #[arg(long, global = true, value_name = "PREFIX")]
    pub topic_prefix: Option<String>,
    /// Who acts, for the audit [default: the user's name]
    #[arg(long, global = true, value_name = "NAME")]
    actor: Option<String>,
    /// JSON, a line per step or one document
    #[arg(short = 'J', long, global = true)]
    pub json: bool,
    /// Die here by SIGKILL: POINT[:NTH]; `kafkalab crash-points` lists them
    #[arg(long, global = true, value_name = "POINT", env = "KAFKALAB_CRASH_AT")]
    pub crash_at: Option<Crash>,
}

impl Options {
    /// Read here and not by clap, which repeats what it cannot read: a password may be in it.
    pub fn url(&self, session: &Session) -> Result<StoreUrl> {
        match &self.store {
            Some(text) => text.parse().map_err(|error: UrlError| usage(format!("--store: {error}"))),
            None => Ok(session.settings.store.value.clone()),
        }
    }

    pub async fn open(&self, session: &Session) -> Result<Store> {
        self.open_at(&self.url(session)?).await
    }

    /// For who asks what is kept, or mends it: a file that is not there is not made, because an empty answer would hide the
    /// slip in its name. `made_by` is the command that makes one.
    pub async fn open_to_look(&self, made_by: &str, session: &Session) -> Result<Store> {
        let url = self.url(session)?;
        if let Some(path) = url.path().filter(|path| path.try_exists().is_ok_and(|exists| !exists)) {
            // with its folder: the same name in another one is the usual slip
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let named_for_all = self.store.is_none() && !session.settings.store_is_default();
            let store = if named_for_all { String::new() } else { format!(" --store {url}") };
            return Err(eyre!("opening the store: there is no {}", path.display()))
                .with_suggestion(|| format!("`kafkalab {made_by}{store}` makes one"));
        }
        self.open_at(&url).await
    }

    pub async fn open_at(&self, url: &StoreUrl) -> Result<Store> {
        self.open_with(url, StoreOptions::default()).await
    }

    /// For who answers within a time: a store that is away or locked has failed before that, so that it can be said.
    pub async fn open_within(&self, limit: Duration, session: &Session) -> Result<Store> {
        let usual = StoreOptions::default();
        let lock_wait = usual.lock_wait.min(limit.mul_f64(0.6));
        let options = StoreOptions {
            lock_wait,
            idle_in_transaction: usual.idle_in_transaction.min(lock_wait.mul_f64(0.8)),
            retry_for: usual.retry_for.min(limit.mul_f64(0.3)),
            ..usual
        };
        self.open_with(&self.url(session)?, options).await
    }

    async fn open_with(&self, url: &StoreUrl, options: StoreOptions) -> Result<Store> {
        let options = StoreOptions { crash_point: self.crash().hook(), ..options };
        Store::open_with(url, options).await.wrap_err("opening the store")
    }

    pub fn crash(&self) -> Crash {
        self.crash_at.clone().unwrap_or_default()
    }

    pub fn prefix(&self, session: &Session) -> String {
        self.topic_prefix.clone().unwrap_or_else(|| session.settings.topic_prefix.value.clone())
    }

    pub fn actor(&self) -> String {
        let user = || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        let named = self.actor.clone().or_else(user).filter(|name| !name.is_empty());
        named.unwrap_or_else(|| "unknown".to_owned())
    }

    /// The topics' names on the wire.
    pub fn topics(&self, session: &Session, topics: &[&str]) -> Vec<String> {
        let prefix = self.prefix(session);
        topics.iter().map(|topic| prefixed(&prefix, topic)).collect()
    }
}

/// The broker's errors as themselves: they have exit codes of their own.
pub fn relayed(error: RelayError) -> Report {
    match error {
        RelayError::Broker(error) => error.into(),
        RelayError::Store(error) => error.into(),
        error @ RelayError::Poison { .. } => {
            let report: Report = error.into();
            report
                .suggestion("nothing behind it is published until it can be: is there a newer kafkalab that knows it?")
        }
    }
}

/// The same of a handler.
pub fn handled(error: HandlerError) -> Report {
    match error {
        HandlerError::Broker(error) => error.into(),
        HandlerError::Store(error) => error.into(),
        HandlerError::DeadLetters(error) => Report::new(*error),
    }
}

pub fn order_id(text: &str) -> Result<OrderId, String> {
    if let Some(bare) = slips::bare(text) {
        return Err(format!("without the quotes and blanks around it: {bare}"));
    }
    OrderId::new(text).map_err(|error| error.to_string())
}

/// Of a message or a notification.
pub fn row_id(text: &str) -> Result<Uuid, String> {
    text.trim().parse().map_err(|_| "an id is like 01a2b3c4-0000-7000-8000-000000000001; a list has them".to_owned())
}

/// To listen on.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write ADDRESS:PORT, such as 127.0.0.1:9464; an address is no name".to_owned())
}

pub fn usage(text: impl Into<String>) -> Report {
    Usage(text.into()).into()
}

/// A duration with days as well.
pub fn age(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').map(str::parse::<u64>) {
        Some(Ok(days)) if days <= 36_500 => Ok(Duration::from_secs(days * 86_400)),
        _ => duration(text).map_err(|error| format!("{error}, or days such as 7d")),
    }
}

/// Who gave up while a broker was away ends as if it had never been reached.
pub fn gave_up(error: RelayError, cluster: &Cluster) -> RelayError {
    match error {
        RelayError::Broker(error) if error.is_transient() && !error.is_unreachable() => {
            let addresses: Vec<String> = cluster.bootstrap().iter().map(ToString::to_string).collect();
            Error::Unreachable { addresses: addresses.join(","), cause: error.to_string().into() }.into()
        }
        error => error,
    }
}

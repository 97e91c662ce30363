//! Telling somebody outside: a line in a file, or a call of a webhook.
//!
//! ```text
//! file:told.jsonl          lines, appended under a lock and synced: {"id":"...","order_id":"...",...}
//! https://host/path        POST of one each, `Idempotency-Key: "ID"`; any 2xx is a yes
//! ```
//!
//! # The guarantee
//! At-least-once: what is said to be sent was heard (a file: lies on the disk; a webhook: was answered with 2xx). What is said
//! to have failed may have been heard all the same. Everything has a limit: the wait for a lock, the call as a whole, the
//! bytes of an answer. A webhook's redirects are not followed: who moves it says so to a person.

mod file;
mod webhook;

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use hyper::Uri;
use uuid::Uuid;

use self::{file::File, webhook::Webhook};

/// A call of a webhook takes no longer, connecting and answer included; nor does the wait for a file's lock.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Whom to tell. Shown without what may be a secret: the path of a webhook often is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    File(PathBuf),
    Webhook(Uri),
}

/// The text names nobody who could be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    #[error("write file:PATH, http://HOST/PATH or https://HOST/PATH")]
    Form,
    #[error("a URL with a user or a password in it is not called; a webhook's secret belongs into its path")]
    UserInfo,
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Target::File(path.into()));
        }
        let uri: Uri = text.parse().map_err(|_| NoTarget::Form)?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        match uri.scheme_str() {
            Some("http" | "https") if authority.contains('@') => Err(NoTarget::UserInfo),
            Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(Target::Webhook(uri)),
            _ => Err(NoTarget::Form),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::File(path) => write!(f, "file:{}", path.display()),
            Target::Webhook(uri) => {
                let authority = uri.authority().map_or("", |authority| authority.as_str());
                write!(f, "{}://{authority}", uri.scheme_str().unwrap_or("http"))
            }
        }
    }
}

/// What is told: one JSON object.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The idempotency key.
    pub id: Uuid,
    pub body: &'a [u8],
}

/// Why it may not have been heard. The same notice may be sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHeard {
    #[error("{target}: {cause}")]
    File { target: String, cause: String },
    #[error("{target} does not answer: {cause}")]
    NoAnswer { target: String, cause: String },
    #[error("{target} answers {status}{said}")]
    Refused { target: String, status: u16, said: String },
    #[error("{target} has not answered within {} s", LIMIT.as_secs())]
    Late { target: String },
}

/// Somebody who can be told.
#[derive(Debug)]
pub enum Notifier {
    File(File),
    Webhook(Box<Webhook>),
}

impl Notifier {
    /// A file is made here, so that a wrong path is known at once. A webhook is not called before there is something to say.
    ///
    /// # Errors
    /// [`NotHeard`]: a file that cannot be written; a machine without certificates, for `https`.
    pub async fn open(target: &Target) -> Result<Self, NotHeard> {
        match target {
            Target::File(path) => File::open(path.clone()).await.map(Notifier::File),
            Target::Webhook(uri) => {
                Webhook::open(uri.clone(), target.to_string()).map(|webhook| Notifier::Webhook(Box::new(webhook)))
            }
        }
    }

    /// Tells of all of them at the same time, and gives how each ended. Of a file all end in one way.
    pub async fn tell(&self, notices: &[Notice<'_>]) -> Vec<Result<(), NotHeard>> {
        match self {
            Notifier::File(file) => vec![file.append(notices).await; notices.len()],
            Notifier::Webhook(webhook) => {
                futures::future::join_all(notices.iter().map(|notice| webhook.call(*notice))).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_file_or_a_webhook_and_shows_no_secret() {
        let shown = |text: &str| text.parse::<Target>().map(|target| target.to_string());
        assert_eq!(shown("file:a/b.jsonl"), Ok("file:a/b.jsonl".to_owned()));
        assert_eq!(shown("https://hooks.test:8443/T0/secret?token=x"), Ok("https://hooks.test:8443".to_owned()));
        for text in ["", "file:", "a", "ftp://a/b", "http://", "http:///x", "//a/b", "http://a b/"] {
            assert_eq!(shown(text), Err(NoTarget::Form), "{text:?}");
        }
        assert_eq!(shown("http://ada:pw@host/"), Err(NoTarget::UserInfo));
    }
}

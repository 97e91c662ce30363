//! Sessions that end (KIP-368).
//!
//! A broker may bound the life of what SASL has begun (`connections.max.reauth.ms`): it closes a connection whose client
//! sends anything else after that time. So the owner task authenticates again before, on the same connection. It takes no
//! new request until those in flight are answered and the exchange is over: the order of requests stays as it is, and no
//! request is lost with a connection.

use std::{sync::Arc, time::Duration};

use rskafka::messenger::Messenger;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    describe,
    sasl::{Failure, Sasl, authenticate},
    socket::Socket,
};

/// A session that the broker ends, unless one authenticates again.
pub(super) struct Session {
    sasl: Sasl,
    due: Instant,
    limit: Duration,
}

impl Session {
    /// `None` where the session has no end.
    pub(super) fn begin(sasl: &Sasl, lifetime: Option<Duration>, limit: Duration) -> Option<Self> {
        // Java's clients do it after 85 to 95 % of the lifetime
        lifetime.map(|lifetime| Self { sasl: sasl.clone(), due: Instant::now() + lifetime.mul_f64(0.85), limit })
    }

    /// Authenticates again; the session that this begins, or why the connection is of no use any more.
    pub(super) async fn renew(self, messenger: &Messenger<Socket>) -> Result<Option<Self>, Arc<str>> {
        match timeout(self.limit, authenticate(messenger, &self.sasl)).await {
            Ok(Ok(lifetime)) => {
                tracing::debug!("authenticated again, before the session's end");
                Ok(Self::begin(&self.sasl, lifetime, self.limit))
            }
            Ok(Err(Failure::Denied(why))) => {
                tracing::warn!("authenticating again: {why}");
                Err(format!("authenticating again: {why}").into())
            }
            Ok(Err(Failure::Broken(error))) => Err(describe(&error).into()),
            Err(_) => Err("no answer to the SASL exchange that renews the session".into()),
        }
    }
}

/// Waits for the time to authenticate again; for ever where the session has no end.
pub(super) async fn due(session: &Option<Session>) {
    match session {
        Some(session) => sleep_until(session.due).await,
        None => std::future::pending().await,
    }
}

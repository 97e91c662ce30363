//! Being told of what comes into the outbox: LISTEN on a connection of its own.
//!
//! What is said while nobody listens is lost. So whoever is woken looks, and looks from time to time anyway; a connection
//! that is made anew counts as a word.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Config, NoTls};

use super::{ANSWER, CONNECT};

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// The channel carries the table's number: two stores in one database do not wake each other.
const CHANNEL: &str = "SELECT 'kafkalab_outbox_' || CAST(CAST('outbox' AS regclass) AS oid)";

/// Listens until nobody holds the signal any more.
pub(super) async fn listen(config: Config, at: Arc<str>, signal: watch::Sender<u64>, held: std::sync::Weak<()>) {
    while held.strong_count() > 0 {
        if let Err(error) = attend(&config, &signal, &held).await {
            tracing::debug!(%at, %error, "listening for the outbox ended; once more");
        }
        sleep(PAUSE).await;
    }
}

async fn attend(
    config: &Config,
    signal: &watch::Sender<u64>,
    held: &std::sync::Weak<()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, mut connection) = timeout(CONNECT, config.connect(NoTls)).await??;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context)).boxed();
    let begin = async {
        let channel: String = client.query_one(CHANNEL, &[]).await?.try_get(0)?;
        client.batch_execute(&format!("LISTEN {channel}")).await
    };
    let mut begin = std::pin::pin!(timeout(ANSWER, begin));
    let mut begun = false;
    loop {
        tokio::select! {
            outcome = &mut begin, if !begun => {
                outcome??;
                begun = true;
                signal.send_modify(|count| *count += 1);
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(_))) => signal.send_modify(|count| *count += 1),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            () = sleep(PAUSE) => {
                if held.strong_count() == 0 {
                    return Ok(());
                }
            }
        }
    }
}

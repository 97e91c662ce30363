//! The embedded broker: a Kafka-compatible broker in this process, for trying things out without a set-up.
//!
//! It is noida-db's. What it does not do: wait on an empty fetch, heed a fetch's size, give topics ids, survive a
//! `kill -9` without a loss. So what this project promises about durability is tried on Apache Kafka
//! (`docs/guarantees.md`).

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// With a folder, all topics and records are written to it this often, and at the end.
pub const SAVED_EVERY: Duration = Duration::from_secs(5);

/// The largest answer of this broker that a client must take: it sends all that a partition has behind the offset.
pub const LARGEST_ANSWER: usize = 1 << 30;

/// A broker that answers as long as its process lives, and saves until this is dropped.
#[derive(Debug)]
pub struct EmbeddedBroker {
    pub address: SocketAddr,
    saver: Option<Saver>,
}

#[derive(Debug)]
struct Saver {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl EmbeddedBroker {
    /// Starts a broker on 127.0.0.1; port 0 takes a free one. With a folder, topics and records are loaded from it and
    /// saved to it; without one they end with the process.
    ///
    /// # Errors
    /// A port that is taken, a folder that cannot be used, or a build without the feature `embedded-broker`.
    #[cfg(feature = "embedded-broker")]
    pub fn start(port: u16, folder: Option<&Path>) -> io::Result<Self> {
        let at = format!("127.0.0.1:{port}");
        let Some(folder) = folder else {
            return Ok(Self { address: noida::kafka::spawn(&at)?, saver: None });
        };
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(".kafkalab"), b"topics and records of kafkalab's embedded broker\n")?;
        // Its own autosave comes with a signal handler that ends the process; this one is what remains of it.
        let (address, save) = noida::kafka::spawn_persistent_for_test(&at, folder)?;
        Ok(Self { address, saver: Some(Saver::start(save)) })
    }

    #[cfg(not(feature = "embedded-broker"))]
    pub fn start(_port: u16, _folder: Option<&Path>) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this kafkalab was built without the feature embedded-broker; name a broker with --brokers",
        ))
    }
}

impl Saver {
    #[cfg_attr(not(feature = "embedded-broker"), allow(dead_code))]
    fn start(save: impl Fn() + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            loop {
                let again = stopped.recv_timeout(SAVED_EVERY) == Err(mpsc::RecvTimeoutError::Timeout);
                save();
                if !again {
                    return;
                }
            }
        });
        Self { stop, thread }
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        if let Some(saver) = self.saver.take() {
            let _ = saver.stop.send(()); // its thread may have ended
            let _ = saver.thread.join();
        }
    }
}

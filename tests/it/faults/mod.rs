//! Faults on Apache Kafka, with what must hold through each of them.
//!
//! Tests that need a broker to themselves share one behind a proxy and take turns; see [`Lab`].

mod disk;
mod leaders;
mod produce;
mod refused;

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use crate::{
    cluster::Kafka,
    proxy::{Faults, Proxy},
    random::Random,
};

pub const MINUTE: Duration = Duration::from_secs(60);

/// One broker that advertises a proxy. Whoever holds it may do anything to it.
#[derive(Debug)]
pub struct Lab {
    pub kafka: Kafka,
    pub proxy: Proxy,
    /// The proxy's address: all traffic goes through it.
    pub through: String,
}

impl Lab {
    /// Waits for its turn; the lab is in order again when it comes, whatever the last holder did and however it ended.
    pub fn take(random: &mut Random) -> MutexGuard<'static, Lab> {
        static LAB: OnceLock<Mutex<Lab>> = OnceLock::new();
        let lab = LAB.get_or_init(|| Mutex::new(Lab::start(random.fork())));
        let lab = lab.lock().unwrap_or_else(PoisonError::into_inner);
        lab.proxy.set(Faults::default());
        lab.proxy.seed(random.fork());
        if !lab.kafka.is_running(1) {
            lab.kafka.restart(1);
        }
        lab
    }

    fn start(random: Random) -> Self {
        let proxy = Proxy::start(random);
        let through = proxy.address();
        let settings = [
            &format!("advertised.listeners=PLAINTEXT://{through}"),
            "auto.create.topics.enable=false",
            "log.cleaner.backoff.ms=100",
            "log.initial.task.delay.ms=100",
        ];
        let kafka = Kafka::start(1, &settings);
        proxy.to(&kafka.brokers);
        Self { kafka, proxy, through }
    }

    /// The broker itself, for what a test asks beside the program.
    pub fn broker(&self) -> &str {
        &self.kafka.brokers
    }
}

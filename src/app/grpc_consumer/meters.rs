//! The consumers in numbers, for [`crate::app::metrics`]: what happened is counted at once, what is so is asked for when
//! somebody looks.

use std::future::Future;

use futures::future::{join, join_all};

use super::{Consumer, Told, send};
use crate::{
    app::{
        groups,
        handler::{self, What},
        metrics::{Counter, Family, Gauge, Registry},
    },
    kafka::Cluster,
    store::Store,
};

type Labels = [(&'static str, &'static str); 1];

/// Cheap to clone: clones count together.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    records: Family<Labels, Counter>,
    effects: Family<Labels, Counter>,
    repeats: Family<Labels, Counter>,
    dead_letters: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    lag: Family<Labels, Gauge>,
    sent: Counter,
    not_sent: Counter,
    waiting: Gauge,
    dead: Gauge,
}

impl Meters {
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("kafkalab_consumer");
        registry.register("records", "Records that were handled", self.records.clone());
        registry.register("effects", "Records that took effect", self.effects.clone());
        registry.register("repeats", "Records that the inbox knew", self.repeats.clone());
        registry.register("dead_letters", "Records that were put aside", self.dead_letters.clone());
        registry.register("failures", "How often a handler could not go on by itself", self.failures.clone());
        registry.register("lag_records", "Offsets between what is committed and the end", self.lag.clone());
        registry.register("notifications_sent", "Notifications that were heard", self.sent.clone());
        registry.register("notifications_failed", "Attempts that failed", self.not_sent.clone());
        registry.register("notifications_waiting", "Notifications that wait in the store", self.waiting.clone());
        registry.register("notifications_dead", "Notifications that failed too often", self.dead.clone());
        registry
    }

    /// Counts what is told.
    pub fn count(&self, told: &Told<'_>) {
        let one = |family: &Family<Labels, Counter>, consumer: Consumer| {
            family.get_or_create(&label(consumer)).inc();
        };
        match told {
            Told::Handler { consumer, told: handler::Told::Record { what, .. } } => {
                one(&self.records, *consumer);
                match what {
                    What::Effect { .. } => one(&self.effects, *consumer),
                    What::Repeat => one(&self.repeats, *consumer),
                    What::Dead(_) => one(&self.dead_letters, *consumer),
                    What::PassedBy => {}
                }
            }
            Told::Failed { consumer, .. } => one(&self.failures, *consumer),
            Told::Send(send::Told::Sent(_)) => drop(self.sent.inc()),
            Told::Send(send::Told::Failed { .. }) => drop(self.not_sent.inc()),
            Told::Handler { .. } | Told::Send(send::Told::Trouble(_)) => {}
        }
    }

    /// Asks for what is so now. What is not known stays as it was.
    pub fn refresh(
        &self,
        store: &Store,
        cluster: &Cluster,
        consumers: &[Consumer],
    ) -> impl Future<Output = ()> + Send + use<> {
        let (meters, store, cluster, consumers) = (self.clone(), store.clone(), cluster.clone(), consumers.to_vec());
        async move {
            let lags = join_all(consumers.iter().map(async |consumer| {
                let described = groups::describe(&cluster, &consumer.group(&store)).await;
                if let Some(lag) = described.ok().and_then(|group| group.lag()) {
                    meters.lag.get_or_create(&label(*consumer)).set(lag);
                }
            }));
            let queue = async {
                if let Ok(queue) = store.notifications().await {
                    meters.waiting.set(queue.waiting.try_into().unwrap_or(i64::MAX));
                    meters.dead.set(queue.dead.try_into().unwrap_or(i64::MAX));
                }
            };
            join(lags, queue).await;
        }
    }
}

fn label(consumer: Consumer) -> Labels {
    [("handler", consumer.name())]
}

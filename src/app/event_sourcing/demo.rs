//! The demonstration: the whole flow, narrated, with what the pattern is for.

use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::{
    Handled, OrderError, Orders, Step,
    publish::{self, publish},
    replay,
};
use crate::{
    app::{
        crash::Crash,
        relay::{Options, RelayError, Stop, Told, make_topics, prefixed},
    },
    kafka::{Cluster, Error},
    patterns::{
        event_sourcing::{ExpectedVersion, Metadata, NewEvent, Until},
        money::{Currency, Money},
        order::{
            CancelOrder, CreateOrder, InvalidText, OrderCommand, OrderEvent, OrderId, PayOrder, PaymentId, ProductId,
            Reason, ShipOrder, ShipmentId, UserId, decide,
        },
    },
    store::AppendError,
};

/// Why the demonstration did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Broker(#[from] Error),
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// Something that the pattern promises did not hold: a defect of this program.
    #[error("{0}: this should not be; please report it")]
    Broken(&'static str),
}

/// What the demonstration works on.
pub struct Demo {
    pub orders: Orders,
    pub cluster: Cluster,
    pub prefix: String,
    pub actor: String,
    pub crash: Crash,
    pub stop: Stop,
}

type Tell<'a> = &'a mut dyn FnMut(Step);

impl Demo {
    /// The flow of an order, and what only a log can do: look back, refuse, let one of two win, replay.
    pub async fn run(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        let topics: Vec<String> = publish::TOPICS.iter().map(|topic| prefixed(&self.prefix, topic)).collect();
        make_topics(&self.cluster, &topics).await?;
        let bought = self.life_of_an_order(tell).await?;
        let cancelled = self.a_cancelled_one(tell).await?;
        self.look_back(&bought, tell).await?;
        self.refuse(&cancelled, tell).await?;
        self.two_writers(tell).await?;
        self.replay(tell).await
    }

    async fn life_of_an_order(&self, tell: Tell<'_>) -> Result<OrderId, DemoError> {
        tell(Step::Part { title: "An order is created, paid and shipped" });
        lesson(
            tell,
            "A command is decided on the order's past, and what it decides is appended to the log: one write.",
        );
        let order = self.create("coffee-mug", 1299, tell).await?;
        lesson(
            tell,
            "The publisher follows the log. A crash between append and publish loses nothing: the log has it.",
        );
        self.pay(&order, 1299, tell).await?;
        self.ship(&order, tell).await?;
        self.state(&order, Until::End, tell).await?;
        lesson(tell, "The state is stored nowhere: it is the fold of the three events, one after the other.");
        Ok(order)
    }

    async fn a_cancelled_one(&self, tell: Tell<'_>) -> Result<OrderId, DemoError> {
        tell(Step::Part { title: "Another one is paid, and cancelled" });
        let order = self.create("tea-pot", 4500, tell).await?;
        self.pay(&order, 4500, tell).await?;
        let reason = Reason::new("changed_mind")?;
        self.carry_out(CancelOrder { order_id: order.clone(), reason }.into(), tell).await?;
        lesson(tell, "One command, two events, one transaction: cancelled and refunded, or neither.");
        Ok(order)
    }

    async fn look_back(&self, order: &OrderId, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "The first order as it was at version 2" });
        self.state(order, Until::Version(2), tell).await?;
        lesson(tell, "Paid, and not shipped yet. A table that is updated in place has forgotten that.");
        Ok(())
    }

    async fn refuse(&self, order: &OrderId, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "A command that the rules refuse" });
        let before = self.orders.load(order, Until::End).await?.version;
        let command = ShipOrder { order_id: order.clone(), shipment_id: ShipmentId::new("shipment-too-late")? }.into();
        self.try_out(&command, None, tell).await?;
        match self.orders.load(order, Until::End).await?.version == before {
            true => lesson(tell, "Nothing was appended: a refusal is an answer, not an event."),
            false => return Err(DemoError::Broken("a refused command has changed the order")),
        }
        Ok(())
    }

    async fn two_writers(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "Two writers, one version" });
        let order = self.create("lamp", 7900, tell).await?;
        let seen = self.orders.load(&order, Until::End).await?.version;
        lesson(
            tell,
            "Both have seen version 1. One pays, the other cancels; each appends only if it is still version 1.",
        );
        let pay = self.payment(&order, 7900)?;
        let cancel: OrderCommand = CancelOrder { order_id: order.clone(), reason: Reason::new("out_of_stock")? }.into();
        // both are decided on what they have seen, and appended at the same time
        let (paid, cancelled) = (self.decided(&pay, seen).await?, self.decided(&cancel, seen).await?);
        let (one, other) =
            tokio::join!(self.append_as_seen(&order, seen, paid), self.append_as_seen(&order, seen, cancelled));
        let command = match (one?, other?) {
            (true, false) => &cancel,
            (false, true) => &pay,
            _ => return Err(DemoError::Broken("not exactly one of two writers has won")),
        };
        let actual = self.orders.load(&order, Until::End).await?.version;
        tell(Step::Conflict { order_id: order.to_string(), expected: seen, actual });
        lesson(tell, "The loser loads the order again and decides anew, on what is true now:");
        self.try_out(command, None, tell).await?;
        self.publish(tell).await?;
        self.state(&order, Until::End, tell).await
    }

    async fn replay(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        tell(Step::Part { title: "A replay" });
        let target = replay::Target::Topic(prefixed(&self.prefix, "orders-replay"));
        let options = replay::Options { from: 1, to: None, target, prefix: self.prefix.clone() };
        make_topics(&self.cluster, &[prefixed(&self.prefix, "orders-replay")]).await?;
        let store = self.orders.store();
        let report = replay::replay(store, Some(&self.cluster), &options, &self.stop, &mut |_| ()).await?;
        tell(Step::Replayed { events: report.events, orders: report.orders });
        lesson(
            tell,
            "The same events with the same ids, marked with the header kafkalab-replay: who builds a new view reads \
                      them, who sends mails passes them by.",
        );
        Ok(())
    }

    // ---- steps

    async fn create(&self, product: &str, cents: i64, tell: Tell<'_>) -> Result<OrderId, DemoError> {
        let order_id = OrderId::new(Uuid::now_v7().to_string())?;
        let command = CreateOrder {
            order_id: order_id.clone(),
            user_id: UserId::new("ada")?,
            product_id: ProductId::new(product)?,
            price: Money::new(cents, Currency::USD),
        };
        self.carry_out(command.into(), tell).await?;
        Ok(order_id)
    }

    fn payment(&self, order: &OrderId, cents: i64) -> Result<OrderCommand, DemoError> {
        let payment_id = PaymentId::new(format!("payment-{order}"))?;
        Ok(PayOrder { order_id: order.clone(), payment_id, amount: Money::new(cents, Currency::USD) }.into())
    }

    async fn pay(&self, order: &OrderId, cents: i64, tell: Tell<'_>) -> Result<(), DemoError> {
        self.carry_out(self.payment(order, cents)?, tell).await
    }

    async fn ship(&self, order: &OrderId, tell: Tell<'_>) -> Result<(), DemoError> {
        let shipment_id = ShipmentId::new(format!("shipment-{order}"))?;
        self.carry_out(ShipOrder { order_id: order.clone(), shipment_id }.into(), tell).await
    }

    /// A command that is taken, and its events on Kafka.
    async fn carry_out(&self, command: OrderCommand, tell: Tell<'_>) -> Result<(), DemoError> {
        self.try_out(&command, None, tell).await?;
        self.publish(tell).await
    }

    async fn try_out(&self, command: &OrderCommand, expected: Option<u64>, tell: Tell<'_>) -> Result<(), DemoError> {
        let order_id = command.order_id().to_string();
        tell(Step::Command { command: command.name(), order_id: order_id.clone(), actor: self.actor.clone() });
        match self.orders.handle(command, &self.actor, expected).await {
            Ok(handled) => appended(&handled, command.order_id(), tell),
            Err(OrderError::Rejected(rejection)) => tell(Step::Refused {
                command: command.name(),
                order_id,
                code: rejection.code(),
                reason: rejection.to_string(),
            }),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Decided on the version that was seen, whatever it is by now.
    async fn decided(&self, command: &OrderCommand, seen: u64) -> Result<Vec<NewEvent>, DemoError> {
        let before = self.orders.load(command.order_id(), Until::Version(seen)).await?;
        let events = decide(&before.state, command.clone()).map_err(OrderError::from)?;
        let metadata = Metadata::by(&self.actor);
        Ok(events.iter().map(|event: &OrderEvent| event.to_new_event(Uuid::now_v7(), &metadata)).collect())
    }

    /// False where somebody was quicker.
    async fn append_as_seen(&self, order: &OrderId, seen: u64, events: Vec<NewEvent>) -> Result<bool, DemoError> {
        match self.orders.store().append(&order.stream(), ExpectedVersion::Exact(seen), events).await {
            Ok(_) => Ok(true),
            Err(AppendError::Conflict { .. }) => Ok(false),
            Err(error) => Err(OrderError::Append(error).into()),
        }
    }

    async fn publish(&self, tell: Tell<'_>) -> Result<(), DemoError> {
        let options = Options { prefix: self.prefix.clone(), once: true, ..Options::default() };
        let steps = Mutex::new(Vec::new());
        let say = |told: Told<'_>| {
            let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.extend(Step::published(&told));
        };
        let store = self.orders.store();
        publish(store, &self.cluster, &options, &self.crash, &self.stop, &say).await?;
        steps.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().for_each(tell);
        Ok(())
    }

    async fn state(&self, order: &OrderId, until: Until, tell: Tell<'_>) -> Result<(), DemoError> {
        let folded = self.orders.load(order, until).await?;
        tell(Step::State { order_id: order.to_string(), version: folded.version, order: folded.state });
        Ok(())
    }
}

/// The steps that an append is told by.
pub fn appended(handled: &Handled, order_id: &OrderId, tell: &mut dyn FnMut(Step)) {
    let Some(appended) = handled.appended else { return };
    let behind = handled.events.len() as u64;
    for (index, (event_id, event)) in (0u64..).zip(&handled.events) {
        tell(Step::Appended {
            event: event.name(),
            stream: order_id.stream(),
            version: appended.first_version + index,
            position: (appended.last_position + 1 + index).saturating_sub(behind),
            event_id: *event_id,
        });
    }
}

fn lesson(tell: Tell<'_>, text: &str) {
    tell(Step::Lesson { text: text.to_owned() });
}

//! A handler of one's own: `kafkalab broker -- cargo run --example 04-handler`
//!
//! Who orders gets a point. A point too many is what must not happen, although a record may come twice: so the handler is
//! a pure function, and `app::handler::run` does the rest (inbox, state and new messages in one transaction, then the
//! offsets). Here every record does come twice, and the points are right.

use kafkalab::{
    app::{
        ConnectOptions, Store, connect,
        crash::Crash,
        event_sourcing::Orders,
        handler::{self, run},
        order::{CreateOrder, OrderCreated, OrderEvent},
        outbox,
        relay::{self, Stop, make_topics},
    },
    patterns::inbox::{Effects, Entity, Handler, Message, Poison},
    store::StoreUrl,
};
use serde::{Deserialize, Serialize};

struct Points;

/// What the handler knows of a customer. The store keeps it, by kind and id.
#[derive(Default, Serialize, Deserialize)]
struct Account {
    points: u64,
}

const ACCOUNT: &str = "account";

/// Other events of orders are not for this handler. What cannot be read goes to `orders.dlt`, and the next record proceeds.
fn created(message: &Message<'_>) -> Result<Option<OrderCreated>, Poison> {
    match OrderEvent::decode(&message.envelope.event_type, message.data).map_err(Poison::new)? {
        OrderEvent::OrderCreated(created) => Ok(Some(created)),
        _ => Ok(None),
    }
}

impl Handler for Points {
    fn name(&self) -> &str {
        "points"
    }

    fn topics(&self) -> &[&'static str] {
        &["orders"]
    }

    fn entity(&self, message: &Message<'_>) -> Result<Option<Entity>, Poison> {
        Ok(created(message)?.map(|order| Entity { kind: ACCOUNT, id: order.user_id.to_string() }))
    }

    fn handle(&self, state: Option<&[u8]>, _: &Message<'_>) -> Result<Effects, Poison> {
        let mut account = state.map_or(Ok(Account::default()), serde_json::from_slice).map_err(Poison::new)?;
        account.points += 1;
        Ok(Effects { state: Some(serde_json::to_vec(&account).map_err(Poison::new)?), ..Effects::default() })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let brokers = std::env::var("KAFKALAB_BROKERS").unwrap_or_else(|_| "localhost:9092".to_owned());
    let addresses = brokers.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let cluster = connect(addresses, ConnectOptions::default()).await?;
    let folder = std::env::temp_dir().join(format!("points-{}", uuid::Uuid::now_v7()));
    let store = Store::open(&StoreUrl::sqlite(folder.join("store.db"))).await?;
    // Topics of this run alone.
    let prefix = format!("{}-", store.id());
    make_topics(&cluster, &[format!("{prefix}orders")]).await?;

    // Orders, and their messages by the outbox.
    let orders = Orders::new(store.clone());
    for (order, user) in [("o1", "ada"), ("o2", "grace"), ("o3", "ada")] {
        let (order_id, user_id, product_id) = (order.parse()?, user.parse()?, "lamp".parse()?);
        let create = CreateOrder { order_id, user_id, product_id, price: "USD:12.99".parse()? };
        outbox::take(&orders, &create.into(), "example", None).await?;
    }
    let stop = Stop::new();
    let relaying = relay::Options { prefix: prefix.clone(), once: true, ..relay::Options::default() };
    outbox::relay(&store, &cluster, &relaying, None, &Crash::default(), &stop, &|_| ()).await?;

    // Another group begins at the start again: as after a crash before the offsets were committed, everything comes twice.
    for group in ["points", "points-again"] {
        let group = Some(format!("{prefix}{group}"));
        let options = handler::Options { prefix: prefix.clone(), group, once: true, ..handler::Options::default() };
        let report = run(&Points, &store, &cluster, &options, &stop, &|_| ()).await?;
        println!("{} records: {} effects, {} repeats", report.records, report.effects, report.repeats);
    }
    for (user, (_, account)) in store.states_of(ACCOUNT, "", 100).await? {
        println!("{user}: {} points", serde_json::from_slice::<Account>(&account)?.points);
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

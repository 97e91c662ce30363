//! The outbox, its relay and the idempotent handler by the real program: the store is read with SQL, the topics with kcat.
//!
//! The store is SQLite, or a schema of its own on the PostgreSQL that `KAFKALAB_TEST_POSTGRES` names.

mod away;
mod crash;
pub mod database;
mod handler;
mod judge;
mod parked;
mod relays;
mod transcript;
mod wrong;

use kafkalab::{
    app::{
        Store,
        event_sourcing::Orders,
        money::Money,
        order::{CancelOrder, CreateOrder, OrderCommand, PayOrder, ShipOrder},
        outbox::take,
    },
    store::StoreUrl,
};
use uuid::Uuid;

use crate::{
    es::Place,
    harness::{Ended, Program},
    process::{Running, start},
};

impl Place {
    /// `kafkalab outbox ARGUMENTS` here.
    pub fn outbox(&self, arguments: &[&str]) -> Program {
        self.pattern("outbox", arguments)
    }

    /// Orders and their messages by the library, one command after the other.
    pub fn take(&self, commands: Vec<OrderCommand>) {
        let url: StoreUrl = self.url().parse().expect("a URL");
        runtime().block_on(async {
            let orders = Orders::new(Store::open(&url).await.expect("the store"));
            for command in commands {
                take(&orders, &command, "tester", None).await.expect("a command that is taken");
            }
        });
    }

    /// An id as a literal of SQL.
    pub fn uuid(&self, id: Uuid) -> String {
        if self.is_postgres() { format!("'{id}'") } else { format!("x'{}'", id.simple()) }
    }

    /// A row past the program, as any writer could insert it. Gives its id.
    pub fn insert_row(&self, aggregate: &str, event: &str, payload: &str, topic: Option<&str>) -> Uuid {
        let id = Uuid::now_v7();
        self.sql(&self.row(id, ("order", aggregate), event, payload, topic));
        id
    }

    /// The statement for that.
    pub fn row(
        &self,
        id: Uuid,
        (kind, aggregate): (&str, &str),
        event: &str,
        payload: &str,
        topic: Option<&str>,
    ) -> String {
        let topic = topic.map_or("NULL".to_owned(), |topic| format!("'{topic}'"));
        let (id, payload) = (self.uuid(id), self.bytes(payload));
        let shard = kafkalab::patterns::outbox::shard_of(aggregate);
        format!(
            "INSERT INTO outbox (shard, id, aggregatetype, aggregateid, type, payload, topic) \
             VALUES ({shard}, {id}, '{kind}', '{aggregate}', '{event}', {payload}, {topic}) RETURNING seq"
        )
    }

    /// How many rows are of a status, by its number in the tables.
    pub fn count(&self, status: u8) -> u64 {
        let count = self.sql(&format!("SELECT count(*) FROM outbox_status WHERE status = {status}"));
        count[0][0].parse().expect("a count")
    }
}

const WAITING: u8 = 0;
const PUBLISHED: u8 = 1;
const PARKED: u8 = 2;
const HELD: u8 = 3;
const DISCARDED: u8 = 4;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn relay(place: &Place, arguments: &[&str]) -> Running {
    start(place.outbox(&["relay", "--every", "20ms"]).arguments(arguments))
}

/// A relay of small transactions, so that there are many of them.
fn relay_in_threes(place: &Place, arguments: &[&str]) -> Running {
    relay(place, &[&["--batch", "3"], arguments].concat())
}

fn price() -> Money {
    "USD:9.99".parse().expect("a price")
}

fn create(order: &str) -> OrderCommand {
    let (user_id, product_id) = ("ada".parse().expect("an id"), "lamp".parse().expect("an id"));
    CreateOrder { order_id: order.parse().expect("an id"), user_id, product_id, price: price() }.into()
}

fn pay(order: &str) -> OrderCommand {
    let payment_id = format!("p-{order}").parse().expect("an id");
    PayOrder { order_id: order.parse().expect("an id"), payment_id, amount: price() }.into()
}

fn ship(order: &str) -> OrderCommand {
    ShipOrder { order_id: order.parse().expect("an id"), shipment_id: "s".parse().expect("an id") }.into()
}

fn cancel(order: &str) -> OrderCommand {
    CancelOrder { order_id: order.parse().expect("an id"), reason: "changed_mind".parse().expect("a reason") }.into()
}

/// So many orders that are created and cancelled: two messages each in one topic.
fn two_each(place: &Place, orders: usize) {
    let life = |number: usize| [create(&format!("o{number}")), cancel(&format!("o{number}"))];
    place.take((0..orders).flat_map(life).collect());
}

/// How many messages a relay says that it has published.
fn published(ended: &Ended) -> usize {
    let line = ended.stderr.lines().find(|line| line.contains(" published")).unwrap_or_default();
    line.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{ended:?}"))
}

//! disintegrate, on PostgreSQL, its only database: `make` loads what the decision asks for, decides, and appends where
//! nothing of that has come meanwhile. Streams are queries, by a column for each id.

use std::time::Duration;

use disintegrate::{
    Decision, Event, EventSourcedStateStore, LoadState, LoadedState, NoSnapshot, StateMutate, StateQuery,
    serde::json::Json,
};
use disintegrate_postgres::{PgEventStore, decision_maker};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

use crate::{LONG_STREAMS, POOL, Price, Refused, load, new_id, price};

/// Its own migration, which PostgreSQL takes from 16 on.
const TABLES: &str = include_str!("../disintegrate.sql");
/// A long stream out of one event, `$1` of them. The payload has the id too, and both have the same length as any other.
const LENGTHEN: &str = "
    INSERT INTO event (event_type, payload, order_id)
    SELECT event_type, convert_to(replace(convert_from(payload, 'UTF8'), order_id, long), 'UTF8'), long
    FROM event, generate_series(1, $1), lpad($1::text, 36, '0') long WHERE order_id = $2";

#[derive(Clone, Debug, PartialEq, Eq, Event, Serialize, Deserialize)]
#[stream(OrderEvent, [OrderPlaced])]
enum DomainEvent {
    OrderPlaced {
        #[id]
        order_id: String,
        user_id: String,
        product_id: String,
        price: Price,
        actor: String,
        correlation_id: String,
    },
}

#[derive(Clone, Debug, Default, StateQuery, Serialize, Deserialize)]
#[state_query(OrderEvent)]
struct Order {
    #[id]
    order_id: String,
    events: usize,
    price: Option<Price>,
}

impl Order {
    fn named(order_id: &str) -> Self {
        Order { order_id: order_id.to_owned(), ..Order::default() }
    }
}

impl StateMutate for Order {
    fn mutate(&mut self, event: OrderEvent) {
        let OrderEvent::OrderPlaced { price, .. } = event;
        self.events += 1;
        self.price = Some(price);
    }
}

struct PlaceOrder {
    order_id: String,
}

impl Decision for PlaceOrder {
    type Event = DomainEvent;
    type StateQuery = Order;
    type Error = Refused;

    fn state_query(&self) -> Order {
        Order::named(&self.order_id)
    }

    fn process(&self, _: &Order) -> Result<Vec<DomainEvent>, Refused> {
        let (order_id, user_id, product_id) = (self.order_id.clone(), "mia".into(), "book".into());
        let (actor, correlation_id) = ("mia".into(), order_id.clone());
        Ok(vec![DomainEvent::OrderPlaced { order_id, user_id, product_id, price: price(), actor, correlation_id }])
    }
}

pub async fn postgres(url: &str, time: Duration) {
    let pool = PgPoolOptions::new().max_connections(POOL).connect(url).await.expect("PostgreSQL");
    sqlx::raw_sql(TABLES).execute(&pool).await.expect("tables");
    let store = PgEventStore::new_uninitialized(pool.clone(), Json::<DomainEvent>::default());
    let one = new_id();
    let decisions = decision_maker(store.clone(), NoSnapshot);
    decisions.make(PlaceOrder { order_id: one.clone() }).await.expect("the event that the long streams are made of");
    for writers in [1, 64] {
        let decisions = decisions.clone();
        load::commands("command", writers, time, move || {
            let decisions = decisions.clone();
            async move {
                let made = decisions.make(PlaceOrder { order_id: new_id() }).await;
                made.map(|_| ()).map_err(|error| error.to_string())
            }
        })
        .await;
    }
    for count in LONG_STREAMS {
        sqlx::query(LENGTHEN).bind(count as i32).bind(&one).execute(&pool).await.expect("a long stream");
    }
    sqlx::query("VACUUM ANALYZE event").execute(&pool).await.expect("statistics");
    let states = EventSourcedStateStore::new(store, NoSnapshot);
    for count in LONG_STREAMS {
        let order = Order::named(&format!("{count:036}"));
        load::rebuild(count as usize, async || {
            let loaded: LoadedState<i64, Order> = states.load(order.clone()).await.expect("a state");
            loaded.state().events
        })
        .await;
    }
}

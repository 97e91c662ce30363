//! Order events to play with, as a shop would write them to the topic `orders`.
//!
//! # The problem
//!
//! A first look at Kafka needs records that mean something: with a key, so that one sees which partition it goes to,
//! and with a life, so that one sees why the order of a key's records matters.
//!
//! # The idea
//!
//! ```text
//!          seed, base time                          topic orders, key = order_id
//!                |
//!   splitmix64 --+--> OrderCreated   order A  --->  A: created ........ cancelled
//!                     OrderCreated   order B  --->  B: created
//!                     OrderCancelled order A        (paid, shipped: on topics of their own)
//! ```
//!
//! Each event is a CloudEvent in Kafka's binary mode: what it is stands in headers (`ce_type`, `ce_id`, ...), the value
//! is the event alone. The same seed and base time give the same bytes, so that two runs can be compared.
//!
//! # What can go wrong
//!
//! Were the key left out, an order's cancellation could land in another partition and be read before its creation.
//! Were the amount a floating-point number, 0.1 + 0.2 would not be 0.3: it is a string with exactly the digits that
//! its currency has (two for dollars, none for yen, three for Kuwaiti dinars).
//!
//! # Try it
//!
//! `kafkalab consume orders` in one terminal, `kafkalab produce --sample 10` in another.
//!
//! # Read next
//!
//! [`envelope`](super::envelope), the headers one by one; [`order`](super::order), the rules behind the events.

use uuid::{Builder, Uuid};

use super::{
    envelope::Envelope,
    money::{Currency, Money},
    order::{OrderCancelled, OrderCreated, OrderEvent, OrderId, ProductId, Reason, UserId},
};

/// One event, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleEvent {
    /// The record's key: the order's id.
    pub key: String,
    /// `orders.v1.OrderCreated` or `orders.v1.OrderCancelled`.
    pub event_type: &'static str,
    /// The record's value.
    pub json: String,
    pub headers: Vec<(String, String)>,
}

/// Where all sample events go.
pub const TOPIC: &str = "orders";

/// What the shop sells: a product, its currency, and its price in the currency's smallest unit.
pub(super) const PRODUCTS: [(&str, Currency, i64); 10] = [
    ("coffee-mug", Currency::USD, 1_299),
    ("desk-lamp", Currency::USD, 4_950),
    ("headphones", Currency::USD, 9_999),
    ("notebook", Currency::EUR, 450),
    ("city-bike", Currency::EUR, 74_900),
    ("tea-pot", Currency::GBP, 2_405),
    ("raincoat", Currency::GBP, 8_000),
    ("bento-box", Currency::JPY, 2_800),
    ("paper-lantern", Currency::JPY, 990),
    ("dallah", Currency::KWD, 18_250),
];

pub(super) const CANCEL_REASONS: [&str; 3] = ["changed_mind", "ordered_twice", "found_cheaper"];

pub(super) const USERS: u64 = 40;

/// So many orders wait at most to be cancelled.
const MOST_OPEN: usize = 8;

/// An order that was created and may yet be cancelled.
#[derive(Debug, Clone)]
struct OpenOrder {
    order_id: Uuid,
    user: u64,
}

/// Sample events without end, the same ones for the same arguments. Take as many as needed.
#[derive(Debug, Clone)]
pub struct SampleEvents {
    random: SplitMix64,
    now_ms: i64,
    open: Vec<OpenOrder>,
}

impl SampleEvents {
    /// `base_ms` is when the first order is placed, in milliseconds since the Unix epoch.
    pub fn new(seed: u64, base_ms: i64) -> Self {
        // The year 5000 at the latest: the calendar ends with 9999.
        let base_ms = base_ms.clamp(0, 95_617_584_000_000);
        Self { random: SplitMix64(seed), now_ms: base_ms, open: Vec::new() }
    }

    fn created(&mut self) -> SampleEvent {
        let id = self.uuid();
        let user = 1 + self.random.below(USERS);
        let (product, currency, price) = PRODUCTS[self.random.below(PRODUCTS.len() as u64) as usize];
        let price = Money::new(price * (1 + self.random.below(3) as i64), currency);
        if self.open.len() < MOST_OPEN && self.random.below(3) == 0 {
            self.open.push(OpenOrder { order_id: id, user });
        }
        let (order_id, user_id) = names(id, user);
        let product_id = ProductId::new(product).expect("a product of the list");
        self.event(1, &OrderEvent::OrderCreated(OrderCreated { order_id, user_id, product_id, price }))
    }

    fn cancelled(&mut self, order: OpenOrder) -> SampleEvent {
        let (order_id, user_id) = names(order.order_id, order.user);
        let reason = CANCEL_REASONS[self.random.below(CANCEL_REASONS.len() as u64) as usize];
        let reason = Reason::new(reason).expect("a reason of the list");
        self.event(2, &OrderEvent::OrderCancelled(OrderCancelled { order_id, user_id, reason }))
    }

    /// CloudEvents 1.0 in Kafka's binary mode.
    fn event(&mut self, version: u64, event: &OrderEvent) -> SampleEvent {
        let order_id = event.order_id().to_string();
        let envelope = Envelope {
            id: self.uuid().to_string(),
            source: "/kafkalab/sample".to_owned(),
            event_type: event.event_type().to_owned(),
            time_ms: Some(self.now_ms),
            subject: Some(order_id.clone()),
            sequence: Some(version),
            ..Envelope::default()
        };
        let headers = envelope.headers().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let json = String::from_utf8(event.to_json()).expect("JSON is UTF-8");
        SampleEvent { key: order_id, event_type: event.event_type(), json, headers }
    }

    /// Version 7: the time first, so that ids sort by when they were made.
    fn uuid(&mut self) -> Uuid {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.random.next().to_be_bytes());
        random[8..].copy_from_slice(&self.random.next().to_be_bytes()[..2]);
        Builder::from_unix_timestamp_millis(self.now_ms.unsigned_abs(), &random).into_uuid()
    }
}

impl Iterator for SampleEvents {
    type Item = SampleEvent;

    fn next(&mut self) -> Option<SampleEvent> {
        // One event in four ends an order that is open; the others begin one.
        let cancels = !self.open.is_empty() && self.random.below(4) == 0;
        let event = if cancels {
            let at = self.random.below(self.open.len() as u64) as usize;
            let order = self.open.remove(at);
            self.cancelled(order)
        } else {
            self.created()
        };
        self.now_ms += 50 + self.random.below(1_950) as i64;
        Some(event)
    }
}

/// Steele, Lea and Flood's generator: a few lines, the same numbers everywhere, and good enough for samples.
#[derive(Debug, Clone)]
pub(super) struct SplitMix64(pub(super) u64);

impl SplitMix64 {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `end`, which is small enough for the remainder to be fair.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn names(order: Uuid, user: u64) -> (OrderId, UserId) {
    let order = OrderId::new(order.to_string()).expect("a UUID is an id");
    (order, UserId::new(format!("user-{user:03}")).expect("a number is an id"))
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use serde_json::Value;

    use super::*;

    /// 2026-02-01T00:00:00.250Z
    const BASE: i64 = 1_769_904_000_250;

    fn sample(seed: u64, count: usize) -> Vec<SampleEvent> {
        SampleEvents::new(seed, BASE).take(count).collect()
    }

    fn header<'a>(event: &'a SampleEvent, name: &str) -> &'a str {
        &event.headers.iter().find(|(key, _)| key == name).unwrap().1
    }

    #[test]
    fn the_first_event_of_a_seed_is_the_same_for_ever() {
        let first = &sample(1, 1)[0];
        assert_eq!(first.key, "019c167f-ccfa-710a-adec-89025cc1beeb");
        assert_eq!(
            first.json,
            concat!(
                r#"{"order_id":"019c167f-ccfa-710a-adec-89025cc1beeb","user_id":"user-031","product_id":"tea-pot","#,
                r#""price":{"currency":"GBP","amount":"24.05"}}"#
            )
        );
        assert_eq!(header(first, "ce_time"), "2026-02-01T00:00:00.250Z");
    }

    /// Computed before money, order and envelope had modules of their own: course, examples and benchmarks name these bytes.
    #[test]
    fn two_thousand_events_of_a_seed_are_the_same_to_the_byte() {
        for (seed, base, length, crc) in
            [(1, BASE, 891_931, 0xd70e_31c0), (7, 0, 891_432, 0x990a_b879), (42, i64::MAX, 892_115, 0xfc89_7121)]
        {
            let mut all = String::new();
            for event in SampleEvents::new(seed, base).take(2_000) {
                all.push_str(&format!("{}\n{}\n{}\n", event.key, event.event_type, event.json));
                event.headers.iter().for_each(|(name, value)| all.push_str(&format!("{name}: {value}\n")));
            }
            assert_eq!((all.len(), crc32c::crc32c(all.as_bytes())), (length, crc), "seed {seed}");
        }
    }

    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = SplitMix64(1_234_567);
        // The first numbers of the reference implementation for this seed.
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn the_same_seed_gives_the_same_events_and_another_seed_others() {
        assert_eq!(sample(7, 500), sample(7, 500));
        assert_ne!(sample(7, 5), sample(8, 5));
        assert_ne!(sample(7, 1), SampleEvents::new(7, BASE + 1).take(1).collect::<Vec<_>>());
    }

    #[test]
    fn an_order_is_created_once_and_cancelled_at_most_once_and_later() {
        let mut versions: HashMap<String, u32> = HashMap::new();
        let events = sample(3, 2_000);
        for event in &events {
            let version = versions.entry(event.key.clone()).or_default();
            *version += 1;
            assert_eq!(header(event, "ce_sequence"), version.to_string());
            let expected = ["orders.v1.OrderCreated", "orders.v1.OrderCancelled"][*version as usize - 1];
            assert_eq!(event.event_type, expected);
        }
        let cancelled = events.iter().filter(|event| event.event_type.ends_with("Cancelled")).count();
        assert!((100..800).contains(&cancelled), "{cancelled} of 2000");
    }

    #[test]
    fn the_value_is_json_that_agrees_with_key_and_headers() {
        for event in sample(4, 300) {
            let value: Value = serde_json::from_str(&event.json).unwrap();
            assert_eq!(value["order_id"], event.key.as_str());
            assert!(value["user_id"].as_str().unwrap().starts_with("user-"));
            assert_eq!(header(&event, "ce_subject"), event.key);
            assert_eq!(header(&event, "ce_type"), event.event_type);
            assert_eq!(header(&event, "ce_specversion"), "1.0");
            assert_eq!(header(&event, "ce_source"), "/kafkalab/sample");
            assert_eq!(header(&event, "content-type"), "application/json");
        }
    }

    #[test]
    fn an_amount_is_text_with_the_digits_of_its_currency() {
        let mut currencies = HashSet::new();
        for event in sample(5, 1_000).iter().filter(|event| event.event_type.ends_with("Created")) {
            let value: Value = serde_json::from_str(&event.json).unwrap();
            let (currency, amount) =
                (value["price"]["currency"].as_str().unwrap(), value["price"]["amount"].as_str().unwrap());
            let digits = amount.split_once('.').map_or(0, |(_, behind)| behind.len());
            let expected = match currency {
                "JPY" => 0,
                "KWD" => 3,
                _ => 2,
            };
            assert_eq!(digits, expected, "{currency} {amount}");
            currencies.insert(currency.to_owned());
        }
        assert_eq!(currencies.len(), 5);
    }

    #[test]
    fn ids_are_uuids_of_version_7_all_different_and_times_go_forward() {
        let events = sample(6, 1_000);
        let mut ids = HashSet::new();
        let mut last = String::new();
        for event in &events {
            let id: Uuid = header(event, "ce_id").parse().unwrap();
            let order: Uuid = event.key.parse().unwrap();
            assert_eq!((id.get_version_num(), order.get_version_num()), (7, 7));
            assert!(ids.insert(id));
            assert!(header(event, "ce_time") > last.as_str());
            last = header(event, "ce_time").to_owned();
        }
    }

    #[test]
    fn no_base_time_makes_it_panic() {
        for base in [i64::MIN, -1, 0, i64::MAX] {
            let events: Vec<_> = SampleEvents::new(u64::MAX, base).take(50).collect();
            assert!(events.iter().all(|event| header(event, "ce_time").len() == 24), "{base}");
        }
    }
}

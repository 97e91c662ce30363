//! The page at widths that people have.

use super::*;
use crate::{
    app::TopicPartition,
    cli::terminal::{Streams, Terminal},
};

fn stats() -> Stats {
    let tally = |key: &str, orders, incomplete| ModelTally { key: key.to_owned(), orders, incomplete };
    let recent = |order: &str, status: &str, amount| RecentRow {
        order_id: order.to_owned(),
        user_id: "user-007".to_owned(),
        product_id: "tea-pot".to_owned(),
        currency: "GBP".to_owned(),
        amount,
        time_ms: 1_769_904_000_250,
        status: status.to_owned(),
    };
    let mut stats = Stats { told: Default::default(), unpublished: 2 };
    stats.told.statuses = vec![tally("CREATED", 3, 0), tally("PAID", 7, 1)];
    stats.told.users = vec![tally("user-007", 8, 0), tally("ada", 2, 0)];
    stats.told.products = vec![tally("tea-pot", 10, 0)];
    stats.told.revenue = vec![RevenueRow { currency: "GBP".to_owned(), payments: 7, paid: 16_835, refunded: 2_405 }];
    stats.told.recent = vec![recent("order-7-00000002", "PAID", 2_405), recent("order-7-00000001", "CREATED", 240_500)];
    stats
}

fn lags() -> Vec<Lag> {
    vec![Lag {
        partition: TopicPartition::new("orders", 0),
        next: Some(10),
        start: Some(0),
        end: Some(14),
        behind: Some(Duration::from_millis(1500)),
        missing: 0,
    }]
}

fn drawn(width: Option<usize>) -> String {
    let plain = Terminal::new(Streams::default(), true, false, |_| None).out.palette;
    page(&Shown { stats: &stats(), lag: Ok(&lags()) }, width, &plain)
}

/// As it is kept in a file of this folder; `KAFKALAB_BLESS=1` writes it anew.
fn assert_kept(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/cqrs/report").join(name);
    if std::env::var_os("KAFKALAB_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn a_page_of_80_columns() {
    assert_kept("80.txt", &drawn(Some(80)));
}

#[test]
fn a_page_of_40_columns() {
    let page = drawn(Some(40));
    assert!(page.lines().all(|line| line.chars().count() <= 40), "{page}");
    assert_kept("40.txt", &page);
}

#[test]
fn a_block_has_no_bars_and_nothing_is_cut() {
    assert_kept("plain.txt", &drawn(None));
}

#[test]
fn lag_that_is_not_known_is_said_so() {
    let plain = Terminal::new(Streams::default(), true, false, |_| None).out.palette;
    let page = page(&Shown { stats: &stats(), lag: Err("no broker answers".to_owned()) }, None, &plain);
    assert!(page.contains("lag      unknown (no broker answers); 2 events not published yet\n"), "{page}");
}

#[test]
fn words_of_others_cannot_steer_the_terminal() {
    let mut stats = stats();
    stats.told.users[0].key = "\x1b[2J".to_owned();
    stats.told.recent[0].product_id = "a\nb\x1b[31m".to_owned();
    let plain = Terminal::new(Streams::default(), true, false, |_| None).out.palette;
    let page = page(&Shown { stats: &stats, lag: Ok(&[]) }, Some(80), &plain);
    assert!(!page.contains('\x1b') && !page.contains("a\nb"), "{page}");
}

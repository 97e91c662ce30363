//! The report of the read side: a page for people, a document for programs.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};

use crate::{
    app::{
        ModelTally, RecentRow, RevenueRow,
        cqrs::stats::{Lag, Stats, Total},
        money::{Currency, Money},
        rfc_3339,
    },
    cli::{escape, terminal::Palette, words::counted},
};

/// What is shown.
pub struct Shown<'a> {
    pub stats: &'a Stats,
    /// Or why it is not known.
    pub lag: Result<&'a [Lag], String>,
}

/// Columns of a page that nobody looks at in a window.
const PLAIN: usize = 100;

/// As a page: with bars and cut to the width where there is one, otherwise as plain blocks.
pub fn page(shown: &Shown<'_>, width: Option<usize>, out: &Palette) -> String {
    let told = &shown.stats.told;
    let mut page = String::new();
    let total: i64 = told.statuses.iter().map(|status| status.orders).sum();
    let statuses = told.statuses.iter().map(|status| format!("{} {}", status.key, status.orders));
    let statuses = statuses.collect::<Vec<_>>().join(", ");
    let colon = if statuses.is_empty() { "" } else { ": " };
    headline(&mut page, "orders", &format!("{total}{colon}{statuses}"), width, out);
    let incomplete: i64 = told.statuses.iter().map(|status| status.incomplete).sum();
    if incomplete > 0 {
        let orders = counted(incomplete, "order");
        headline(&mut page, "gaps", &format!("{orders} with an event missing; they are not waited for"), width, out);
    }
    for row in &told.revenue {
        headline(&mut page, "revenue", &revenue(row), width, out);
    }
    headline(&mut page, "lag", &lag(shown), width, out);
    tallies(&mut page, "USERS", &told.users, width, out);
    tallies(&mut page, "PRODUCTS", &told.products, width, out);
    recent(&mut page, &told.recent, width, out);
    page
}

fn headline(page: &mut String, word: &str, text: &str, width: Option<usize>, out: &Palette) {
    let text = cut(&escape::text(text), width.unwrap_or(usize::MAX).saturating_sub(9).max(10));
    let _ = writeln!(page, "{} {text}", out.emphasis(format!("{word:<8}")));
}

fn revenue(row: &RevenueRow) -> String {
    let refunded =
        if row.refunded == 0 { String::new() } else { format!(", {} refunded", amount(&row.currency, row.refunded)) };
    format!(
        "{} {} paid{refunded} ({})",
        row.currency,
        amount(&row.currency, row.paid),
        counted(row.payments, "payment")
    )
}

fn lag(shown: &Shown<'_>) -> String {
    let waiting = match shown.stats.unpublished {
        0 => String::new(),
        waiting => format!("; {} not published yet", counted(waiting, "event")),
    };
    match &shown.lag {
        Err(cause) => format!("unknown ({cause}){waiting}"),
        Ok(lags) => {
            let Total { events, behind, gone } = Total::of(lags);
            let behind = behind.map(|behind| format!(", {}", seconds(behind))).unwrap_or_default();
            let gone = match gone {
                0 => String::new(),
                gone => format!("; {} gone by retention: rebuild from the log", counted(gone, "record")),
            };
            format!("{}{behind}{gone}{waiting}", counted(events, "event"))
        }
    }
}

pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_millis() as f64 / 1000.0)
}

fn tallies(page: &mut String, title: &str, rows: &[ModelTally], width: Option<usize>, out: &Palette) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n{}", out.emphasis(title));
    let most = rows.iter().map(|row| row.orders).max().unwrap_or(1).max(1);
    let digits = most.to_string().len();
    let names: Vec<String> = rows.iter().map(|row| escape::line(row.key.as_bytes()).into_owned()).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let room = longest.min(width.unwrap_or(PLAIN) / 2);
    for (row, name) in rows.iter().zip(names) {
        let name = cut(&name, room);
        match width.map(|width| width.saturating_sub(room + digits + 5).min(40)) {
            Some(bar @ 1..) => {
                let filled = ((row.orders as f64 / most as f64) * bar as f64).ceil() as usize;
                let _ = writeln!(page, "  {name:<room$}  {:>digits$} {}", row.orders, "#".repeat(filled));
            }
            _ => {
                let _ = writeln!(page, "  {name:<room$}  {:>digits$}", row.orders);
            }
        }
    }
}

fn recent(page: &mut String, rows: &[RecentRow], width: Option<usize>, out: &Palette) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n{}", out.emphasis("RECENT"));
    for row in rows {
        let time = rfc_3339(row.time_ms);
        let time = time.get(11..19).unwrap_or(&time).to_owned();
        let price = format!("{} {}", row.currency, amount(&row.currency, row.amount));
        let line =
            format!("  {time}  {:<9}  {price:>14}  {}  {}  {}", row.status, row.user_id, row.product_id, row.order_id);
        let line = escape::line(line.as_bytes()).into_owned();
        let _ = writeln!(page, "{}", cut(&line, width.unwrap_or(usize::MAX)));
    }
}

/// At most so many characters; a sign that there was more.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(3)).chain("...".chars()).collect()
}

/// Of a currency that is known its decimals, otherwise the smallest units.
pub fn amount(currency: &str, minor: i64) -> String {
    let known = Currency::all().find(|known| known.code() == currency);
    known.map_or_else(|| minor.to_string(), |known| Money::new(minor, known).amount())
}

pub fn document(shown: &Shown<'_>) -> Value {
    let told = &shown.stats.told;
    let tally = |rows: &[ModelTally], key: &str| -> Vec<Value> {
        rows.iter().map(|row| json!({key: row.key, "orders": row.orders})).collect()
    };
    let statuses: serde_json::Map<String, Value> =
        told.statuses.iter().map(|status| (status.key.clone(), status.orders.into())).collect();
    json!({
        "schema_version": 1,
        "orders": told.statuses.iter().map(|status| status.orders).sum::<i64>(),
        "statuses": statuses,
        "incomplete": told.statuses.iter().map(|status| status.incomplete).sum::<i64>(),
        "users": tally(&told.users, "user_id"),
        "products": tally(&told.products, "product_id"),
        "revenue": told.revenue.iter().map(|row| json!({
            "currency": row.currency, "payments": row.payments,
            "paid": amount(&row.currency, row.paid), "refunded": amount(&row.currency, row.refunded),
        })).collect::<Vec<_>>(),
        "recent": told.recent.iter().map(|row| json!({
            "order_id": row.order_id, "user_id": row.user_id, "product_id": row.product_id, "status": row.status,
            "price": {"currency": row.currency, "amount": amount(&row.currency, row.amount)},
            "time": rfc_3339(row.time_ms),
        })).collect::<Vec<_>>(),
        "lag": match &shown.lag {
            Ok(lags) => {
                let total = Total::of(lags);
                json!({
                    "events": total.events, "seconds": total.behind.map_or(0.0, |behind| behind.as_secs_f64()),
                    "missing": total.gone,
                })
            }
            Err(_) => Value::Null,
        },
        "unpublished": shown.stats.unpublished,
    })
}

#[cfg(test)]
mod tests;

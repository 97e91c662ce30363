use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

fn refused(text: &str) -> String {
    text.parse::<Money>().unwrap_err().to_string()
}

fn from_json(amount: Value, currency: &str) -> Result<Money, String> {
    // Through text, as a record's value comes.
    let text = json!({"currency": currency, "amount": amount}).to_string();
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

#[test]
fn the_currency_says_how_many_digits_there_are() {
    for (text, minor, written) in [
        ("USD:99.99", 9_999, "USD:99.99"),
        ("USD:99", 9_900, "USD:99.00"),
        ("USD:0.5", 50, "USD:0.50"),
        ("USD:-0.05", -5, "USD:-0.05"),
        ("USD:-0", 0, "USD:0.00"),
        ("USD:007.10", 710, "USD:7.10"),
        ("JPY:2800", 2_800, "JPY:2800"),
        ("JPY:2800.00", 2_800, "JPY:2800"),
        ("KWD:18.25", 18_250, "KWD:18.250"),
        ("CLF:1.2345", 12_345, "CLF:1.2345"),
    ] {
        assert_eq!((money(text).minor(), money(text).to_string().as_str()), (minor, written), "{text}");
    }
}

#[test]
fn what_does_not_fit_the_currency_is_refused_and_the_refusal_says_what_fits() {
    assert_eq!(refused("USD:1.999"), "1.999 is not exact in USD, which has 2 digits behind the point, such as 99.99");
    assert_eq!(refused("JPY:9.5"), "9.5 is not exact in JPY, which has no digits behind the point, such as 99");
    assert_eq!(refused("USD:ten"), "\"ten\" is no amount: write digits and a point, such as 99.99");
    assert_eq!(refused("99.99"), "\"99.99\" has no currency: write currency and amount, such as USD:99.99");
    assert_eq!(
        refused("USD:92233720368547758.08"),
        "92233720368547758.08 is beyond what fits: between USD:-92233720368547758.08 and USD:92233720368547758.07"
    );
    let foreign = format!("USD:{}", "x".repeat(1_000));
    assert!(refused(&foreign).len() < 150, "{}", refused(&foreign));
    for text in ["", ":", "USD:", "USD:.5", "USD:5.", "USD:+5", "USD:1e2", "USD:1,5", "USD: 5", "USD:--5", "USD:٣"] {
        assert!(text.parse::<Money>().is_err(), "{text}");
    }
}

#[test]
fn the_ends_of_the_range_are_amounts_too() {
    for minor in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX] {
        for currency in [Currency::USD, Currency::JPY, Currency::KWD] {
            let money = Money::new(minor, currency);
            assert_eq!(money.to_string().parse(), Ok(money));
        }
    }
    assert!("JPY:9223372036854775808".parse::<Money>().is_err());
    assert!("JPY:-9223372036854775809".parse::<Money>().is_err());
}

#[test]
fn an_unknown_currency_is_refused_with_near_ones() {
    let near = |text: &str| match text.parse::<Currency>().unwrap_err() {
        MoneyError::UnknownCurrency { near, .. } => near,
        other => panic!("{other}"),
    };
    assert_eq!(near("usd"), ["USD"]);
    assert_eq!(near("UDS")[0], "USD");
    assert!(near("EUX").contains(&"EUR"));
    assert!(near("US").contains(&"USD"));
    assert_eq!(near("BITCOIN"), Vec::<&str>::new());
    assert_eq!(near(""), Vec::<&str>::new());
    assert_eq!(near("€"), Vec::<&str>::new());
    assert_eq!(refused("usd:5"), "unknown currency \"usd\", did you mean USD?");
    assert_eq!(refused("$:5"), "unknown currency \"$\" (three letters of ISO 4217, such as USD, EUR, JPY)");
    // Withdrawn codes have no digits that one could rely on.
    for gone in ["DEM", "HRK", "ZWL", "XAU", "XXX"] {
        assert!(gone.parse::<Currency>().is_err(), "{gone}");
    }
}

#[test]
fn the_table_is_sorted_without_repeats_and_its_constants_are_in_it() {
    let all: Vec<Currency> = Currency::all().collect();
    assert_eq!(all.iter().map(|currency| currency.code()).collect::<HashSet<_>>().len(), all.len());
    assert!(all.iter().all(|currency| currency.code().len() == 3 && currency.code().is_ascii()));
    for constant in [Currency::USD, Currency::EUR, Currency::GBP, Currency::JPY, Currency::KWD] {
        assert_eq!(constant.code().parse(), Ok(constant));
    }
    let mut by_digits: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    all.iter().for_each(|currency| by_digits.entry(currency.digits()).or_default().push(currency.code()));
    assert!(by_digits.values().all(|codes| codes.is_sorted()));
    assert_eq!(by_digits.into_iter().map(|(digits, codes)| (digits, codes.len())).collect::<Vec<_>>(), COUNTS);
}

#[test]
fn json_is_currency_and_amount_as_text() {
    let text = r#"{"currency":"USD","amount":"99.99"}"#;
    assert_eq!(serde_json::to_string(&money("USD:99.99")).unwrap(), text);
    assert_eq!(serde_json::from_str::<Money>(text).unwrap(), money("USD:99.99"));
}

#[test]
fn a_json_number_is_taken_where_it_is_exact() {
    for (amount, currency, expected) in [
        (json!(99.99), "USD", "USD:99.99"),
        (json!(99), "USD", "USD:99.00"),
        (json!(1e2), "USD", "USD:100.00"),
        (json!(-0.05), "USD", "USD:-0.05"),
        (json!(18.25), "KWD", "KWD:18.250"),
        (json!(9_007_199_254_740_993_u64), "JPY", "JPY:9007199254740993"),
        (json!(9_999_999_999_999.99), "USD", "USD:9999999999999.99"),
    ] {
        assert_eq!(from_json(amount, currency), Ok(money(expected)));
    }
}

#[test]
fn a_json_number_that_is_not_exact_is_refused() {
    for (amount, currency, said) in [
        (json!(0.1 + 0.2), "USD", "0.30000000000000004 is not exact in USD"),
        (json!(9.5), "JPY", "9.5 is not exact in JPY"),
        (json!(123_456_789_012_345.67_f64), "USD", "has more digits than a JSON number keeps"),
        (json!(9_007_199_254_740_993.0_f64), "JPY", "has more digits than a JSON number keeps"),
        // In dollars and cents, 90071992547410.01 and .02 would be one number.
        (json!(90_071_992_547_410.02_f64), "USD", "has more digits than a JSON number keeps"),
        (json!(1e300), "USD", "beyond what fits"),
        (json!(true), "USD", "expected an amount as text"),
        (json!(null), "USD", "expected an amount as text"),
        (json!("1e2"), "USD", "is no amount"),
        (json!("5"), "ABC", "unknown currency"),
    ] {
        let refused = from_json(amount.clone(), currency).unwrap_err();
        assert!(refused.contains(said), "{amount} {currency}: {refused}");
    }
}

#[test]
fn money_is_read_within_tagged_and_flattened_shapes_too() {
    #[derive(Deserialize, PartialEq, Debug)]
    #[serde(tag = "kind")]
    enum Tagged {
        Price { price: Money },
    }
    for amount in [json!("5.00"), json!(5), json!(5.0)] {
        let json = json!({"price": {"currency": "USD", "amount": amount}, "kind": "Price"}).to_string();
        assert_eq!(serde_json::from_str::<Tagged>(&json).unwrap(), Tagged::Price { price: money("USD:5") });
    }
}

#[test]
fn arithmetic_is_checked() {
    let (most, cent) = (Money::new(i64::MAX, Currency::USD), Money::new(1, Currency::USD));
    let overflow = Err(MoneyError::Overflow { currency: Currency::USD });
    assert_eq!(most.checked_add(cent), overflow);
    assert_eq!(Money::new(i64::MIN, Currency::USD).checked_sub(cent), overflow);
    assert_eq!(most.checked_mul(2), overflow);
    assert_eq!(most.checked_sub(cent).unwrap().checked_add(cent), Ok(most));
    let (left, right) = (money("USD:1"), money("EUR:1"));
    assert_eq!(left.checked_add(right), Err(MoneyError::OtherCurrency { left, right }));
    assert_eq!(money("USD:-1.50").checked_mul(3), Ok(money("USD:-4.50")));
}

#[test]
fn the_sum_of_ten_tenths_is_one() {
    let sum = (0..10).try_fold(money("USD:0"), |sum, _| sum.checked_add(money("USD:0.1")));
    assert_eq!(sum, Ok(money("USD:1")));
}

fn any_money() -> impl Strategy<Value = Money> {
    let currency = prop::sample::select(Currency::all().collect::<Vec<_>>());
    (any::<i64>(), currency).prop_map(|(minor, currency)| Money::new(minor, currency))
}

proptest! {
    #[test]
    fn text_and_json_keep_every_amount(money in any_money()) {
        prop_assert_eq!(money.to_string().parse::<Money>(), Ok(money));
        let json = serde_json::to_string(&money).unwrap();
        prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
        let value = serde_json::to_value(money).unwrap();
        prop_assert_eq!(serde_json::from_value::<Money>(value).unwrap(), money);
    }

    /// A number is either what was written, to the last cent, or refused. Written by hand, not by us.
    #[test]
    fn a_json_number_never_loses_a_cent(digits in 1_u32..19, random: u64, behind in 0_u8..100, more in "[0-9]{0,3}") {
        let whole = random % 10_u64.pow(digits);
        let read = |more: &str| {
            let text = format!("{{\"currency\":\"USD\",\"amount\":{whole}.{behind:02}{more}}}");
            serde_json::from_str::<Money>(&text).map(|money| i128::from(money.minor())).ok()
        };
        let written = i128::from(whole) * 100 + i128::from(behind);
        let expected = (written < 1_000_000_000_000_000).then_some(written);
        prop_assert_eq!(read(""), expected);
        // More digits may vanish before we see them; what is taken is then the nearest amount, never another one.
        let thousandths = format!("{written}{more:0<3}").parse::<i128>().unwrap();
        prop_assert!(read(&more).is_none_or(|minor| (minor * 1_000 - thousandths).abs() < 500), "{more}");
    }

    #[test]
    fn no_text_makes_it_panic(text: String, amount in "-?[0-9]{0,25}(\\.[0-9]{0,25})?") {
        let _ = text.parse::<Money>();
        let _ = text.parse::<Currency>();
        if let Ok(money) = format!("KWD:{amount}").parse::<Money>() {
            // What is taken is the same number: compared digit by digit with the zeros at both ends gone.
            let plain = |text: &str| {
                let (whole, behind) = text.trim_start_matches('-').split_once('.').map_or((text.trim_start_matches('-'), ""), |parts| parts);
                (whole.trim_start_matches('0').to_owned(), behind.trim_end_matches('0').to_owned())
            };
            prop_assert_eq!(plain(&money.amount()), plain(&amount));
        }
    }

    #[test]
    fn what_is_added_can_be_taken_away(a in any_money(), b: i64) {
        let b = Money::new(b, a.currency());
        match a.checked_add(b) {
            Ok(sum) => prop_assert_eq!(sum.checked_sub(b), Ok(a)),
            Err(_) => prop_assert!(a.minor().checked_add(b.minor()).is_none()),
        }
    }
}

/// Digits and how many currencies have them. The table was compared with `java.util.Currency` of JDK 17, which knows each of
/// its codes with the same number of digits, but UYW and XAD, which are younger than its data.
const COUNTS: [(u32, usize); 4] = [(0, 17), (2, 139), (3, 7), (4, 2)];

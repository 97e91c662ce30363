//! Money: whole numbers of the smallest unit, and the currency that says what the unit is.
//!
//! # The problem
//!
//! A floating-point number cannot say 0.1: it says the nearest fraction of a power of two. Ten of them are not one,
//! and a ledger that should end with zero ends with 0.00000000000000001. Rounding hides it until the sums are large.
//! And `99.99` alone is no price: dollars have two digits behind the point, yen none, Kuwaiti dinars three.
//!
//! # The idea
//!
//! ```text
//!   "USD:99.99"  ->  { minor: 9999,  USD (2 digits) }  ->  {"currency":"USD","amount":"99.99"}
//!   "JPY:2800"   ->  { minor: 2800,  JPY (0 digits) }  ->  {"currency":"JPY","amount":"2800"}
//!   "KWD:18.25"  ->  { minor: 18250, KWD (3 digits) }  ->  {"currency":"KWD","amount":"18.250"}
//! ```
//!
//! Whole numbers add up exactly. The amount in JSON is text, because a JSON number becomes a floating-point number in
//! most readers (RFC 8259, section 6).
//!
//! # What can go wrong
//!
//! - Somebody sends a number all the same. It is taken where it says an amount of the currency exactly: `99.99` does,
//!   `0.30000000000000004` (which is 0.1 + 0.2) and `9.5` yen do not and are refused. It arrives as a floating-point
//!   number, so whatever has more than 15 digits in smallest units is refused too: there, one number stands for several
//!   amounts. Digits that no floating-point number keeps (`99.990000000000001`) are gone before anybody can refuse
//!   them: what is taken is the amount nearest to what was written. Who must know every digit sends text.
//! - The sum does not fit. Arithmetic is checked ([`MoneyError::Overflow`]); it never wraps.
//! - Dollars are added to euros. There is no rate here: [`MoneyError::OtherCurrency`].
//!
//! Whether an amount may be zero or negative is not for money to say: a price must not, a balance may.
//!
//! # Try it
//!
//! ```
//! use kafkalab::patterns::money::Money;
//!
//! let price: Money = "USD:19.99".parse()?;
//! assert_eq!(price.checked_mul(3)?.to_string(), "USD:59.97");
//! assert_eq!(serde_json::to_string(&price)?, r#"{"currency":"USD","amount":"19.99"}"#);
//! assert!(0.1 + 0.2 != 0.3, "which is why");
//! let refused = "JPY:9.50".parse::<Money>().unwrap_err();
//! assert_eq!(refused.to_string(), "9.50 is not exact in JPY, which has no digits behind the point, such as 99");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Read next
//!
//! [`order`](super::order), where a price and a payment are compared. Martin Fowler, *Patterns of Enterprise
//! Application Architecture*: Money.

mod currency;

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

pub use currency::Currency;

/// An exact amount, negative and zero included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why something is no money, or cannot be added up. What was given is quoted up to 40 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("unknown currency {given:?}{}", Hint(near))]
    UnknownCurrency { given: String, near: Vec<&'static str> },
    #[error("{given:?} has no currency: write currency and amount, such as USD:99.99")]
    NoCurrency { given: String },
    #[error("{given:?} is no amount: write digits and a point, such as {}", Example(*.currency))]
    NotADecimal { given: String, currency: Currency },
    #[error("{given} is not exact in {currency}, which has {} behind the point, such as {}", Digits(*.currency), Example(*.currency))]
    NotExact { given: String, currency: Currency },
    /// A JSON number of more than 15 digits in smallest units may already have been rounded.
    #[error("the number {given} has more digits than a JSON number keeps; write it as text, such as \"{}\"", Example(*.currency))]
    TooLongANumber { given: String, currency: Currency },
    #[error("{given} is beyond what fits: between {} and {}", Money::new(i64::MIN, *.currency), Money::new(i64::MAX, *.currency))]
    OutOfRange { given: String, currency: Currency },
    #[error("{left} and {right} have different currencies")]
    OtherCurrency { left: Money, right: Money },
    #[error("the result does not fit: amounts of {currency} end at {}", Money::new(i64::MAX, *.currency))]
    Overflow { currency: Currency },
}

/// ", did you mean USD or USN?"
struct Hint<'a>(&'a [&'static str]);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str(" (three letters of ISO 4217, such as USD, EUR, JPY)"),
            near => write!(f, ", did you mean {}?", near.join(" or ")),
        }
    }
}

struct Example(Currency);

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.digits() as usize;
        write!(f, "99{}{}", if digits == 0 { "" } else { "." }, "9".repeat(digits))
    }
}

struct Digits(Currency);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.digits() {
            0 => f.write_str("no digits"),
            digits => write!(f, "{digits} digits"),
        }
    }
}

/// What was given, cut so that an error stays short.
fn excerpt(text: &str) -> String {
    super::excerpt(text, 40)
}

impl Money {
    /// `minor` smallest units: 9999 cents, 2800 yen.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// # Errors
    /// The text is no plain decimal (`-12.50`), says more than the currency's digits, or does not fit.
    pub fn from_decimal(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let given = || excerpt(text);
        let minor = parse_minor(text, currency.digits()).map_err(|wrong| match wrong {
            Wrong::NotADecimal => MoneyError::NotADecimal { given: given(), currency },
            Wrong::NotExact => MoneyError::NotExact { given: given(), currency },
            Wrong::OutOfRange => MoneyError::OutOfRange { given: given(), currency },
        })?;
        Ok(Self { minor, currency })
    }

    /// A number out of JSON or protobuf, taken by the shortest decimal that names `float`. Below 10^15 smallest units that is
    /// what was written, because 15 digits survive the way through binary64 (IEEE 754); above, neighbouring amounts begin to
    /// share a number.
    ///
    /// # Errors
    /// The number is no amount of the currency, is not finite, or has too many digits.
    pub fn from_f64(float: f64, currency: Currency) -> Result<Self, MoneyError> {
        let text = float.to_string();
        let money = Self::from_decimal(&text, currency)?;
        if money.minor.unsigned_abs() >= 10u64.pow(15) {
            return Err(MoneyError::TooLongANumber { given: excerpt(&text), currency });
        }
        Ok(money)
    }

    /// Smallest units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    pub const fn currency(self) -> Currency {
        self.currency
    }

    pub const fn is_positive(self) -> bool {
        self.minor > 0
    }

    /// # Errors
    /// The currencies differ, or the sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.with(other, i64::checked_add)
    }

    /// # Errors
    /// The currencies differ, or the difference does not fit.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.with(other, i64::checked_sub)
    }

    /// # Errors
    /// The product does not fit.
    pub fn checked_mul(self, factor: i64) -> Result<Self, MoneyError> {
        let currency = self.currency;
        let minor = self.minor.checked_mul(factor).ok_or(MoneyError::Overflow { currency })?;
        Ok(Self { minor, currency })
    }

    fn with(self, other: Self, sum: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        let currency = self.currency;
        if currency != other.currency {
            return Err(MoneyError::OtherCurrency { left: self, right: other });
        }
        let minor = sum(self.minor, other.minor).ok_or(MoneyError::Overflow { currency })?;
        Ok(Self { minor, currency })
    }

    /// The amount alone, with all the digits of its currency: `99.90`.
    pub fn amount(self) -> String {
        let digits = self.currency.digits();
        let (sign, units) = (if self.minor < 0 { "-" } else { "" }, self.minor.unsigned_abs());
        let scale = 10u64.pow(digits);
        match digits {
            0 => format!("{sign}{units}"),
            _ => format!("{sign}{}.{:0width$}", units / scale, units % scale, width = digits as usize),
        }
    }
}

enum Wrong {
    NotADecimal,
    NotExact,
    OutOfRange,
}

/// `-12.5` with 2 digits is -1250. Zeros beyond the digits say nothing and are passed over.
fn parse_minor(text: &str, digits: u32) -> Result<i64, Wrong> {
    let (negative, plain) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, behind) = plain.split_once('.').unwrap_or((plain, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    if !numeric(whole) || !numeric(behind) {
        return Err(Wrong::NotADecimal);
    }
    let behind = behind.trim_end_matches('0');
    let missing = (digits as usize).checked_sub(behind.len()).ok_or(Wrong::NotExact)?;
    let units = whole.bytes().chain(behind.bytes()).chain(std::iter::repeat_n(b'0', missing));
    // Downwards from zero: i64 has one more negative number than positive ones.
    let negated = units.map(|digit| i64::from(digit - b'0')).try_fold(0i64, |sum, digit| {
        sum.checked_mul(10).and_then(|sum| sum.checked_sub(digit)).ok_or(Wrong::OutOfRange)
    })?;
    if negative { Ok(negated) } else { negated.checked_neg().ok_or(Wrong::OutOfRange) }
}

/// `USD:99.99`, which [`FromStr`] reads.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.currency, self.amount()))
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (code, amount) = text.split_once(':').ok_or_else(|| MoneyError::NoCurrency { given: excerpt(text) })?;
        Self::from_decimal(amount, code.parse()?)
    }
}

#[derive(Serialize)]
struct Written {
    currency: Currency,
    amount: String,
}

#[derive(Deserialize)]
struct Read<'a> {
    currency: Currency,
    #[serde(borrow)]
    amount: Amount<'a>,
}

/// `{"currency":"USD","amount":"99.99"}`
impl Serialize for Money {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { currency: self.currency, amount: self.amount() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { currency, amount } = Read::deserialize(deserializer)?;
        let money = match amount {
            Amount::Text(text) => Self::from_decimal(&text, currency),
            Amount::Float(float) => Self::from_f64(float, currency),
        };
        money.map_err(de::Error::custom)
    }
}

/// As it stands in JSON. Whole numbers are as good as text: they come exactly.
enum Amount<'a> {
    Text(Cow<'a, str>),
    Float(f64),
}

impl<'de: 'a, 'a> Deserialize<'de> for Amount<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Amount<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount as text, such as \"99.99\", or as a number")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Amount<'de>, E> {
                Ok(Amount::Text(text.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Amount<'de>, E> {
                Ok(Amount::Text(text.to_owned().into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Amount<'de>, E> {
                Ok(Amount::Text(number.to_string().into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Amount<'de>, E> {
                Ok(Amount::Text(number.to_string().into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Amount<'de>, E> {
                Ok(Amount::Float(number))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests;

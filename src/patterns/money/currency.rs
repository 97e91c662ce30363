//! ISO 4217: the codes, and how many digits stand behind the decimal point.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::MoneyError;

/// A currency of ISO 4217 by its alphabetic code. Only codes of the table exist: a code that nobody knows has no number
/// of digits either, and guessing two would turn 500 yen into 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: &'static str,
    digits: u32,
}

/// Active codes by the digits of their minor unit, each row in the order of the alphabet: list one of ISO 4217, without the codes that have no minor unit
/// (gold, special drawing rights, testing). As of 2026: BGN, ANG and ZWL are gone, XCG, XAD and ZWG are new.
const CODES: [(u32, &[&str]); 4] = [
    (
        0,
        &[
            "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF",
            "XOF", "XPF",
        ],
    ),
    (
        2,
        &[
            "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BMD", "BND", "BOB",
            "BOV", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHE", "CHF", "CHW", "CNY", "COP", "COU",
            "CRC", "CUP", "CVE", "CZK", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL",
            "GHS", "GIP", "GMD", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES",
            "KGS", "KHR", "KPW", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK",
            "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR",
            "NZD", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SDG",
            "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP",
            "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "USN", "UYU", "UZS", "VED", "VES", "WST", "XAD", "XCD", "XCG",
            "YER", "ZAR", "ZMW", "ZWG",
        ],
    ),
    (3, &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]),
    (4, &["CLF", "UYW"]),
];

impl Currency {
    pub const USD: Self = Self { code: "USD", digits: 2 };
    pub const EUR: Self = Self { code: "EUR", digits: 2 };
    pub const GBP: Self = Self { code: "GBP", digits: 2 };
    pub const JPY: Self = Self { code: "JPY", digits: 0 };
    pub const KWD: Self = Self { code: "KWD", digits: 3 };

    /// All of them, by code within each number of digits.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.into_iter().flat_map(|(digits, codes)| codes.iter().map(move |code| Self { code, digits }))
    }

    /// `USD`
    pub fn code(self) -> &'static str {
        self.code
    }

    /// How many digits stand behind the decimal point: a dollar has 10² cents.
    pub fn digits(self) -> u32 {
        self.digits
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let known = CODES.iter().find_map(|(digits, codes)| {
            let at = codes.binary_search(&text).ok()?;
            Some(Self { code: codes[at], digits: *digits })
        });
        known.ok_or_else(|| MoneyError::UnknownCurrency { given: super::excerpt(text), near: near(text) })
    }
}

/// Up to four codes that the text may have meant: other case first, then one letter changed, then neighbours swapped.
fn near(text: &str) -> Vec<&'static str> {
    let upper = text.trim().to_ascii_uppercase();
    let mut near: Vec<(u8, &'static str)> = Currency::all()
        .filter_map(|Currency { code, .. }| {
            let same = code.bytes().zip(upper.bytes()).filter(|(a, b)| a == b).count();
            let (a, b) = (code.as_bytes(), upper.as_bytes());
            let swapped = b == [a[1], a[0], a[2]] || b == [a[0], a[2], a[1]];
            match (upper.len(), same) {
                (3, 3) => Some((0, code)),
                (3, _) if swapped => Some((1, code)),
                (3, 2) => Some((2, code)),
                (2 | 4, 2..) => Some((3, code)),
                _ => None,
            }
        })
        .collect();
    near.sort_unstable();
    let best = near.first().map_or(0, |(rank, _)| *rank);
    let near = near.into_iter().filter(|(rank, _)| best > 0 || *rank == 0);
    near.map(|(_, code)| code).take(4).collect()
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code)
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Currency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, code: &str) -> Result<Currency, E> {
                code.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

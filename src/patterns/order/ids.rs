//! Names of things, each its own type: a user's id does not fit where an order's belongs, and none is empty.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

/// The text cannot be an id. It becomes a record's key, a header and a line on a terminal, hence the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} has {length} bytes, {most} are allowed")]
    TooLong { what: &'static str, length: usize, most: usize },
    #[error("{what} has a control character (at byte {at})")]
    Control { what: &'static str, at: usize },
}

fn check(what: &'static str, text: &str, most: usize) -> Result<(), InvalidText> {
    if text.is_empty() {
        return Err(InvalidText::Empty { what });
    }
    if text.len() > most {
        return Err(InvalidText::TooLong { what, length: text.len(), most });
    }
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return Ok(()); // nearly all are so, and a rebuild checks three names for each event
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, _)) => Err(InvalidText::Control { what, at }),
        None => Ok(()),
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("At most ", $most, " bytes.")]
            ///
            /// # Errors
            /// The text is empty, too long, or has control characters.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidText> {
                let text = text.into();
                check($what, &text, $most)?;
                Ok(Self(text))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

text!(
    /// Names an order for ever; its events' key and subject.
    OrderId, "the order's id", 128
);
text!(UserId, "the user's id", 128);
text!(ProductId, "the product's id", 128);
text!(
    /// Names one payment, made by who pays before the first attempt: by it a repeat is told from a second payment.
    PaymentId, "the payment's id", 128
);
text!(
    /// Names one shipment; as with [`PaymentId`].
    ShipmentId, "the shipment's id", 128
);
text!(
    /// Why an order is cancelled: a word for programs (`changed_mind`) or a sentence.
    Reason, "the reason", 256
);

impl OrderId {
    /// The name of the order's stream in the event store.
    pub fn stream(&self) -> String {
        format!("order-{}", self.0)
    }
}

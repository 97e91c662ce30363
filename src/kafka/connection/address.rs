//! Where a broker listens.

use std::{fmt, str::FromStr};

use crate::kafka::error::{Error, Result};

/// A broker's address as a person writes it: `host`, `host:port`, `[::1]:9092`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    pub const DEFAULT_PORT: u16 = 9092;
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::Invalid(format!("broker address {text:?}: {why}; write host:port"));
        let text = text.trim();
        let text = text.strip_prefix("PLAINTEXT://").unwrap_or(text);
        if text.contains("://") {
            return Err(invalid("there is a protocol before it, and TLS and SASL are settings of their own"));
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| invalid("the bracket is not closed"))?;
            (host, rest.strip_prefix(':'))
        } else {
            match text.rsplit_once(':') {
                // more than one colon outside brackets: a bare IPv6 address
                Some((host, _)) if host.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        if host.is_empty() || host.contains(['/', ' ']) {
            return Err(invalid("there is no host name in it"));
        }
        let port = match port {
            None => Self::DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or_else(|| invalid("the port is no port"))?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, host, port) in [
            ("localhost", "localhost", 9092),
            ("kafka:19092", "kafka", 19092),
            ("[::1]:9093", "::1", 9093),
            ("::1", "::1", 9092),
            (" b:1 ", "b", 1),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!((address.host.as_str(), address.port), (host, port), "{text}");
        }
        assert_eq!("[::1]:9093".parse::<Address>().map(|a| a.to_string()).ok().as_deref(), Some("[::1]:9093"));
    }

    #[test]
    fn slips_in_addresses_are_named() {
        for text in ["", ":9092", "host:", "host:0", "host:99999", "[::1", "a/b:1", "host:port", "SSL://a:1"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}

//! SASL: who one is, by a password.
//!
//! ```text
//! SaslHandshake(mechanism)      -> the mechanisms that the listener takes
//! SaslAuthenticate(n,,n=ada...) -> r=nonce,s=salt,i=4096         SCRAM's first round; PLAIN has only one
//! SaslAuthenticate(c=...,p=...) -> v=signature, session lifetime
//! ```
//!
//! The mechanisms are rsasl's, which rskafka uses too; the requests are ours, because rskafka's `do_sasl` throws away what
//! a person needs (the mechanisms that are offered, the broker's words) and what a connection needs (the lifetime of the
//! session, KIP-368). `docs/decisions/0002-sasl-by-rsasl-over-our-own-requests.md`.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_protocol::{
    messages::{SaslAuthenticateRequest, SaslHandshakeRequest, SaslHandshakeResponse},
    protocol::StrBytes,
};
use rsasl::prelude::{Mechname, SASLClient, SASLConfig, SessionError};
use rskafka::messenger::{Messenger, RequestError};

use super::{denied::Denied, socket::Socket};
use crate::kafka::{
    error::{Code, Error},
    wire::{Incoming, Outgoing, SaslAuthenticate, SaslHandshake},
};

/// Kafka's own clients ask for 4096 at least, and its brokers keep 4096 to 16384. Fewer make a password easy to guess for
/// whoever plays the server; billions would keep this process busy for hours.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4096..=100_000;

/// How the password is shown to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is (RFC 4616). Within TLS only, or whoever listens has it.
    Plain,
    /// Without sending it, and with a proof from the server too (RFC 5802, RFC 7677).
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    pub const ALL: [Mechanism; 3] = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];

    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let known = Self::ALL.map(Mechanism::name).join(", ");
            Error::Invalid(format!("SASL mechanism {text:?} is not known here; there are {known}"))
        })
    }
}

/// A password. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

impl Password {
    pub fn new(password: &str) -> Self {
        Self(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

/// Who one is to the broker.
#[derive(Clone, Debug)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub username: String,
    pub password: Password,
    /// Send the password of PLAIN over a connection that everybody on its way can read.
    pub plain_without_tls: bool,
}

/// How an exchange ends that does not succeed.
pub(super) enum Failure {
    Denied(Denied),
    Broken(RequestError),
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Failure::Denied(denied)
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NoVersionMatch { .. } => Failure::Denied(Denied::NoSasl),
            error => Failure::Broken(error),
        }
    }
}

/// Authenticates a fresh connection, or one whose session ends soon. Gives the session's lifetime where it has one.
pub(super) async fn authenticate(messenger: &Messenger<Socket>, sasl: &Sasl) -> Result<Option<Duration>, Failure> {
    let mechanism = sasl.mechanism.name();
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    let Incoming(answer) = messenger.request(Outgoing::<SaslHandshake>(request)).await?;
    match answer.error_code {
        0 => {}
        UNSUPPORTED_MECHANISM => {
            return Err(Denied::Mechanism { wanted: mechanism, offered: offered(&answer) }.into());
        }
        ILLEGAL_STATE => return Err(Denied::NoSasl.into()),
        code => return Err(Denied::Sasl(format!("SaslHandshake: {}", Code(code))).into()),
    }
    let failed = |error: &dyn fmt::Display| Denied::Sasl(error.to_string());
    let config = SASLConfig::with_credentials(None, sasl.username.clone(), sasl.password.0.to_string());
    let config = config.map_err(|error| failed(&error))?;
    let name = Mechname::parse(mechanism.as_bytes()).map_err(|error| failed(&error))?;
    let mut session = SASLClient::new(config).start_suggested(&[name]).map_err(|error| failed(&error))?;

    let mut received: Option<Bytes> = None;
    let mut lifetime = None;
    for round in 0.. {
        if let Some(received) = &received
            && sasl.mechanism != Mechanism::Plain
        {
            check_scram(round, received)?;
        }
        let mut message = Vec::new();
        let state = session.step(received.as_deref(), &mut message).map_err(|error| match error {
            SessionError::MutualAuthenticationFailed => Denied::Impostor,
            error => failed(&error),
        })?;
        if state.has_sent_message() {
            let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
            let Incoming(answer) = messenger.request(Outgoing::<SaslAuthenticate>(request)).await?;
            let said = answer.error_message.as_ref().map(ToString::to_string);
            // words that repeat the password would carry it into a log
            let said = said.filter(|words| !words.is_empty() && !words.contains(&*sasl.password.0));
            match answer.error_code {
                0 => {}
                AUTHENTICATION_FAILED => return Err(Denied::Credentials { mechanism, said }.into()),
                code => return Err(Denied::Sasl(format!("SaslAuthenticate: {}", Code(code))).into()),
            }
            lifetime = u64::try_from(answer.session_lifetime_ms).ok().filter(|ms| *ms > 0);
            received = Some(answer.auth_bytes);
        }
        if state.is_finished() {
            break;
        }
    }
    Ok(lifetime.map(Duration::from_millis))
}

/// The mechanisms of a listener, in order: a broker gives them in any.
pub(super) fn offered(answer: &SaslHandshakeResponse) -> Vec<String> {
    let mut offered: Vec<String> = answer.mechanisms.iter().map(ToString::to_string).collect();
    offered.sort();
    offered
}

/// Codes of Kafka's protocol.
pub(super) const UNSUPPORTED_MECHANISM: i16 = 33;
const ILLEGAL_STATE: i16 = 34;
const AUTHENTICATION_FAILED: i16 = 58;

/// Looks at a message of the server before rsasl does: rsasl 2.3 takes any number of rounds, and panics where an attribute
/// is shorter than its name (`scram/parser.rs`, `&next[0..2]`).
fn check_scram(round: usize, message: &[u8]) -> Result<(), Denied> {
    let parts: Vec<&[u8]> = message.split(|byte| *byte == b',').collect();
    let has = |at: usize, name: &[u8]| parts.get(at).is_some_and(|part| part.starts_with(name));
    let wrong = || Denied::Sasl("what the broker sent is no message of SCRAM".to_owned());
    match round {
        1 if has(0, b"r=") && has(1, b"s=") && has(2, b"i=") => {
            let count = String::from_utf8_lossy(&parts[2][2..]).into_owned();
            match count.parse() {
                Ok(rounds) if ITERATIONS.contains(&rounds) => Ok(()),
                _ => Err(Denied::Iterations(count)),
            }
        }
        2 if has(0, b"v=") || has(0, b"e=") => Ok(()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let (mechanism, password) = (Mechanism::Plain, Password::new("canary-91"));
        let sasl = Sasl { mechanism, username: "ada".to_owned(), password, plain_without_tls: false };
        let shown = format!("{sasl:?}");
        assert!(shown.contains("ada") && shown.contains("(set)") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn mechanisms_are_read_in_either_case_and_others_are_refused_with_those_that_are_known() {
        assert_eq!("scram-sha-512".parse::<Mechanism>().ok(), Some(Mechanism::ScramSha512));
        let said = "GSSAPI".parse::<Mechanism>().expect_err("not known").to_string();
        assert!(said.contains("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"), "{said}");
    }

    #[test]
    fn messages_that_would_harm_are_stopped_before_they_are_read() {
        for (round, message) in [
            (1, &b"r=abc,s=c2FsdA==,i=4096"[..]),
            (1, b"r=abc,s=c2FsdA==,i=100000,x=1"),
            (2, b"v=AAAA"),
            (2, b"e=other-error"),
        ] {
            assert_eq!(check_scram(round, message), Ok(()), "{}", message.escape_ascii());
        }
        for (round, message) in [
            (1, &b""[..]),
            (1, b"r=abc,s,i=4096"),
            (1, b"r=abc,,i=4096"),
            (1, b"r=abc,s=x"),
            (1, b"r=abc,s=x,i=1"),
            (1, b"r=abc,s=x,i=4294967295"),
            (1, b"r=abc,s=x,i=99999999999"),
            (1, b"r=abc,s=x,i="),
            (2, b""),
            (2, b"v"),
            (3, b"v=AAAA"),
        ] {
            assert!(check_scram(round, message).is_err(), "{round} {}", message.escape_ascii());
        }
    }
}

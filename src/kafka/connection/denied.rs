//! Why a broker that was reached let nobody in, or was not believed.

use std::io;

use rskafka::{messenger::RequestError, protocol::frame};
use rustls::{AlertDescription, CertificateError};

/// The way in failed at TLS or SASL. Asking again brings the same until somebody changes something, but for a handshake
/// that was cut off ([`Denied::TlsCut`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// Another CA than those that are trusted here, or none. Name the CA file of this cluster.
    #[error("its certificate is signed by nobody who is trusted here")]
    UnknownIssuer,

    /// Only the certificate's subject alternative names count, not its common name (RFC 9525).
    #[error("its certificate is not for {wanted:?}; it names {}", names(presented))]
    WrongName { wanted: String, presented: Vec<String> },

    #[error("its certificate has expired")]
    Expired,

    #[error("its certificate is not valid yet; is the clock right?")]
    NotValidYet,

    /// Something else is wrong with it.
    #[error("its certificate is not acceptable: {0}")]
    Certificate(String),

    /// The listener asks for a certificate of the client, and none was given.
    #[error("it asks for a client certificate, and none is configured")]
    NoClientCertificate,

    /// The listener does not take the certificate that was given.
    #[error("it refused the client certificate ({0})")]
    ClientCertificate(String),

    /// No common version or cipher, a broken message.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),

    /// TLS was tried with a listener that answers something else.
    #[error("it does not speak TLS")]
    NotTls,

    /// The connection ended within the TLS handshake: a listener without TLS does that, and so does a bad network.
    #[error("it closed the connection in the TLS handshake; a listener without TLS does that")]
    TlsCut,

    /// Plain text was sent to a listener that speaks TLS.
    #[error("it speaks TLS, and TLS is not switched on here")]
    WantsTls,

    /// The listener asks for a user, and none was given.
    #[error("it asks for a user and a password (SASL, by {}), and none is configured", list(offered))]
    WantsSasl { offered: Vec<String> },

    /// A user was given, and the listener has no use for one.
    #[error("it does not ask for a user (SASL), and one is configured")]
    NoSasl,

    /// The listener takes other mechanisms.
    #[error("it does not take the SASL mechanism {wanted}; it offers {}", list(offered))]
    Mechanism { wanted: &'static str, offered: Vec<String> },

    /// The user is unknown or the password is wrong; brokers do not tell which.
    #[error("it refused the user or the password ({mechanism}){}", quoted(said))]
    Credentials { mechanism: &'static str, said: Option<String> },

    /// SCRAM is mutual (RFC 5802): this server's signature is not made with the user's password.
    #[error("it did not prove that it knows the password (SCRAM): it may be an impostor")]
    Impostor,

    /// SCRAM as the server wants it would give the password away or keep this process busy.
    #[error("it asks for {0} rounds of SCRAM's key derivation; 4096 to 100000 are taken")]
    Iterations(String),

    /// Anything else that went wrong in the exchange.
    #[error("the SASL exchange failed: {0}")]
    Sasl(String),
}

impl Denied {
    /// Another try may end otherwise with nothing changed.
    pub fn is_transient(&self) -> bool {
        *self == Denied::TlsCut
    }

    /// What an error of a connection says about TLS, where it says something. `identified`: a client certificate was at
    /// hand. `asked`: the server has asked for one.
    pub(super) fn of_io(error: &io::Error, identified: bool, asked: bool) -> Option<Self> {
        let inner = error.get_ref();
        if let Some(denied) = inner.and_then(|inner| inner.downcast_ref::<Denied>()) {
            return Some(denied.clone());
        }
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(Self::of_tls(tls, identified));
        }
        // With TLS 1.3 the client is through before the server has looked at its certificate; a server that then closes
        // with bytes unread resets the connection, and its alert is lost.
        (asked && !identified && is_cut(error)).then_some(Denied::NoClientCertificate)
    }

    fn of_tls(error: &rustls::Error, identified: bool) -> Self {
        match error {
            rustls::Error::InvalidCertificate(certificate) => Self::of_certificate(certificate),
            rustls::Error::AlertReceived(alert) if is_about_certificate(*alert) => match identified {
                true => Denied::ClientCertificate(format!("{alert:?}")),
                false => Denied::NoClientCertificate,
            },
            rustls::Error::InvalidMessage(_) => Denied::NotTls,
            other => Denied::Tls(other.to_string()),
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Denied::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Denied::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Denied::NotValidYet,
            CertificateError::NotValidForNameContext { expected, presented } => {
                Denied::WrongName { wanted: expected.to_str().into_owned(), presented: presented.clone() }
            }
            // webpki's own error, which rustls hands on without a name of its own
            other if other.to_string().contains("CaUsedAsEndEntity") => {
                Denied::Certificate("it is marked as a CA's own, and a broker's is one that a CA has signed".to_owned())
            }
            other => Denied::Certificate(other.to_string()),
        }
    }
}

/// Alerts that a server sends about the certificate of its client. Java sends `BadCertificate` where there is none.
fn is_about_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::CertificateRequired
            | A::NoCertificate
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
    )
}

/// The other side went away.
pub(super) fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe)
}

/// The socket's own error in one of rskafka's, which repeat themselves from layer to layer.
pub(super) fn io_of(error: &RequestError) -> Option<&io::Error> {
    match error {
        RequestError::Poisoned(inner) => io_of(inner),
        RequestError::IO(io)
        | RequestError::ReadFramedMessageError(frame::ReadError::IO(io))
        | RequestError::WriteMessageError(frame::WriteError::IO(io)) => Some(io),
        _ => None,
    }
}

fn names(presented: &[String]) -> String {
    // rustls writes `DnsName("kafka")` and `IpAddress(127.0.0.1)`
    let bare = |name: &String| match name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')) {
        Some(inner) => inner.trim_matches('"').to_owned(),
        None => name.clone(),
    };
    list(&presented.iter().map(bare).collect::<Vec<_>>())
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn quoted(said: &Option<String>) -> String {
    said.as_ref().map(|said| format!(": {said:?}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_certificate_are_shown_bare() {
        let presented = ["DnsName(\"kafka.lab\")", "IpAddress(127.0.0.1)"].map(str::to_owned).to_vec();
        let denied = Denied::WrongName { wanted: "here".to_owned(), presented };
        assert_eq!(denied.to_string(), "its certificate is not for \"here\"; it names kafka.lab, 127.0.0.1");
    }

    #[test]
    fn a_cut_means_a_missing_certificate_only_where_one_was_asked_for() {
        let cut = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(Denied::of_io(&cut, false, true), Some(Denied::NoClientCertificate));
        for (identified, asked) in [(true, true), (false, false)] {
            assert_eq!(Denied::of_io(&cut, identified, asked), None);
        }
    }
}

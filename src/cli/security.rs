//! TLS and SASL on the command line: from settings to connections, and from a refusal to the next thing to try.

use color_eyre::{Result, eyre::eyre};

use super::{config::Settings, exit::Usage};
use crate::app::{ConnectOptions, Denied, Mechanism, Password, Sasl, Security, Tls, TlsFiles};

/// How connections are made, as the settings say. Nothing is connected to.
///
/// # Errors
/// Settings that do not go together, a file that cannot be used, a password that is not for these brokers: all exit 2.
pub fn options(settings: &Settings) -> Result<ConnectOptions> {
    Ok(ConnectOptions {
        client_id: settings.client_id.value.as_str().into(),
        connect_timeout: settings.connect_timeout.value,
        request_timeout: settings.request_timeout.value,
        max_answer: settings.max_answer.value,
        security: Security { tls: tls(settings)?, sasl: sasl(settings)? },
    })
}

fn tls(settings: &Settings) -> Result<Option<Tls>> {
    let tls = &settings.tls;
    if !tls.enabled.value {
        return Ok(None);
    }
    let files = TlsFiles {
        ca: tls.ca.value.clone(),
        cert: tls.cert.value.clone(),
        key: tls.key.value.clone(),
        insecure_skip_verify: tls.insecure_skip_verify.value,
    };
    match (&files.cert, &files.key) {
        (Some(_), None) => Err(usage("tls.cert is set and tls.key is not: a certificate and its key go together")),
        (None, Some(_)) => Err(usage("tls.key is set and tls.cert is not: a certificate and its key go together")),
        _ => Ok(Some(Tls::load(&files)?)),
    }
}

fn sasl(settings: &Settings) -> Result<Option<Sasl>> {
    let sasl = &settings.sasl;
    let (mechanism, username) = match (&sasl.mechanism.value, &sasl.username.value) {
        (None, None) => return Ok(None), // a password alone may be meant for another cluster
        (Some(none), _) if none.eq_ignore_ascii_case("none") => return Ok(None),
        (Some(mechanism), Some(username)) => (mechanism.parse::<Mechanism>()?, username.clone()),
        (Some(_), None) => return Err(usage("sasl.mechanism is set and sasl.username is not")),
        (None, Some(_)) => {
            let known = Mechanism::ALL.map(Mechanism::name).join(", ");
            return Err(usage(&format!("sasl.username is set and sasl.mechanism is not; there are {known}")));
        }
    };
    settings.check_password()?;
    let password = sasl.password.value.as_ref().map(|password| password.expose()).filter(|text| !text.is_empty());
    let Some(password) = password else {
        return Err(usage(
            "sasl.username is set and there is no password: set KAFKALAB_SASL_PASSWORD, or sasl.password_file to a file \
             with mode 0600",
        ));
    };
    let plain_without_tls = sasl.plain_without_tls.value;
    if mechanism == Mechanism::Plain && !settings.tls.enabled.value && !plain_without_tls {
        return Err(usage(
            "SASL PLAIN without TLS would send the password in the clear: switch TLS on (-X tls.enabled=true), use \
             SCRAM-SHA-256 or SCRAM-SHA-512, or ask for it with -X sasl.plain_without_tls=true",
        ));
    }
    Ok(Some(Sasl { mechanism, username, password: Password::new(password), plain_without_tls }))
}

fn usage(text: &str) -> color_eyre::Report {
    eyre!(Usage(text.to_owned()))
}

/// What to try next.
pub fn advice(why: &Denied) -> &'static str {
    match why {
        Denied::UnknownIssuer => "name the CA that signed it: -X tls.ca=FILE (PEM)",
        Denied::WrongName { .. } => {
            "use a name that the certificate has, or have it made with this one among its subject alternative names"
        }
        Denied::Expired => "whoever runs the broker renews it; this machine's clock counts too",
        Denied::NotValidYet => "look at the clocks of this machine and of the one that made the certificate",
        Denied::Certificate(_) => {
            "`openssl s_client -connect HOST:PORT -showcerts` shows it; a CA's own certificate is none for a broker"
        }
        Denied::NoClientCertificate => "name one: -X tls.cert=FILE -X tls.key=FILE (PEM)",
        Denied::ClientCertificate(_) => "tls.cert must be valid now, and signed by a CA that the broker trusts",
        Denied::Tls(_) => "`openssl s_client -connect HOST:PORT` shows the handshake",
        Denied::NotTls | Denied::TlsCut => {
            "is this the port of a TLS listener? `kafkalab config show` tells who switched TLS on (tls.enabled)"
        }
        Denied::WantsTls => "switch TLS on: -X tls.enabled=true, with -X tls.ca=FILE where the CA is your own",
        Denied::WantsSasl { .. } => "set sasl.mechanism and sasl.username (-X), and KAFKALAB_SASL_PASSWORD",
        Denied::NoSasl => "is this the port of a SASL listener? `kafkalab config show` tells who set sasl.mechanism",
        Denied::Mechanism { .. } => "-X sasl.mechanism=NAME, with one that the broker offers",
        Denied::Credentials { .. } => {
            "`kafkalab config show` tells where user and password come from; a user may have a password for one \
             mechanism and none for another"
        }
        Denied::Impostor => "do not go on before you know who answers at this address",
        Denied::Iterations(_) => "have the user's password set anew with 4096 iterations or some more",
        _ => "the broker's own log says more",
    }
}

#[cfg(test)]
mod tests {
    use super::advice;
    use crate::app::Denied;

    #[test]
    fn no_advice_is_to_switch_the_checks_off() {
        for why in
            [Denied::UnknownIssuer, Denied::Expired, Denied::WrongName { wanted: String::new(), presented: vec![] }]
        {
            assert!(!advice(&why).contains("insecure"), "{why}");
        }
    }
}

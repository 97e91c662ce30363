//! How a connection comes about: TCP, TLS, the versions (ApiVersions), SASL, all within the connect time-out; and what it
//! means where it does not.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::AtomicU64},
};

use kafka_protocol::{messages::ApiVersionsRequest, protocol::StrBytes};
use rskafka::messenger::{Messenger, RequestError};
use tokio::{net::TcpStream, time::timeout};

use super::{
    Address, ConnectOptions, Security, Tls,
    denied::{Denied, io_of},
    describe,
    sasl::{Failure, authenticate},
    session::Session,
    socket::{Socket, Stream},
};
use crate::kafka::{
    error::{Error, Result},
    wire::{Api, ApiVersions, Incoming, Outgoing, wire_key, wire_range},
};

/// What a connection begins with.
pub(super) struct Opened {
    pub messenger: Messenger<Socket>,
    pub versions: HashMap<i16, (i16, i16)>,
    pub session: Option<Session>,
    pub flushes: Arc<AtomicU64>,
}

/// How far the way to a broker has been gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Name resolution and TCP.
    Tcp,
    Tls,
    /// The first request, ApiVersions.
    Versions,
    Sasl,
}

/// # Errors
/// [`Error::Invalid`] before anything is sent, [`Error::Denied`], [`Error::Unreachable`]; each with where it stood.
pub(super) async fn open(address: &Address, options: &ConnectOptions) -> Result<Opened, (Stage, Error)> {
    let mut stage = Stage::Tcp;
    options.security.check().map_err(|error| (stage, error))?;
    let limit = options.connect_timeout;
    let opened = match timeout(limit, open_unlimited(address, options, &mut stage)).await {
        Ok(opened) => opened,
        Err(_) => {
            let at = match stage {
                Stage::Tls => " in the TLS handshake",
                Stage::Versions if options.security.tls.is_some() => " to the first request within TLS",
                Stage::Sasl => " in the SASL exchange",
                Stage::Tcp | Stage::Versions => "",
            };
            Err(unreachable(address, format!("no answer{at} within {} s", limit.as_secs_f32())))
        }
    };
    opened.map_err(|error| (stage, error))
}

/// `stage` is where it stands, for the one who ends it.
async fn open_unlimited(address: &Address, options: &ConnectOptions, stage: &mut Stage) -> Result<Opened> {
    let unreachable = |error: io::Error| unreachable(address, error.to_string());
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?; // a 40 ms pause per request otherwise
    let Security { tls, sasl } = &options.security;
    let stream = match tls {
        None => Stream::Plain(stream),
        Some(tls) => {
            *stage = Stage::Tls;
            let stream = tls.handshake(&address.host, stream).await.map_err(|why| denied(address, why))?;
            Stream::Tls(Box::new(stream))
        }
    };
    let flushes = Arc::new(AtomicU64::new(0));
    let socket = Socket::new(stream, Arc::clone(&flushes));
    let mut messenger = Messenger::new(socket, options.max_answer, Arc::clone(&options.client_id));
    *stage = Stage::Versions;
    let versions = negotiate(&mut messenger).await.map_err(|error| silence(address, tls.as_ref(), &error))?;
    let mut session = None;
    if let Some(sasl) = sasl {
        *stage = Stage::Sasl;
        let lifetime = authenticate(&messenger, sasl).await.map_err(|failure| shut_out(address, failure))?;
        session = Session::begin(sasl, lifetime, options.request_timeout);
    }
    Ok(Opened { messenger, versions, session, flushes })
}

enum NoVersions {
    Broken(RequestError),
    Unsaid,
}

/// Finds out which versions the broker speaks, and tells the messenger.
async fn negotiate(messenger: &mut Messenger<Socket>) -> Result<HashMap<i16, (i16, i16)>, NoVersions> {
    let mut response = None;
    // A broker older than 2.4 answers version 3 with an error in the form of version 0 (KIP-511).
    for version in [3, 0] {
        let own = HashMap::from([(wire_key(ApiVersions::KEY), wire_range(0, version))]);
        messenger.override_version_ranges(own);
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(env!("CARGO_PKG_NAME")))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        match messenger.request(Outgoing::<ApiVersions>(request)).await {
            Ok(Incoming(answer)) if answer.error_code == 0 => {
                response = Some(answer);
                break;
            }
            Ok(_) | Err(RequestError::ReadVersionedError(_)) => {}
            Err(error) => return Err(NoVersions::Broken(error)),
        }
    }
    let response = response.ok_or(NoVersions::Unsaid)?;
    let versions: HashMap<i16, (i16, i16)> =
        response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
    let ranges = versions
        .iter()
        .filter(|(_, (min, max))| min <= max)
        .map(|(&key, &(min, max))| (wire_key(key), wire_range(min, max)))
        .collect();
    messenger.override_version_ranges(ranges);
    Ok(versions)
}

fn unreachable(address: &Address, cause: impl Into<Arc<str>>) -> Error {
    Error::Unreachable { addresses: address.to_string(), cause: cause.into() }
}

pub(super) fn denied(address: &Address, why: Denied) -> Error {
    Error::Denied { address: address.to_string().into(), why }
}

/// What it means that the first answer did not come.
fn silence(address: &Address, tls: Option<&Tls>, error: &NoVersions) -> Error {
    let NoVersions::Broken(error) = error else {
        let cause = "it does not say which protocol versions it speaks; is it a Kafka listener?";
        return unreachable(address, cause);
    };
    let io = io_of(error);
    let why = match tls {
        Some(tls) => io.and_then(|io| tls.explain(io)),
        None => io.and_then(|io| Denied::of_io(io, false, false)),
    };
    match why {
        Some(why) => denied(address, why),
        None if tls.is_some() => {
            unreachable(address, format!("{} in place of a first answer (is it a Kafka listener?)", describe(error)))
        }
        None => unreachable(
            address,
            format!("{} in place of a first answer (is it a Kafka listener, and one without TLS?)", describe(error)),
        ),
    }
}

fn shut_out(address: &Address, failure: Failure) -> Error {
    match failure {
        Failure::Denied(why) => denied(address, why),
        Failure::Broken(error) => unreachable(address, format!("{} in the SASL exchange", describe(&error))),
    }
}

//! TLS by rustls: whom to believe, and who one is.
//!
//! The certificate must be signed by a trusted CA, be valid now, and name the host (or the IP address) as it stands in the
//! broker's address: the one that was typed for the first contact, the advertised one for the others. Without a CA file
//! the system's own certificates are trusted, as curl and kcat do, so that a company's CA that is installed on the machine
//! works; `SSL_CERT_FILE` names others. The cryptography is `ring`'s, which builds with a C compiler alone.

use std::{
    fmt, io,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::denied::{Denied, is_cut};
use crate::kafka::error::{Error, Result};

/// No file of certificates is larger; a device or a mistake is.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The files that TLS is made of, all in PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Whom to believe, one or several certificates. `None`: whoever the system trusts.
    pub ca: Option<PathBuf>,
    /// The client's certificate, followed by those between it and the CA; with [`key`](Self::key) or not at all.
    pub cert: Option<PathBuf>,
    /// The client's private key, not encrypted.
    pub key: Option<PathBuf>,
    /// Believe everybody. The connection is encrypted, and whoever stands in between can read and change all of it.
    pub insecure_skip_verify: bool,
}

/// TLS, ready for connections; clones share their sessions.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    identity: Arc<Identity>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the file that cannot be used, and why.
    pub fn load(files: &TlsFiles) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => Some(Arc::new(certified_key(cert, key, &provider)?)),
            (None, None) => None,
            _ => return Err(Error::Invalid("a client certificate and its key go together; one is missing".to_owned())),
        };
        let identity = Arc::new(Identity { key, asked: AtomicBool::new(false) });
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Invalid(format!("TLS: {error}")))?;
        let builder = if files.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous(provider)))
        } else {
            builder.with_root_certificates(roots(files.ca.as_deref())?)
        };
        let config = builder.with_client_cert_resolver(Arc::clone(&identity) as Arc<dyn ResolvesClientCert>);
        Ok(Self { connector: Arc::new(config).into(), identity })
    }

    pub(super) async fn handshake(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Denied> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Denied::Tls(format!("no certificate can be for the name {host:?}")))?;
        self.connector.connect(name, stream).await.map_err(|error| match self.explain(&error) {
            Some(denied) => denied,
            None if is_cut(&error) => Denied::TlsCut,
            None => Denied::Tls(error.to_string()),
        })
    }

    /// What an error on a connection of this TLS means, where it is about TLS.
    pub(super) fn explain(&self, error: &io::Error) -> Option<Denied> {
        Denied::of_io(error, self.identity.key.is_some(), self.identity.asked.load(Ordering::Acquire))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("client_certificate", &self.identity.key.is_some()).finish_non_exhaustive()
    }
}

/// The client's certificate, and whether a server has asked for one.
#[derive(Debug)]
struct Identity {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Release);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    read.map_err(|error| Error::Invalid(format!("cannot read {}: {error}", path.display())))?;
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(Error::Invalid(format!("{}: there is no certificate in it (PEM is read)", path.display())))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(Error::Invalid(format!("{}: {error}", path.display()))),
    }
}

fn certified_key(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let chain = certificates(cert)?;
    let unusable = |why: &str| Error::Invalid(format!("{}: {why}", key.display()));
    let text = read(key)?;
    if text.windows(17).any(|window| window == b"BEGIN ENCRYPTED P" || window == b"Proc-Type: 4,ENCR") {
        return Err(unusable("the key is encrypted; `openssl pkey` writes it without"));
    }
    let der =
        PrivateKeyDer::from_pem_slice(&text).map_err(|_| unusable("there is no private key in it (PEM is read)"))?;
    CertifiedKey::from_der(chain, der, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => unusable(&format!("it is not the key of {}", cert.display())),
        other => unusable(&other.to_string()),
    })
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let system = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(system.certs);
        if added == 0 {
            let why = system.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(Error::Invalid(format!("this system trusts no CA{why}; name a CA file")));
        }
        return Ok(roots);
    };
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))?;
    }
    Ok(roots)
}

/// Believes every certificate. The handshake's signatures are still checked: a connection that is cut off or garbled is
/// an error, one to a stranger is not.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

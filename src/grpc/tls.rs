//! TLS of the server, by files in PEM: who it is, and whom it lets in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;

/// A file, or what is in it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {cause}", .path.display())]
pub struct TlsError {
    what: &'static str,
    path: PathBuf,
    cause: String,
}

/// TLS, ready for connections.
#[derive(Clone)]
pub struct ServerTls(pub(super) TlsAcceptor);

impl ServerTls {
    /// `cert`: the server's certificate, followed by those between it and the CA. With `client_ca` a client must show a
    /// certificate that one of these has signed.
    ///
    /// # Errors
    /// [`TlsError`] with the file that cannot be used, and why.
    pub fn load(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, TlsError> {
        let wrong = |what, path: &Path, cause: String| TlsError { what, path: path.to_owned(), cause };
        let chain = certificates("the certificate", cert)?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("the key", key, error.to_string()))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("the certificate", cert, error.to_string()))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("the clients' CA", path)? {
                    roots.add(certificate).map_err(|error| wrong("the clients' CA", path, error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let verifier = verifier.map_err(|error| wrong("the clients' CA", path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config =
            builder.with_single_cert(chain, secret).map_err(|error| wrong("the key", key, error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec()]; // gRPC is HTTP/2
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error: rustls::pki_types::pem::Error| TlsError {
        what,
        path: path.to_owned(),
        cause: error.to_string(),
    })?;
    if certificates.is_empty() {
        return Err(TlsError { what, path: path.to_owned(), cause: "it has no certificate in PEM".to_owned() });
    }
    Ok(certificates)
}

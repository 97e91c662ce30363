//! A port to listen on, for the commands that serve.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

/// Nothing can be served there.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct ListenError {
    pub address: SocketAddr,
    pub cause: io::Error,
}

impl ListenError {
    /// Somebody else listens there.
    pub fn is_taken(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrInUse
    }
}

/// Listens from now on; port 0 takes a free one, which the listener's own address tells.
///
/// # Errors
/// [`ListenError`]: the port is taken, or the address is not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|cause| ListenError { address, cause })
}

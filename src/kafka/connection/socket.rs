//! The bytes under the messenger: TCP, or TLS over it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::denied::Denied;

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    /// Boxed: it is large, and the plain one should not carry its size.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that counts its flushes: the only sign that a request without an answer has been written.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    flushes: Arc<AtomicU64>,
    /// Something has been read.
    heard: bool,
}

impl Socket {
    pub(super) fn new(stream: Stream, flushes: Arc<AtomicU64>) -> Self {
        Self { stream, flushes, heard: false }
    }

    /// A listener that speaks TLS answers plain text with a fatal alert: 0x15, then the version, 3.x. As the length of a
    /// first answer that would be 352 MB.
    fn check_first(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.heard |= !bytes.is_empty();
        if matches!(self.stream, Stream::Plain(_)) && bytes.starts_with(&[0x15, 3]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Denied::WantsTls));
        }
        // A web server's words, as the length of a first answer, would be 1.2 GB.
        if bytes.starts_with(b"HTTP") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks HTTP"));
        }
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buf),
        })?;
        if !self.heard {
            self.check_first(&buf.filled()[before..])?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        };
        if flushed.is_ready() {
            self.flushes.fetch_add(1, Ordering::Release);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

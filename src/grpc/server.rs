//! The port: connections and their limits, the services, and the end.
//!
//! ```text
//! accept (so many) --> TLS, HTTP/2's first words (within a time) --> calls --> GOAWAY, the calls in hand, closed
//! ```
//!
//! What a stranger can make this use has a limit: connections, streams of each, bytes that wait to be read, the time until
//! it has said something sensible, the time of each call. A connection that is silent in the middle of a frame answers no
//! PING and is closed by that.

use std::{io::Cursor, sync::Arc, time::Duration};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::{
    DESCRIPTORS, OrdersService, OrdersServiceServer, SERVICE,
    gate::{Gate, Observe},
    tls::ServerTls,
};

/// What clients may make the server use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; who comes later waits in the system's queue.
    pub connections: usize,
    /// Calls of one connection at once.
    pub streams: u32,
    /// Calls of all connections at once; who comes later is refused.
    pub calls: usize,
    /// Bytes of a request.
    pub message: usize,
    /// The longest that a call may take.
    pub call: Duration,
    /// TLS, and the first bytes of HTTP/2.
    pub handshake: Duration,
    /// How long the calls in hand have when the server ends.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            streams: 256,
            calls: 2048,
            message: 64 * 1024,
            call: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }
}

/// Bytes of all headers of a request.
const HEADERS: u32 = 16 * 1024;
/// Bytes of one stream, and of all streams of a connection, that wait to be read.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Bytes of an answer that wait for a reader.
const SEND: usize = 64 * 1024;
/// A PING this often, and its answer within a time, or the connection is closed.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// The first bytes of a client (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A port with what is behind it.
pub struct Server {
    pub listener: TcpListener,
    pub tls: Option<ServerTls>,
    pub limits: Limits,
    pub observe: Observe,
}

/// Serves until it is told to stop; then what is in hand is finished, within [`Limits::grace`].
///
/// Beside the service there are reflection (v1 and v1alpha) and health, which says NOT_SERVING from the stop on.
pub async fn serve(service: impl OrdersService, server: Server, stop: &CancellationToken) {
    let Server { listener, tls, limits, observe } = server;
    let (health, routes) = routes(service, &limits).await;
    let front = Arc::new(Front {
        tls,
        limits,
        gate: Gate::new(routes, limits.calls, limits.call, observe),
        stop: stop.clone(),
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok((stream, _)) => {
                    let front = Arc::clone(&front);
                    connections.spawn(async move { front.connection(stream).await });
                }
                // no descriptor is left, or the caller has gone already: not this loop's end
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener); // who comes now is refused, and finds another server
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    health.set_service_status(SERVICE, tonic_health::ServingStatus::NotServing).await;
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.grace, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections that did not end are cut");
    }
}

async fn routes(service: impl OrdersService, limits: &Limits) -> (tonic_health::server::HealthReporter, Routes) {
    let (health, checks) = tonic_health::server::health_reporter();
    health.set_service_status(SERVICE, tonic_health::ServingStatus::Serving).await;
    let orders = OrdersServiceServer::new(service).max_decoding_message_size(limits.message);
    let mut routes = Routes::new(orders).add_service(checks.max_decoding_message_size(limits.message));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // so that grpcurl shows the details of an error in words
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    // they are this build's own, so they can be read
    if let Ok(reflection) = reflection().build_v1() {
        routes = routes.add_service(reflection.max_decoding_message_size(limits.message));
    }
    if let Ok(reflection) = reflection().build_v1alpha() {
        routes = routes.add_service(reflection.max_decoding_message_size(limits.message));
    }
    (health, routes.prepare())
}

/// What all connections share.
struct Front {
    tls: Option<ServerTls>,
    limits: Limits,
    gate: Gate,
    stop: CancellationToken,
}

impl Front {
    async fn connection(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true); // slower, but it works
        let Some(tls) = &self.tls else {
            let (read, write) = stream.into_split();
            return self.http2(read, write).await;
        };
        match timeout(self.limits.handshake, tls.0.accept(stream)).await {
            Ok(Ok(stream)) => {
                let (read, write) = tokio::io::split(stream);
                self.http2(read, write).await;
            }
            Ok(Err(error)) => tracing::info!(%error, "a TLS handshake failed"),
            Err(_) => tracing::info!("a TLS handshake took too long"),
        }
    }

    async fn http2(
        &self,
        mut read: impl AsyncRead + Unpin + Send + 'static,
        write: impl AsyncWrite + Unpin + Send + 'static,
    ) {
        let mut preface = [0; PREFACE.len()];
        match timeout(self.limits.handshake, read.read_exact(&mut preface)).await {
            Ok(Ok(_)) if preface == *PREFACE => {}
            _ => return, // nobody who speaks HTTP/2
        }
        let io = TokioIo::new(tokio::io::join(Cursor::new(preface).chain(read), write));
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(HEADERS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG);
        let mut connection = std::pin::pin!(http.serve_connection(io, self.gate.clone()));
        tokio::select! {
            _ = connection.as_mut() => return, // the caller's trouble, not ours
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

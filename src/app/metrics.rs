//! Metrics in Prometheus' text form, for the commands that stay: `GET /metrics`, and nothing else.
//!
//! ```text
//! what happens --> counters, histograms (at once) ----+
//!                                                      +--> GET /metrics
//! what is so   --> gauges, asked for when somebody looks
//! ```
//!
//! A depth or a lag is read from the store or the broker when it is asked for, with a limit in time: a database that is
//! away costs that number, not the others. Whoever serves brings a [`Registry`] with its metrics, and a `refresh` that
//! sets the gauges.
//!
//! The text is OpenMetrics 1.0 (`prometheus-client` writes it), which Prometheus has read since 2.5.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::relay::Stop;

/// Who looks at the same time; others wait.
const CONNECTIONS: usize = 16;
/// A connection ends after this time, whatever it does; whoever looks again makes a new one.
const CONNECTION: Duration = Duration::from_secs(30);
/// The head of a request must be there within this time.
const HEAD: Duration = Duration::from_secs(5);
/// What is not known by then is told as it was the last time.
const REFRESH: Duration = Duration::from_secs(2);

const TEXT: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers until it is told to stop. `refresh` sets the gauges before each answer.
pub async fn serve<R, F>(listener: TcpListener, registry: Registry, refresh: R, stop: &Stop)
where
    R: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let shared = Arc::new((registry, refresh));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return, // those that are open end with their set
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(tokio::time::timeout(CONNECTION, answer(stream, Arc::clone(&shared))));
                }
                // no descriptor is left, or the caller has gone already: not this loop's end
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

async fn answer<R, F>(stream: TcpStream, shared: Arc<(Registry, R)>)
where
    R: Fn() -> F,
    F: Future<Output = ()>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(page(&request, &shared.0, &shared.1).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 * 1024);
    let _ = http.serve_connection(TokioIo::new(stream), service).await; // the caller's trouble, not ours
}

async fn page<R, F>(request: &Request<Incoming>, registry: &Registry, refresh: &R) -> Response<Full<Bytes>>
where
    R: Fn() -> F,
    F: Future<Output = ()>,
{
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "the metrics are there for GET\n");
    }
    let _ = tokio::time::timeout(REFRESH, refresh()).await;
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => {
            let mut response = Response::new(Full::new(Bytes::from(text)));
            response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(address: std::net::SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a listener");
        stream.write_all(format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        text
    }

    #[tokio::test]
    async fn gauges_are_asked_for_when_somebody_looks() {
        let listener = crate::app::listen::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut registry, depth, looks) = (Registry::default(), Gauge::<i64>::default(), Counter::<u64>::default());
        registry.register("depth", "What waits", depth.clone());
        registry.register("looks", "How often somebody looked", looks.clone());
        let refresh = move || {
            let (depth, looks) = (depth.clone(), looks.clone());
            async move {
                looks.inc();
                depth.set(7);
            }
        };
        let stop = Stop::new();
        let serving = tokio::spawn({
            let stop = stop.clone();
            async move { serve(listener, registry, refresh, &stop).await }
        });
        assert!(get(address, "GET /metrics").await.contains("\ndepth 7\n"));
        assert!(get(address, "GET /metrics").await.contains("\nlooks_total 2\n"));
        assert!(get(address, "GET /").await.starts_with("HTTP/1.1 404 "));
        assert!(get(address, "POST /metrics").await.starts_with("HTTP/1.1 405 "));
        stop.cancel();
        serving.await.expect("it ends when it is told to");
    }
}

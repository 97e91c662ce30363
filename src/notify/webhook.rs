//! Calls of a webhook.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Uri,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};

use super::{LIMIT, NotHeard, Notice};

/// Of an answer so much is read at most: it is nothing to us but a reason, and the connection's end otherwise.
const ANSWER: usize = 16 * 1024;
/// And for so long.
const BODY: Duration = Duration::from_secs(1);
/// Of a reason so many letters are kept.
const REASON: usize = 120;
/// Connections that wait for the next call.
const IDLE: usize = 32;

/// A webhook; its connections are kept.
pub struct Webhook {
    uri: Uri,
    /// As it is shown.
    target: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Webhook {
    pub fn open(uri: Uri, target: String) -> Result<Self, NotHeard> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(LIMIT));
        let builder = HttpsConnectorBuilder::new();
        let builder = match uri.scheme_str() {
            // the system's certificates, or those that SSL_CERT_FILE names
            Some("https") => builder
                .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
                .map_err(|error| NotHeard::NoAnswer { target: target.clone(), cause: error.to_string() })?,
            _ => builder.with_tls_config(without_roots(&target)?), // nobody's is asked for
        };
        let https = builder.https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE)
            .build(https);
        Ok(Self { uri, target, client })
    }

    /// Heard is what is answered with 2xx, within [`LIMIT`].
    pub async fn call(&self, notice: Notice<'_>) -> Result<(), NotHeard> {
        let target = || self.target.clone();
        let outcome = tokio::time::timeout(LIMIT, self.try_call(notice)).await;
        outcome.unwrap_or_else(|_| Err(NotHeard::Late { target: target() }))
    }

    async fn try_call(&self, notice: Notice<'_>) -> Result<(), NotHeard> {
        let target = || self.target.clone();
        let no_answer = |error: &dyn Error| NotHeard::NoAnswer { target: target(), cause: causes(error) };
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(notice.body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kafkalab/", env!("CARGO_PKG_VERSION"))));
        // a string of RFC 8941, as draft-ietf-httpapi-idempotency-key-header has it
        let key = HeaderValue::try_from(format!("\"{}\"", notice.id)).map_err(|error| no_answer(&error))?;
        headers.insert("idempotency-key", key);
        let answer = self.client.request(request).await.map_err(|error| no_answer(&error))?;
        // the status has said it: a body that does not end changes nothing
        let status = answer.status();
        let said = tokio::time::timeout(BODY, read(answer.into_body())).await.unwrap_or_default();
        if status.is_success() {
            return Ok(());
        }
        let said = match said.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
            Some(line) => format!(": {}", line.chars().take(REASON).collect::<String>()),
            None => String::new(),
        };
        Err(NotHeard::Refused { target: target(), status: status.as_u16(), said })
    }
}

/// To its end, so that the connection serves the next call; too long a one is dropped with its connection.
async fn read(body: Incoming) -> String {
    match Limited::new(body, ANSWER).collect().await {
        Ok(all) => String::from_utf8_lossy(&all.to_bytes()).into_owned(),
        Err(_) => String::new(),
    }
}

fn without_roots(target: &str) -> Result<ClientConfig, NotHeard> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| NotHeard::NoAnswer { target: target.to_owned(), cause: error.to_string() })?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// hyper's errors say the cause only behind them.
fn causes(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

//! One connection to one broker: our socket under rskafka's `Messenger`.
//!
//! ```text
//! request::<A>() --job--> owner task --Messenger--> broker
//!        ^                     |
//!        +------- answer ------+
//! ```
//!
//! One owner task makes every request, because the order of calls is the order on the wire only within a task, and the
//! idempotent producer depends on that order. A request that gets no answer in time closes the connection: the broker
//! answers in order, so nothing behind it would come either. Why the messenger and not a connection of our own:
//! `docs/decisions/0001-rskafka-carries-the-connection.md`.

use std::{
    collections::HashMap,
    fmt, io,
    pin::{Pin, pin},
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kafka_protocol::{messages::ApiVersionsRequest, protocol::StrBytes};
use rskafka::messenger::{Messenger, RequestError};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    error::{Error, Result},
    wire::{Api, ApiVersions, Incoming, Outgoing, wire_key, wire_range},
};

/// Requests that wait for the owner task; more wait in their callers.
const JOBS: usize = 64;
/// A request without an answer (acks=0) leaves its entry in the messenger's table. A connection with this many of
/// them is replaced, so that the table stays small.
const UNANSWERED: u64 = 50_000;

/// A broker's address as a person writes it: `host`, `host:port`, `[::1]:9092`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    pub const DEFAULT_PORT: u16 = 9092;
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::Invalid(format!("broker address {text:?}: {why}; write host:port"));
        let text = text.trim();
        let text = text.strip_prefix("PLAINTEXT://").unwrap_or(text);
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| invalid("the bracket is not closed"))?;
            (host, rest.strip_prefix(':'))
        } else {
            match text.rsplit_once(':') {
                // more than one colon outside brackets: a bare IPv6 address
                Some((host, _)) if host.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        if host.is_empty() || host.contains(['/', ' ']) {
            return Err(invalid("there is no host name in it"));
        }
        let port = match port {
            None => Self::DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or_else(|| invalid("the port is no port"))?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How connections are made. The defaults suit a broker near by.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The name in the broker's logs and quotas.
    pub client_id: Arc<str>,
    /// For name resolution, TCP and the first answer together.
    pub connect_timeout: Duration,
    /// For each request, on top of the time that the broker was asked to wait.
    pub request_timeout: Duration,
    /// The largest answer taken, in bytes. A broker sends at least one whole batch, so keep it above the largest one.
    pub max_answer: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            client_id: "kafkalab".into(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            max_answer: 100 * 1024 * 1024,
        }
    }
}

type Job = Box<dyn FnOnce(Arc<Messenger<Socket>>) -> BoxFuture<'static, Fate> + Send>;

/// What a finished request means for its connection.
enum Fate {
    Good,
    Unanswered,
    Broken(Arc<str>),
}

/// A handle; clones share the connection. The connection ends when it breaks or when the last handle is gone.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    address: Arc<str>,
    versions: Arc<HashMap<i16, (i16, i16)>>,
    jobs: mpsc::Sender<Job>,
    closed: CancellationToken,
    cause: Arc<OnceLock<Arc<str>>>,
    flushes: Arc<AtomicU64>,
    request_timeout: Duration,
}

impl Connection {
    /// Connects and asks which versions the broker speaks.
    pub(crate) async fn open(address: &Address, options: &ConnectOptions) -> Result<Self> {
        let limit = options.connect_timeout;
        let unreachable = |cause: String| Error::Unreachable { addresses: address.to_string(), cause: cause.into() };
        match timeout(limit, Self::open_unlimited(address, options)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(cause)) => Err(unreachable(cause)),
            Err(_) => Err(unreachable(format!("no answer within {} s", limit.as_secs_f32()))),
        }
    }

    async fn open_unlimited(address: &Address, options: &ConnectOptions) -> Result<Self, String> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?; // a 40 ms pause per request otherwise
        let flushes = Arc::new(AtomicU64::new(0));
        let socket = Socket { stream, flushes: Arc::clone(&flushes) };
        let mut messenger = Messenger::new(socket, options.max_answer, Arc::clone(&options.client_id));
        let versions = negotiate(&mut messenger).await?;

        let address: Arc<str> = address.to_string().into();
        let (jobs, queue) = mpsc::channel(JOBS);
        let (closed, cause) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        tokio::spawn(own(Arc::new(messenger), queue, closed.clone(), Arc::clone(&cause)));
        Ok(Self {
            address,
            versions: Arc::new(versions),
            jobs,
            closed,
            cause,
            flushes,
            request_timeout: options.request_timeout,
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// The version that requests of this API have here; `None` where the broker lacks them.
    pub(crate) fn version<A: Api>(&self) -> Option<i16> {
        let &(min, max) = self.versions.get(&A::KEY)?;
        (min <= A::MAX && A::MIN <= max).then_some(max.min(A::MAX))
    }

    /// The same, as an error that names what is missing.
    pub(crate) fn require<A: Api>(&self, feature: &str) -> Result<i16> {
        self.version::<A>().ok_or_else(|| Error::Unsupported {
            feature: feature.to_owned(),
            needed: format!("{} in a version from {} to {}", A::NAME, A::MIN, A::MAX),
            address: Arc::clone(&self.address),
            offered: match self.versions.get(&A::KEY) {
                Some((min, max)) => format!("speaks {min} to {max}"),
                None => "does not have it".to_owned(),
            },
        })
    }

    /// Sends and waits for the answer, within the request time-out.
    pub(crate) async fn request<A: Api>(&self, request: A::Request) -> Result<A::Response> {
        self.start_within::<A>(request, self.request_timeout).await?.await
    }

    /// Queues a request; requests go out in the order in which these calls returned. After `limit` without an answer
    /// the connection is closed.
    pub(crate) async fn start_within<A: Api>(
        &self,
        request: A::Request,
        limit: Duration,
    ) -> Result<Answer<A::Response>> {
        self.require::<A>(A::NAME)?;
        let (answer, receiver) = oneshot::channel();
        let address = Arc::clone(&self.address);
        let job: Job = Box::new(move |messenger| {
            async move {
                match timeout(limit, messenger.request(Outgoing::<A>(request))).await {
                    Ok(Ok(Incoming(response))) => {
                        let _ = answer.send(Ok(response)); // the caller may have gone
                        Fate::Good
                    }
                    Ok(Err(error)) => {
                        if let Some(error) = unusable(&error, &address, A::NAME) {
                            let _ = answer.send(Err(error));
                        }
                        Fate::Broken(describe(&error).into())
                    }
                    Err(_) => {
                        let _ = answer.send(Err(Error::timed_out(A::NAME, limit)));
                        Fate::Broken(format!("no answer to {} within {} s", A::NAME, limit.as_secs_f32()).into())
                    }
                }
            }
            .boxed()
        });
        self.jobs.send(job).await.map_err(|_| self.lost())?;
        Ok(Answer { receiver, connection: self.clone() })
    }

    /// Sends a request that the broker does not answer (a produce with acks=0): done when the bytes are written.
    pub(crate) async fn send_unanswered<A: Api>(&self, request: A::Request) -> Result<()> {
        let (written, receiver) = oneshot::channel();
        let flushes = Arc::clone(&self.flushes);
        let job: Job = Box::new(move |messenger| {
            async move {
                let before = flushes.load(Ordering::Acquire);
                let mut request = pin!(messenger.request(Outgoing::<A>(request)));
                let failed = std::future::poll_fn(|context| match request.as_mut().poll(context) {
                    Poll::Ready(result) => Poll::Ready(result.err()),
                    Poll::Pending if flushes.load(Ordering::Acquire) > before => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                })
                .await;
                match failed {
                    Some(error) => Fate::Broken(describe(&error).into()),
                    None => {
                        let _ = written.send(()); // the caller may have gone
                        Fate::Unanswered
                    }
                }
            }
            .boxed()
        });
        self.jobs.send(job).await.map_err(|_| self.lost())?;
        match timeout(self.request_timeout, receiver).await {
            Ok(written) => written.map_err(|_| self.lost()),
            Err(_) => {
                self.closed.cancel();
                Err(Error::timed_out(A::NAME, self.request_timeout))
            }
        }
    }

    fn lost(&self) -> Error {
        let cause = self.cause.get().cloned().unwrap_or_else(|| "closed".into());
        Error::Disconnected { address: Arc::clone(&self.address), cause }
    }
}

/// An answer that is on its way.
pub(crate) struct Answer<T> {
    receiver: oneshot::Receiver<Result<T>>,
    connection: Connection,
}

impl<T> Future for Answer<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_unpin(context).map(|answer| answer.unwrap_or_else(|_| Err(self.connection.lost())))
    }
}

/// The owner task: takes jobs in order, polls the requests in flight, ends when the connection breaks or nobody holds
/// a handle any more.
async fn own(
    messenger: Arc<Messenger<Socket>>,
    mut queue: mpsc::Receiver<Job>,
    closed: CancellationToken,
    cause: Arc<OnceLock<Arc<str>>>,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut unanswered = 0;
    loop {
        let worn_out = unanswered > UNANSWERED && in_flight.is_empty();
        tokio::select! {
            biased;
            () = closed.cancelled() => break,
            Some(fate) = in_flight.next() => match fate {
                Fate::Good => {}
                Fate::Unanswered => unanswered += 1,
                Fate::Broken(why) => {
                    let _ = cause.set(why); // the first cause is the true one
                    break;
                }
            },
            job = queue.recv(), if !worn_out => match job {
                Some(job) => in_flight.push(job(Arc::clone(&messenger))),
                None => break,
            },
            else => break,
        }
    }
    closed.cancel();
}

/// Finds out which versions the broker speaks, and tells the messenger.
async fn negotiate(messenger: &mut Messenger<Socket>) -> Result<HashMap<i16, (i16, i16)>, String> {
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
            Err(error) => {
                return Err(format!(
                    "{} in place of a first answer (is it a Kafka listener, and one without TLS?)",
                    describe(&error)
                ));
            }
        }
    }
    let response = response.ok_or("it does not say which protocol versions it speaks; is it a Kafka listener?")?;
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

/// An answer that came and cannot be used: asking again would bring the same. `None` where the connection just broke.
fn unusable(error: &RequestError, address: &Arc<str>, api: &str) -> Option<Error> {
    use rskafka::protocol::frame::ReadError;
    match error {
        RequestError::Poisoned(inner) => unusable(inner, address, api),
        RequestError::ReadFramedMessageError(ReadError::MessageTooLarge { limit, actual }) => {
            Some(Error::AnswerTooLarge { address: Arc::clone(address), size: *actual, limit: *limit })
        }
        RequestError::ReadVersionedError(_)
        | RequestError::ReadError(_)
        | RequestError::TooMuchData { .. }
        | RequestError::ReadFramedMessageError(ReadError::NegativeMessageSize { .. }) => {
            Some(Error::malformed(format_args!("{address}, in its answer to {api}"), error))
        }
        RequestError::WriteError(_) => Some(Error::Invalid(format!("the {api} request cannot be written: {error}"))),
        _ => None,
    }
}

/// rskafka's errors repeat themselves from layer to layer; the innermost one says what happened.
fn describe(error: &RequestError) -> String {
    use rskafka::protocol::frame::{ReadError, WriteError};
    match error {
        RequestError::Poisoned(inner) => describe(inner),
        RequestError::ReadFramedMessageError(ReadError::IO(io)) | RequestError::IO(io) => describe_io(io),
        RequestError::WriteMessageError(WriteError::IO(io)) => describe_io(io),
        other => other.to_string(),
    }
}

fn describe_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// A TCP stream that counts its flushes: the only sign that a request without an answer has been written.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    flushes: Arc<AtomicU64>,
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.flushes.fetch_add(1, Ordering::Release);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, host, port) in [
            ("localhost", "localhost", 9092),
            ("kafka:19092", "kafka", 19092),
            ("[::1]:9093", "::1", 9093),
            ("::1", "::1", 9092),
            (" b:1 ", "b", 1),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!((address.host.as_str(), address.port), (host, port), "{text}");
        }
        assert_eq!("[::1]:9093".parse::<Address>().map(|a| a.to_string()).ok().as_deref(), Some("[::1]:9093"));
    }

    #[test]
    fn slips_in_addresses_are_named() {
        for text in ["", ":9092", "host:", "host:0", "host:99999", "[::1", "a/b:1", "host:port"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}

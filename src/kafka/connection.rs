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
//!
//! How a connection comes about stands in [`open`](self::open), how its session is renewed in [`session`].

mod address;
mod denied;
mod open;
mod sasl;
mod session;
mod socket;
mod tls;

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kafka_protocol::{messages::SaslHandshakeRequest, protocol::StrBytes};
use rskafka::messenger::{Messenger, RequestError};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use self::{
    address::Address,
    denied::Denied,
    open::Stage,
    sasl::{Mechanism, Password, Sasl},
    tls::{Tls, TlsFiles},
};
use self::{
    denied::{io_of, is_cut},
    open::{Opened, denied, open},
    session::Session,
    socket::Socket,
};
use super::{
    error::{Error, Result},
    wire::{Api, Incoming, Outgoing, SaslHandshake},
};

/// Requests that wait for the owner task; more wait in their callers.
const JOBS: usize = 64;
/// A request without an answer (acks=0) leaves its entry in the messenger's table. A connection with this many of
/// them is replaced, so that the table stays small.
const UNANSWERED: u64 = 50_000;

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
    /// TLS and SASL. The default is plain text.
    pub security: Security,
}

/// How connections are protected, and who one is on them.
///
/// ```no_run
/// use kafkalab::kafka::{ConnectOptions, Error, Mechanism, Password, Sasl, Security, Tls, TlsFiles};
///
/// # fn options(password: &str) -> Result<ConnectOptions, Error> {
/// let tls = Tls::load(&TlsFiles { ca: Some("lab-ca.pem".into()), ..TlsFiles::default() })?;
/// let sasl = Sasl {
///     mechanism: Mechanism::ScramSha512,
///     username: "ada".to_owned(),
///     password: Password::new(password),
///     plain_without_tls: false,
/// };
/// Ok(ConnectOptions { security: Security { tls: Some(tls), sasl: Some(sasl) }, ..ConnectOptions::default() })
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// `None`: everybody on the way can read and change what is sent.
    pub tls: Option<Tls>,
    /// `None`: one is nobody in particular.
    pub sasl: Option<Sasl>,
}

impl Security {
    /// A password goes out in the clear only where that was asked for.
    fn check(&self) -> Result<()> {
        match &self.sasl {
            Some(sasl) if sasl.mechanism == Mechanism::Plain && self.tls.is_none() && !sasl.plain_without_tls => {
                Err(Error::Invalid(
                    "SASL PLAIN without TLS sends the password in the clear, and is refused unless it is asked for"
                        .to_owned(),
                ))
            }
            _ => Ok(()),
        }
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            client_id: "kafkalab".into(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            max_answer: 100 * 1024 * 1024,
            security: Security::default(),
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
    /// Connects, asks which versions the broker speaks, and authenticates.
    pub(crate) async fn open(address: &Address, options: &ConnectOptions) -> Result<Self> {
        Self::open_staged(address, options).await.map_err(|(_, error)| error)
    }

    /// The same; an error comes with where it stood.
    pub(crate) async fn open_staged(address: &Address, options: &ConnectOptions) -> Result<Self, (Stage, Error)> {
        let Opened { messenger, versions, session, flushes } = open(address, options).await?;
        let address: Arc<str> = address.to_string().into();
        let (jobs, queue) = mpsc::channel(JOBS);
        let (closed, cause) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        tokio::spawn(own(Arc::new(messenger), session, queue, closed.clone(), Arc::clone(&cause)));
        let (versions, request_timeout) = (Arc::new(versions), options.request_timeout);
        Ok(Self { address, versions, jobs, closed, cause, flushes, request_timeout })
    }

    /// Why a listener ends every connection at its first request, if the reason is that it asks for a user.
    pub(crate) async fn asks_for_sasl(&self, options: &ConnectOptions) -> Option<Error> {
        let address: Address = self.address.parse().ok()?;
        let again = Self::open(&address, options).await.ok()?;
        // a mechanism that nobody has: the answer names those that there are
        let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("WHICH"));
        let limit = options.connect_timeout;
        let answer = again.start_within::<SaslHandshake>(request, limit).await.ok()?.await.ok()?;
        let why = || Denied::WantsSasl { offered: sasl::offered(&answer) };
        (answer.error_code == sasl::UNSUPPORTED_MECHANISM).then(|| denied(&address, why()))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// How many APIs the broker has.
    pub(crate) fn apis(&self) -> usize {
        self.versions.len()
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
    mut session: Option<Session>,
    mut queue: mpsc::Receiver<Job>,
    closed: CancellationToken,
    cause: Arc<OnceLock<Arc<str>>>,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut unanswered = 0;
    let mut ends_soon = false;
    loop {
        if ends_soon
            && in_flight.is_empty()
            && let Some(old) = session.take()
        {
            ends_soon = false;
            match old.renew(&messenger).await {
                Ok(renewed) => session = renewed,
                Err(why) => {
                    let _ = cause.set(why); // the first cause is the true one
                    break;
                }
            }
        }
        let worn_out = unanswered > UNANSWERED && in_flight.is_empty();
        tokio::select! {
            biased;
            () = closed.cancelled() => break,
            Some(fate) = in_flight.next() => match fate {
                Fate::Good => {}
                Fate::Unanswered => unanswered += 1,
                Fate::Broken(why) => {
                    tracing::debug!(%why, "connection broken");
                    let _ = cause.set(why); // the first cause is the true one
                    break;
                }
            },
            job = queue.recv(), if !worn_out && !ends_soon => match job {
                Some(job) => in_flight.push(job(Arc::clone(&messenger))),
                None => break,
            },
            () = session::due(&session), if !worn_out && !ends_soon => ends_soon = true,
            else => break,
        }
    }
    closed.cancel();
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

fn describe(error: &RequestError) -> String {
    match io_of(error) {
        Some(io) if is_cut(io) => "the broker closed the connection".to_owned(),
        Some(io) => io.to_string(),
        None => match error {
            RequestError::Poisoned(inner) => describe(inner),
            other => other.to_string(),
        },
    }
}

//! `grpc-server`: the orders service on gRPC, with the relay inside.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use color_eyre::{Report, Result, Section};
use tokio::net::TcpListener;

use super::{
    escape,
    exit::Exit,
    pattern::{Options, address, relayed, usage},
    session::{Session, duration},
    stderr,
    terminal::Terminal,
};
use crate::app::{
    Cluster, Store,
    broker::EmbeddedBroker,
    event_sourcing::Orders,
    grpc_server::{self, Limits, Place, RelayMetrics, ServerMetrics, ServerTls, Service},
    listen,
    outbox::{self, RELAYED},
    relay::{self, Stop, Told, make_topics},
};

/// Serve orders over gRPC: durable with their messages when they are answered, whether Kafka is there or not
///
/// orders.v1.OrdersService with CreateOrder, GetOrder, PayOrder, CancelOrder, beside it reflection and health. An order and
/// its message are one transaction; the relay in this process sends the messages as soon as Kafka is there. With an
/// idempotency-key in the metadata a call may be sent again and is carried out once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kafkalab grpc-server --embedded          with a broker in this process, on localhost:9092
  grpcurl -plaintext -d '{\"user_id\":\"user-123\",\"product_id\":\"prod-456\",\"price\":{\"currency\":\"USD\",\"amount\":99.99}}' \\
    localhost:50051 orders.v1.OrdersService/CreateOrder
  grpcurl -plaintext localhost:50051 list
  kafkalab grpc-server --relay external    and elsewhere: kafkalab outbox relay

Guarantees: who is answered OK has the order and its message on disk. The message is published
at-least-once, in order per order.

Exit codes: 0 done, 1 failed, such as a port that is taken, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051", value_parser = address)]
    listen: SocketAddr,
    /// Who sends the messages to Kafka
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = Relay::Inside)]
    relay: Relay,
    /// Host the embedded broker in this process, on this port of 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "9092")]
    embedded: Option<u16>,
    /// Serve metrics for Prometheus here, at /metrics
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    metrics: Option<SocketAddr>,
    /// TLS: the server's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// TLS: its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// TLS: let only clients in whose certificate one of these CAs has signed, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "TLS")]
    tls_client_ca: Option<PathBuf>,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Limits")]
    max_connections: u32,
    /// Calls of one connection at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Limits")]
    max_streams: u32,
    /// Calls of all connections at once
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Limits")]
    max_calls: u32,
    /// Bytes of a request
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=4_194_304), help_heading = "Limits")]
    max_message: u32,
    /// The longest that a call may take; a caller's own deadline may be shorter
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Limits")]
    timeout: Duration,
    /// How long calls in hand have when the server is told to stop
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Limits")]
    grace: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Relay {
    /// This process
    Inside,
    /// Another one: kafkalab outbox relay
    External,
}

pub async fn run(args: Args, session: &Session) -> Result<Exit> {
    let options = &args.options;
    let tls = args.tls()?;
    let listener = bind(args.listen, "--listen 127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let metrics_listener = match args.metrics {
        Some(address) => Some(bind(address, "--metrics 127.0.0.1:0").await?),
        None => None,
    };
    let store = options.open_within(args.timeout, session).await?;
    let broker = args.broker(session)?;
    args.say(address, metrics_listener.as_ref(), &store, session);

    let stop = session.stop.token();
    let (calls, relay) = (ServerMetrics::default(), RelayMetrics::default());
    let troubled = Arc::new(Troubled::new(&session.terminal));
    let service = Service {
        orders: Orders::new(store.clone()),
        actor: options.actor(),
        crash: options.crash(),
        tell: Arc::new(move |cause| troubled.tell(cause)),
    };
    let place = Place { listener, tls, limits: args.limits() };
    let serving = grpc_server::serve(service, place, &calls, &stop);
    let relaying = relaying(&args, &store, broker.as_ref(), &relay, &stop, session);
    let measuring = async {
        if let Some(listener) = metrics_listener {
            grpc_server::serve_metrics(listener, calls.clone(), relay.clone(), store.clone(), &stop).await;
        }
    };
    tokio::join!(serving, relaying, measuring);
    Ok(session.stop.exit())
}

async fn bind(address: SocketAddr, instead: &str) -> Result<TcpListener> {
    listen::bind(address).await.map_err(|error| {
        let next = match error.is_taken() {
            true => format!("who has the port tells `ss -ltnp`; or take another one: {instead} takes a free one"),
            false => {
                format!("is it an address of this machine, and may this user have the port? {instead} takes a free one")
            }
        };
        Report::from(error).suggestion(next)
    })
}

impl Args {
    fn tls(&self) -> Result<Option<ServerTls>> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let tls = ServerTls::load(cert, key, self.tls_client_ca.as_deref());
        tls.map(Some).map_err(|error| usage(format!("TLS: {error}")))
    }

    fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections as usize,
            streams: self.max_streams,
            calls: self.max_calls as usize,
            message: self.max_message as usize,
            call: self.timeout,
            grace: self.grace,
            ..Limits::default()
        }
    }

    fn broker(&self, session: &Session) -> Result<Option<EmbeddedBroker>> {
        let Some(port) = self.embedded else { return Ok(None) };
        let broker = EmbeddedBroker::start(port, None).map_err(|error| {
            let what = format!("starting the embedded broker on 127.0.0.1:{port}");
            Report::from(error).wrap_err(what).suggestion("another port: --embedded=0 takes a free one")
        })?;
        session.say(&format!("embedded broker on {}; it ends with this process", broker.address));
        Ok(Some(broker))
    }

    fn say(&self, address: SocketAddr, metrics: Option<&TcpListener>, store: &Store, session: &Session) {
        if grpc_server::is_open(address) && self.tls_client_ca.is_none() {
            let word = session.terminal.err.palette.warn("warning:");
            stderr::line(format_args!(
                "{word} whoever reaches {address} may order, pay and cancel: there are no accounts; --tls-client-ca lets in \
                 who has a certificate"
            ));
        }
        if let Some(address) = metrics.and_then(|listener| listener.local_addr().ok()) {
            session.say(&format!("metrics on http://{address}/metrics"));
        }
        let how = if self.tls_cert.is_some() { "with TLS" } else { "plaintext" };
        session.say(&format!("orders.v1.OrdersService on {address} ({how}); store {}; Ctrl-C to stop", store.url()));
    }
}

/// Sends what waits, whenever Kafka is there. Orders are taken whatever becomes of it.
async fn relaying(
    args: &Args,
    store: &Store,
    broker: Option<&EmbeddedBroker>,
    metrics: &RelayMetrics,
    stop: &Stop,
    session: &Session,
) {
    if args.relay == Relay::External {
        return;
    }
    let troubled = Troubled::new(&session.terminal);
    let trouble = |error: Report| {
        metrics.in_trouble();
        troubled.tell(&format!("{error:#}"));
    };
    let attempt = || async {
        let cluster = match broker {
            Some(broker) => session.connect_to(&broker.address.to_string()).await?,
            None => match session.connect_or_wait(true).await? {
                Some(cluster) => cluster,
                None => return Ok(()), // told to stop
            },
        };
        relay_on(&cluster, args, store, metrics, stop, &troubled, session).await
    };
    grpc_server::relaying(attempt, stop, trouble).await;
}

async fn relay_on(
    cluster: &Cluster,
    args: &Args,
    store: &Store,
    metrics: &RelayMetrics,
    stop: &Stop,
    troubled: &Troubled,
    session: &Session,
) -> Result<()> {
    let made = make_topics(cluster, &args.options.topics(session, &RELAYED)).await?;
    if !made.is_empty() {
        session.say(&format!("made {}", made.join(", ")));
    }
    let options = relay::Options { prefix: args.options.prefix(session), ..relay::Options::default() };
    let tell = |told: Told<'_>| {
        metrics.told(&told);
        match told {
            Told::SetAside { id, reason, parked: true } => {
                session.say(&escape::text(&format!("{id} is parked: {reason}")))
            }
            Told::Trouble(cause) => troubled.tell(&cause),
            Told::Published { .. } | Told::SetAside { .. } | Told::Waits => {}
        }
    };
    outbox::relay(store, cluster, &options, None, &args.options.crash(), stop, &tell).await.map_err(relayed)?;
    Ok(())
}

/// Says what is in the way, and not as often as it is met.
struct Troubled {
    terminal: Terminal,
    said: Mutex<Option<Instant>>,
}

impl Troubled {
    const EVERY: Duration = Duration::from_secs(10);

    fn new(terminal: &Terminal) -> Self {
        Self { terminal: terminal.clone(), said: Mutex::new(None) }
    }

    fn tell(&self, cause: &dyn std::fmt::Display) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| said.elapsed() > Self::EVERY) {
            *said = Some(Instant::now());
            self.terminal.note(&format!("trying again: {cause}"));
        }
    }
}

//! What each command has at hand: settings, the terminal, signals, the way to the brokers.

use std::{path::PathBuf, time::Duration};

use color_eyre::{Result, Section, eyre::WrapErr};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    config::{self, Flags, Folders, Settings},
    escape,
    exit::Exit,
    security, stderr,
    terminal::Terminal,
};
use crate::app::{
    self, Address, Cluster, ConnectOptions,
    broker::{EmbeddedBroker, LARGEST_ANSWER},
};

/// When nobody named a broker, `localhost:9092` is tried for this long.
const A_MOMENT: Duration = Duration::from_secs(1);

pub struct Session {
    pub settings: Settings,
    pub terminal: Terminal,
    pub stop: Stop,
    /// kafkalab's part of the user's data folder, where there is one.
    pub data_folder: Option<PathBuf>,
}

impl Session {
    pub fn new(flags: &Flags, terminal: Terminal) -> Result<Self> {
        let current = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let folders = Folders { current: &current, home: home.as_deref() };
        let settings = Settings::load(flags, |name| std::env::var(name).ok(), folders)?;
        for warning in &settings.warnings {
            let word = terminal.err.palette.warn("warning:");
            stderr::line(format_args!("{word} {}", escape::text(&warning.to_string())));
        }
        let data_folder = config::data_folder(&|name| std::env::var(name).ok(), home.as_deref());
        Ok(Self { settings, terminal, stop: Stop::new(), data_folder })
    }

    /// A line on stderr for a person; not with `--quiet`.
    pub fn say(&self, text: &str) {
        self.terminal.note(text);
    }

    /// Reaches the cluster, or says how to have one.
    pub async fn connect(&self) -> Result<Cluster> {
        let settings = &self.settings;
        let addresses: Vec<Address> =
            settings.brokers.value.iter().map(|text| text.parse()).collect::<Result<_, app::Error>>()?;
        let named = settings.brokers_are_named();
        let mut options = security::options(settings)?;
        if !named {
            options.connect_timeout = options.connect_timeout.min(A_MOMENT);
        }
        if options.security.tls.is_some() && settings.tls.insecure_skip_verify.value {
            let word = self.terminal.err.palette.warn("warning:");
            let from = settings.tls.insecure_skip_verify.source.to_string();
            let from = escape::text(&from);
            stderr::line(format_args!(
                "{word} tls.insecure_skip_verify ({from}): the broker's certificate is not checked; whoever answers can \
                 read and change everything"
            ));
        }
        let cluster = app::connect(addresses, options).await;
        if matches!(&cluster, Err(app::Error::Denied { .. })) {
            return cluster.wrap_err("connecting"); // with advice of its own
        }
        if named {
            let from = &settings.brokers.source;
            return cluster
                .wrap_err("connecting")
                .with_suggestion(|| format!("is the broker running, and is the address right? It comes from {from}; `kafkalab doctor` looks closer"));
        }
        cluster.wrap_err("connecting").suggestion(
            "start a broker with `kafkalab broker` (no Docker needed) or `just up` (Docker), or name one with --brokers",
        )
    }
}

impl Session {
    /// Reaches whoever listens where nobody was named.
    pub async fn try_connect(&self) -> Option<Cluster> {
        self.connect().await.ok()
    }

    /// For who stays: a broker that is away is waited for, unless it is not to be. None: it was told to stop meanwhile.
    pub async fn connect_or_wait(&self, waits: bool) -> Result<Option<Cluster>> {
        let mut said = false;
        loop {
            match self.connect().await {
                Err(error) if waits && super::exit::code(&error) == Exit::UNREACHABLE => {
                    if !std::mem::replace(&mut said, true) {
                        self.say(&format!("waiting for Kafka: {}", escape::text(&format!("{error:#}"))));
                    }
                }
                outcome => return outcome.map(Some),
            }
            tokio::select! {
                () = self.stop.asked() => return Ok(None),
                () = tokio::time::sleep(A_MOMENT) => {}
            }
        }
    }

    /// For demonstrations: the cluster that was named or that listens on `localhost:9092`; where there is none, a broker in
    /// this process, for as long as it lives.
    pub async fn connect_or_host(&self) -> Result<(Cluster, Option<EmbeddedBroker>)> {
        if self.settings.brokers_are_named() {
            return Ok((self.connect().await?, None));
        }
        if let Some(cluster) = self.try_connect().await {
            return Ok((cluster, None));
        }
        let broker = EmbeddedBroker::start(0, None).wrap_err("starting a broker")?;
        let address = broker.address.to_string();
        self.say(&format!("no broker named and none on localhost:9092: one runs in this process, on {address}"));
        Ok((self.connect_to(&address).await?, Some(broker)))
    }

    /// An embedded broker: plain text, and answers as large as they come.
    pub async fn connect_to(&self, address: &str) -> Result<Cluster> {
        let options = ConnectOptions {
            client_id: self.settings.client_id.value.as_str().into(),
            request_timeout: self.settings.request_timeout.value,
            max_answer: LARGEST_ANSWER,
            ..ConnectOptions::default()
        };
        app::connect(vec![address.parse()?], options).await.wrap_err("connecting")
    }
}

/// Ctrl-C and SIGTERM: the first one asks to stop, the second one ends at once.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: CancellationToken,
    terminated: CancellationToken,
}

impl Stop {
    fn new() -> Self {
        Self { asked: CancellationToken::new(), terminated: CancellationToken::new() }
    }

    /// Listens from now on; within the runtime.
    pub fn listen(&self) -> std::io::Result<()> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stop = self.clone();
        tokio::spawn(async move {
            loop {
                let exit = tokio::select! {
                    Some(()) = interrupt.recv() => Exit::INTERRUPTED,
                    Some(()) = terminate.recv() => Exit::TERMINATED,
                    else => return,
                };
                if stop.asked.is_cancelled() {
                    std::process::exit(exit.0.into());
                }
                if exit == Exit::TERMINATED {
                    stop.terminated.cancel();
                }
                stderr::line("stopping; once more to stop at once");
                stop.asked.cancel();
            }
        });
        Ok(())
    }

    /// For what runs on its own and is to end with a stop.
    pub fn token(&self) -> CancellationToken {
        self.asked.clone()
    }

    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    pub fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// The exit code of a run that was stopped.
    pub fn exit(&self) -> Exit {
        match (self.asked.is_cancelled(), self.terminated.is_cancelled()) {
            (_, true) => Exit::TERMINATED,
            (true, false) => Exit::INTERRUPTED,
            (false, false) => Exit::OK,
        }
    }
}

/// `500ms`, `10s`, `2m`, as the settings have them.
pub fn duration(text: &str) -> Result<Duration, String> {
    super::config::duration(text)
}

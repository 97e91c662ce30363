//! Where a demonstration takes place: a store and a broker of its own, unless others were named.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use color_eyre::{Result, eyre::WrapErr, eyre::eyre};

use super::{pattern::Options, session::Session};
use crate::app::{Cluster, StoreUrl};

/// How long the broker that outlives a crash may take to start.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// Where the demonstration takes place. A folder of its own is removed with it, unless a crash is wanted: then it is what
/// there is to look at afterwards.
pub struct Lab {
    pub store: StoreUrl,
    folder: Option<PathBuf>,
    keep: bool,
}

impl Lab {
    /// `name` is the demonstration's.
    pub fn prepare(name: &'static str, options: &Options, session: &Session) -> Result<Self> {
        let keep = options.crash_at.is_some();
        let named = options.store.is_some() || !session.settings.store_is_default();
        if named && !keep {
            return Ok(Self { store: options.url(session)?, folder: None, keep });
        }
        let folder = new_folder(name)?;
        let store = if named { options.url(session)? } else { StoreUrl::sqlite(folder.join("store.db")) };
        session.say(&format!("store: {store}{}", if keep || named { "" } else { " (temporary)" }));
        Ok(Self { store, folder: Some(folder), keep })
    }

    /// Where a demonstration writes what is neither store nor broker. It stays where the store was named: what was said to
    /// whoever uses that store is not to go with this run.
    pub fn file(&mut self, demonstration: &'static str, name: &str, session: &Session) -> Result<PathBuf> {
        if let Some(folder) = &self.folder {
            return Ok(folder.join(name));
        }
        let folder = self.folder.insert(new_folder(demonstration)?);
        self.keep = true;
        let file = folder.join(name);
        session.say(&format!("{name}: {}", file.display()));
        Ok(file)
    }

    /// The cluster that was named or that listens; otherwise a broker of its own. One that must outlive a crash is a
    /// process of its own.
    pub async fn cluster(
        &self,
        options: &Options,
        session: &Session,
    ) -> Result<(Cluster, Option<crate::app::broker::EmbeddedBroker>)> {
        match (&self.folder, options.crash_at.is_some() && !session.settings.brokers_are_named()) {
            (Some(folder), true) => match session.try_connect().await {
                Some(cluster) => Ok((cluster, None)),
                None => Ok((outliving_broker(folder, session).await?, None)),
            },
            _ => session.connect_or_host().await,
        }
    }

    /// The first commands finish what the crash leaves, the last one shows what became of it.
    pub fn say_how_to_resume<const N: usize>(
        &self,
        commands: [&str; N],
        options: &Options,
        session: &Session,
        cluster: &Cluster,
    ) {
        let point = options.crash().point().map_or("", |point| point.name);
        let brokers: Vec<String> = cluster.bootstrap().iter().map(ToString::to_string).collect();
        let (brokers, store) = (brokers.join(","), &self.store);
        session.say(&format!("will die at {point}; store and broker live on. To resume:"));
        let look = commands.last().copied().unwrap_or_default();
        for finish in commands.iter().take(N.saturating_sub(1)) {
            session.say(&format!("  kafkalab {finish} -b {brokers} --store {store}"));
        }
        session.say(&format!("  kafkalab {look} --store {store}"));
        if let Some(pid) =
            self.folder.as_deref().and_then(|folder| std::fs::read_to_string(folder.join("broker.pid")).ok())
        {
            session.say(&format!("and to clear up: kill {}", pid.trim()));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.as_deref().filter(|_| !self.keep) {
            let _ = std::fs::remove_dir_all(folder); // the system's cleaner finds it otherwise
        }
    }
}

fn new_folder(name: &str) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("kafkalab-{name}-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&folder).wrap_err_with(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// The embedded broker as a process that does not end with this one.
async fn outliving_broker(folder: &Path, session: &Session) -> Result<Cluster> {
    let log = folder.join("broker.log");
    let words = File::create(&log).wrap_err_with(|| format!("making {}", log.display()))?;
    let child = Command::new(std::env::current_exe()?)
        .args(["broker", "--port", "0", "--dir"])
        .arg(folder.join("broker"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words)
        .process_group(0) // Ctrl-C is for the demonstration
        .spawn()
        .wrap_err("starting a broker")?;
    std::fs::write(folder.join("broker.pid"), format!("{}\n", child.id()))?;
    let deadline = Instant::now() + STARTED_WITHIN;
    let address = loop {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let found = said.split_once("embedded broker on ").and_then(|(_, rest)| rest.split_once(';'));
        if let Some((address, _)) = found {
            break address.to_owned();
        }
        if Instant::now() > deadline {
            return Err(eyre!("the broker does not start; {} has its words", log.display()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    session
        .say(&format!("no broker named and none on localhost:9092: started one on {address}, in {}", folder.display()));
    session.connect_to(&address).await
}

//! Settings, and where each of them comes from.
//!
//! ```text
//! flag  >  environment  >  ./kafkalab.toml  >  $XDG_CONFIG_HOME/kafkalab/config.toml  >  default
//!
//! # config.toml                    # its parts may be in kafkalab.toml too
//! brokers = ["localhost:9092"]
//! profile = "lab"                  # or --profile, or KAFKALAB_PROFILE
//!
//! [profiles.lab]
//! brokers = "kafka.lab:9093"
//! tls.ca = "lab-ca.pem"            # paths are taken from the folder of the file
//! ```
//!
//! The chosen profile's keys stand directly before the place that names it: chosen by a flag or the environment they
//! go before both files, chosen by a file before that file's own keys. An empty environment variable counts as unset.
//!
//! A folder of somebody else's may hold a `kafkalab.toml`. It may name brokers, and it does not get the user's password
//! for them: see [`Settings::check_password`].
//!
//! [`Settings::load`] reads files and nothing else of the process: environment and folders are arguments.

mod file;
mod layers;
mod trust;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use layers::Layers;

use crate::app::StoreUrl;
pub use value::{Secret, data_folder, duration};

/// A key as files, `-X` and `config show` write it, with what is read besides `KAFKALAB_` and its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    name: &'static str,
    other_variables: &'static [&'static str],
    /// rpk's name for it after `-X`.
    alias: Option<&'static str>,
}

const fn key(name: &'static str) -> Key {
    Key { name, other_variables: &[], alias: None }
}

const BROKERS: Key = Key { other_variables: &["KAFKA_BROKERS", "RPK_BROKERS"], ..key("brokers") };
const CLIENT_ID: Key = key("client_id");
const CONNECT_TIMEOUT: Key = key("connect_timeout");
const REQUEST_TIMEOUT: Key = key("request_timeout");
const METADATA_AGE: Key = key("metadata_age");
const MAX_ANSWER: Key = key("max_answer");
const TOPIC_PREFIX: Key = key("topic_prefix");
const STORE: Key = key("store");
const TLS_ENABLED: Key = key("tls.enabled");
const TLS_CA: Key = key("tls.ca");
const TLS_CERT: Key = key("tls.cert");
const TLS_KEY: Key = key("tls.key");
const TLS_INSECURE: Key = key("tls.insecure_skip_verify");
const SASL_MECHANISM: Key = key("sasl.mechanism");
const SASL_USERNAME: Key = Key { alias: Some("user"), ..key("sasl.username") };
const SASL_PASSWORD: Key = Key { alias: Some("pass"), ..key("sasl.password") };
const SASL_PASSWORD_FILE: Key = key("sasl.password_file");
const SASL_PLAIN_WITHOUT_TLS: Key = key("sasl.plain_without_tls");

const KEYS: [Key; 18] = [
    BROKERS,
    CLIENT_ID,
    CONNECT_TIMEOUT,
    REQUEST_TIMEOUT,
    METADATA_AGE,
    MAX_ANSWER,
    TOPIC_PREFIX,
    STORE,
    TLS_ENABLED,
    TLS_CA,
    TLS_CERT,
    TLS_KEY,
    TLS_INSECURE,
    SASL_MECHANISM,
    SASL_USERNAME,
    SASL_PASSWORD,
    SASL_PASSWORD_FILE,
    SASL_PLAIN_WITHOUT_TLS,
];

/// Settings of a folder, in that folder.
const FOLDER_FILE: &str = "kafkalab.toml";

/// The broker that is meant when nobody names one.
pub const DEFAULT_BROKER: &str = "localhost:9092";

/// Who gave a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Flag(String),
    Environment(String),
    File { path: PathBuf, profile: Option<String> },
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "flag {flag}"),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::File { path, profile: None } => write!(f, "{}", path.display()),
            Source::File { path, profile: Some(profile) } => write!(f, "{} [profiles.{profile}]", path.display()),
            Source::Default => f.write_str("default"),
        }
    }
}

/// A value and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub source: Source,
}

/// What the command line says of the settings. Flags of their own go before `-X`.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `-b/--brokers`, each possibly a list with commas.
    pub brokers: Vec<String>,
    pub profile: Option<String>,
    pub topic_prefix: Option<String>,
    /// `-X key=value`, the last one of a key counting.
    pub set: Vec<String>,
}

/// Where settings are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    pub current: &'a Path,
    pub home: Option<&'a Path>,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub brokers: Setting<Vec<String>>,
    pub client_id: Setting<String>,
    pub connect_timeout: Setting<Duration>,
    pub request_timeout: Setting<Duration>,
    /// How often readers look for partitions that were added.
    pub metadata_age: Setting<Duration>,
    /// The largest answer taken from a broker, in bytes.
    pub max_answer: Setting<usize>,
    pub topic_prefix: Setting<String>,
    /// Where event log, outbox and read models are: `sqlite:PATH` or `postgres://...`.
    pub store: Setting<StoreUrl>,
    pub tls: Tls,
    pub sasl: Sasl,
    /// The profile in use, by whoever chose it.
    pub profile: Option<Setting<String>>,
    /// `./kafkalab.toml`, there or not.
    folder_file: PathBuf,
    /// Keys in files that mean nothing here; the caller prints them.
    pub warnings: Vec<Warning>,
}

/// How to speak TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// By default on as soon as a certificate or key is named, as in rpk.
    pub enabled: Setting<bool>,
    pub ca: Setting<Option<PathBuf>>,
    pub cert: Setting<Option<PathBuf>>,
    pub key: Setting<Option<PathBuf>>,
    pub insecure_skip_verify: Setting<bool>,
}

/// Who one is to the broker.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// `none` switches off what a weaker place has set.
    pub mechanism: Setting<Option<String>>,
    pub username: Setting<Option<String>>,
    /// From the environment, a file of settings or `sasl.password_file`, never from the command line.
    pub password: Setting<Option<Secret>>,
    pub password_file: Setting<Option<PathBuf>>,
    /// PLAIN sends the password as it is; without TLS it does so only where this says so.
    pub plain_without_tls: Setting<bool>,
}

/// A key that nobody reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: unknown key `{key}` has no effect", path.display())]
pub struct Warning {
    pub path: PathBuf,
    pub key: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("{}, line {line}: {reason}", path.display())]
    NotToml { path: PathBuf, line: usize, reason: String },
    #[error("{}: `{key}` must be {expected}", path.display())]
    WrongType { path: PathBuf, key: String, expected: &'static str },
    #[error("{from}: `{key}`: {reason}")]
    BadValue { from: Source, key: &'static str, reason: String },
    #[error("-X {text}: write key=value; the keys are {}", key_names())]
    NoAssignment { text: String },
    #[error("-X {key}: unknown key; the keys are {}", key_names())]
    UnknownKey { key: String },
    #[error(
        "-X {key}: a password on the command line can be read by everyone on this machine; set \
         KAFKALAB_SASL_PASSWORD, or sasl.password_file to a file with mode 0600"
    )]
    SecretInArguments { key: String },
    #[error("no profile `{name}` ({from}); {known}")]
    NoProfile { name: String, from: Source, known: String },
    #[error("{} holds a password and others may read it; run: chmod 600 {}", path.display(), value::shell_word(path))]
    OpenToOthers { path: PathBuf },
    #[error(
        "the password is yours ({password}), and `{key}` comes from {}, which may be somebody else's file: it is not sent \
         there. To send it, name the brokers with --brokers or KAFKALAB_BROKERS (and `{key}` with -X), or put both into \
         one file",
        folder.display()
    )]
    ForeignFolder { password: Source, key: &'static str, folder: PathBuf },
    #[error(
        "{}: `sasl.password_file` names {}, which is outside of its folder: the file of a folder may only name what is \
         in it. Set KAFKALAB_SASL_PASSWORD_FILE, or name it in your own config.toml",
        folder.display(),
        named.display()
    )]
    PasswordElsewhere { folder: PathBuf, named: PathBuf },
}

/// All that can follow `-X`; a password cannot.
fn key_names() -> String {
    KEYS.iter().filter(|key| **key != SASL_PASSWORD).map(|key| key.name).collect::<Vec<_>>().join(", ")
}

/// One line of `config show`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub key: &'static str,
    /// `None` where nothing is set; a password is `(set)`.
    pub value: Option<String>,
    pub source: Source,
}

impl Settings {
    /// Finds every setting. `env` looks an environment variable up.
    pub fn load(
        flags: &Flags,
        env: impl Fn(&str) -> Option<String>,
        folders: Folders<'_>,
    ) -> Result<Self, ConfigError> {
        let layers = Layers::gather(flags, &env, folders)?;
        let password_file = layers.path(SASL_PASSWORD_FILE)?;
        let (ca, cert, key) = (layers.path(TLS_CA)?, layers.path(TLS_CERT)?, layers.path(TLS_KEY)?);
        let names_tls = [&ca, &cert, &key].iter().any(|setting| setting.value.is_some());
        Ok(Self {
            brokers: layers.get(BROKERS, value::brokers, || vec![DEFAULT_BROKER.to_owned()])?,
            client_id: layers.get(CLIENT_ID, value::text, || "kafkalab".to_owned())?,
            connect_timeout: layers.get(CONNECT_TIMEOUT, value::duration, || Duration::from_secs(5))?,
            request_timeout: layers.get(REQUEST_TIMEOUT, value::duration, || Duration::from_secs(30))?,
            metadata_age: layers.get(METADATA_AGE, value::duration, || Duration::from_secs(30))?,
            max_answer: layers.get(MAX_ANSWER, value::bytes, || 100 * 1024 * 1024)?,
            topic_prefix: layers.get(TOPIC_PREFIX, value::text, String::new)?,
            store: layers.get(STORE, value::store, || value::default_store(&env, folders.home))?,
            tls: Tls {
                enabled: layers.get(TLS_ENABLED, value::boolean, || names_tls)?,
                insecure_skip_verify: layers.get(TLS_INSECURE, value::boolean, || false)?,
                ca,
                cert,
                key,
            },
            sasl: Sasl {
                mechanism: layers.get(SASL_MECHANISM, value::some_text, || None)?,
                username: layers.get(SASL_USERNAME, value::some_text, || None)?,
                password: layers.password(&password_file)?,
                plain_without_tls: layers.get(SASL_PLAIN_WITHOUT_TLS, value::boolean, || false)?,
                password_file,
            },
            folder_file: folders.current.join(FOLDER_FILE),
            profile: layers.profile,
            warnings: layers.warnings,
        })
    }

    /// True if somebody said which brokers to use. The default is only a place to look.
    pub fn brokers_are_named(&self) -> bool {
        self.brokers.source != Source::Default
    }

    /// True if nobody named a store.
    pub fn store_is_default(&self) -> bool {
        self.store.source == Source::Default
    }

    /// What `config show` prints, in the order of the keys.
    pub fn rows(&self) -> Vec<Row> {
        fn row<T>(key: Key, setting: &Setting<T>, show: impl Fn(&T) -> Option<String>) -> Row {
            Row { key: key.name, value: show(&setting.value), source: setting.source.clone() }
        }
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let time = |time: &Duration| Some(value::show_duration(*time));
        let (tls, sasl) = (&self.tls, &self.sasl);
        vec![
            row(BROKERS, &self.brokers, |list| Some(list.join(","))),
            row(CLIENT_ID, &self.client_id, text),
            row(CONNECT_TIMEOUT, &self.connect_timeout, time),
            row(REQUEST_TIMEOUT, &self.request_timeout, time),
            row(METADATA_AGE, &self.metadata_age, time),
            row(MAX_ANSWER, &self.max_answer, |bytes| Some(bytes.to_string())),
            row(TOPIC_PREFIX, &self.topic_prefix, text),
            row(STORE, &self.store, |url| Some(url.to_string())),
            row(TLS_ENABLED, &tls.enabled, |on| Some(on.to_string())),
            row(TLS_CA, &tls.ca, path),
            row(TLS_CERT, &tls.cert, path),
            row(TLS_KEY, &tls.key, path),
            row(TLS_INSECURE, &tls.insecure_skip_verify, |on| Some(on.to_string())),
            row(SASL_MECHANISM, &sasl.mechanism, Option::clone),
            row(SASL_USERNAME, &sasl.username, Option::clone),
            row(SASL_PASSWORD, &sasl.password, |secret| secret.as_ref().map(|secret| secret.to_string())),
            row(SASL_PASSWORD_FILE, &sasl.password_file, path),
            row(SASL_PLAIN_WITHOUT_TLS, &sasl.plain_without_tls, |on| Some(on.to_string())),
        ]
    }
}

#[cfg(test)]
mod tests;

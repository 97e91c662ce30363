//! `kafkalab.toml` and `config.toml`: from TOML to keys, and who may read the file.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{BROKERS, ConfigError, KEYS, SASL_PASSWORD, SASL_PLAIN_WITHOUT_TLS, TLS_ENABLED, TLS_INSECURE, Warning};

/// No file of settings or password is larger; a device or a mistake is.
const LARGEST: u64 = 1024 * 1024;

/// What one file says: keys by their dotted names, as text.
#[derive(Debug, Default)]
pub(super) struct File {
    pub path: PathBuf,
    /// `profile = "..."`
    pub profile: Option<String>,
    pub keys: BTreeMap<&'static str, String>,
    pub profiles: BTreeMap<String, BTreeMap<&'static str, String>>,
    pub warnings: Vec<Warning>,
}

impl File {
    /// A file that is not there says nothing.
    pub fn read(path: PathBuf) -> Result<Self, ConfigError> {
        let mut file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self { path, ..Self::default() }),
            Err(cause) => return Err(ConfigError::Unreadable { path, cause }),
        };
        let text = read_bounded(&mut file, &path)?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::NotToml {
            line: 1 + error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(0, |before| before.matches('\n').count()),
            // Not the error's own text: that quotes the line, which may hold a password.
            reason: error.message().to_owned(),
            path: path.clone(),
        })?;
        let read = Self { path, ..Self::default() }.with_table(table)?;
        if read.holds_password() {
            refuse_if_open(&file, &read.path)?;
        }
        Ok(read)
    }

    fn with_table(mut self, mut table: Table) -> Result<Self, ConfigError> {
        match table.remove("profile") {
            None => {}
            Some(Value::String(name)) => self.profile = Some(name),
            Some(_) => return Err(self.wrong_type("profile", "a profile's name, in quotes")),
        }
        match table.remove("profiles") {
            None => {}
            Some(Value::Table(profiles)) => {
                for (name, profile) in profiles {
                    let at = format!("profiles.{name}");
                    let Value::Table(profile) = profile else { return Err(self.wrong_type(&at, "a table")) };
                    let keys = self.keys_of(profile, &at)?;
                    self.profiles.insert(name, keys);
                }
            }
            Some(_) => return Err(self.wrong_type("profiles", "a table of profiles")),
        }
        self.keys = self.keys_of(table, "")?;
        Ok(self)
    }

    fn keys_of(&mut self, table: Table, at: &str) -> Result<BTreeMap<&'static str, String>, ConfigError> {
        let mut keys = BTreeMap::new();
        let mut open: Vec<(String, Value)> = table.into_iter().collect();
        while let Some((name, value)) = open.pop() {
            let known = KEYS.iter().find(|key| key.name == name);
            let full_name = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            match (known, value) {
                (Some(key), value) => {
                    let text = text_of(key.name, value).map_err(|expected| self.wrong_type(&full_name, expected))?;
                    keys.insert(key.name, text);
                }
                // `tls` and `sasl` may be tables of their own.
                (None, Value::Table(inner)) if KEYS.iter().any(|key| key.name.starts_with(&format!("{name}."))) => {
                    open.extend(inner.into_iter().map(|(inner_name, value)| (format!("{name}.{inner_name}"), value)));
                }
                (None, _) => self.warnings.push(Warning { path: self.path.clone(), key: full_name }),
            }
        }
        Ok(keys)
    }

    fn holds_password(&self) -> bool {
        self.profiles.values().chain([&self.keys]).any(|keys| keys.contains_key(SASL_PASSWORD.name))
    }

    fn wrong_type(&self, key: &str, expected: &'static str) -> ConfigError {
        ConfigError::WrongType { path: self.path.clone(), key: key.to_owned(), expected }
    }
}

/// A value as it would be written after `-X`, or what was expected instead.
fn text_of(key: &str, value: Value) -> Result<String, &'static str> {
    if [TLS_ENABLED, TLS_INSECURE, SASL_PLAIN_WITHOUT_TLS].iter().any(|boolean| boolean.name == key) {
        return value.as_bool().map(|on| on.to_string()).ok_or("true or false");
    }
    if key == BROKERS.name {
        let expected = "addresses, such as [\"localhost:9092\"]";
        return match value {
            Value::String(text) => Ok(text),
            Value::Array(list) if !list.is_empty() => {
                let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                texts.map(|texts| texts.join(",")).ok_or(expected)
            }
            _ => Err(expected),
        };
    }
    match value {
        Value::String(text) => Ok(text),
        _ => Err("text in quotes"),
    }
}

/// The password in a file that holds nothing else. A newline at its end is an editor's.
pub(super) fn read_password(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |cause| ConfigError::Unreadable { path: path.to_owned(), cause };
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    refuse_if_open(&file, path)?;
    let text = read_bounded(&mut file, path)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn read_bounded(file: &mut std::fs::File, path: &Path) -> Result<String, ConfigError> {
    let unreadable = |cause| ConfigError::Unreadable { path: path.to_owned(), cause };
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(unreadable(std::io::Error::other("it is larger than any file of settings")));
    }
    Ok(text)
}

/// Asked of the open file, so that it cannot be another one by now.
#[cfg(unix)]
fn refuse_if_open(file: &std::fs::File, path: &Path) -> Result<(), ConfigError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata().map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(ConfigError::OpenToOthers { path: path.to_owned() });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_if_open(_: &std::fs::File, _: &Path) -> Result<(), ConfigError> {
    Ok(())
}

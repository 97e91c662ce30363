//! Whose password goes to whose brokers.
//!
//! `kafkalab` is run in folders that come from elsewhere: an example, a clone, an unpacked archive. A `kafkalab.toml` in
//! one of them is read, so its author chooses the brokers. The password of the user's own file (or of a file that it
//! names) is for the brokers that the user chose. So:
//!
//! - such a password is refused as soon as `./kafkalab.toml` has given the brokers, or anything else that decides who gets
//!   to see it: `tls.*`, `sasl.mechanism`, `sasl.plain_without_tls`;
//! - `./kafkalab.toml` may name a password file in its own folder and nowhere else, or it could name the user's.
//!
//! A password from the environment or named by a flag goes along: whoever sets it there sets it for this run. So does one
//! that stands in `./kafkalab.toml` itself.

use std::path::Path;

use super::{BROKERS, SASL_MECHANISM, SASL_PLAIN_WITHOUT_TLS, TLS_CA, TLS_ENABLED, TLS_INSECURE};
use super::{ConfigError, Key, Setting, Settings, Source};

impl Settings {
    /// Whether the password may go where the settings would send it. Asked before each connection, and not by
    /// [`Settings::load`], so that `config show` can show what is the matter.
    pub fn check_password(&self) -> Result<(), ConfigError> {
        let (folder, sasl) = (&self.folder_file, &self.sasl);
        if sasl.password.value.is_none() {
            return Ok(());
        }
        let by_file = matches!(&sasl.password.source, Source::File { path, profile: None }
            if sasl.password_file.value.as_ref() == Some(path));
        // who named it: a password file speaks for whoever named the file
        let named_by = if by_file { &sasl.password_file.source } else { &sasl.password.source };
        let Source::File { path, .. } = named_by else { return Ok(()) };
        if path == folder {
            return match &sasl.password_file.value {
                Some(named) if by_file && !is_within(named, folder) => {
                    Err(ConfigError::PasswordElsewhere { folder: folder.clone(), named: named.clone() })
                }
                _ => Ok(()),
            };
        }
        match self.given_by_folder() {
            Some(key) => {
                let password = named_by.clone();
                Err(ConfigError::ForeignFolder { password, key: key.name, folder: folder.clone() })
            }
            None => Ok(()),
        }
    }

    /// The first of the keys that decide who sees a password which comes from `./kafkalab.toml`.
    fn given_by_folder(&self) -> Option<Key> {
        let from = |source: &Source| matches!(source, Source::File { path, .. } if *path == self.folder_file);
        fn source<T>(setting: &Setting<T>) -> &Source {
            &setting.source
        }
        let deciding = [
            (BROKERS, source(&self.brokers)),
            (TLS_ENABLED, source(&self.tls.enabled)),
            (TLS_CA, source(&self.tls.ca)),
            (TLS_INSECURE, source(&self.tls.insecure_skip_verify)),
            (SASL_MECHANISM, source(&self.sasl.mechanism)),
            (SASL_PLAIN_WITHOUT_TLS, source(&self.sasl.plain_without_tls)),
        ];
        deciding.into_iter().find(|(_, source)| from(source)).map(|(key, _)| key)
    }
}

/// Links followed: a link out of the folder is out of the folder.
fn is_within(file: &Path, folder_file: &Path) -> bool {
    let folder = folder_file.parent().unwrap_or(Path::new("."));
    match (file.canonicalize(), folder.canonicalize()) {
        (Ok(file), Ok(folder)) => file.starts_with(folder),
        _ => false,
    }
}

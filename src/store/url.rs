//! Where a store is: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use tokio_postgres::{Config, config::Host};

/// A store's address. Shown without its password, also by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(pub(super) Kind);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite(PathBuf),
    /// With the text that it was read from.
    Postgres(Box<Config>, String),
}

/// The text is no store's URL. It is not repeated, because it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; a store is sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
pub struct UrlError(String);

impl StoreUrl {
    /// The SQLite file at `path`.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        StoreUrl(Kind::Sqlite(path.into()))
    }

    /// The SQLite file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Sqlite(path) => Some(path),
            Kind::Postgres(..) => None,
        }
    }

    /// As it was given, its password included: for the environment of a process of one's own, and for nothing that is shown.
    pub fn with_password(&self) -> std::ffi::OsString {
        match &self.0 {
            Kind::Sqlite(path) => {
                let mut text = std::ffi::OsString::from("sqlite:");
                text.push(path);
                text
            }
            Kind::Postgres(_, text) => text.into(),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return match path {
                "" => Err(UrlError("no path after sqlite:".into())),
                // every connection would see a database of its own
                ":memory:" => Err(UrlError("a store in memory alone is not offered: name a file".into())),
                path => Ok(StoreUrl::sqlite(path)),
            };
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(UrlError("neither sqlite: nor postgres: at its beginning".into()));
        }
        // the driver's words name the option at fault, never its value
        let config = text.parse::<Config>().map_err(|error| UrlError(super::error::causes(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(UrlError("no host".into()));
        }
        Ok(StoreUrl(Kind::Postgres(Box::new(config), text.to_owned())))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Kind::Postgres(config, _) => {
                f.write_str("postgres://")?;
                if let Some(user) = config.get_user() {
                    write!(f, "{user}@")?;
                }
                for (at, host) in config.get_hosts().iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    // as libpq has it: one port is for all hosts
                    let port = config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
                    match host {
                        Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                        #[cfg(unix)]
                        Host::Unix(folder) => write!(f, "{comma}{}:{port}", folder.display())?,
                    }
                }
                // the driver's default is the user's name
                write!(f, "/{}", config.get_dbname().or(config.get_user()).unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let url: StoreUrl = "postgres://mia:canary@db.example:6543/lab?options=-csearch_path%3Da".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://mia@db.example:6543/lab");
        assert!(!format!("{url:?}").contains("canary"));
        let url: StoreUrl = "postgresql://mia:canary@a,b/lab".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://mia@a:5432,b:5432/lab");
        assert_eq!("sqlite:a/b.db".parse::<StoreUrl>().unwrap().to_string(), "sqlite:a/b.db");
        assert_eq!("sqlite:///a/b.db".parse::<StoreUrl>().unwrap().path(), Some(Path::new("/a/b.db")));
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_a_password() {
        for text in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "mysql://mia:canary@h/d",
            "postgres://mia:canary@h:canary/d",
            "postgres://mia:canary@h/d?canary_option=canary",
            "postgres:///d?user=mia&password=canary",
        ] {
            let error = text.parse::<StoreUrl>().expect_err(text).to_string();
            assert!(error.contains("a store is sqlite:PATH or postgres://"), "{error}");
            assert!(!error.contains(":canary") && !error.contains("=canary"), "{error}");
        }
    }
}

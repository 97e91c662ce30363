//! All places that a setting may come from, the strongest first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::{File, read_password};
use super::value::Secret;
use super::{
    BROKERS, ConfigError, FOLDER_FILE, Flags, Folders, KEYS, Key, SASL_PASSWORD, SASL_PASSWORD_FILE, Setting, Source,
    TOPIC_PREFIX, Warning,
};

pub(super) struct Layers {
    layers: Vec<Layer>,
    home: Option<PathBuf>,
    pub profile: Option<Setting<String>>,
    pub warnings: Vec<Warning>,
}

/// What one place says.
struct Layer {
    values: BTreeMap<&'static str, (String, Source)>,
    /// Where its relative paths begin.
    folder: PathBuf,
}

impl Layer {
    fn of_file(file: &File, keys: &BTreeMap<&'static str, String>, profile: Option<&str>) -> Self {
        let source = Source::File { path: file.path.clone(), profile: profile.map(str::to_owned) };
        let values = keys.iter().map(|(key, text)| (*key, (text.clone(), source.clone()))).collect();
        Self { values, folder: file.path.parent().unwrap_or(Path::new("")).to_owned() }
    }
}

impl Layers {
    pub fn gather(
        flags: &Flags,
        env: &dyn Fn(&str) -> Option<String>,
        folders: Folders<'_>,
    ) -> Result<Self, ConfigError> {
        let variable = |name: &str| env(name).filter(|value| !value.is_empty());
        let mut layers = vec![
            Layer { values: from_flags(flags)?, folder: folders.current.to_owned() },
            Layer { values: from_environment(&variable), folder: folders.current.to_owned() },
        ];
        let user_folder = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| folders.home.map(|home| home.join(".config")));
        let mut files = vec![File::read(folders.current.join(FOLDER_FILE))?];
        if let Some(folder) = user_folder {
            files.push(File::read(folder.join("kafkalab").join("config.toml"))?);
        }

        let chosen = match (&flags.profile, variable("KAFKALAB_PROFILE")) {
            (Some(name), _) => Some(Setting { value: name.clone(), source: Source::Flag("--profile".to_owned()) }),
            (None, Some(name)) => {
                Some(Setting { value: name, source: Source::Environment("KAFKALAB_PROFILE".to_owned()) })
            }
            (None, None) => None,
        };
        let mut profile = None;
        if let Some(chosen) = chosen {
            layers.extend(profile_layers(&files, &chosen)?);
            profile = Some(chosen);
        }
        for file in &files {
            if let (None, Some(name)) = (&profile, &file.profile) {
                let source = Source::File { path: file.path.clone(), profile: None };
                let chosen = Setting { value: name.clone(), source };
                layers.extend(profile_layers(&files, &chosen)?);
                profile = Some(chosen);
            }
            layers.push(Layer::of_file(file, &file.keys, None));
        }
        let warnings = files.into_iter().flat_map(|file| file.warnings).collect();
        Ok(Self { layers, home: folders.home.map(Path::to_owned), profile, warnings })
    }

    /// The strongest value of a key, read by `read`.
    pub fn get<T>(
        &self,
        key: Key,
        read: impl Fn(&str) -> Result<T, String>,
        default: impl Fn() -> T,
    ) -> Result<Setting<T>, ConfigError> {
        let Some((_, text, source)) = self.find(key) else {
            return Ok(Setting { value: default(), source: Source::Default });
        };
        let value =
            read(text).map_err(|reason| ConfigError::BadValue { from: source.clone(), key: key.name, reason })?;
        Ok(Setting { value, source: source.clone() })
    }

    /// A path, taken from the folder of the file that names it; `~/` is the home in files, where no shell put it in.
    pub fn path(&self, key: Key) -> Result<Setting<Option<PathBuf>>, ConfigError> {
        let folder = self.find(key).map(|(rank, _, _)| self.layers[rank].folder.as_path()).unwrap_or(Path::new(""));
        self.get(
            key,
            |text| match (text.strip_prefix("~/"), &self.home) {
                _ if text.is_empty() => Err("it is empty".to_owned()),
                (Some(rest), Some(home)) => Ok(Some(home.join(rest))),
                _ => Ok(Some(folder.join(text))),
            },
            || None,
        )
    }

    /// The password itself or the file that holds it, whichever was given with more weight.
    pub fn password(&self, file: &Setting<Option<PathBuf>>) -> Result<Setting<Option<Secret>>, ConfigError> {
        let rank = |key| self.find(key).map_or(usize::MAX, |(rank, _, _)| rank);
        match &file.value {
            Some(path) if rank(SASL_PASSWORD_FILE) < rank(SASL_PASSWORD) => {
                let secret = Secret::new(read_password(path)?);
                let source = Source::File { path: path.clone(), profile: None };
                Ok(Setting { value: Some(secret), source })
            }
            _ => self.get(SASL_PASSWORD, |text| Ok(Some(Secret::new(text.to_owned()))), || None),
        }
    }

    fn find(&self, key: Key) -> Option<(usize, &str, &Source)> {
        let found = |(rank, layer): (usize, &'_ Layer)| layer.values.get(key.name).map(|_| rank);
        let rank = self.layers.iter().enumerate().find_map(found)?;
        self.layers[rank].values.get(key.name).map(|(text, source)| (rank, text.as_str(), source))
    }
}

fn from_flags(flags: &Flags) -> Result<BTreeMap<&'static str, (String, Source)>, ConfigError> {
    let mut values = BTreeMap::new();
    for text in &flags.set {
        let Some((name, value)) = text.split_once('=') else {
            // Only the key's name is repeated: what follows it may have been meant as a password.
            let is_key = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
            return Err(ConfigError::NoAssignment { text: text.chars().take_while(|c| is_key(*c)).collect() });
        };
        let name = name.trim();
        let key = KEYS.iter().find(|key| key.name == name || key.alias == Some(name));
        match key {
            None => return Err(ConfigError::UnknownKey { key: name.to_owned() }),
            Some(key) if *key == SASL_PASSWORD => {
                return Err(ConfigError::SecretInArguments { key: name.to_owned() });
            }
            Some(key) => values.insert(key.name, (value.to_owned(), Source::Flag(format!("-X {name}")))),
        };
    }
    if !flags.brokers.is_empty() {
        values.insert(BROKERS.name, (flags.brokers.join(","), Source::Flag("--brokers".to_owned())));
    }
    if let Some(prefix) = &flags.topic_prefix {
        values.insert(TOPIC_PREFIX.name, (prefix.clone(), Source::Flag("--topic-prefix".to_owned())));
    }
    Ok(values)
}

/// `tls.ca` is `KAFKALAB_TLS_CA`.
fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> BTreeMap<&'static str, (String, Source)> {
    let mut values = BTreeMap::new();
    for key in KEYS {
        let own = format!("KAFKALAB_{}", key.name.replace('.', "_").to_uppercase());
        for name in [own.as_str()].iter().chain(key.other_variables) {
            if let Some(text) = variable(name) {
                values.insert(key.name, (text, Source::Environment((*name).to_owned())));
                break;
            }
        }
    }
    values
}

/// A profile may be spread over both files; that of the current folder goes first.
fn profile_layers(files: &[File], chosen: &Setting<String>) -> Result<Vec<Layer>, ConfigError> {
    let name = chosen.value.as_str();
    let layer = |file: &File| file.profiles.get(name).map(|keys| Layer::of_file(file, keys, Some(name)));
    let layers: Vec<Layer> = files.iter().filter_map(layer).collect();
    if layers.is_empty() {
        let known: Vec<&str> = files.iter().flat_map(|file| file.profiles.keys()).map(String::as_str).collect();
        let places: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
        let known = match known.is_empty() {
            true => format!("none is defined in {}", places.join(" or ")),
            false => format!("there are {}", known.join(", ")),
        };
        return Err(ConfigError::NoProfile { name: name.to_owned(), from: chosen.source.clone(), known });
    }
    Ok(layers)
}

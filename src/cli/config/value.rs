//! From the text of a setting to its value.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::StoreUrl;

/// A password. Nothing prints it: `Debug` and `Display` say only that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// For the handshake, and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(set)")
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

pub(super) fn some_text(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()))
}

pub(super) fn store(text: &str) -> Result<StoreUrl, String> {
    text.parse().map_err(|error: crate::app::UrlError| error.to_string())
}

/// kafkalab's part of the user's data folder (XDG Base Directory Specification); none where there is no home.
pub fn data_folder(env: &impl Fn(&str) -> Option<String>, home: Option<&Path>) -> Option<PathBuf> {
    let named = env("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| home.map(|home| home.join(".local/share"))).map(|folder| folder.join("kafkalab"))
}

/// A file of the user's data folder; in the current folder where there is none.
pub(super) fn default_store(env: &impl Fn(&str) -> Option<String>, home: Option<&Path>) -> StoreUrl {
    StoreUrl::sqlite(data_folder(env, home).unwrap_or_else(|| "kafkalab".into()).join("store.db"))
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// `500ms`, `5s`, `2m`. A number alone could be either of two units, and none would be a time-out of nothing.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time; write 500ms, 5s or 2m");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    // A day: longer is a mistake, and every sum with a clock stays in range.
    match number.checked_mul(unit) {
        Some(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("`{text}` is not between 1ms and a day")),
    }
}

/// A number of bytes. At least what every answer needs, at most what a frame can say.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ 65_536..=2_147_483_647) => Ok(bytes),
        _ => Err(format!("`{text}` is not a number of bytes between 65536 and 2147483647")),
    }
}

pub(super) fn show_duration(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// Addresses with commas between them, each with a port when this returns.
pub(super) fn brokers(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|address| broker(address.trim())).collect()
}

fn broker(text: &str) -> Result<String, String> {
    let form = "write host:port, such as localhost:9092 or [::1]:9092";
    if text.is_empty() {
        return Err(format!("an address is empty; {form}"));
    }
    if let Some((protocol, _)) = text.split_once("://") {
        let instead = match protocol.to_ascii_uppercase().as_str() {
            "SSL" => " (tls.enabled=true switches TLS on)",
            "SASL_SSL" => " (tls.enabled=true switches TLS on, sasl.mechanism a password)",
            "SASL_PLAINTEXT" => " (sasl.mechanism switches a password on)",
            _ => "",
        };
        return Err(format!("`{text}`: an address has no protocol before it{instead}; {form}"));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(format!("`{text}` is not an address; {form}"));
    }
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, ""))) => (host, None),
        Some(Some((host, rest))) if rest.starts_with(':') => (host, Some(&rest[1..])),
        Some(_) => return Err(format!("`{text}` is not an address; {form}")),
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(format!("`{text}`: an IPv6 address stands in brackets; {form}"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(format!("`{text}` has no host; {form}"));
    }
    match port {
        None => Ok(format!("{text}:9092")),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(text.to_owned())
        }
        Some(port) => Err(format!("`{text}`: `{port}` is not a port (1 to 65535); {form}")),
    }
}

/// A path as one would have to type it.
pub(super) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

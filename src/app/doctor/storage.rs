//! The store: does it open, in a schema that is known here, and is there room for more?

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::timeout;

use super::Problem;
use crate::store::{Store, StoreUrl};

/// What is written and removed to see that there is room.
const ROOM: usize = 64 * 1024;

/// A file that is not there yet is not made: it is looked whether it could be.
pub(super) async fn examine(url: &StoreUrl, limit: Duration) -> Result<String, Problem> {
    if let Some(path) = url.path() {
        let folder = nearest_folder(path);
        try_folder(&folder).map_err(|cause| Problem::Folder { folder: folder.display().to_string(), cause })?;
        if !path.exists() {
            return Ok("none there yet; the first command that needs it makes it".to_owned());
        }
    }
    match timeout(limit, Store::open(url)).await {
        Ok(Ok(_)) => Ok("opens, and its schema is this kafkalab's".to_owned()),
        Ok(Err(error)) => Err(Problem::Store(error)),
        Err(_) => Err(Problem::Silent(limit.as_secs_f32())),
    }
}

/// The folder of the file, or of what is there above it.
fn nearest_folder(path: &Path) -> PathBuf {
    let mut above = path.ancestors().skip(1).map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    });
    above.find(|folder| folder.exists()).unwrap_or(Path::new(".")).to_owned()
}

/// Whoever is root is let through by every permission, and not by a read-only file system or a full disk: so a file is
/// written, for a moment.
fn try_folder(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".kafkalab-doctor-{}", uuid::Uuid::now_v7().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let written = file.write_all(&[0; ROOM]).and_then(|()| file.sync_all());
    fs::remove_file(&path)?;
    written
}

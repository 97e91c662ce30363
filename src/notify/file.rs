//! Lines in a file.
//!
//! Several processes may append to one: each holds a lock on the file while it does. A process that was killed may leave the
//! beginning of a line. It was never said to be sent, and comes again; so whoever appends next cuts it off.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::{LIMIT, NotHeard, Notice};

/// Between two looks at a lock that somebody else has.
const LOOK: Duration = Duration::from_millis(5);
/// What each of our lines begins with.
const OURS: &[u8] = b"{\"id\":\"";
/// A line is not longer.
const LONGEST: u64 = 64 * 1024;

/// A file of lines.
#[derive(Clone, Debug)]
pub struct File(PathBuf);

impl File {
    pub async fn open(path: PathBuf) -> Result<Self, NotHeard> {
        let file = File(path);
        file.append(&[]).await?;
        Ok(file)
    }

    /// All lines are on the disk, or none is said to be.
    pub async fn append(&self, notices: &[Notice<'_>]) -> Result<(), NotHeard> {
        let mut lines = Vec::new();
        for notice in notices {
            lines.extend_from_slice(notice.body);
            lines.push(b'\n');
        }
        let path = self.0.clone();
        let outcome = tokio::task::spawn_blocking(move || append(&path, &lines)).await;
        outcome
            .unwrap_or_else(|_| Err(io::Error::other("the program ends")))
            .map_err(|error| NotHeard::File { target: format!("file:{}", self.0.display()), cause: error.to_string() })
    }
}

fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let is_new = fs::symlink_metadata(path).is_err();
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file, whose end could be looked at"));
    }
    lock(&file)?;
    if is_new {
        // the file's name is to outlive a power cut, too
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(folder)?.sync_all()?;
    }
    let end = mend(&mut file)?;
    if lines.is_empty() {
        return Ok(());
    }
    let written = file.write_all(lines).and_then(|()| file.sync_data());
    if written.is_err() {
        let _ = file.set_len(end); // a disk that is full: half a line would be cut off by the next one otherwise
    }
    written // closing it gives the lock back
}

fn lock(file: &fs::File) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < LIMIT => thread::sleep(LOOK),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(io::Error::other("somebody else holds its lock")),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sees to the end of the file: the beginning of a line of ours is cut off, what is somebody else's gets its end. Gives the
/// length then.
fn mend(file: &mut fs::File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(LONGEST).read_to_end(&mut tail)?;
    let begin = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = &tail[begin..];
    if torn.is_empty() {
        return Ok(length);
    }
    let is_whole = begin > 0 || from == 0;
    if is_whole && torn.iter().zip(OURS).all(|(a, b)| a == b) {
        let length = from + begin as u64;
        file.set_len(length)?;
        return Ok(length);
    }
    file.write_all(b"\n")?;
    Ok(length + 1)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn told(before: &[u8]) -> String {
        let path = std::env::temp_dir().join(format!("kafkalab-told-{}", Uuid::now_v7().simple()));
        fs::write(&path, before).expect("a file");
        append(&path, b"{\"id\":\"2\"}\n").expect("a line");
        let text = fs::read(&path).expect("the file");
        fs::remove_file(&path).expect("the file");
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn the_beginning_of_a_line_is_cut_off_and_what_is_not_ours_stays() {
        let line = "{\"id\":\"2\"}\n";
        for (before, after) in [
            ("", ""),
            ("{\"id\":\"1\"}\n", "{\"id\":\"1\"}\n"),
            ("{\"id\":\"1\"}\n{\"id\":\"2", "{\"id\":\"1\"}\n"),
            ("{\"id\":\"2", ""),
            ("{\"i", ""),
            ("a list of mine", "a list of mine\n"),
            ("{\"id\":\"1\"}\nx", "{\"id\":\"1\"}\nx\n"),
        ] {
            assert_eq!(told(before.as_bytes()), format!("{after}{line}"), "{before:?}");
        }
        let long = [OURS, &vec![b'x'; 2 * LONGEST as usize]].concat();
        assert!(told(&long).ends_with(&format!("x\n{line}")), "no line of ours is so long");
    }

    #[tokio::test]
    async fn what_is_no_file_is_refused_with_its_name() {
        let error = File::open("/dev/null".into()).await.map(drop).unwrap_err().to_string();
        assert!(error.starts_with("file:/dev/null: it is no regular file"), "{error}");
        let error = File::open("/nowhere/told".into()).await.map(drop).unwrap_err().to_string();
        assert!(error.starts_with("file:/nowhere/told: "), "{error}");
    }
}

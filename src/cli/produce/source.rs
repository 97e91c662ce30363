//! Where the input comes from: stdin or files, read on a thread of its own, because reading blocks.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use color_eyre::{Result, eyre::WrapErr};
use tokio::sync::mpsc;

/// Bytes of one read.
const CHUNK: usize = 256 * 1024;
/// Chunks on their way, the one in hand not counted.
const AHEAD: usize = 2;

/// An open file and its path, for messages.
pub type Opened = (PathBuf, File);

/// Opens all files before the first record is sent: a typing mistake sends nothing.
pub fn open(paths: &[PathBuf]) -> Result<Vec<Opened>> {
    paths.iter().map(|path| open_one(path)).collect()
}

fn open_one(path: &Path) -> Result<Opened> {
    let file = File::open(path).wrap_err_with(|| format!("opening {}", path.display()))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(io::Error::from(io::ErrorKind::IsADirectory))
            .wrap_err_with(|| format!("opening {}", path.display()));
    }
    Ok((path.to_owned(), file))
}

/// Bytes of all files; `None` where one is a pipe, or stdin is read.
pub fn total_bytes(files: &[Opened]) -> Option<u64> {
    if files.is_empty() {
        return None;
    }
    files.iter().map(|(_, file)| file.metadata().ok().filter(|data| data.is_file()).map(|data| data.len())).sum()
}

/// What the reading thread says.
pub enum Piece {
    Bytes(Vec<u8>),
    /// Another file follows; the last line of the one before ends here, with or without its newline.
    NextFile,
    Failed(PathBuf, io::Error),
}

/// The pieces, and the way back for their buffers.
pub struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    empty: std::sync::mpsc::Sender<Vec<u8>>,
}

impl Pieces {
    pub async fn next(&mut self) -> Option<Piece> {
        self.pieces.recv().await
    }

    pub fn give_back(&self, buffer: Vec<u8>) {
        let _ = self.empty.send(buffer); // the reader may have ended
    }
}

/// Starts to read the files, or stdin where there are none. The thread ends with its input, or when nobody takes the
/// pieces any more.
pub fn read(files: Vec<Opened>) -> Pieces {
    let (sender, pieces) = mpsc::channel(AHEAD);
    let (empty, buffers) = std::sync::mpsc::channel::<Vec<u8>>();
    std::thread::spawn(move || {
        let fresh = || buffers.try_recv().unwrap_or_default();
        if files.is_empty() {
            // the file itself: the buffer of `Stdin` would be one more copy
            read_one(Path::new("stdin"), &mut io::stdin().lock(), &sender, fresh);
        }
        let count = files.len();
        for (index, (path, mut file)) in files.into_iter().enumerate() {
            let go_on = read_one(&path, &mut file, &sender, fresh);
            if !go_on || index + 1 < count && sender.blocking_send(Piece::NextFile).is_err() {
                return;
            }
        }
    });
    Pieces { pieces, empty }
}

fn read_one(path: &Path, input: &mut dyn Read, sender: &mpsc::Sender<Piece>, fresh: impl Fn() -> Vec<u8>) -> bool {
    loop {
        let mut buffer = fresh();
        buffer.resize(CHUNK, 0);
        match input.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => {
                buffer.truncate(count);
                if sender.blocking_send(Piece::Bytes(buffer)).is_err() {
                    return false;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return sender.blocking_send(Piece::Failed(path.to_owned(), error)).is_ok(),
        }
    }
}

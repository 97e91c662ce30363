//! Standard output: the one place that writes to it.

use std::{
    fs::File,
    io::{ErrorKind, IsTerminal, Write},
    os::{fd::AsFd, unix::fs::FileTypeExt},
};

use color_eyre::{Result, eyre::WrapErr};
use serde_json::Value;

use super::{
    escape,
    exit::{Exit, Quiet},
};

/// True where a write may take as long as whoever reads it wants: a pipe, a socket, a terminal. A file or `/dev/null` takes
/// what it is given.
pub fn may_block() -> bool {
    let stdout = std::io::stdout();
    if stdout.is_terminal() {
        return true;
    }
    let kind = stdout.as_fd().try_clone_to_owned().and_then(|own| File::from(own).metadata());
    kind.map_or(true, |data| data.file_type().is_fifo() || data.file_type().is_socket())
}

/// Writes a document as a line. What a terminal would obey and JSON lets stand (DEL, C1, direction marks) is written as
/// `\u009b`: the same text for who parses it, and harmless for who looks at it.
pub fn json(document: &Value) -> Result<()> {
    let mut line = String::new();
    for c in document.to_string().chars() {
        match c {
            // all of them have four digits
            c if escape::is_harmful(c) => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    line.push('\n');
    write(line.as_bytes())
}

/// Writes all of it. A reader that has gone (`| head`) ends the program quietly, with 0: it had what it wanted.
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Quiet(Exit::OK).into()),
        Err(error) => Err(error).wrap_err("writing to stdout"),
    }
}

//! Standard output: the one place that writes to it.

use std::io::{ErrorKind, Write};

use color_eyre::{Result, eyre::WrapErr};

use super::exit::{Exit, Quiet};

/// Writes all of it. A reader that has gone (`| head`) ends the program quietly, with 0: it had what it wanted.
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Quiet(Exit::OK).into()),
        Err(error) => Err(error).wrap_err("writing to stdout"),
    }
}

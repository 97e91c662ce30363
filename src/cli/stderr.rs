//! Standard error: a line at a time. Nobody may be there to read it (`2>&1 | head`); that is no reason to fail, where
//! `eprintln!` would panic.

use std::{fmt::Display, io::Write};

pub fn line(text: impl Display) {
    // one write, so that lines of two processes do not mix
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

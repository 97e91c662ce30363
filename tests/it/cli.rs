//! Every command as a stranger would type it: stdout, stderr and exit code, held as exact text.

mod config;
mod help;
mod pipes;
pub mod screen;
mod signals;
mod slips;
mod wrong;

use crate::harness::{Ended, Program};

/// Runs it and compares everything that it said.
#[track_caller]
pub fn expect(program: Program, code: i32, stdout: &str, stderr: &str) -> Ended {
    let ended = program.run();
    let found = (ended.code(), ended.text(), ended.stderr.clone());
    assert_eq!(found, (code, stdout.to_owned(), stderr.to_owned()));
    ended
}

//! The subcommands.

mod config;
mod escape;
mod format;
#[cfg(test)]
mod given;
mod input;
mod json_record;
mod offset;
mod terminal;

//! The subcommands.

mod escape;
mod format;
#[cfg(test)]
mod given;
mod offset;

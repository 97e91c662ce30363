//! One thing done to several names.

use color_eyre::Result;

use super::{
    exit::{self, Exit},
    session::Session,
};

/// Does a thing to each name by itself: what fails is said, the others go on. The exit code is the first failure's.
pub async fn each(names: &[String], session: &Session, mut work: impl AsyncFnMut(&str) -> Result<()>) -> Result<Exit> {
    let mut exit = Exit::OK;
    for name in unique(names) {
        let Err(report) = work(name).await else { continue };
        if names.len() == 1 {
            return Err(report);
        }
        exit::print(&report, &session.terminal);
        let code = exit::code(&report);
        if exit == Exit::OK {
            exit = code;
        }
        if code == Exit::UNREACHABLE {
            break; // nobody is there to do the rest
        }
    }
    Ok(exit)
}

/// In the order given, each once.
pub fn unique(names: &[String]) -> Vec<&str> {
    let mut seen = std::collections::HashSet::new();
    names.iter().map(String::as_str).filter(|name| seen.insert(*name)).collect()
}

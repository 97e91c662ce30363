//! `groups describe --watch`: the same page again and again, in place on a terminal.
//!
//! Nothing is cleared before something stands in its place: each line is written over the one before and its rest erased, then
//! what is left below. One write is one picture. Lines are cut at the right edge while a picture is drawn, for a line that
//! wraps would move all below it.

use std::time::Duration;

use color_eyre::Result;
use time::{OffsetDateTime, macros::format_description};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{document, explained, page::page, time as shown_time};
use crate::{
    app::{
        Cluster, Error,
        groups::{self, Description, Paces},
    },
    cli::{escape, exit::Exit, session::Session, stdout, terminal::Terminal},
};

/// A look that takes longer is worth a word.
const SOON: Duration = Duration::from_secs(3);

/// Until Ctrl-C, or until something is wrong that waiting does not mend.
pub async fn run(names: &[&str], every: Duration, json: bool, cluster: &Cluster, session: &Session) -> Result<Exit> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (last, paces, screen) = (Vec::new(), Vec::new(), Screen::new(&session.terminal));
    let mut view = View { session, every, json, last, paces, screen };
    loop {
        ticks.tick().await;
        let looking = look(names, cluster);
        tokio::pin!(looking);
        let seen = match timeout(SOON, &mut looking).await {
            Ok(seen) => seen,
            Err(_) => {
                view.show("the brokers do not answer; waiting for them")?;
                looking.await
            }
        };
        match seen {
            Ok(seen) => view.see(seen)?,
            // brokers come back; a group that never was there does not
            Err(error) if !view.last.is_empty() && error.is_transient() => view.show(&error.to_string())?,
            Err(error) => return Err(explained(error, cluster).await),
        }
    }
}

/// What was seen last, and how it is shown.
struct View<'a> {
    session: &'a Session,
    every: Duration,
    json: bool,
    last: Vec<Description>,
    paces: Vec<Paces>,
    screen: Screen<'a>,
}

impl View<'_> {
    fn see(&mut self, seen: Vec<Description>) -> Result<()> {
        self.paces.resize_with(seen.len(), Paces::default);
        self.paces.iter_mut().zip(&seen).for_each(|(paces, description)| paces.look(description));
        self.last = seen;
        if self.json {
            let seen = self.last.iter().zip(&self.paces).map(|(seen, paces)| (seen, Some(paces)));
            stdout::json(&document::write(seen))?;
        }
        let trouble = self.last.iter().flat_map(|seen| &seen.gaps).next().map(ToString::to_string);
        match (self.json, trouble) {
            (true, None) => Ok(()),
            (_, trouble) => self.show(&trouble.unwrap_or_default()),
        }
    }

    /// What was seen last, under a word about what is wrong now, if anything is.
    fn show(&mut self, trouble: &str) -> Result<()> {
        if self.json {
            self.session.say(trouble);
            return Ok(());
        }
        let terminal = &self.session.terminal;
        let seen = self.last.iter().zip(&self.paces);
        let pages: Vec<String> = seen.map(|(seen, paces)| page(seen, Some(paces), terminal)).collect();
        let trouble = match trouble {
            "" => String::new(),
            trouble => format!("{}\n\n", escape::line(trouble.as_bytes())),
        };
        self.screen.show(&format!("{}\n\n{trouble}{}", title(self.every), pages.join("\n")))
    }
}

async fn look(names: &[&str], cluster: &Cluster) -> Result<Vec<Description>, Error> {
    let mut described = Vec::with_capacity(names.len());
    for name in names {
        described.push(groups::describe(cluster, name).await?);
    }
    Ok(described)
}

fn title(every: Duration) -> String {
    let format = format_description!("[hour]:[minute]:[second] UTC");
    let now = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    format!("{now}, every {}", shown_time(every).replace(".0s", "s"))
}

/// Where pictures are shown: each over the one before, or below it where nothing can be drawn over.
struct Screen<'a> {
    terminal: &'a Terminal,
    /// Lines of the picture before.
    lines: usize,
    is_first: bool,
}

impl<'a> Screen<'a> {
    fn new(terminal: &'a Terminal) -> Self {
        Self { terminal, lines: 0, is_first: true }
    }

    fn show(&mut self, picture: &str) -> Result<()> {
        let bytes = if self.terminal.redraws() {
            let lines: Vec<&str> = picture.lines().collect();
            let (bytes, lines) = over(&lines, self.lines, self.terminal.height());
            self.lines = lines;
            bytes
        } else {
            let gap = if self.is_first { "" } else { "\n" };
            format!("{gap}{picture}")
        };
        self.is_first = false;
        stdout::write(bytes.as_bytes())
    }
}

/// The picture over one of `before` lines, and how many lines it has.
fn over(lines: &[&str], before: usize, height: Option<usize>) -> (String, usize) {
    // the last row is for the cursor: a picture that fills it scrolls
    let room = height.unwrap_or(usize::MAX).saturating_sub(1).max(1);
    let (shown, cut) = if lines.len() > room { (room - 1, lines.len() + 1 - room) } else { (lines.len(), 0) };
    let mut out = String::from("\x1b[?7l");
    if before > 0 {
        out.push_str(&format!("\x1b[{before}F"));
    }
    for line in &lines[..shown] {
        out.push_str(line);
        out.push_str("\x1b[K\n");
    }
    if cut > 0 {
        out.push_str(&format!("... {cut} more lines\x1b[K\n"));
    }
    out.push_str("\x1b[J\x1b[?7h");
    (out, shown + usize::from(cut > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_stands_over_the_one_before() {
        assert_eq!(over(&["a", "b"], 0, Some(24)), ("\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h".to_owned(), 2));
        assert_eq!(over(&["c"], 2, Some(24)), ("\x1b[?7l\x1b[2Fc\x1b[K\n\x1b[J\x1b[?7h".to_owned(), 1));
    }

    #[test]
    fn a_picture_that_is_too_high_is_cut_and_says_so() {
        let (bytes, lines) = over(&["a", "b", "c", "d"], 0, Some(4));
        assert_eq!((bytes.as_str(), lines), ("\x1b[?7la\x1b[K\nb\x1b[K\n... 2 more lines\x1b[K\n\x1b[J\x1b[?7h", 3));
        assert_eq!(over(&["a", "b", "c"], 0, Some(4)).1, 3);
        assert_eq!(over(&["a", "b"], 0, Some(1)).1, 1);
    }
}

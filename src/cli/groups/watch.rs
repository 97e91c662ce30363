//! `groups describe --watch`: the same page again and again, in place on a terminal.

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
    cli::{escape, exit::Exit, screen::Screen, session::Session, stdout},
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

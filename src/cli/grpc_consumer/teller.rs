//! What a run of consumers says: documents of each record and notification, lines of what went wrong.

use std::collections::HashSet;

use color_eyre::{Report, Result};
use serde_json::json;

use crate::{
    app::{
        grpc_consumer::{Consumer, Told, send},
        handler::{self, What},
    },
    cli::{escape, pattern::Options, session::Session, stdout},
};

/// Says each trouble once, until it is over.
pub struct Teller<'a> {
    options: &'a Options,
    session: &'a Session,
    /// Who is in trouble, of which it was said.
    in_trouble: HashSet<&'static str>,
    /// The screen is gone, or a pipe.
    failed: Option<Report>,
}

/// Under which the sender's trouble is known.
const SENDER: &str = "sender";

impl<'a> Teller<'a> {
    pub fn new(options: &'a Options, session: &'a Session) -> Self {
        Self { options, session, in_trouble: HashSet::new(), failed: None }
    }

    /// What could not be said.
    pub fn end(self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }

    pub fn tell(&mut self, told: &Told<'_>) {
        if self.failed.is_none() {
            self.failed = self.try_tell(told).err();
        }
    }

    fn try_tell(&mut self, told: &Told<'_>) -> Result<()> {
        match told {
            Told::Handler { consumer, told } => self.handler(*consumer, told),
            Told::Failed { consumer, error } => {
                self.in_trouble.remove(consumer.name());
                self.trouble(consumer.name(), &format!("{error}; trying again, the others go on"));
                Ok(())
            }
            Told::Send(told) => self.send(told),
        }
    }

    fn handler(&mut self, consumer: Consumer, told: &handler::Told<'_>) -> Result<()> {
        match told {
            handler::Told::Record { partition, offset, message, what } => {
                let (word, reason) = match what {
                    What::Effect { .. } => ("effect", None),
                    What::Repeat => ("repeat", None),
                    What::PassedBy => ("passed_by", None),
                    What::Dead(reason) => ("dead_letter", Some(*reason)),
                };
                if self.options.json {
                    return stdout::json(&json!({
                        "step": "handled", "handler": consumer.name(), "topic": &*partition.topic,
                        "partition": partition.partition, "offset": offset, "message_id": message, "what": word,
                        "reason": reason,
                    }));
                }
                if let Some(reason) = reason {
                    self.say(&format!("{consumer}: dead letter: {partition} offset {offset}: {reason}"));
                }
            }
            handler::Told::Committed { .. } => drop(self.in_trouble.remove(consumer.name())),
            handler::Told::Trouble(cause) => self.trouble(consumer.name(), &format!("trying again: {cause}")),
            handler::Told::Assigned(_) | handler::Told::Revoked(_) | handler::Told::Notice(_) => {}
        }
        Ok(())
    }

    fn send(&mut self, told: &send::Told<'_>) -> Result<()> {
        let (id, reason, again) = match told {
            send::Told::Sent(claimed) => {
                self.in_trouble.remove(SENDER);
                (claimed.id, None, None)
            }
            send::Told::Failed { claimed, reason, again } => {
                match again {
                    Some(_) => self.trouble(SENDER, &format!("trying again: {reason}")),
                    None => self.say(&format!("notification {} is dead: {reason}", claimed.id)),
                }
                (claimed.id, Some(*reason), *again)
            }
            send::Told::Trouble(error) => {
                self.trouble(SENDER, &format!("trying again: {error}"));
                return Ok(());
            }
        };
        if !self.options.json {
            return Ok(());
        }
        let what = match (reason, again) {
            (None, _) => "sent",
            (Some(_), Some(_)) => "failed",
            (Some(_), None) => "dead",
        };
        let again = again.map(|again| again.as_secs_f64());
        stdout::json(&json!({"step": "notified", "id": id, "what": what, "reason": reason, "again_in": again}))
    }

    /// Once, until it is over.
    fn trouble(&mut self, who: &'static str, what: &str) {
        if self.in_trouble.insert(who) {
            self.say(&format!("{who}: {what}"));
        }
    }

    fn say(&self, text: &str) {
        self.session.say(&escape::text(text));
    }
}

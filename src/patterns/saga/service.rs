//! A service of the order business: it is asked by an orchestrator, and it hears what others say in a choreography. Which of
//! the two an order is stands in each of its messages, in the source.

use super::{
    choreography::{self, is_of_it},
    participant::{Kept, Participant},
};
use crate::patterns::inbox::{Effects, Entity, Handler, Message, Poison};

/// One inbox, one state per order, both styles.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    pub asked: Participant,
    pub reacts: choreography::Service,
    /// What both read.
    pub topics: &'static [&'static str],
}

impl Handler for Service {
    fn name(&self) -> &str {
        self.asked.name
    }

    fn topics(&self) -> &[&'static str] {
        self.topics
    }

    fn entity(&self, message: &Message<'_>) -> Result<Option<Entity>, Poison> {
        if is_of_it(message.envelope) {
            return Ok(self.reacts.entity(message));
        }
        match self.asked.topics.contains(&message.topic) {
            true => self.asked.entity(message),
            false => Ok(None), // an event of somebody else's
        }
    }

    fn handle(&self, state: Option<&[u8]>, message: &Message<'_>) -> Result<Effects, Poison> {
        match is_of_it(message.envelope) {
            true => self.reacts.handle(state, message),
            false => self.asked.handle(state, message),
        }
    }

    fn timers(&self) -> Option<&'static str> {
        self.asked.timers()
    }

    fn due(&self, entity: &Entity, state: &[u8]) -> Result<Effects, Poison> {
        let kept: Kept = serde_json::from_slice(state).map_err(Poison::new)?;
        match kept.flow {
            Some(_) => self.reacts.due(&entity.id, state),
            None => self.asked.due(entity, state),
        }
    }
}

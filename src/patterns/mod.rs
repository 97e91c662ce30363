//! The rules of the patterns, as pure functions: no client, no database, no clock; ids and times are arguments. This is
//! where a learner reads. Each page says the problem, the idea, what can go wrong, how to try it, and what to read next.
//!
//! | in this order | what one learns |
//! |---|---|
//! | [`money`] | why a price is two things, and neither of them a float |
//! | [`order`] | all rules of an aggregate in two functions: commands ask, events tell |
//! | [`event_sourcing`] | what happened is kept and what is so is computed; the dual write |
//! | [`envelope`] | what stands around an event on its way through Kafka |
//! | [`outbox`] | saved and published, although there is no transaction over both |
//! | [`inbox`] | handled twice, in effect once: handlers as pure functions |
//! | [`stock`] | such a handler: reserves what was ordered |
//! | [`analytics`] | one that counts, and keeps no state |
//! | [`notifications`] | one whose effect is outside of the database |
//! | [`search`] | one that keeps a search index, and the words that find something in it |
//! | [`projection`] | read models that are right in any order of events, and after any repeat |
//! | [`dead_letter`] | what cannot be handled is put aside, and comes back when it can |
//! | [`saga`] | several services, one process, and the way back |
//! | [`sample`] | events to play with |
//! | [`traffic`] | commands to play with |

pub mod analytics;
pub mod dead_letter;
pub mod envelope;
pub mod event_sourcing;
pub mod inbox;
pub mod money;
pub mod notifications;
pub mod order;
pub mod outbox;
pub mod projection;
pub mod saga;
pub mod sample;
pub mod search;
pub mod stock;
pub mod traffic;

/// Text of others in our errors: at most `most` characters, and a sign that there was more.
fn excerpt(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

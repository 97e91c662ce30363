//! The rules of the patterns, as pure functions: no client, no database, no clock. This is where a learner reads.

pub mod envelope;
pub mod event_sourcing;
pub mod money;
pub mod order;
pub mod sample;

/// Text of others in our errors: at most `most` characters, and a sign that there was more.
fn excerpt(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

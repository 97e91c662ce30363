//! A handler that keeps a search index, and what finds something in it.
//!
//! # The problem
//!
//! Databases cut texts into words each in its own way, ids the worst of all (`user-123` is `user` and the number -123 to
//! PostgreSQL), and each has a query language in which what a person types may be a mistake, or say something else.
//!
//! # The idea
//!
//! Words are made here, the same for what is indexed and for what is looked for; a database only keeps and compares them.
//!
//! ```text
//!   "user-123  Café"  -->  user  123  user_123  cafe           what is indexed: each part, and the whole
//!   "USER-123 caf*"   -->  user_123 and caf*                   what is looked for: the whole of each word, or its beginning
//! ```
//!
//! A word is made of letters and digits of any script, without case and marks; everything else only divides. So no quote and
//! no operator is left that a query language could understand.
//!
//! # What can go wrong
//!
//! - **`OrderPaid` before `OrderCreated`**, a repeat: what is known of an order is merged, see [`projection`](super::projection).
//! - **Scripts without blanks** (Chinese, Thai): a run of letters is one word, found by its beginning.
//!
//! # Try it
//!
//! `kafkalab grpc-consumer search 'lamp user-1*'`

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::{
    inbox::{Change, Document, Effects, Entity, Handler, Message, Poison},
    order::OrderEvent,
    projection::{Known, Observed, TOPICS, order_of, statuses},
};

/// Keeps the index.
#[derive(Debug, Clone, Copy, Default)]
pub struct SearchIndex;

pub const NAME: &str = "search-index";
/// The kind of its states: what is known of each order.
pub const KIND: &str = "search-order";

/// Letters of a word at most; longer ones are cut, here and in a query.
const LONGEST: usize = 200;
/// Words of a query at most.
pub const WORDS: usize = 32;

/// What is shown of an order that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub order_id: String,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
    /// `USD:9.99`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
}

impl Handler for SearchIndex {
    fn name(&self) -> &str {
        NAME
    }

    fn topics(&self) -> &[&'static str] {
        &TOPICS
    }

    fn entity(&self, message: &Message<'_>) -> Result<Option<Entity>, Poison> {
        order_of(message, KIND)
    }

    fn handle(&self, state: Option<&[u8]>, message: &Message<'_>) -> Result<Effects, Poison> {
        let mut known: Known = match state {
            Some(json) => serde_json::from_slice(json).map_err(Poison::new)?,
            None => Known::default(),
        };
        let observed = Observed::received(message.envelope, message.data).map_err(Poison::new)?;
        if !known.learn(&observed) {
            return Ok(Effects::default());
        }
        let document = document(&observed.event, &known).map_err(Poison::new)?;
        let state = Some(serde_json::to_vec(&known).map_err(Poison::new)?);
        Ok(Effects { state, changes: vec![Change::Document(document)], ..Effects::default() })
    }
}

fn document(event: &OrderEvent, known: &Known) -> Result<Document, serde_json::Error> {
    let created = known.created.as_ref();
    let found = Found {
        order_id: event.order_id().to_string(),
        status: statuses::status(known).name().to_owned(),
        user_id: created.map(|fact| fact.what.user_id.to_string()),
        product_id: created.map(|fact| fact.what.product_id.to_string()),
        price: created.map(|fact| fact.what.price.to_string()),
    };
    let texts = [Some(&found.order_id), Some(&found.status), found.user_id.as_ref(), found.product_id.as_ref()];
    let price = found.price.as_ref().map(|price| price.replace(':', " ")); // currency and amount are words of their own
    let texts = texts.into_iter().chain([price.as_ref()]).flatten();
    Ok(Document {
        id: found.order_id.clone(),
        time_ms: created.map_or(0, |fact| fact.time_ms),
        words: indexed(texts.map(String::as_str)),
        data: serde_json::to_vec(&found)?,
    })
}

/// The words under which texts are found, each once, with a blank between them.
pub fn indexed<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut add = |word: String| {
        if !words.contains(&word) {
            words.push(word);
        }
    };
    for text in texts {
        for parts in split(text) {
            if parts.len() > 1 {
                add(whole(&parts));
            }
            parts.into_iter().map(|part| cut(&part)).for_each(&mut add);
        }
    }
    words.join(" ")
}

/// What is looked for: all of these words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(Vec<Term>);

/// A word of a query: letters, digits and `_`, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub word: String,
    /// Whatever begins with it.
    pub is_beginning: bool,
}

/// Why nothing can be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoQuery {
    #[error("there is no word to look for: a word has letters or digits")]
    Empty,
    #[error("{0} words are more than {WORDS}")]
    TooMany(usize),
}

impl Query {
    /// Reads what a person typed. Words are divided by blanks; one that ends in `*` stands for what begins with it.
    ///
    /// # Errors
    /// [`NoQuery`]
    pub fn parse(text: &str) -> Result<Self, NoQuery> {
        let terms: Vec<Term> = text
            .split_whitespace()
            .flat_map(|chunk| {
                let is_beginning = chunk.ends_with('*');
                let words = split(chunk);
                let last = words.len().saturating_sub(1);
                // a mark may fall apart into blanks: then the star is the last one's
                let term = move |(nth, parts): (usize, Vec<String>)| Term {
                    word: whole(&parts),
                    is_beginning: is_beginning && nth == last,
                };
                words.into_iter().enumerate().map(term)
            })
            .collect();
        match terms.len() {
            0 => Err(NoQuery::Empty),
            count if count > WORDS => Err(NoQuery::TooMany(count)),
            _ => Ok(Self(terms)),
        }
    }

    pub fn terms(&self) -> &[Term] {
        &self.0
    }
}

/// The parts of each word of a text.
fn split(text: &str) -> Vec<Vec<String>> {
    let text: String = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
    // lower case may have marks of its own (that of U+0130)
    let text: String = text.chars().filter(|c| !is_combining_mark(*c)).collect();
    let parts = |word: &str| -> Vec<String> {
        word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    text.split_whitespace().map(parts).filter(|parts| !parts.is_empty()).collect()
}

/// What divides its parts makes no difference.
fn whole(parts: &[String]) -> String {
    cut(&parts.join("_"))
}

fn cut(word: &str) -> String {
    word.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let query = Query::parse(text);
        let term = |term: &Term| format!("{}{}", term.word, if term.is_beginning { "*" } else { "" });
        query.map_or_else(|error| error.to_string(), |query| query.0.iter().map(term).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_whole_and_its_parts_are_indexed_once_each() {
        assert_eq!(
            indexed(["user-123", "Café  Crème", "USD 9.99", "--"]),
            "user_123 user 123 cafe creme usd 9_99 9 99"
        );
        assert_eq!(indexed(["a-a a"]), "a_a a");
    }

    #[test]
    fn what_is_typed_becomes_words_and_nothing_else() {
        for (text, expected) in [
            ("lamp user-1*", "lamp user_1*"),
            ("USER/123", "user_123"),
            ("\"a OR b\" AND (c)", "a or b and c"),
            ("x'; DROP TABLE documents;--", "x drop table documents"),
            ("NEAR(a b, 2) -c ^d e:f", "near_a b 2 c d e_f"),
            ("名前 ŁÓDŹ ﬁne İ", "名前 łodz fine i"),
            ("* -* \"\" '", "there is no word to look for: a word has letters or digits"),
            ("", "there is no word to look for: a word has letters or digits"),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
        assert_eq!(words(&"a ".repeat(33)), "33 words are more than 32");
    }

    #[test]
    fn a_word_of_a_query_is_a_word_of_the_index_however_long() {
        let id = format!("{}-{}", "ﷺ".repeat(7), "x".repeat(300));
        let index = indexed([id.as_str()]);
        let query = Query::parse(&id).expect("words");
        for term in query.terms() {
            assert!(index.split(' ').any(|word| word == term.word), "{} in {index}", term.word);
            assert!(term.word.len() < 2000, "PostgreSQL's lexemes end there");
        }
    }
}

//! What changed between two states, for people: `es diff`, an audit, a test's failure.

use serde::Serialize;
use serde_json::Value;

/// One field that is not the same in two states.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where: a JSON Pointer (RFC 6901), `/price/amount`; empty for the whole.
    pub path: String,
    /// `None` where the field was not there.
    pub before: Option<Value>,
    /// `None` where the field is no longer there.
    pub after: Option<Value>,
}

/// The fields of `after` that are not as in `before`, by path. Objects are compared field by field; anything else,
/// lists too, as one value.
///
/// # Errors
/// A state cannot be said in JSON (a map whose keys are no text).
pub fn diff<S: Serialize>(before: &S, after: &S) -> Result<Vec<Change>, serde_json::Error> {
    let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
    let mut changes = Vec::new();
    compare(&mut String::new(), Some(&before), Some(&after), &mut changes);
    Ok(changes)
}

fn compare(path: &mut String, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (before, after) {
        let mut names: Vec<&String> = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))).collect();
        names.sort();
        for name in names {
            let length = path.len();
            path.push('/');
            path.push_str(&name.replace('~', "~0").replace('/', "~1"));
            compare(path, old.get(name), new.get(name), changes);
            path.truncate(length);
        }
    } else if before != after {
        changes.push(Change { path: path.clone(), before: before.cloned(), after: after.cloned() });
    }
}

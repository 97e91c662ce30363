//! A state is its events, one after the other.

use super::RecordedEvent;

/// A state, and the version of the last event in it: 0 is the state before any event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folded<S> {
    pub version: u64,
    pub state: S,
}

/// How far to fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To the stream's end.
    End,
    /// Through this version. A stream that ends before it is [`FoldError::NotYet`].
    Version(u64),
    /// Up to the first event that was recorded after this time, in milliseconds since the Unix epoch. Always a state
    /// that the stream was in: where the store's clock went back, later versions with an earlier time are left out.
    Time(i64),
}

/// The events are not the continuation of the state. Nothing is skipped: a state with a hole in it is wrong in a way
/// that nobody sees.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError<E> {
    /// An event is missing, came twice, or came out of order. Read the stream again, from version `expected` on.
    #[error("stream {stream}: expected version {expected}, got {found}; an event is missing or repeated")]
    NotNext { stream: String, expected: u64, found: u64 },
    /// Events of two streams were mixed: the query is wrong.
    #[error("stream {stream}: got an event of stream {found}")]
    OtherStream { stream: String, found: String },
    /// The event cannot be read: an unknown type or a damaged value. A newer program may know it.
    #[error("stream {stream}, version {version}, position {position}: {cause}")]
    Unreadable { stream: String, version: u64, position: u64, cause: E },
    /// The stream has not come to the version that was asked for.
    #[error("asked for version {asked}, but the stream ends with version {last}")]
    NotYet { asked: u64, last: u64 },
    /// The state to start from (a snapshot) is beyond the version that was asked for: start from an earlier one.
    #[error("asked for version {asked}, but the start is at version {start}")]
    StartTooLate { asked: u64, start: u64 },
}

/// Goes on from `start` (the default state, or a snapshot's) through `events`, which are the rest of the stream in order.
/// `decode` reads an event, upcasting old shapes; `evolve` is the aggregate's.
///
/// # Errors
/// [`FoldError`]: the events do not fit, one is unreadable, or the version asked for is not there.
pub fn fold<'a, S, Event, E>(
    start: Folded<S>,
    events: impl IntoIterator<Item = &'a RecordedEvent>,
    until: Until,
    decode: impl Fn(&RecordedEvent) -> Result<Event, E>,
    evolve: impl Fn(S, &Event) -> S,
) -> Result<Folded<S>, FoldError<E>> {
    let Folded { mut version, mut state } = start;
    if let Until::Version(asked) = until
        && asked < version
    {
        return Err(FoldError::StartTooLate { asked, start: version });
    }
    let mut stream: Option<&str> = None;
    for event in events {
        let over = match until {
            Until::End => false,
            Until::Version(last) => version == last,
            Until::Time(last) => event.recorded_at_ms > last,
        };
        if over {
            break;
        }
        let stream = *stream.get_or_insert(&event.stream);
        check_next(stream, version, event)?;
        let decoded = decode(event).map_err(|cause| unreadable(event, cause))?;
        state = evolve(state, &decoded);
        version = event.version;
    }
    match until {
        Until::Version(asked) if version < asked => Err(FoldError::NotYet { asked, last: version }),
        _ => Ok(Folded { version, state }),
    }
}

/// An event that cannot be read, by where it is.
pub fn unreadable<E>(event: &RecordedEvent, cause: E) -> FoldError<E> {
    let RecordedEvent { stream, version, position, .. } = event;
    FoldError::Unreadable { stream: stream.clone(), version: *version, position: *position, cause }
}

fn check_next<E>(stream: &str, version: u64, event: &RecordedEvent) -> Result<(), FoldError<E>> {
    if event.stream != stream {
        return Err(FoldError::OtherStream { stream: stream.to_owned(), found: event.stream.clone() });
    }
    // A version at the end of u64 cannot be followed: whatever comes is not next.
    let expected = version.saturating_add(1);
    if event.version != expected || version == u64::MAX {
        return Err(FoldError::NotNext { stream: stream.to_owned(), expected, found: event.version });
    }
    Ok(())
}

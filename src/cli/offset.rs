//! `-o/--offset`: where to read from, and up to where.
//!
//! ```text
//! FROM          read from there and follow         5   +5   -5   start   end   stored   @2026-01-31
//! FROM:TO       up to, not including, TO           5:9   :end   start:-5   @-48h:-24h   @2026-01-31:6h
//! s@TIME e@TIME kcat's two options for a range     -o s@1700000000000 -o e@1700003600000
//! ```
//!
//! Words and forms are those of kcat and rpk together. What neither understands is refused here, before any
//! connection; kcat reads `-o bogus` as 0.
//!
//! The option needs `allow_hyphen_values = true` in clap: `-5` is a value, not a flag.

use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use crate::app::{Offset, OffsetRange};

/// Every form, as errors and `--help` list them.
pub const FORMS: &str = "  \
  start, end       the first record, or behind the last (also beginning, earliest, oldest, latest, newest)
  N, +N, -N        the offset N; N after the start; N before the end
  N:M, :end        up to, not including, the second place; either side may be left out
  @TIME, @T1:T2    by time: 1700000000000 (ms), 1700000000 (s), 2026-01-31, 2026-01-31T08:30:00Z,
                   -1h (an hour ago; ms s m h d w), @2026-01-31:6h (six hours of that day)
  s@TIME, e@TIME   start and end by time, as in kcat
  stored           where the group has committed";

/// Those that are one place, and no range.
pub const PLACES: &str = "  \
  start, end       the first record, or behind the last (also beginning, earliest, oldest, latest, newest)
  N, +N, -N        the offset N; N after the start; N before the end
  @TIME            by time: 1700000000000 (ms), 1700000000 (s), 2026-01-31, 2026-01-31T08:30:00Z,
                   -1h (an hour ago; ms s m h d w)
  1h, -1h          the same as @-1h";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    #[error("`{text}` is not an offset; one of:\n{FORMS}")]
    NotAnOffset { text: String },
    #[error("`{text}`: cannot read `{part}`; an offset is one of:\n{FORMS}")]
    BadPart { text: String, part: String },
    #[error("`{text}`: `{part}` is larger than an offset or a time can be")]
    TooLarge { text: String, part: String },
    #[error("`{text}` ends before it starts; write the earlier place first")]
    Backwards { text: String },
    #[error("`{text}` starts in the future; `@-{part}` is `{part}` ago")]
    FutureStart { text: String, part: String },
    #[error("`{text}`: `stored` is a place to start from; it cannot be an end")]
    StoredAsEnd { text: String },
    #[error("the {what} of the range is given twice: `{text}`")]
    Twice { what: &'static str, text: String },
    #[error("`{text}` is not one place; one of:\n{PLACES}")]
    NotOnePlace { text: String },
}

/// Reads one `-o` value. `now_ms` is what durations count from.
#[cfg(test)]
fn parse(text: &str, now_ms: i64) -> Result<OffsetRange, OffsetError> {
    let ends = parse_ends(text, now_ms)?;
    ordered(text, ends.from.unwrap_or(Offset::Start), ends.to)
}

/// Reads all `-o` values of a command line: one of any form, or kcat's pair `-o s@... -o e@...`.
/// None at all is the whole partition, followed for ever.
pub fn parse_all(texts: &[String], now_ms: i64) -> Result<OffsetRange, OffsetError> {
    let mut all = Ends::default();
    for text in texts {
        let ends = parse_ends(text, now_ms)?;
        for (what, mine, theirs) in [("start", &mut all.from, ends.from), ("end", &mut all.to, ends.to)] {
            if mine.is_some() && theirs.is_some() {
                return Err(OffsetError::Twice { what, text: text.clone() });
            }
            *mine = mine.or(theirs);
        }
    }
    ordered(&texts.join(" "), all.from.unwrap_or(Offset::Start), all.to)
}

/// Reads one place: where a group is to go on. A duration alone is meant backwards from now.
pub fn parse_place(text: &str, now_ms: i64) -> Result<Offset, OffsetError> {
    if let Ok(duration) = read_duration(text) {
        let ms = now_ms.saturating_sub(duration.saturating_abs()).max(0);
        return Ok(Offset::Timestamp(ms));
    }
    let not_one_place = || OffsetError::NotOnePlace { text: text.to_owned() };
    match parse_ends(text, now_ms) {
        // `5:` and `@-1h:` are ranges, if open ones
        Ok(Ends { from: Some(from), to: None }) if from != Offset::Stored && !text.ends_with(':') => Ok(from),
        Ok(_) | Err(OffsetError::NotAnOffset { .. } | OffsetError::BadPart { .. }) => Err(not_one_place()),
        Err(error) => Err(error),
    }
}

/// What one value says; a side that it leaves out may come from another `-o`.
#[derive(Default)]
struct Ends {
    from: Option<Offset>,
    to: Option<Offset>,
}

fn parse_ends(text: &str, now_ms: i64) -> Result<Ends, OffsetError> {
    let reader = Reader { text, now_ms };
    if let Some(time) = text.strip_prefix("s@") {
        return Ok(Ends { from: Some(reader.start_time(time)?.0), to: None });
    }
    if let Some(time) = text.strip_prefix("e@") {
        return Ok(Ends { from: None, to: Some(Offset::Timestamp(reader.time(time, now_ms)?.ms)) });
    }
    if let Some(times) = text.strip_prefix('@') {
        return reader.times(times);
    }
    match text.split_once(':') {
        None => Ok(Ends { from: Some(reader.place(text)?), to: None }),
        Some((from, to)) => Ok(Ends {
            from: if from.is_empty() { None } else { Some(reader.place(from)?) },
            to: match (to, to.strip_prefix('@')) {
                ("", _) if from.is_empty() => return Err(reader.not_an_offset()),
                ("", _) => None,
                (_, Some(time)) => Some(Offset::Timestamp(reader.time(time, now_ms)?.ms)),
                _ => Some(reader.end_place(to)?),
            },
        }),
    }
}

/// One value being read, kept for its errors.
struct Reader<'a> {
    text: &'a str,
    now_ms: i64,
}

#[derive(Clone, Copy)]
struct Time {
    ms: i64,
    /// Counted from another time, not a date of its own.
    is_duration: bool,
}

enum TimeError {
    Unreadable,
    TooLarge,
}

impl Reader<'_> {
    /// A place without `@`: a word or a number.
    fn place(&self, part: &str) -> Result<Offset, OffsetError> {
        let number = |digits: &str| {
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(self.bad_part(part));
            }
            digits.parse().map_err(|_| OffsetError::TooLarge { text: self.text.to_owned(), part: part.to_owned() })
        };
        Ok(match part {
            "start" | "beginning" | "earliest" | "oldest" => Offset::Start,
            "end" | "latest" | "newest" => Offset::End,
            "stored" => Offset::Stored,
            _ => match part.as_bytes().first() {
                Some(b'+') => Offset::AfterStart(number(&part[1..])?),
                Some(b'-') => Offset::BeforeEnd(number(&part[1..])?),
                _ => Offset::At(number(part)?),
            },
        })
    }

    fn end_place(&self, part: &str) -> Result<Offset, OffsetError> {
        match self.place(part)? {
            Offset::Stored => Err(OffsetError::StoredAsEnd { text: self.text.to_owned() }),
            place => Ok(place),
        }
    }

    /// What follows an `@`: one time or two. RFC 3339 has colons of its own, so each colon is tried as the divider;
    /// a half that ends within a time cannot be read, which leaves one way at most.
    fn times(&self, times: &str) -> Result<Ends, OffsetError> {
        let mut error = match self.start_time(times) {
            Ok((from, _)) => return Ok(Ends { from: Some(from), to: None }),
            Err(error) => error,
        };
        for (colon, _) in times.match_indices(':') {
            let (left, right) = (&times[..colon], &times[colon + 1..]);
            let (from, base) = match left {
                "" => (None, self.now_ms),
                _ => match self.start_time(left) {
                    Ok((from, base)) => (Some(from), base),
                    Err(OffsetError::BadPart { .. }) => continue,
                    Err(other) => return Err(other),
                },
            };
            match self.end_time(right, base) {
                Ok(None) if left.is_empty() => {}
                Ok(to) => return Ok(Ends { from, to }),
                Err(found) => error = found,
            }
        }
        Err(error)
    }

    /// A time to start from, and the time that a duration behind the colon counts from.
    fn start_time(&self, part: &str) -> Result<(Offset, i64), OffsetError> {
        let time = self.time(part, self.now_ms)?;
        if time.is_duration && !part.starts_with('-') {
            return Err(OffsetError::FutureStart { text: self.text.to_owned(), part: part.to_owned() });
        }
        Ok((Offset::Timestamp(time.ms), if time.is_duration { self.now_ms } else { time.ms }))
    }

    /// The half behind the colon; empty is no end.
    fn end_time(&self, part: &str, base: i64) -> Result<Option<Offset>, OffsetError> {
        Ok(match part {
            "" => None,
            "end" | "latest" | "newest" => Some(Offset::End),
            _ => Some(Offset::Timestamp(self.time(part.strip_prefix('@').unwrap_or(part), base)?.ms)),
        })
    }

    fn time(&self, part: &str, base: i64) -> Result<Time, OffsetError> {
        read_time(part, base).map_err(|error| match error {
            TimeError::Unreadable => self.bad_part(part),
            TimeError::TooLarge => OffsetError::TooLarge { text: self.text.to_owned(), part: part.to_owned() },
        })
    }

    fn bad_part(&self, part: &str) -> OffsetError {
        if part == self.text || part.is_empty() {
            return self.not_an_offset();
        }
        OffsetError::BadPart { text: self.text.to_owned(), part: part.to_owned() }
    }

    fn not_an_offset(&self) -> OffsetError {
        OffsetError::NotAnOffset { text: self.text.to_owned() }
    }
}

fn read_time(part: &str, base: i64) -> Result<Time, TimeError> {
    let at = |ms: i64| Time { ms: ms.max(0), is_duration: false };
    if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
        let number = part.parse::<i64>().map_err(|_| TimeError::TooLarge)?;
        return match part.len() {
            13 => Ok(at(number)),
            9 | 10 => Ok(at(number * 1000)),
            _ => Err(TimeError::Unreadable),
        };
    }
    if let Ok(date) = Date::parse(part, time::macros::format_description!("[year]-[month]-[day]")) {
        return Ok(at(date.midnight().assume_utc().unix_timestamp().saturating_mul(1000)));
    }
    if let Ok(time) = OffsetDateTime::parse(part, &Rfc3339) {
        return Ok(at((time.unix_timestamp_nanos().div_euclid(1_000_000)) as i64));
    }
    let delta = read_duration(part)?;
    // Before 1970 a timestamp would be negative, which the protocol takes for "earliest" or "latest".
    let ms = base.checked_add(delta).ok_or(TimeError::TooLarge)?.max(0);
    Ok(Time { ms, is_duration: true })
}

/// `90s`, `1h30m`, `-2d`, in milliseconds.
fn read_duration(part: &str) -> Result<i64, TimeError> {
    let (negative, mut rest) = match part.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, part),
    };
    if rest.is_empty() {
        return Err(TimeError::Unreadable);
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(TimeError::Unreadable),
        };
        if number.is_empty() {
            return Err(TimeError::Unreadable);
        }
        let number: i64 = number.parse().map_err(|_| TimeError::TooLarge)?;
        total = number.checked_mul(unit).and_then(|ms| total.checked_add(ms)).ok_or(TimeError::TooLarge)?;
        rest = &rest[digits + letters..];
    }
    Ok(if negative { -total } else { total })
}

/// Refuses a range whose end lies before its start wherever that shows without asking a broker.
fn ordered(text: &str, from: Offset, to: Option<Offset>) -> Result<OffsetRange, OffsetError> {
    let backwards = match (from, to) {
        (Offset::At(from), Some(Offset::At(to)))
        | (Offset::AfterStart(from), Some(Offset::AfterStart(to)))
        | (Offset::Timestamp(from), Some(Offset::Timestamp(to))) => to < from,
        (Offset::BeforeEnd(from), Some(Offset::BeforeEnd(to))) => to > from,
        (Offset::End, Some(Offset::BeforeEnd(to))) => to > 0,
        (from, Some(Offset::Start)) => from != Offset::Start,
        _ => false,
    };
    if backwards { Err(OffsetError::Backwards { text: text.to_owned() }) } else { Ok(OffsetRange { from, to }) }
}

#[cfg(test)]
mod tests;

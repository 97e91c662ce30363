//! `%d{strftime[...]}`: the common part of strftime, always in UTC.

use std::io::Write as _;

use time::OffsetDateTime;

use super::push_int;

/// The letters, as errors list them.
const LETTERS: &str =
    "%Y %m %d %e %H %I %M %S %p %L (ms) %f (us) %s (s) %j %y %C %a %A %b %B %F %T %R %D %G %V %u %w %Z %z %%";

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Literal(Vec<u8>),
    Letter(u8),
}

/// The error has the place of the mistake, in bytes.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, (usize, String)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(percent) = rest.find('%') {
        let at = text.len() - rest.len() + percent;
        if percent > 0 {
            parts.push(literal(&rest[..percent]));
        }
        rest = &rest[percent + 1..];
        let letter = rest.chars().next();
        match letter {
            Some('F') => parts.extend(parse("%Y-%m-%d")?),
            Some('T') => parts.extend(parse("%H:%M:%S")?),
            Some('R') => parts.extend(parse("%H:%M")?),
            Some('D') => parts.extend(parse("%m/%d/%y")?),
            Some('Z') => parts.push(literal("UTC")),
            Some('z') => parts.push(literal("+0000")),
            Some('n') => parts.push(literal("\n")),
            Some('t') => parts.push(literal("\t")),
            Some('%') => parts.push(literal("%")),
            Some('h') => parts.push(Part::Letter(b'b')),
            Some(c) if "YmdeHIMSpLfsjyCaAbBGVuw".contains(c) => parts.push(Part::Letter(c as u8)),
            Some(c) => return Err((at, format!("strftime has no `%{c}` here; known are {LETTERS}"))),
            None => return Err((at, "`%` at the end; `%%` prints a percent sign".to_owned())),
        }
        rest = &rest[letter.map_or(0, char::len_utf8)..];
    }
    if !rest.is_empty() {
        parts.push(literal(rest));
    }
    Ok(parts)
}

fn literal(text: &str) -> Part {
    Part::Literal(text.as_bytes().to_vec())
}

/// A timestamp that is none (-1), or that lies beyond the calendar, is printed as the number it is.
pub(super) fn push(out: &mut Vec<u8>, parts: &[Part], timestamp: i64) {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(timestamp) * 1_000_000);
    let (Ok(time), false) = (time, timestamp == -1) else { return push_int(out, timestamp) };
    for part in parts {
        match part {
            Part::Literal(bytes) => out.extend_from_slice(bytes),
            Part::Letter(letter) => push_letter(out, *letter, time),
        }
    }
}

fn push_letter(out: &mut Vec<u8>, letter: u8, time: OffsetDateTime) {
    let hour_12 = (time.hour() + 11) % 12 + 1;
    let written = match letter {
        b'Y' => write!(out, "{:04}", time.year()),
        b'C' => write!(out, "{:02}", time.year().div_euclid(100)),
        b'y' => write!(out, "{:02}", time.year().rem_euclid(100)),
        b'm' => write!(out, "{:02}", u8::from(time.month())),
        b'd' => write!(out, "{:02}", time.day()),
        b'e' => write!(out, "{:2}", time.day()),
        b'j' => write!(out, "{:03}", time.ordinal()),
        b'H' => write!(out, "{:02}", time.hour()),
        b'I' => write!(out, "{hour_12:02}"),
        b'M' => write!(out, "{:02}", time.minute()),
        b'S' => write!(out, "{:02}", time.second()),
        b'p' => write!(out, "{}", if time.hour() < 12 { "AM" } else { "PM" }),
        b'L' => write!(out, "{:03}", time.millisecond()),
        b'f' => write!(out, "{:06}", time.microsecond()),
        b's' => write!(out, "{}", time.unix_timestamp()),
        b'a' => write!(out, "{:.3}", time.weekday()),
        b'A' => write!(out, "{}", time.weekday()),
        b'b' => write!(out, "{:.3}", time.month()),
        b'B' => write!(out, "{}", time.month()),
        b'G' => write!(out, "{:04}", time.to_iso_week_date().0),
        b'V' => write!(out, "{:02}", time.iso_week()),
        b'u' => write!(out, "{}", time.weekday().number_from_monday()),
        b'w' => write!(out, "{}", time.weekday().number_days_from_sunday()),
        _ => Ok(()),
    };
    // Writing into a Vec cannot fail.
    debug_assert!(written.is_ok());
}

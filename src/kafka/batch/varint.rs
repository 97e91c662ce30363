//! Zigzag varints, as in Protocol Buffers.

use super::BatchError;

pub(super) fn len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Writes `value` at `at` and gives the place behind it. The caller's array has ten bytes of room.
#[inline(always)]
pub(super) fn put(out: &mut [u8], mut at: usize, value: i64) -> usize {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out[at] = rest as u8 | 0x80;
        at += 1;
        rest >>= 7;
    }
    out[at] = rest as u8;
    at + 1
}

/// Reads a varint from the front of `bytes`.
#[inline(always)]
pub(super) fn take(bytes: &mut &[u8]) -> Result<i64, BatchError> {
    // Nearly all lengths and deltas have one byte or two.
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Ok(i64::from(first >> 1) ^ -i64::from(first & 1))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            let value = u32::from(first & 0x7f) | u32::from(second) << 7;
            Ok(i64::from(value >> 1) ^ -i64::from(value & 1))
        }
        _ => take_long(bytes),
    }
}

#[cold]
fn take_long(bytes: &mut &[u8]) -> Result<i64, BatchError> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        // the tenth byte has room for one bit
        if index == 9 && byte > 1 {
            return Err(BatchError::Varint);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(if bytes.len() < 10 { BatchError::Truncated } else { BatchError::Varint })
}

/// A length and that many bytes; a length of -1 is null.
#[inline(always)]
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BatchError> {
    let length = take(bytes)?;
    if length < 0 {
        return if length == -1 { Ok(None) } else { Err(BatchError::Negative) };
    }
    let (taken, rest) =
        usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length)).ok_or(BatchError::Truncated)?;
    *bytes = rest;
    Ok(Some(taken))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(value: i64) {
            let mut out = [0; 10];
            let end = put(&mut out, 0, value);
            prop_assert_eq!(end, len(value));
            let mut rest = &out[..end];
            prop_assert_eq!(take(&mut rest), Ok(value));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = take(&mut &bytes[..]);
            let _ = take_bytes(&mut &bytes[..]);
        }
    }

    #[test]
    fn cut_and_endless_varints_are_told_apart() {
        assert_eq!(take(&mut &[0x80u8, 0x80][..]), Err(BatchError::Truncated));
        assert_eq!(take(&mut &[0xffu8; 11][..]), Err(BatchError::Varint));
    }
}

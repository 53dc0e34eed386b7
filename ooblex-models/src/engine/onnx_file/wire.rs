//! Fields of protocol buffers.

/// What a field holds.
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes, the lowest first.
    Fixed(&'a [u8]),
}

/// The next field: its number and what it holds.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = number(rest)?;
    let value = match key & 7 {
        0 => Value::Number(number(rest)?),
        1 => Value::Fixed(split(rest, 8)?),
        2 => {
            let length = number(rest)?;
            Value::Bytes(split(rest, usize::try_from(length).ok()?)?)
        }
        5 => Value::Fixed(split(rest, 4)?),
        _ => return None,
    };
    Some((key >> 3, value))
}

/// All fields of a message, up to where it stops making sense.
pub(super) fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || if message.is_empty() { None } else { next(&mut message) })
}

fn split<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (value, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(value)
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
pub(super) fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

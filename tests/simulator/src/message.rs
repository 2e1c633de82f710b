//! Values of records: a message's number, which can be read back, and bytes that follow from it.

use std::fmt::Write;

/// A value of at least `len` bytes that names the message.
pub fn value_of(message: u64, len: usize) -> Vec<u8> {
    let mut value = String::new();
    write!(value, "message {message} ").expect("a text takes everything");
    let mut bytes = value.into_bytes();
    // The filler differs from message to message, so that bytes of another one in its place are noticed.
    let mut state = message.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < len {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(message);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// The message that a value names; `None` when it is not exactly what [`value_of`] makes.
pub fn message_of(value: &[u8]) -> Option<u64> {
    let rest = value.strip_prefix(b"message ")?;
    let end = rest.iter().position(|byte| *byte == b' ')?;
    let message = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
    (value_of(message, value.len()) == value).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_message_and_no_other() {
        for (message, len) in [(0, 0), (7, 100), (u64::MAX, 5000), (12, 33)] {
            let value = value_of(message, len);
            assert!(value.len() >= len);
            assert_eq!(message_of(&value), Some(message));
            for position in 0..value.len() {
                let mut changed = value.clone();
                changed[position] ^= 1;
                assert_ne!(message_of(&changed), Some(message), "{position}");
            }
        }
        assert_eq!(message_of(b""), None);
        assert_eq!(message_of(b"message 1"), None);
    }
}

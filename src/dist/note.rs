//! Notes between processes: where they are, asked for and told.

use super::link::Whereabouts;

/// Bytes of a note.
pub(super) const NOTE_LEN: usize = 128;

/// A note: the question where somebody is, or the answer. The first byte tells which, then come two numbers and what
/// there is room for of the text, which zeros end.
pub(super) fn write(answer: Option<&Whereabouts>) -> [u8; NOTE_LEN] {
    let mut bytes = [0; NOTE_LEN];
    if let Some(Whereabouts { begun, oldest, what }) = answer {
        bytes[0] = 1;
        bytes[1..9].copy_from_slice(&begun.to_le_bytes());
        bytes[9..17].copy_from_slice(&oldest.to_le_bytes());
        bytes[17..].iter_mut().zip(what.bytes()).for_each(|(byte, letter)| *byte = letter);
    }
    bytes
}

/// What a note says; nothing for the question.
pub(super) fn read(bytes: &[u8; NOTE_LEN]) -> Option<Whereabouts> {
    let [1, rest @ ..] = bytes else { return None };
    let (begun, rest) = rest.split_first_chunk()?;
    let (oldest, text) = rest.split_first_chunk()?;
    let text = text.split(|byte| *byte == 0).next()?;
    let what = String::from_utf8_lossy(text).into_owned();
    Some(Whereabouts { begun: u64::from_le_bytes(*begun), oldest: u64::from_le_bytes(*oldest), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let there = Whereabouts { begun: 1 << 40, oldest: 7, what: "a sum of 5 values".into() };
        assert_eq!(read(&write(Some(&there))), Some(there.clone()));
        assert_eq!(read(&write(None)), None);
        let long = Whereabouts { what: "x".repeat(500), ..there };
        assert_eq!(read(&write(Some(&long))).unwrap().what.len(), NOTE_LEN - 17);
    }
}

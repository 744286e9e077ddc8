//! Text from outside, such as names of files, made fit for a terminal and for one line of a log.

use std::borrow::Cow;
use std::path::Path;

/// Most characters of a name in a message.
const MOST_SHOWN: usize = 100;

/// The text with control characters and those that turn the direction of writing spelled out (`\n`, `\u{1b}`), so that
/// it stays on its line and commands no terminal.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unfit) {
        return Cow::Borrowed(text);
    }
    let mut fit = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match is_unfit(c) {
            true => fit.extend(c.escape_default()),
            false => fit.push(c),
        }
    }
    Cow::Owned(fit)
}

/// [`shown`] for a name from a file in a message: no more than its first hundred characters.
pub fn cut(name: &str) -> String {
    match name.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", shown(&name[..end])),
        None => shown(name).into_owned(),
    }
}

/// A path as [`shown`] text; what is no Unicode in it becomes U+FFFD.
pub fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy()).into_owned()
}

/// [`shown`] for a message of several lines, which keeps its line breaks.
pub fn shown_lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(shown).collect();
    lines.join("\n")
}

/// The text as a field of a line of CSV: in quotes where it has to be.
pub fn csv_field(text: &str) -> Cow<'_, str> {
    match text.contains(['"', ',', '\n', '\r']) {
        true => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
        false => Cow::Borrowed(text),
    }
}

/// Whether a character does something other than to stand in its place: controls (C0, DEL, C1), line and paragraph
/// separators, marks, embeddings, overrides and isolates of direction, invisible tags.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The candidate closest in spelling to `name`, if one is close enough to be meant.
pub fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let score = |c: &str| strsim::damerau_levenshtein(&name.to_lowercase(), c);
    candidates.iter().copied().min_by_key(|c| score(c)).filter(|c| score(c) <= 1 + c.len() / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_spelled_out_and_nothing_else() {
        assert_eq!(shown("two\nlines\r\u{1b}[31m\t\u{7f}\u{9b}31m"), r"two\nlines\r\u{1b}[31m\t\u{7f}\u{9b}31m");
        assert_eq!(shown("photo\u{202e}gnp.exe\u{2066}\u{200f}"), r"photo\u{202e}gnp.exe\u{2066}\u{200f}");
        let plain = r"Grüße/写真 #1 a\b %20 e\u0301 👍.png";
        assert!(matches!(shown(plain), Cow::Borrowed(text) if text == plain));
        assert_eq!(cut(&"ü\n".repeat(60)), format!("{}…", r"ü\n".repeat(50)));
        assert_eq!(cut(&"ü".repeat(100)), "ü".repeat(100));
        assert_eq!(shown_lines("key = \u{1b}\n    ^"), "key = \\u{1b}\n    ^");
    }
}

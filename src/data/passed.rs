//! What is no image of a collection, though it lies in its place.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::text::shown;

/// How many names a line has at most.
const NAMED: usize = 5;

/// Different endings that are counted apart.
#[cfg(not(target_arch = "wasm32"))]
const ENDINGS: usize = 100;

/// What was passed over when a collection was listed, and what else a person should know of the listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// Files that are no images to go by their names, by ending in lower case with its dot; `none` without one.
    pub endings: BTreeMap<String, usize>,
    /// Hidden files and folders, a folder counted as one: names that start with a dot, and what macOS and storage
    /// servers put beside files.
    pub hidden: usize,
    /// Masks and labels stored as images under the key of a photo, such as `KEY.seg.png` beside `KEY.jpg`.
    pub masks: usize,
    /// Pipes, sockets and devices.
    pub special: usize,
    /// Links that lead nowhere or back to a folder above them.
    pub links: Vec<String>,
    /// Folders in which runs write.
    pub run_folders: Vec<String>,
    /// Folders and entries that cannot be read, each with the reason.
    pub unreadable: Vec<String>,
    /// Further remarks.
    pub notes: Vec<String>,
}

impl PassedOver {
    /// Counts a file by the ending of its name.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn count_ending(&mut self, name: &[u8]) {
        let ending = match super::endings::ending(name) {
            None => "none".to_owned(),
            Some(ending) => {
                let plain = ending.len() <= 12 && ending.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_');
                let text = std::str::from_utf8(ending).ok().filter(|_| plain && !ending.is_empty());
                text.map_or_else(|| "others".into(), |text| format!(".{}", text.to_ascii_lowercase()))
            }
        };
        let full = self.endings.len() >= ENDINGS && !self.endings.contains_key(&ending);
        *self.endings.entry(if full { "others".into() } else { ending }).or_default() += 1;
    }

    /// Takes back that files were counted which are then looked into.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn without_shards(&mut self, shards: &[std::path::PathBuf]) {
        for ending in shards.iter().filter_map(|path| path.extension()) {
            let ending = format!(".{}", ending.to_string_lossy().to_ascii_lowercase());
            if let Some(count) = self.endings.get_mut(&ending) {
                *count = count.saturating_sub(1);
            }
        }
        self.endings.retain(|_, count| *count > 0);
    }

    /// Adds what was passed over in another part of the collection.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn add(&mut self, other: PassedOver) {
        for (ending, count) in other.endings {
            *self.endings.entry(ending).or_default() += count;
        }
        self.hidden += other.hidden;
        self.masks += other.masks;
        self.special += other.special;
        self.links.extend(other.links);
        self.run_folders.extend(other.run_folders);
        self.unreadable.extend(other.unreadable);
        self.notes.extend(other.notes);
    }

    /// All of it in words, a line each, fit for a terminal.
    pub fn lines(&self) -> Vec<String> {
        let counts = [
            (self.hidden, "hidden"),
            (self.masks, "masks and labels beside photos"),
            (self.special, "neither files nor folders"),
        ];
        let mut parts: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{what} {n}")).collect();
        if !self.endings.is_empty() {
            let mut endings: Vec<(&String, &usize)> = self.endings.iter().collect();
            endings.sort_by_key(|&(name, count)| (usize::MAX - count, name));
            let more = if endings.len() > 2 * NAMED { ", …" } else { "" };
            let endings: Vec<String> = endings.iter().take(2 * NAMED).map(|(name, n)| format!("{name} {n}")).collect();
            parts.insert(0, format!("endings {}{more}", endings.join(", ")));
        }
        let mut lines = Vec::new();
        if !parts.is_empty() {
            let count = self.endings.values().sum::<usize>() + self.hidden + self.masks + self.special;
            lines.push(format!(
                "{count} {} passed over: {}",
                if count == 1 { "file" } else { "files" },
                parts.join("; ")
            ));
        }
        let lists = [
            (&self.run_folders, "left out, since runs write there"),
            (&self.links, "links not followed"),
            (&self.unreadable, "left out, since they cannot be read"),
        ];
        for (list, what) in lists.iter().filter(|(list, _)| !list.is_empty()) {
            let more = if list.len() > NAMED { format!(" and {} more", list.len() - NAMED) } else { String::new() };
            let named: Vec<_> = list.iter().take(NAMED).map(|name| shown(name)).collect();
            lines.push(format!("{what}: {}{more}", named.join(", ")));
        }
        lines.extend(self.notes.iter().map(|note| shown(note).into_owned()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_what_is_most_first() {
        let mut passed = PassedOver { hidden: 2, masks: 1, ..PassedOver::default() };
        for name in ["a.TXT", "b.txt", "c.heic", "README", "x.a b", "y.longer_than_twelve"] {
            passed.count_ending(name.as_bytes());
        }
        passed.links = (0..7).map(|n| format!("l\n{n}")).collect();
        let expected = [
            "9 files passed over: endings .txt 2, others 2, .heic 1, none 1; hidden 2; masks and labels beside photos \
             1",
            r"links not followed: l\n0, l\n1, l\n2, l\n3, l\n4 and 2 more",
        ];
        assert_eq!(passed.lines(), expected);
        (0..300).for_each(|n| passed.count_ending(format!("a.e{n}").as_bytes()));
        assert!(passed.endings.len() <= ENDINGS + 1 && passed.endings.values().sum::<usize>() == 306);
        assert!(PassedOver::default().lines().is_empty());
    }
}

//! Names of images: many of them in two allocations, their order, and which are hidden.

use std::path::is_separator;

/// Names that are no files of a person's: what macOS packs beside files, thumbnails of storage servers, Windows' bin.
const SYSTEM: [&[u8]; 4] = [b"__MACOSX", b"@eaDir", b"$RECYCLE.BIN", b"#recycle"];

/// Texts kept one after the other: of a million paths, their bytes and eight bytes each.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

#[cfg(not(target_arch = "wasm32"))]
impl Names {
    pub(super) fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a name.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// Some of the names, given by their numbers, in that order.
    pub(super) fn reordered(&self, order: &[u32]) -> Names {
        let mut names =
            Names { bytes: Vec::with_capacity(self.bytes.len()), ends: Vec::with_capacity(self.ends.len()) };
        order.iter().for_each(|&index| names.push(self.get(index as usize)));
        names
    }

    /// The numbers of the names in the order of paths, equal ones as they are.
    ///
    /// # Errors
    /// In words, for 2³² names or more.
    pub(super) fn order(&self) -> Result<Vec<u32>, String> {
        let count = u32::try_from(self.len()).map_err(|_| "it holds 2³² images or more")?;
        let mut order: Vec<u32> = (0..count).collect();
        let key = |index: &u32| path_key(self.get(*index as usize));
        order.sort_by(|a, b| key(a).cmp(key(b)));
        Ok(order)
    }
}

/// What paths are compared by: part by part, so that a separator comes before every other byte.
pub(super) fn path_key(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(|&byte| if is_separator(char::from(byte)) { 0 } else { byte })
}

/// Whether the name of a file or folder hides it.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    (name.starts_with(b".") && name != b"." && name != b"..") || SYSTEM.contains(&name)
}

/// Whether a path below its collection's place is hidden, itself or by a folder.
pub(super) fn in_hidden(path: &[u8]) -> bool {
    path.split(|&byte| is_separator(char::from(byte))).any(is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_part_hides_what_is_below_it() {
        for hidden in ["a/.thumbs/1.png", ".a.png", "__MACOSX/a/._1.png", "b/@eaDir/x.jpg"] {
            assert!(in_hidden(hidden.as_bytes()), "{hidden}");
        }
        for plain in ["a/b.c/1.png", "./a.png", "../a.png", "a__MACOSX/1.png", "a./1.png"] {
            assert!(!in_hidden(plain.as_bytes()), "{plain}");
        }
    }
}

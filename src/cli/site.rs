//! The files of the page: those of a folder, or those that a release build holds.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use crate::error::{Error, Result};

// `PAGE`: path and bytes of every file that was in web/dist when this was built as a release; otherwise empty.
include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What is served under `/`.
pub struct Site(Place);

enum Place {
    /// A folder by its real path.
    Folder(PathBuf),
    /// Files with their tags.
    Held(Vec<(&'static str, &'static [u8], String)>),
}

/// A file that a request named.
pub struct Found {
    /// Its bytes, as they stand now.
    pub content: Box<dyn Read + Send>,
    /// How many there are.
    pub length: u64,
    /// Another text for every other content, in quotes as `ETag` wants it.
    pub tag: String,
    /// Its media type.
    pub kind: &'static str,
}

impl Site {
    /// The files below `folder`, which must hold a page.
    pub fn folder(folder: &Path) -> Result<Site> {
        let page = folder.join("index.html");
        if !page.is_file() {
            let how = "build the page with `make web`, or name its folder with --folder";
            return Err(Error::Config(format!("there is no {}: {how}", page.display())));
        }
        Ok(Site(Place::Folder(folder.canonicalize().map_err(Error::io(folder))?)))
    }

    /// The page within this program; `None` where it was built without one.
    pub fn held() -> Option<Site> {
        let tagged = |&(path, bytes): &(&'static str, &'static [u8])| {
            (path, bytes, format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32]))
        };
        (!PAGE.is_empty()).then(|| Site(Place::Held(PAGE.iter().map(tagged).collect())))
    }

    /// The file at `path` (names with `/` between them, as [`path_of`] gives it). A folder's file must really lie inside
    /// the folder: a symbolic link out of it leads nowhere.
    pub fn find(&self, path: &str) -> Option<Found> {
        let kind = media_type(path);
        match &self.0 {
            Place::Held(files) => {
                let (_, bytes, tag) = files.iter().find(|(name, _, _)| *name == path)?;
                Some(Found { content: Box::new(*bytes), length: bytes.len() as u64, tag: tag.clone(), kind })
            }
            Place::Folder(root) => {
                let real = root.join(path).canonicalize().ok()?;
                // Anything but a file (a pipe, say) is not even opened.
                if !real.starts_with(root) || !real.is_file() {
                    return None;
                }
                let file = fs::File::open(real).ok()?;
                let meta = file.metadata().ok()?;
                let changed = meta.modified().ok()?.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
                let tag = format!("\"{changed:x}-{:x}\"", meta.len());
                Some(Found { content: Box::new(file), length: meta.len(), tag, kind })
            }
        }
    }
}

/// The file that a request's path means, decoded once: `/` is the page. `None` for what cannot be a file of a site:
/// empty names, names that start with a dot, `\`, `:` and control characters, encoded or not.
pub fn path_of(path: &str) -> Option<String> {
    let path = path.split(['?', '#']).next()?.strip_prefix('/')?;
    let decoded = String::from_utf8(decoded(path.as_bytes())?).ok()?;
    if decoded.contains(|c: char| c.is_control() || c == '\\' || c == ':') {
        return None;
    }
    let whole = if decoded.is_empty() || decoded.ends_with('/') { decoded + "index.html" } else { decoded };
    whole.split('/').all(|name| !name.is_empty() && !name.starts_with('.')).then_some(whole)
}

/// `%41` becomes `A`; `None` where two hexadecimal digits are missing.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        let mut digit = || (*rest.next()? as char).to_digit(16);
        bytes.push(if byte == b'%' { (digit()? * 16 + digit()?) as u8 } else { byte });
    }
    Some(bytes)
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "jpg" | "jpeg" => "image/jpeg",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "md" | "txt" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "webp" => "image/webp",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once_and_never_leads_upwards() {
        for (path, file) in [
            ("/", "index.html"),
            ("/?a=/../b#c", "index.html"),
            ("/pkg/boot%6dae.js", "pkg/bootmae.js"),
            ("/pkg/", "pkg/index.html"),
            ("/%252e%252e", "%2e%2e"),
            ("/%C3%A4.png", "ä.png"),
        ] {
            assert_eq!(path_of(path).as_deref(), Some(file), "{path}");
        }
        let refused =
            ["", "x", "/..", "/../a", "/a/../b", "/%2e%2e/a", "/..%2fa", "/a%2F..%2f..", "//a", "/a//b", "/.git"];
        let odd = [
            "/..\\a",
            "/%5c..%5ca",
            "/C:/a",
            "/a%00",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/%c0%ae%c0%ae/a",
            "/%2fetc/passwd",
        ];
        for path in refused.into_iter().chain(odd) {
            assert_eq!(path_of(path), None, "{path}");
        }
    }

    #[test]
    fn tags_change_with_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("index.html");
        fs::write(&page, "one").unwrap();
        let site = Site::folder(folder.path()).unwrap();
        let tag = || site.find("index.html").unwrap().tag;
        let first = tag();
        assert_eq!(first, tag());
        fs::write(&page, "four").unwrap();
        assert_ne!(first, tag());
    }

    #[test]
    fn held_files_are_found_by_their_path() {
        let site = Site(Place::Held(vec![("a/b.js", b"text", "\"1\"".into())]));
        let mut found = site.find("a/b.js").unwrap();
        let mut text = String::new();
        found.content.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), found.length, found.tag.as_str()), ("text", 4, "\"1\""));
        assert_eq!(found.kind, "text/javascript; charset=utf-8");
        assert!(site.find("b.js").is_none());
    }
}

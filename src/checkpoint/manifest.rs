//! `MANIFEST.json`: what a complete checkpoint consists of.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};

use super::files::{Files, MANIFEST_FILE, MAX_JSON, VERSION, unread_version};
use crate::error::Result;

/// The manifest's name inside a checkpoint.
pub(super) const FILE: &str = MANIFEST_FILE;

pub(super) const FORMAT: &str = "bootmae checkpoint";

/// Length and hash of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 hash in hexadecimal.
    pub blake3: String,
}

/// The files of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: String,
    /// Version of the checkpoint's form.
    pub version: u32,
    /// Steps completed.
    pub step: u64,
    files: BTreeMap<String, Entry>,
}

impl Manifest {
    pub fn new(step: u64, files: BTreeMap<String, Entry>) -> Manifest {
        Manifest { format: FORMAT.into(), version: VERSION, step, files }
    }

    /// Reads the manifest. Refuses another version, naming both.
    pub fn read(from: &impl Files) -> Result<Manifest> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u64,
        }
        let fail = |reason: String| from.fault(FILE, reason);
        let (file, _) = from.open(FILE).map_err(|e| fail(format!("{e}; without it the checkpoint is not complete")))?;
        let mut text = Vec::new();
        file.take(MAX_JSON + 1).read_to_end(&mut text).map_err(|e| fail(e.to_string()))?;
        if text.len() as u64 > MAX_JSON {
            return Err(fail(format!("longer than the {MAX_JSON} bytes that are read")));
        }
        let head: Head = serde_json::from_slice(&text).map_err(|e| fail(format!("malformed: {e}")))?;
        if head.format != FORMAT {
            return Err(fail("not the manifest of a bootmae checkpoint".into()));
        }
        if head.version != u64::from(VERSION) {
            return Err(fail(unread_version(head.version)));
        }
        serde_json::from_slice(&text).map_err(|e| fail(format!("malformed: {e}")))
    }

    /// What is listed for `name`.
    pub fn entry(&self, name: &str) -> Result<&Entry, String> {
        self.files.get(name).ok_or_else(|| format!("lists no {name}"))
    }

    /// Refuses a file that is not as it is listed.
    pub fn compare(&self, name: &str, held: &Entry) -> Result<(), String> {
        if self.entry(name)? == held { Ok(()) } else { Err("altered: its BLAKE3 hash is not the manifest's".into()) }
    }
}

/// Counts and hashes what passes through.
pub(super) struct Hashing<T> {
    inner: T,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl<T> Hashing<T> {
    pub fn new(inner: T) -> Hashing<T> {
        Hashing { inner, bytes: 0, hasher: blake3::Hasher::new() }
    }

    /// What has passed so far.
    pub fn entry(&self) -> Entry {
        Entry { bytes: self.bytes, blake3: self.hasher.finalize().to_hex().to_string() }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.pass(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.pass(&into[..read]);
        Ok(read)
    }
}

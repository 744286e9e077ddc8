//! What is done to the disk.

/// What is done to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Append,
    Lock,
    MakeFolder,
    Create,
    Write,
    SyncFile,
    SyncFolder,
    Rename,
    Remove,
}

//! Whether a resumed run has the images that it began with.

use super::snapshot::Snapshot;
use crate::{
    data::Source,
    error::{Error, Result},
    text::shown,
};

/// Compares the images of `source` with those that `snapshot` was made with. Where they are others, the order of images
/// would be another one from here on, and numbers of images left out would mean others: that is refused unless
/// `allowed`, and then images left out are taken again. Returns what a person should know.
///
/// # Errors
/// [`Error::Images`] with what is different and what to do.
pub fn compare(snapshot: &mut Snapshot, source: &dyn Source, allowed: bool) -> Result<Option<String>> {
    let Some(began_with) = &snapshot.collection else {
        let remark = "the checkpoint does not say what its images were, so it is not known whether they are the same";
        return Ok(Some(remark.into()));
    };
    let Some(difference) = began_with.difference(source) else { return Ok(None) };
    let place = source.place();
    let place = shown(&place);
    if !allowed {
        return Err(Error::Images(format!(
            "{place} is not what the run began with: {difference}. Put it back as it was, go on with it as it is by \
             --allow-changed-data, or start another run from these weights with --init-from"
        )));
    }
    let again = match std::mem::take(&mut snapshot.left_out).len() {
        0 => String::new(),
        count => format!("; {count} images that were left out are taken again"),
    };
    Ok(Some(format!("{place} is not what the run began with: {difference}{again}")))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        data::{Collection, open},
        train::snapshot::sample,
    };

    #[test]
    fn a_changed_collection_is_refused_unless_that_is_allowed() {
        let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/collections/images.tar");
        let folder = tempfile::tempdir().unwrap();
        tar::Archive::new(std::fs::File::open(archive).unwrap()).unpack(folder.path()).unwrap();
        let (tar, tree) = (open(archive).unwrap(), || open(folder.path().to_str().unwrap()).unwrap());
        let mut snapshot = Snapshot { collection: Some(Collection::of(&*tar)), ..sample(3) };
        // The same images in another container.
        assert_eq!(compare(&mut snapshot, &*tree(), false).unwrap(), None);
        std::fs::rename(folder.path().join("cats/00003.png"), folder.path().join("cats/90003.png")).unwrap();
        let error = compare(&mut snapshot, &*tree(), false).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.exit_code(), 3);
        for part in ["12 images as before", "1 new: ", "90003.png; 1 gone", "--allow-changed-data", "--init-from"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(snapshot.left_out, [3, 8]);
        let told = compare(&mut snapshot, &*tree(), true).unwrap().unwrap();
        assert!(
            told.ends_with("2 images that were left out are taken again") && snapshot.left_out.is_empty(),
            "{told}"
        );
        snapshot.collection = None;
        assert!(compare(&mut snapshot, &*tree(), false).unwrap().unwrap().contains("does not say"));
    }
}

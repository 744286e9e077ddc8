//! Pages that were unpacked lately.

use std::sync::{Arc, Mutex, PoisonError};

use super::pages::Page;

/// The most bytes that are kept.
const MOST: usize = 256 << 20;

/// A row group's number and a page's in it.
type Key = (usize, usize);

/// Pages in the order of their last use, the latest last.
#[derive(Default)]
pub(super) struct Cache {
    pages: Mutex<Vec<(Key, Arc<Page>)>>,
}

impl Cache {
    /// The page of a key, made if it is not kept. Two threads that want a page at once may both make it.
    pub(super) fn get(&self, key: Key, make: impl FnOnce() -> Result<Page, String>) -> Result<Arc<Page>, String> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = pages.iter().position(|(kept, _)| *kept == key) {
            let found = pages.remove(at);
            pages.push(found.clone());
            return Ok(found.1);
        }
        drop(pages);
        let page = Arc::new(make()?);
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if page.size() <= MOST && pages.iter().all(|(kept, _)| *kept != key) {
            pages.push((key, page.clone()));
            let mut total: usize = pages.iter().map(|(_, page)| page.size()).sum();
            while total > MOST {
                total -= pages.remove(0).1.size();
            }
        }
        Ok(page)
    }
}

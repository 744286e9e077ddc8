//! What a browser needs beyond WebGPU itself.

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(then: &Function, milliseconds: f64) -> JsValue;
}

/// Waits, in a page or in a worker.
pub(super) async fn sleep(seconds: f64) {
    let promise = Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, seconds * 1e3);
    });
    // A promise that is only ever resolved.
    let _ = JsFuture::from(promise).await;
}

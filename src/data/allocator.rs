//! Keeping the allocator from giving memory back between images.

/// More than the pixels of most photos, and just less than the most that glibc learns from.
const LARGE: usize = 31 << 20;

/// Allocates and frees a large block, without touching it. From that, glibc's allocator learns to keep blocks up to this
/// size for reuse; otherwise it returns each image's buffers to the system and has them cleared again, page by page,
/// which takes a third of the loader's time. Other allocators are not changed by it.
pub(super) fn keep_freed_blocks() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}

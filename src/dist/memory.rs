//! Memory whose parts are lent to messages under way while others are computed on.

use std::{ops::Range, ptr::NonNull};

use bytemuck::Pod;

/// Bytes of a [`Memory`] that a message reads or writes. Whoever uses one sees to it that the memory outlives it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: a span is an address; what is done with it is the business of those who do it.
unsafe impl Send for Span {}

impl Span {
    /// How many bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first byte.
    #[cfg_attr(not(all(feature = "mpi", unix)), expect(dead_code))]
    pub(super) fn start(&self) -> *mut u8 {
        self.at.as_ptr()
    }

    /// A copy of the bytes.
    ///
    /// # Safety
    /// The memory lives, and nothing writes these bytes meanwhile.
    pub(super) unsafe fn to_vec(self) -> Vec<u8> {
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }.to_vec()
    }

    /// Overwrites the bytes with as many others.
    ///
    /// # Safety
    /// The memory lives, and nothing else reads or writes these bytes meanwhile.
    pub(super) unsafe fn fill(self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.len, "bytes of a message");
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.as_ptr(), self.len) };
    }
}

/// A vector's values, reached by address only, so that the parts of different messages do not alias.
#[derive(Debug)]
pub(super) struct Memory<T: Pod> {
    at: NonNull<T>,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its values as a vector does.
unsafe impl<T: Pod + Send> Send for Memory<T> {}

impl<T: Pod> Memory<T> {
    /// Takes the values of a vector.
    pub(super) fn new(values: Vec<T>) -> Self {
        let mut values = std::mem::ManuallyDrop::new(values);
        let at = NonNull::new(values.as_mut_ptr()).expect("a vector's address is never null");
        Self { at, len: values.len(), capacity: values.capacity() }
    }

    /// How many values.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes of a range of values.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        let (start, len) = self.checked(range);
        Span { at: start.cast(), len: len * size_of::<T>() }
    }

    /// A range of values.
    ///
    /// # Safety
    /// Nothing writes the range while the slice lives: no message, no [`Memory::write`].
    pub(super) unsafe fn part(&self, range: Range<usize>) -> &[T] {
        let (start, len) = self.checked(range);
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// All values.
    ///
    /// # Safety
    /// No message uses any of them.
    pub(super) unsafe fn values_mut(&mut self) -> &mut [T] {
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }

    /// Copies the values from `first` on into `values`.
    ///
    /// # Safety
    /// Nothing writes the range meanwhile.
    pub(super) unsafe fn read(&self, first: usize, values: &mut [T]) {
        let (start, len) = self.checked(first..first + values.len());
        unsafe { std::ptr::copy_nonoverlapping(start.as_ptr(), values.as_mut_ptr(), len) };
    }

    /// Overwrites the values from `first` on.
    ///
    /// # Safety
    /// Nothing else reads or writes the range meanwhile: no message, no slice of [`Memory::part`].
    pub(super) unsafe fn write(&self, first: usize, values: &[T]) {
        let (start, len) = self.checked(first..first + values.len());
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), start.as_ptr(), len) };
    }

    /// Gives the vector back, when no message uses it any more.
    pub(super) fn into_vec(self) -> Vec<T> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: address, length and capacity are those of the vector that `new` took.
        unsafe { Vec::from_raw_parts(this.at.as_ptr(), this.len, this.capacity) }
    }

    fn checked(&self, range: Range<usize>) -> (NonNull<T>, usize) {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {} values", self.len);
        // SAFETY: the offset is within the vector.
        (unsafe { self.at.add(range.start) }, range.len())
    }
}

impl<T: Pod> Drop for Memory<T> {
    fn drop(&mut self) {
        // SAFETY: address, length and capacity are those of the vector that `new` took.
        drop(unsafe { Vec::from_raw_parts(self.at.as_ptr(), self.len, self.capacity) });
    }
}

/// Buffers for what travels, used again and again.
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Memory<f32>>);

impl Pool {
    /// Buffers that are kept: more than messages are under way.
    const KEPT: usize = 256;

    /// A buffer of at least this many values, whatever they are.
    pub(super) fn take(&mut self, len: usize) -> Memory<f32> {
        match self.0.pop() {
            Some(buffer) if buffer.len() >= len => buffer,
            _ => Memory::new(vec![0.0; len]),
        }
    }

    /// Takes a buffer back that no message uses any more.
    pub(super) fn give(&mut self, buffer: Memory<f32>) {
        if self.0.len() < Self::KEPT {
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_gives_back_the_vector_it_took() {
        let mut values = Vec::with_capacity(9);
        values.extend([1_u32, 2, 3, 4]);
        let memory = Memory::new(values);
        let span = memory.span(1..3);
        assert_eq!(span.len(), 8);
        // SAFETY: one thread, nothing else under way.
        unsafe {
            span.fill(bytemuck::cast_slice(&[7_u32, 8]));
            memory.write(0, &[5]);
            let mut read = [0; 2];
            memory.read(2, &mut read);
            assert_eq!(
                (read, memory.part(0..2), span.to_vec()),
                ([8, 4], &[5, 7][..], bytemuck::cast_slice(&[7, 8]).to_vec())
            );
        }
        let values = memory.into_vec();
        assert_eq!((values.capacity(), values), (9, vec![5, 7, 8, 4]));
    }

    #[test]
    #[should_panic(expected = "3..6 of 4 values")]
    fn a_range_beyond_the_memory_is_refused() {
        Memory::new(vec![0.0_f32; 4]).span(3..6);
    }
}

//! A borrowed range of a buffer.

use std::{fmt, marker::PhantomData, ops::Range};

use crate::{Buffer, Element, Host, MemError, Space};

/// Elements of a buffer that is borrowed as long as the view lives; in any space, so that device work can be given a part.
///
/// ```
/// use tinyllm_mem::{Buffer, Category, HostResource};
/// let host = HostResource::shared();
/// let mut buffer = Buffer::<u16>::zeroed(&host, Category::Activations, "x", 10)?;
/// buffer.as_mut_slice()[4] = 7;
/// let view = buffer.view(3..6)?;
/// let same = view; // as references are, views are copied
/// assert_eq!(view.as_slice(), [0, 7, 0]);
/// assert_eq!(same.as_slice(), view.as_slice());
/// assert_eq!(view.address(), buffer.address().wrapping_add(6));
/// assert!(buffer.view(8..11).is_err());
/// # Ok::<(), tinyllm_mem::MemError>(())
/// ```
pub struct View<'a, T: Element, S: Space = Host> {
    address: *mut u8,
    len: usize,
    buffer: PhantomData<&'a Buffer<T, S>>,
}

// Not derived: that would ask for a space that can be copied, and a space is a tag of which there are no values.
impl<T: Element, S: Space> Clone for View<'_, T, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Element, S: Space> Copy for View<'_, T, S> {}

impl<T: Element, S: Space> fmt::Debug for View<'_, T, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("View")
            .field("address", &self.address)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<T: Element, S: Space> Buffer<T, S> {
    /// The elements of a range.
    ///
    /// # Errors
    /// [`MemError::BadRange`] where the range leaves the buffer.
    pub fn view(&self, range: Range<usize>) -> Result<View<'_, T, S>, MemError> {
        if range.start > range.end || range.end > self.len() {
            return Err(MemError::BadRange {
                name: self.name().to_owned(),
                start: range.start,
                end: range.end,
                len: self.len(),
            });
        }
        let address = self.address().wrapping_add(range.start * size_of::<T>());
        Ok(View { address, len: range.len(), buffer: PhantomData })
    }
}

impl<T: Element, S: Space> View<'_, T, S> {
    /// The first byte's address. For device memory it means nothing to the host.
    pub fn address(&self) -> *mut u8 {
        self.address
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Size in bytes.
    pub fn size_bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl<'a, T: Element> View<'a, T, Host> {
    /// The elements.
    pub fn as_slice(&self) -> &'a [T] {
        // SAFETY: the range lies inside the buffer (`view` checked it), whose elements are aligned and initialised; the
        // buffer is borrowed for 'a, so it lives and nobody writes.
        unsafe { std::slice::from_raw_parts(self.address.cast(), self.len) }
    }

    /// The elements' bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        bytemuck::cast_slice(self.as_slice())
    }
}

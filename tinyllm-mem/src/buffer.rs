//! `Buffer<T>`: one owner of typed memory, freed on its stream when dropped.

use std::{fmt, marker::PhantomData, sync::Arc};

use bytemuck::{AnyBitPattern, NoUninit};

use crate::{
    Category, MemError, Part, Request, Stream,
    resource::{Allocation, Host, MemoryResource, Space},
};

/// Element types of buffers: plain bytes in, any bytes out.
pub trait Element: NoUninit + AnyBitPattern + Send + Sync {}
impl<T: NoUninit + AnyBitPattern + Send + Sync> Element for T {}

/// `len` elements of `T` in the memory of a resource. Move-only: a copy needs a stream, so it is
/// [`Buffer::try_clone`]. `Drop` gives the memory back on the buffer's stream and never panics.
///
/// ```
/// use tinyllm_mem::{Buffer, Category, HostResource};
/// let host = HostResource::shared();
/// let mut logits = Buffer::<f32>::zeroed(&host, Category::Logits, "logits", 4)?;
/// logits.as_mut_slice()[2] = 1.5;
/// assert_eq!(logits.as_slice(), [0.0, 0.0, 1.5, 0.0]);
/// assert_eq!(logits.size_bytes(), 16);
/// # Ok::<(), tinyllm_mem::MemError>(())
/// ```
pub struct Buffer<T: Element, S: Space = Host> {
    resource: Arc<dyn MemoryResource<Space = S>>,
    allocation: Allocation,
    len: usize,
    stream: Stream,
    name: String,
    parts: Vec<Part>,
    elements: PhantomData<T>,
}

impl<T: Element, S: Space> Buffer<T, S> {
    /// Allocates a request, for `request.bytes / size_of::<T>()` elements. Host memory is zeroed; device
    /// memory is not.
    ///
    /// # Errors
    /// The resource's, or [`MemError::BadSize`] where the bytes are not whole elements or not those of the parts.
    pub fn allocate(
        resource: &Arc<dyn MemoryResource<Space = S>>,
        mut request: Request,
    ) -> Result<Self, MemError> {
        request.align_bytes = request.align_bytes.max(align_of::<T>());
        request.check_parts()?;
        if size_of::<T>() == 0 || !request.bytes.is_multiple_of(size_of::<T>()) {
            return Err(MemError::BadSize { name: request.name, bytes: request.bytes });
        }
        let allocation = resource.allocate(&request)?;
        Ok(Buffer {
            resource: Arc::clone(resource),
            allocation,
            len: request.bytes / size_of::<T>(),
            stream: request.stream,
            name: request.name,
            parts: request.parts,
            elements: PhantomData,
        })
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
        self.allocation.bytes
    }

    /// The allocation's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stream the buffer is ordered on, and freed on.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The first byte's address. For device memory it means nothing to the host.
    pub fn address(&self) -> *mut u8 {
        self.allocation.address.as_ptr()
    }

    /// The same bytes as elements of `U`, without a copy.
    ///
    /// # Errors
    /// [`MemError::BadCast`] where size or alignment do not fit; the buffer is dropped then.
    pub fn cast<U: Element>(self) -> Result<Buffer<U, S>, MemError> {
        let bytes = self.allocation.bytes;
        let fits = size_of::<U>() != 0
            && bytes.is_multiple_of(size_of::<U>())
            && self.allocation.align_bytes.is_multiple_of(align_of::<U>());
        if !fits {
            return Err(MemError::BadCast {
                bytes,
                element_bytes: size_of::<U>(),
                align_bytes: align_of::<U>(),
            });
        }
        let mut this = std::mem::ManuallyDrop::new(self);
        Ok(Buffer {
            // SAFETY: `this` is never dropped, so its resource is moved out exactly once.
            resource: unsafe { std::ptr::read(&this.resource) },
            allocation: this.allocation,
            len: bytes / size_of::<U>(),
            stream: std::mem::take(&mut this.stream),
            name: std::mem::take(&mut this.name),
            parts: std::mem::take(&mut this.parts),
            elements: PhantomData,
        })
    }
}

impl<T: Element> Buffer<T, Host> {
    /// `len` zeroed elements.
    ///
    /// # Errors
    /// The resource's, or [`MemError::BadSize`] where the size overflows.
    pub fn zeroed(
        resource: &Arc<dyn MemoryResource<Space = Host>>,
        category: Category,
        name: impl Into<String>,
        len: usize,
    ) -> Result<Self, MemError> {
        let name = name.into();
        match len.checked_mul(size_of::<T>()).filter(|&bytes| isize::try_from(bytes).is_ok()) {
            Some(bytes) => Self::allocate(resource, Request::new(category, name, bytes, align_of::<T>())),
            None => Err(MemError::BadSize { name, bytes: usize::MAX }),
        }
    }

    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the allocation holds `len` elements, aligned for T (`allocate` and `cast` see to both) and
        // initialised (host memory is zeroed, T accepts any bytes); it lives as long as `self`, and the borrow keeps
        // writers away.
        unsafe { std::slice::from_raw_parts(self.allocation.address.as_ptr().cast(), self.len) }
    }

    /// The elements, to write.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as `as_slice`; the exclusive borrow keeps readers away.
        unsafe { std::slice::from_raw_parts_mut(self.allocation.address.as_ptr().cast(), self.len) }
    }

    /// A copy from the same resource, ordered on `stream`.
    ///
    /// # Errors
    /// The resource's.
    pub fn try_clone(&self, stream: &Stream) -> Result<Self, MemError> {
        let request = Request {
            bytes: self.allocation.bytes,
            align_bytes: self.allocation.align_bytes,
            stream: stream.clone(),
            name: self.name.clone(),
            parts: self.parts.clone(),
        };
        let mut copy = Self::allocate(&self.resource, request)?;
        copy.as_mut_slice().copy_from_slice(self.as_slice());
        Ok(copy)
    }
}

impl<T: Element, S: Space> Drop for Buffer<T, S> {
    fn drop(&mut self) {
        // SAFETY: the allocation came from this resource, `cast` forgets the old owner, so it is freed once, and
        // views borrow the buffer, so none is left.
        unsafe { self.resource.deallocate(self.allocation, &self.stream) }
    }
}

impl<T: Element, S: Space> fmt::Debug for Buffer<T, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Buffer")
            .field("name", &self.name)
            .field("len", &self.len)
            .field("bytes", &self.allocation.bytes)
            .finish_non_exhaustive()
    }
}

//! Huge pages for large buffers.

/// Asks the kernel for huge pages, because matches jump over megabytes, and each ordinary page that the processor
/// hasn't used lately costs a walk through the page tables. The kernel may ignore the request.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the system call takes a pointer")]
pub(crate) fn request(buffer: &mut [u8]) {
    use rustix::mm::{Advice, madvise};

    /// Largest ordinary page of the supported processors. The kernel refuses an address inside a page.
    const PAGE_BYTES: usize = 64 << 10;
    let skipped = buffer.as_ptr().align_offset(PAGE_BYTES);
    let Some(aligned) = buffer.get_mut(skipped..) else { return };
    // SAFETY: the range is in the buffer. This advice changes neither the content of memory nor access to it.
    let _ = unsafe { madvise(aligned.as_mut_ptr().cast(), aligned.len(), Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn request(_: &mut [u8]) {}

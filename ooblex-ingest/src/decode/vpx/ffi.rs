//! libvpx's decoders: the only place that calls the C library.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_uint};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{addr_of, null, null_mut};
use std::slice;

use vpx_sys as vpx;

/// `VPX_IMG_FMT_I420`: planar, 8 bits, 4:2:0.
const I420: u32 = vpx::vpx_img_fmt::VPX_IMG_FMT_I420 as u32;

/// Which of the library's decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interface {
    Vp8,
    Vp9,
}

/// A decoder of libvpx: one thread, no error concealment, no post-processing.
pub(super) struct Library {
    /// Boxed, because the library is told its address with every call and may keep it.
    context: Box<vpx::vpx_codec_ctx_t>,
}

// SAFETY: the library ties a context to no thread; exclusive access is ensured because every method takes `&mut`.
unsafe impl Send for Library {}

/// The picture that came out last; it lies in the library's memory until the next call.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Y, U and V with their strides, at least as long as the size demands.
    pub(super) planes: [(&'a [u8], usize); 3],
    /// `vpx_color_space_t`.
    pub(super) space: u32,
    pub(super) full_range: bool,
}

impl Library {
    /// Initializes a decoder. What it keeps for pictures is allocated at the first key frame.
    pub(super) fn new(interface: Interface) -> Result<Self, String> {
        // SAFETY: both functions only return the address of a static table.
        let interface = unsafe {
            match interface {
                Interface::Vp8 => vpx::vpx_codec_vp8_dx(),
                Interface::Vp9 => vpx::vpx_codec_vp9_dx(),
            }
        };
        let config = vpx::vpx_codec_dec_cfg_t { threads: 1, w: 0, h: 0 };
        let mut context = Box::new(MaybeUninit::<vpx::vpx_codec_ctx_t>::zeroed());
        // SAFETY: the context is writable memory of the right size, which the call fills; the library copies the
        // configuration; the version is the one of the bindings, and the library refuses to work with another.
        let status = unsafe {
            let version = vpx::VPX_DECODER_ABI_VERSION as c_int;
            vpx::vpx_codec_dec_init_ver(context.as_mut_ptr(), interface, &config, 0, version)
        };
        if status != vpx::VPX_CODEC_OK {
            return Err(format!("libvpx cannot be initialized: {status:?}"));
        }
        // SAFETY: the call succeeded, so the context is initialized; the box keeps its address.
        let context = unsafe { Box::from_raw(Box::into_raw(context).cast::<vpx::vpx_codec_ctx_t>()) };
        Ok(Self { context })
    }

    /// Decodes one frame, or one VP9 superframe.
    pub(super) fn decode(&mut self, data: &[u8]) -> Result<(), String> {
        let length = c_uint::try_from(data.len()).map_err(|_| format!("{} bytes", data.len()))?;
        // SAFETY: the context is initialized and exclusively ours; `data` is readable for `length` bytes and only
        // read during the call.
        let status =
            unsafe { vpx::vpx_codec_decode(&mut *self.context, data.as_ptr(), length, null_mut(), 0) };
        if status == vpx::VPX_CODEC_OK { Ok(()) } else { Err(self.describe(status)) }
    }

    /// Whether the decoder made the last frame from damaged data or from a damaged reference. Also when it cannot say.
    pub(super) fn is_corrupted(&mut self) -> bool {
        let mut corrupted: c_int = 1;
        let control = vpx::vp8_dec_control_id::VP8D_GET_FRAME_CORRUPTED as c_int;
        // SAFETY: the context is initialized; this control takes one pointer to an `int`, which it writes.
        let status =
            unsafe { vpx::vpx_codec_control_(&mut *self.context, control, &mut corrupted as *mut c_int) };
        status != vpx::VPX_CODEC_OK || corrupted != 0
    }

    /// The picture that the last call to [`decode`](Self::decode) made visible, if any.
    pub(super) fn picture(&mut self) -> Result<Option<Picture<'_>>, String> {
        let mut iterator: vpx::vpx_codec_iter_t = null();
        // SAFETY: the context is initialized; the iterator starts as null, as the library demands.
        let image = unsafe { vpx::vpx_codec_get_frame(&mut *self.context, &mut iterator) };
        if image.is_null() {
            return Ok(None);
        }
        // SAFETY: a non-null image is initialized and stays unchanged until the next call with this context, which
        // the lifetime of the result excludes. Fields of the C enumerations are read as the integers that they are,
        // because a newer library may know more values than the bindings.
        let (format, space, range, image) = unsafe {
            let format = addr_of!((*image).fmt).cast::<u32>().read();
            let space = addr_of!((*image).cs).cast::<u32>().read();
            let range = addr_of!((*image).range).cast::<u32>().read();
            let (planes, stride) = (addr_of!((*image).planes).read(), addr_of!((*image).stride).read());
            let size = (addr_of!((*image).d_w).read(), addr_of!((*image).d_h).read());
            (format, space, range, Fields { planes, stride, size, lifetime: PhantomData })
        };
        if format != I420 {
            return Err(format!("pictures of format {format:#x} (only 8 bits, 4:2:0 are)"));
        }
        image.into_picture(space, range).map(Some)
    }

    fn describe(&mut self, status: vpx::vpx_codec_err_t) -> String {
        // SAFETY: the context is initialized; the library returns null or a static or context-owned C string that is
        // valid until the next call, and it is copied here.
        let detail = unsafe {
            let text = vpx::vpx_codec_error_detail(&mut *self.context);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        match detail {
            Some(detail) => format!("{status:?}: {detail}"),
            None => format!("{status:?}"),
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: the context is initialized and not used afterwards.
        unsafe { vpx::vpx_codec_destroy(&mut *self.context) };
    }
}

/// What of an image is needed, read out of the library's memory.
struct Fields<'a> {
    planes: [*mut u8; 4],
    stride: [c_int; 4],
    size: (c_uint, c_uint),
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Fields<'a> {
    fn into_picture(self, space: u32, range: u32) -> Result<Picture<'a>, String> {
        let (width, height) = self.size;
        let mut planes: [(&'a [u8], usize); 3] = [(&[], 0); 3];
        for (n, to) in planes.iter_mut().enumerate() {
            let chroma = u32::from(n > 0);
            let (columns, rows) = (width.div_ceil(1 + chroma) as usize, height.div_ceil(1 + chroma) as usize);
            let stride = usize::try_from(self.stride[n]).unwrap_or(0);
            if self.planes[n].is_null() || columns == 0 || rows == 0 || stride < columns {
                return Err(format!("a plane of {columns}x{rows} samples with a stride of {stride} bytes"));
            }
            // SAFETY: the library allocates every plane for whole rows of `stride` bytes; of the last row only the
            // visible part is taken. The memory stays unchanged for the lifetime (see `Library::picture`).
            let data = unsafe { slice::from_raw_parts(self.planes[n], stride * (rows - 1) + columns) };
            *to = (data, stride);
        }
        Ok(Picture { width, height, planes, space, full_range: range == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_opens_refuses_nonsense_and_closes() {
        for interface in [Interface::Vp8, Interface::Vp9] {
            let mut library = Library::new(interface).expect("initializes");
            assert!(library.picture().expect("nothing yet").is_none());
            let error = library.decode(&[0x55; 40]).expect_err("not a frame");
            assert!(error.starts_with("VPX_CODEC_"), "{error}");
            assert!(library.picture().expect("still nothing").is_none());
        }
    }

    #[test]
    fn a_plane_without_memory_or_with_a_short_stride_is_refused() {
        let mut byte = [0u8; 4];
        let some = byte.as_mut_ptr();
        let fields = |plane, stride, size| Fields {
            planes: [plane; 4],
            stride: [stride; 4],
            size,
            lifetime: PhantomData,
        };
        assert!(fields(null_mut(), 2, (2, 2)).into_picture(0, 0).is_err());
        assert!(fields(some, 1, (2, 2)).into_picture(0, 0).is_err());
        assert!(fields(some, -2, (2, 2)).into_picture(0, 0).is_err());
        assert!(fields(some, 2, (0, 2)).into_picture(0, 0).is_err());
        let picture = fields(some, 2, (2, 2)).into_picture(2, 1).expect("fits");
        assert_eq!(picture.planes.map(|(data, _)| data.len()), [4, 1, 1]);
        assert!(picture.full_range);
    }
}

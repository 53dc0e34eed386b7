//! libvpx's VP8 encoder: the only place that calls the C library.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_ulong};
use std::mem::MaybeUninit;
use std::ptr::null;

use vpx_sys as vpx;
use vpx_sys::vp8e_enc_control_id as control;

use crate::encode::FRAME_RATE;

/// Times are microseconds.
const TIMEBASE: c_int = 1_000_000;
/// How much faster than best the search is: what the library's documentation calls real-time speed, -16 to 16.
/// At -8 pictures of edges take as long and come out 4 dB worse.
const SPEED: c_int = -6;
/// A key frame may be as large as so many percent of the mean picture: a large one is late.
const LARGEST_KEY: c_int = 600;
/// Changes below this are not encoded: noise of the camera.
const STATIC_THRESHOLD: c_int = 1;

/// An I420 picture of even sides without padding.
pub(super) struct Picture<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) y: &'a [u8],
    pub(super) u: &'a [u8],
    pub(super) v: &'a [u8],
}

/// An encoder of libvpx for pictures of one size: constant bit rate, one thread, nothing held back, key frames on request
/// alone.
pub(super) struct Library {
    /// Boxed, because the library is told its address with every call and may keep it.
    context: Box<vpx::vpx_codec_ctx_t>,
    width: u32,
    height: u32,
}

// SAFETY: the library ties a context to no thread; exclusive access is ensured because every method takes `&mut`.
unsafe impl Send for Library {}

impl Library {
    pub(super) fn new(width: u32, height: u32, kbps: u32) -> Result<Self, String> {
        let mut config = MaybeUninit::<vpx::vpx_codec_enc_cfg_t>::zeroed();
        // SAFETY: the function only returns the address of a static table.
        let interface = unsafe { vpx::vpx_codec_vp8_cx() };
        // SAFETY: `config` is writable memory of the right size, which the call fills.
        let status = unsafe { vpx::vpx_codec_enc_config_default(interface, config.as_mut_ptr(), 0) };
        if status != vpx::VPX_CODEC_OK {
            return Err(format!("libvpx has no defaults: {status:?}"));
        }
        // SAFETY: the call succeeded, so the configuration is initialized; before that it was zero.
        let mut config = unsafe { config.assume_init() };
        config.g_w = width;
        config.g_h = height;
        config.g_threads = 1;
        config.g_timebase = vpx::vpx_rational { num: 1, den: TIMEBASE };
        config.g_lag_in_frames = 0;
        config.g_pass = vpx::vpx_enc_pass::VPX_RC_ONE_PASS;
        config.rc_end_usage = vpx::vpx_rc_mode::VPX_CBR;
        config.rc_target_bitrate = kbps;
        // A picture that is left out is late; a coarse one is not.
        config.rc_dropframe_thresh = 0;
        config.rc_min_quantizer = 4;
        // The coarsest there is: with less the rate of pictures full of detail cannot be kept, and they wait on their way.
        config.rc_max_quantizer = 63;
        config.rc_undershoot_pct = 100;
        config.rc_overshoot_pct = 15;
        config.rc_buf_sz = 600;
        config.rc_buf_initial_sz = 300;
        config.rc_buf_optimal_sz = 400;
        config.kf_mode = vpx::vpx_kf_mode::VPX_KF_DISABLED;
        let mut context = Box::new(MaybeUninit::<vpx::vpx_codec_ctx_t>::zeroed());
        // SAFETY: the context is writable memory of the right size, which the call fills; the configuration is
        // initialized and copied; the version is that of the bindings, and the library refuses to work with another.
        let status = unsafe {
            let version = vpx::VPX_ENCODER_ABI_VERSION as c_int;
            vpx::vpx_codec_enc_init_ver(context.as_mut_ptr(), interface, &config, 0, version)
        };
        if status != vpx::VPX_CODEC_OK {
            return Err(format!("libvpx cannot encode {width}x{height} at {kbps} kbit/s: {status:?}"));
        }
        // SAFETY: the call succeeded, so the context is initialized; the box keeps its address.
        let context = unsafe { Box::from_raw(Box::into_raw(context).cast::<vpx::vpx_codec_ctx_t>()) };
        let mut library = Self { context, width, height };
        for (what, value) in [
            (control::VP8E_SET_CPUUSED, SPEED),
            (control::VP8E_SET_MAX_INTRA_BITRATE_PCT, LARGEST_KEY),
            (control::VP8E_SET_STATIC_THRESHOLD, STATIC_THRESHOLD),
        ] {
            // SAFETY: the context is initialized; these controls take one `int` (or `unsigned int` of the same size).
            let status = unsafe { vpx::vpx_codec_control_(&mut *library.context, what as c_int, value) };
            library.check(status)?;
        }
        Ok(library)
    }

    /// Encodes a picture of the encoder's size; its data and whether it is a key frame. `at` rises with every picture.
    pub(super) fn encode(
        &mut self,
        picture: &Picture<'_>,
        at: i64,
        key: bool,
    ) -> Result<Option<(Vec<u8>, bool)>, String> {
        let (width, height) = (self.width as usize, self.height as usize);
        let sizes =
            [(picture.y, width * height), (picture.u, width * height / 4), (picture.v, width * height / 4)];
        let fits = (picture.width, picture.height) == (self.width, self.height);
        if !fits || sizes.iter().any(|(plane, length)| plane.len() < *length) {
            return Err(format!("a picture of another size than {width}x{height}"));
        }
        let mut image = MaybeUninit::<vpx::vpx_image_t>::zeroed();
        let format = vpx::vpx_img_fmt::VPX_IMG_FMT_I420;
        // SAFETY: `image` is writable memory of the right size. The data pointer is only kept, with pointers into planes
        // reckoned from it, all of which are replaced below; the encoder reads samples and never writes them.
        let wrapped = unsafe {
            vpx::vpx_img_wrap(
                image.as_mut_ptr(),
                format,
                self.width,
                self.height,
                1,
                picture.y.as_ptr().cast_mut(),
            )
        };
        if wrapped.is_null() {
            return Err(format!("no picture of {width}x{height}"));
        }
        // SAFETY: the call succeeded, so the image is initialized; before that it was zero.
        let mut image = unsafe { image.assume_init() };
        for (index, plane) in [picture.y, picture.u, picture.v].into_iter().enumerate() {
            image.planes[index] = plane.as_ptr().cast_mut();
            image.stride[index] = (if index == 0 { width } else { width / 2 }) as c_int;
        }
        let flags = if key { vpx::VPX_EFLAG_FORCE_KF as vpx::vpx_enc_frame_flags_t } else { 0 };
        let duration = c_ulong::from(TIMEBASE as u32 / FRAME_RATE);
        // SAFETY: the context is initialized and exclusively ours; the planes have as many samples as size and strides
        // demand, as was checked, and live until the call returns.
        let status = unsafe {
            let deadline = c_ulong::from(vpx::VPX_DL_REALTIME);
            vpx::vpx_codec_encode(&mut *self.context, &image, at, duration, flags, deadline)
        };
        self.check(status)?;
        let mut found = None;
        let mut iterator: vpx::vpx_codec_iter_t = null();
        loop {
            // SAFETY: the context is initialized; the iterator starts as null, as the library demands.
            let packet = unsafe { vpx::vpx_codec_get_cx_data(&mut *self.context, &mut iterator) };
            if packet.is_null() {
                return Ok(found);
            }
            // SAFETY: a non-null packet is initialized and stays until the next call with this context.
            let packet = unsafe { &*packet };
            if packet.kind != vpx::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: a packet of this kind has this member; its buffer is readable for its size, and copied at once.
            let (data, flags) = unsafe {
                let frame = packet.data.frame;
                (std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz as usize).to_vec(), frame.flags)
            };
            found = Some((data, flags & vpx::VPX_FRAME_IS_KEY != 0));
        }
    }

    fn check(&mut self, status: vpx::vpx_codec_err_t) -> Result<(), String> {
        if status == vpx::VPX_CODEC_OK {
            return Ok(());
        }
        // SAFETY: the context is initialized; the library returns null or a C string that is valid until the next call,
        // and it is copied here.
        let detail = unsafe {
            let text = vpx::vpx_codec_error_detail(&mut *self.context);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        Err(detail.unwrap_or_else(|| format!("libvpx says {status:?}")))
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: the context is initialized and not used again.
        let _ = unsafe { vpx::vpx_codec_destroy(&mut *self.context) };
    }
}

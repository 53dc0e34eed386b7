//! Ways for pictures and video into Ooblex: uploads over HTTP and WebSocket, files, a test pattern, MJPEG cameras.
//!
//! Everything here ends in a [`FrameSource`](ooblex_core::FrameSource) or in a push into a
//! [`Hub`](ooblex_core::hub::Hub). Pictures that arrive compressed stay compressed: [`picture::accept`] looks at
//! their structure only and attaches the decoder that later stages may need. Nothing is encoded here, and nothing
//! reaches out to the network unless a source was made for it.
//!
//! ```
//! use bytes::Bytes;
//! use ooblex_core::BufferPool;
//! use ooblex_ingest::picture::{self, PictureLimits};
//!
//! let jpeg = Bytes::from_static(include_bytes!("../tests/data/gps.jpg"));
//! let pool = BufferPool::default();
//! let picture = picture::accept(jpeg.clone(), &PictureLimits::default(), &pool)?;
//! let kept = picture.as_encoded().expect("still compressed");
//! assert_eq!((kept.width, kept.height), (96, 64));
//! assert!(kept.data.len() < jpeg.len(), "the place where it was taken is gone");
//! # Ok::<(), picture::PictureError>(())
//! ```
//!
//! | Feature | Adds |
//! |---|---|
//! | `http` (default) | upload routes, WebSocket upload, MJPEG-over-HTTP source |
//! | `h264` (default) | H.264 decoder (OpenH264) and MP4 files |
//! | `vpx` (default) | VP8 and VP9 decoders (libvpx) |
//! | `tls` (with `whip`) | connections of clients over TLS |
//! | `whip` (default) | WebRTC publishers: WHIP, `/webrtc/offer`, ICE servers, TURN over TCP and TLS |
//! | `turbojpeg` (default) | JPEG decoder (libjpeg-turbo); without it JPEG pictures pass through but have no pixels |

#[cfg(feature = "http")]
pub mod control;
mod crc;
pub mod decode;
pub mod file;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "whip")]
pub mod ice;
pub mod live;
pub mod pattern;
pub mod picture;
#[cfg(feature = "whip")]
pub mod rtp;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "whip")]
pub mod webrtc;
#[cfg(feature = "whip")]
pub mod whip;

//! Ooblex mjpeg.

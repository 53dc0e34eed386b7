//! WebRTC publishers.

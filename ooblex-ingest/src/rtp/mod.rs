//! From RTP packets to whole access units: reordering, loss, and what a frame may be shown on.

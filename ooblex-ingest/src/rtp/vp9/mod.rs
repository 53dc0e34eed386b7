//! VP9: RFC 9628 (payload format) and the VP9 bitstream specification (frame header, superframes).
//!
//! All spatial layers of a picture form one superframe. A picture of which a layer is missing is not shown: its
//! size would change, and the missing layer is what the next picture refers to.

mod descriptor;

use self::descriptor::Descriptor;
use super::format::{Ending, Format, Malformed, Verdict};

/// Temporal layers that the descriptor can name.
const LAYERS: usize = 8;
/// Frames in a superframe at most (VP9 specification annex B).
const MAX_SPATIAL: usize = 8;
/// A reference lies at most so many pictures back: P_DIFF has 7 bits.
const HISTORY: usize = 128;
/// Up to this many lost packets a picture id or layer index cannot have gone round unnoticed.
const MAX_COUNTABLE: u64 = 100;
/// A picture runs at a reduced rate for so many frames, then a key frame is asked for to mend it.
const MAX_REDUCED: u32 = 60;

/// A layer frame that is being collected, or was.
#[derive(Clone, Copy, Debug, Default)]
struct LayerFrame {
    descriptor: Descriptor,
    /// Where it begins in the access unit.
    start: usize,
}

/// Collects pictures, and knows which of them came out.
#[derive(Debug)]
pub(super) struct Vp9 {
    frames: Vec<LayerFrame>,
    /// The last layer frame goes on.
    unfinished: bool,
    /// The descriptor of any payload of the picture.
    seen: Option<Descriptor>,
    /// For each temporal layer whether all that its pictures may refer to came out.
    whole: [bool; LAYERS],
    /// Pictures that came out, at their id modulo the length, with a bit for each spatial layer they had.
    shown: [Option<(u16, u8)>; HISTORY],
    picture: Option<(u16, u16)>,
    base: Option<u8>,
    /// References are listed, so that each picture can be judged alone.
    flexible: bool,
    /// The last whole picture of temporal layer 0 came out.
    going_on: bool,
    /// Pictures left out since all layers were whole.
    reduced: u32,
}

impl Default for Vp9 {
    fn default() -> Self {
        Self {
            frames: Vec::with_capacity(MAX_SPATIAL),
            unfinished: false,
            seen: None,
            whole: [false; LAYERS],
            shown: [None; HISTORY],
            picture: None,
            base: None,
            flexible: false,
            going_on: false,
            reduced: 0,
        }
    }
}

/// Whether a frame is a key frame (VP9 specification section 6.2).
fn is_keyframe(frame: &[u8]) -> bool {
    let Some((&head, rest)) = frame.split_first() else { return false };
    // frame_marker, profile, reserved_zero in profile 3, show_existing_frame, frame_type.
    let (marker, profile) = (head >> 6, head >> 4 & 3);
    let kind = if profile == 3 { head >> 1 } else { head >> 2 } & 3;
    // frame_sync_code comes after show_frame and error_resilient_mode, at a whole byte but for profile 3.
    marker == 2 && kind == 0 && (profile == 3 || rest.starts_with(&[0x49, 0x83, 0x42]))
}

fn temporal(descriptor: &Descriptor) -> usize {
    descriptor.layer.map_or(0, |layer| usize::from(layer.temporal))
}

impl Vp9 {
    /// Packets were lost before this picture: what of the layers is whole for all that?
    fn account_for_loss(&mut self, picture: &Descriptor, lost: u64) {
        if lost <= MAX_COUNTABLE {
            if let (Some((last, modulus)), Some((this, same))) = (self.picture, picture.picture)
                && modulus == same
                && (last + 1) % modulus == this
            {
                // Nothing but padding.
                return;
            }
            if let (Some(last), Some(this)) = (self.base, picture.base) {
                let expected = if temporal(picture) == 0 { last.wrapping_add(1) } else { last };
                if this == expected {
                    self.whole[1..].fill(false);
                    return;
                }
            }
        } else {
            self.shown = [None; HISTORY];
        }
        self.whole.fill(false);
    }

    /// The picture does not come out; what may refer to it is not whole any more.
    fn leave_out(&mut self, picture: &Descriptor) {
        self.whole[temporal(picture)..].fill(false);
    }

    fn remember(&mut self, picture: &Descriptor) {
        if let (Some((last, modulus)), Some((this, same))) = (self.picture, picture.picture) {
            // What lies between did not come out; older pictures of the same slots are out of reach.
            let steps =
                if modulus == same { usize::from((this + modulus - last) % modulus) } else { HISTORY };
            for step in 0..steps.min(HISTORY) {
                self.shown[(usize::from(this) + HISTORY - step) % HISTORY] = None;
            }
        } else {
            self.shown = [None; HISTORY];
        }
        self.picture = picture.picture;
        if picture.base.is_some() {
            self.base = picture.base;
        }
        self.flexible = picture.flexible;
    }

    /// Notes that the picture, the newest one, came out.
    fn show(&mut self) {
        let Some((picture, _)) = self.picture else { return };
        let layers = self.frames.iter().fold(0, |bits, frame| bits | Self::spatial_bit(&frame.descriptor));
        self.shown[usize::from(picture) % HISTORY] = Some((picture, layers));
    }

    fn spatial_bit(descriptor: &Descriptor) -> u8 {
        1 << descriptor.layer.map_or(0, |layer| layer.spatial)
    }

    /// Whether the listed references of every layer frame came out.
    fn references_shown(&self) -> bool {
        let mut below = None;
        self.frames.iter().all(|LayerFrame { descriptor, .. }| {
            let layer = descriptor.layer.unwrap_or_default();
            // The lowest layer has none below, whatever its descriptor says.
            let inter_layer = !layer.inter_layer || below.is_some() && below == layer.spatial.checked_sub(1);
            below = Some(layer.spatial);
            let Some((this, modulus)) = descriptor.picture else { return false };
            // A frame without references that is no key frame: intra only, or the sender does not tell.
            let listed = descriptor.flexible && (descriptor.inter || layer.inter_layer);
            inter_layer
                && listed
                && descriptor.references().iter().all(|&back| {
                    if back == 0 {
                        return false;
                    }
                    let id = (this + modulus - u16::from(back) % modulus) % modulus;
                    let bit = Self::spatial_bit(descriptor);
                    self.shown[usize::from(id) % HISTORY]
                        .is_some_and(|(shown, bits)| shown == id && bits & bit != 0)
                })
        })
    }

    fn is_headless(&self) -> bool {
        self.frames.first().is_none_or(|frame| frame.start > 0)
    }

    /// Appends the index of a superframe (VP9 specification annex B).
    fn index(&self, out: &mut Vec<u8>) {
        let count = self.frames.len();
        if count < 2 {
            return;
        }
        let end = out.len();
        let ends = self.frames[1..].iter().map(|frame| frame.start).chain([end]);
        let sizes: Vec<usize> = self.frames.iter().zip(ends).map(|(frame, end)| end - frame.start).collect();
        let widest = sizes.iter().max().map_or(0, |&size| size);
        let width = (1..4).find(|&width| widest < 1 << (8 * width)).unwrap_or(4);
        let marker = 0xC0 | (width as u8 - 1) << 3 | (count as u8 - 1);
        out.push(marker);
        for size in sizes {
            out.extend_from_slice(&size.to_le_bytes()[..width]);
        }
        out.push(marker);
    }

    fn judge(&mut self, ending: Ending, picture: &Descriptor, out: &[u8]) -> Verdict {
        let broken = !ending.whole || self.unfinished || self.is_headless();
        if !broken && is_keyframe(out) {
            self.whole.fill(true);
            self.shown = [None; HISTORY];
            self.remember(picture);
            self.reduced = 0;
            return Verdict::Show { keyframe: true };
        }
        if ending.lost_before > 0 {
            self.account_for_loss(picture, ending.lost_before);
        }
        let layer = temporal(picture);
        let decodable = self.whole[..=layer].iter().all(|&whole| whole) || self.references_shown();
        self.remember(picture);
        if broken {
            self.leave_out(picture);
            return Verdict::Broken;
        }
        if !decodable {
            self.leave_out(picture);
            self.going_on &= layer > 0;
            self.reduced = self.reduced.saturating_add(1);
            return Verdict::Unreferenced;
        }
        if picture.layer.is_some_and(|layer| layer.switching_up)
            && self.whole[..=layer].iter().all(|&whole| whole)
        {
            self.whole[layer + 1..].fill(true);
        }
        if layer > 0 {
            self.reduced = 0;
        }
        Verdict::Show { keyframe: false }
    }
}

impl Format for Vp9 {
    fn starts_frame(&self, payload: &[u8]) -> bool {
        let first = |d: &Descriptor| d.begins && d.layer.is_none_or(|layer| layer.spatial == 0);
        Descriptor::parse(payload).is_some_and(|(descriptor, _)| first(&descriptor))
    }

    fn append(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let (descriptor, data) = Descriptor::parse(payload).ok_or(Malformed)?;
        self.seen.get_or_insert(descriptor);
        // A layer frame begins where none goes on.
        if descriptor.begins == self.unfinished || descriptor.begins && self.frames.len() == MAX_SPATIAL {
            return Err(Malformed);
        }
        if descriptor.begins {
            self.frames.push(LayerFrame { descriptor, start: out.len() });
        }
        self.unfinished = !descriptor.ends;
        out.extend_from_slice(data);
        Ok(())
    }

    fn hole(&mut self) {
        self.unfinished = false;
    }

    fn finish(&mut self, ending: Ending, out: &mut Vec<u8>) -> Verdict {
        let verdict = match self.seen.take() {
            Some(picture) => self.judge(ending, &picture, out),
            None => {
                // Not one payload could be read.
                self.whole.fill(false);
                Verdict::Broken
            }
        };
        if let Verdict::Show { .. } = verdict {
            self.going_on = true;
            self.show();
            self.index(out);
        }
        self.frames.clear();
        self.unfinished = false;
        verdict
    }

    fn needs_keyframe(&self) -> bool {
        let moves = self.whole[0] || self.flexible && self.going_on;
        !moves || self.reduced > MAX_REDUCED
    }

    fn forget(&mut self) {
        *self = Self::default();
    }
}

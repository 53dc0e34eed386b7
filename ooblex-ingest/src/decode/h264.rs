//! H.264 by OpenH264.

use ooblex_core::{BufferPool, ColorSpace, Image, PixelFormat};
use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use super::bits::Bits;
use super::reorder::{Order, Reorder};
use super::rewrite::append_immediate;
use super::sps::without_emulation;
use super::{Decoded, LIVE_COLOR, SequenceParameters, VideoDecoder, VideoError, check_size};

/// Bytes of an access unit at most: several times what an uncompressed 4K picture of high quality takes.
const MAX_UNIT_BYTES: usize = 16 << 20;
/// Reference pictures times macroblocks at most: `MaxDpbMbs` of level 5.2 (table A-1). It bounds the decoder's memory.
const MAX_REFERENCE_BLOCKS: u64 = 184_320;

/// Bytes of a parameter set at most.
const MAX_SET_BYTES: usize = 4096;
/// The first bytes of a NAL unit, enough for two numbers of at most 63 bits with emulation prevention.
const HEAD: usize = 24;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Types of NAL units (table 7-1).
const SLICE: u8 = 1;
const PARTITIONS: std::ops::RangeInclusive<u8> = 2..=4;
const IDR_SLICE: u8 = 5;
const SEQUENCE: u8 = 7;
const PICTURE: u8 = 8;

/// Decodes H.264 access units in Annex B form (start codes) to I420: baseline without data partitions, main and high
/// profile, 8 bits, 4:2:0, progressive.
///
/// The planes are copied from the decoder into pool memory, once, and tagged with the range and matrix that the
/// sequence parameter set gives. Live video that does not say is taken for what
/// [`assume_color`](VideoDecoder::assume_color) said last, else for limited-range BT.601. Cropped rows and columns are left out.
///
/// Errors are never concealed. Nothing is shown that was made from damaged data or refers to what is missing: after
/// [`VideoError::Corrupt`], and at the beginning, a live stream goes on with the next IDR picture, and everything before
/// is refused with that error. The size may change with any IDR picture. What the parameters demand is checked before
/// the decoder allocates for it.
///
/// Pictures come out in the order of their times. Streams that do not reorder (baseline, `pic_order_cnt_type` 2,
/// `max_num_reorder_frames` 0) come out at once; those that give `max_num_reorder_frames` are held back that far. One
/// that does not say is taken for one that does not reorder until a B picture arrives too late; that one is dropped,
/// and pictures are held back one further.
pub struct H264Decoder {
    decoder: Decoder,
    state: State,
    pool: BufferPool,
    color: ColorSpace,
    assumed: ColorSpace,
    parameters: Option<SequenceParameters>,
    order: Order,
    reorder: Reorder,
    /// The newest parameter sets, for a decoder that starts anew: streams may send them once.
    sets: Vec<ParameterSet>,
    /// The access unit without what the decoder need not see.
    unit: Vec<u8>,
}

/// What the library has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Running,
    /// Damage, from which it does not always recover at an IDR picture. The next one gets a new decoder, which refers to
    /// nothing broken.
    Broken,
}

/// A sequence or picture parameter set as the decoder gets it.
struct ParameterSet {
    kind: u8,
    id: u32,
    data: Vec<u8>,
}

/// What an access unit holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Content {
    slices: bool,
    idr: bool,
    bidirectional: bool,
}

impl H264Decoder {
    /// A decoder for live streams.
    ///
    /// # Errors
    /// [`VideoError::Unsupported`] if the library cannot be initialized.
    pub fn new(pool: BufferPool) -> Result<Self, VideoError> {
        Self::with_order(pool, Order::Live)
    }

    pub(crate) fn with_order(pool: BufferPool, order: Order) -> Result<Self, VideoError> {
        let (decoder, reorder) = (library()?, Reorder::new(order));
        let (sets, unit) = (Vec::new(), Vec::new());
        let (color, assumed, parameters) = (LIVE_COLOR, LIVE_COLOR, None);
        Ok(Self {
            decoder,
            state: State::Fresh,
            pool,
            color,
            assumed,
            parameters,
            order,
            reorder,
            sets,
            unit,
        })
    }

    /// Refuses what OpenH264 cannot decode, so that the error says why, and what would take too much memory.
    pub(crate) fn check(sps: &SequenceParameters) -> Result<(), VideoError> {
        check_size(sps.coded_width, sps.coded_height)?;
        let blocks = u64::from(sps.coded_width / 16) * u64::from(sps.coded_height / 16);
        let bad = match sps {
            s if s.chroma_format != 1 => format!("chroma format {} (only 1, 4:2:0, is)", s.chroma_format),
            s if s.bit_depth != 8 => format!("{} bits a sample (only 8 are)", s.bit_depth),
            s if s.interlaced => "interlaced H.264 (only progressive is)".into(),
            s if !matches!(s.profile, 66 | 77 | 88 | 100) => {
                format!("H.264 profile {} (66 baseline, 77 main and 100 high are)", s.profile)
            }
            s if u64::from(s.references) * blocks > MAX_REFERENCE_BLOCKS => format!(
                "{} reference pictures of {}x{} pixels (more than level 5.2 allows)",
                s.references, s.coded_width, s.coded_height
            ),
            _ => return Ok(()),
        };
        Err(VideoError::Unsupported(bad))
    }

    /// Looks at every NAL unit and keeps those that the decoder needs. Others are left out: extensions (SVC, MVC) could
    /// bring parameters that were not checked.
    fn inspect(&mut self, access_unit: &[u8]) -> Result<Content, VideoError> {
        if access_unit.len() > MAX_UNIT_BYTES {
            let size = access_unit.len();
            return Err(VideoError::Corrupt(format!("an access unit of {size} bytes").into()));
        }
        self.unit.clear();
        let mut content = Content::default();
        for nal in nal_units(access_unit) {
            match nal[0] & 0x1F {
                SEQUENCE => {
                    let sps = SequenceParameters::parse(nal).map_err(|e| VideoError::Corrupt(e.into()))?;
                    Self::check(&sps)?;
                    self.reorder.configure(&sps);
                    self.color = match self.order {
                        Order::Live => sps.color_or(self.assumed),
                        _ => sps.color(),
                    };
                    self.parameters = Some(sps);
                    self.keep(SEQUENCE, nal)?;
                    continue;
                }
                PICTURE => {
                    self.keep(PICTURE, nal)?;
                    continue;
                }
                kind @ (SLICE | IDR_SLICE) => {
                    content.slices = true;
                    content.idr |= kind == IDR_SLICE;
                    content.bidirectional |= is_bidirectional(nal);
                }
                kind if PARTITIONS.contains(&kind) => {
                    return Err(VideoError::Unsupported("H.264 with data partitions".into()));
                }
                _ => continue,
            }
            self.unit.extend_from_slice(&START_CODE);
            self.unit.extend_from_slice(nal);
        }
        Ok(content)
    }

    /// Passes a parameter set on and remembers it.
    fn keep(&mut self, kind: u8, nal: &[u8]) -> Result<(), VideoError> {
        let damaged = || VideoError::Corrupt("a parameter set is cut, damaged or too long".into());
        let payload = without_emulation(&nal[1..nal.len().min(HEAD)]);
        // A sequence parameter set begins with profile, constraints and level.
        let at = if kind == SEQUENCE { 3 } else { 0 };
        let id = payload.get(at..).and_then(|payload| Bits::new(payload).ue());
        let (ids, fits) = (if kind == SEQUENCE { 32 } else { 256 }, nal.len() <= MAX_SET_BYTES);
        let id = id.filter(|id| *id < ids && fits).ok_or_else(damaged)?;
        let begin = self.unit.len();
        self.unit.extend_from_slice(&START_CODE);
        match kind {
            SEQUENCE => append_immediate(nal, &mut self.unit).ok_or_else(damaged)?,
            _ => self.unit.extend_from_slice(nal),
        }
        let data = &self.unit[begin..];
        match self.sets.iter_mut().find(|set| (set.kind, set.id) == (kind, id)) {
            Some(known) if known.data == data => {}
            Some(known) => known.data = data.to_vec(),
            None => self.sets.push(ParameterSet { kind, id, data: data.to_vec() }),
        }
        Ok(())
    }

    fn decode_unit(
        &mut self,
        access_unit: &[u8],
        pts: i64,
        out: &mut Vec<Decoded>,
    ) -> Result<(), VideoError> {
        let content = self.inspect(access_unit)?;
        if content.idr {
            self.reorder.restart(out);
        }
        if self.state != State::Running {
            if !content.slices {
                // Parameter sets alone are remembered for the first picture.
                return Ok(());
            }
            if self.order == Order::Live && !content.idr {
                return Err(VideoError::Corrupt("it waits for an IDR picture".into()));
            }
            if self.state == State::Broken {
                self.decoder = library()?;
            }
            let sets = self.sets.iter().flat_map(|set| &set.data).copied();
            self.unit.splice(..0, sets.collect::<Vec<u8>>());
            self.state = State::Running;
        }
        match self.decoder.decode(&self.unit) {
            Ok(Some(picture)) => {
                let image = copy(&picture, self.color, &self.pool)?;
                self.reorder.push(Decoded { image, pts }, content.bidirectional, out);
                Ok(())
            }
            Ok(None) if content.slices => Err(VideoError::Corrupt("the picture is not whole".into())),
            Ok(None) => Ok(()),
            Err(error) => Err(VideoError::Corrupt(error.into())),
        }
    }
}

impl VideoDecoder for H264Decoder {
    fn decode(&mut self, access_unit: &[u8], pts: i64, out: &mut Vec<Decoded>) -> Result<(), VideoError> {
        let result = self.decode_unit(access_unit, pts, out);
        if result.is_err() && self.state == State::Running {
            self.state = State::Broken;
        }
        result
    }

    fn assume_color(&mut self, color: ColorSpace) {
        self.assumed = color;
        if let (Order::Live, Some(sps)) = (self.order, &self.parameters) {
            self.color = sps.color_or(color);
        }
    }

    fn flush(&mut self, out: &mut Vec<Decoded>) -> Result<(), VideoError> {
        self.reorder.flush(out);
        Ok(())
    }
}

/// Every picture comes out at once (see `rewrite`), so there is nothing to flush. Messages and error concealment are
/// off by default.
fn library() -> Result<Decoder, VideoError> {
    let config = DecoderConfig::new().debug(false).flush_after_decode(Flush::NoFlush);
    Decoder::with_api_config(OpenH264API::from_source(), config)
        .map_err(|e| VideoError::Unsupported(e.to_string()))
}

fn copy(picture: &DecodedYUV<'_>, color: ColorSpace, pool: &BufferPool) -> Result<Image, VideoError> {
    let (width, height) = picture.dimensions();
    let (y, u, v) = picture.strides();
    let (width, height) = (width as u32, height as u32);
    let planes = [(picture.y(), y), (picture.u(), u), (picture.v(), v)];
    Image::from_planes(PixelFormat::I420, width, height, color, &planes, pool)
        .map_err(|e| VideoError::Corrupt(e.into()))
}

/// Whether a slice is a B slice: `slice_type` 1 or 6 (section 7.4.3), the second number of its header.
fn is_bidirectional(nal: &[u8]) -> bool {
    let head = without_emulation(&nal[1..nal.len().min(HEAD)]);
    let mut bits = Bits::new(&head);
    bits.ue().and_then(|_| bits.ue()).is_some_and(|kind| kind % 5 == 1)
}

/// The NAL units of an Annex B access unit, without start codes; none of them is empty.
fn nal_units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts = memchr::memmem::find_iter(data, &[0, 0, 1]).map(|at| at + 3).peekable();
    std::iter::from_fn(move || {
        let start = starts.next()?;
        let end = starts.peek().map_or(data.len(), |next| next - 3);
        Some(&data[start..end.max(start)])
    })
    .filter(|nal| !nal.is_empty())
}

#[cfg(test)]
mod tests {
    use ooblex_core::ColorRange;

    use super::*;

    /// Baseline, 16x16.
    fn sps() -> SequenceParameters {
        SequenceParameters::parse(&[0x67, 66, 0, 10, 0xF8, 0x41, 0xA2, 0x80]).expect("parses")
    }

    #[test]
    fn what_cannot_be_decoded_or_takes_too_much_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut SequenceParameters), what: &str| {
            let mut sps = sps();
            H264Decoder::check(&sps).expect("is fine as it was");
            change(&mut sps);
            let error = H264Decoder::check(&sps).expect_err(what);
            assert!(matches!(&error, VideoError::Unsupported(text) if text.contains(what)), "{error}");
        };
        refused(&|s| s.chroma_format = 3, "chroma format 3");
        refused(&|s| s.chroma_format = 0, "chroma format 0");
        refused(&|s| s.bit_depth = 10, "10 bits");
        refused(&|s| s.interlaced = true, "interlaced");
        refused(&|s| s.profile = 110, "profile 110");
        refused(&|s| (s.coded_width, s.coded_height) = (65_520, 65_520), "65520x65520");
        refused(&|s| (s.coded_width, s.coded_height) = (4000, 4016), "4000x4016");
        refused(&|s| (s.coded_width, s.coded_height, s.references) = (3840, 2160, 6), "6 reference pictures");
    }

    /// A baseline parameter set from its bits after the level.
    fn unit(text: &str) -> Vec<u8> {
        let bits: Vec<bool> = text.bytes().filter(|b| *b != b' ').map(|b| b == b'1').collect();
        let mut unit = vec![0, 0, 1, 0x67, 66, 0, 40];
        let byte = |c: &[bool]| c.iter().enumerate().fold(0, |v, (n, &bit)| v | u8::from(bit) << (7 - n));
        let mut zeros = 0;
        for byte in bits.chunks(8).map(byte) {
            if zeros >= 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }

    #[test]
    fn live_video_that_does_not_say_is_bt601_whatever_its_size() {
        let unit = unit("1 1 011 010 0 0000001010000 00000101101 1 1 0 0 1");
        for (order, color) in [(Order::Live, ColorSpace::BT601), (Order::AsShown, ColorSpace::BT709)] {
            let mut decoder = H264Decoder::with_order(BufferPool::new(0), order).expect("opens");
            decoder.decode(&unit, 0, &mut Vec::new()).expect("1280x720");
            assert_eq!(decoder.color, color, "{order:?}");
            // What the transport says counts for live video, at once.
            let full = ColorSpace { range: ColorRange::Full, ..ColorSpace::BT709 };
            decoder.assume_color(full);
            assert_eq!(decoder.color, if order == Order::Live { full } else { color });
        }
    }

    #[test]
    fn an_absurd_parameter_set_is_refused_before_the_library_sees_it() {
        // 16 macroblocks wide, 1,048,576 high.
        let unit = unit("1 1 011 010 0 000010000 00000000000000000000100000000000000000000 1 1 0 0 1");
        let mut decoder = H264Decoder::new(BufferPool::new(0)).expect("opens");
        let result = decoder.decode(&unit, 0, &mut Vec::new());
        assert!(matches!(&result, Err(VideoError::Unsupported(t)) if t.contains("million")), "{result:?}");
        assert!(matches!(
            decoder.decode(&[0, 0, 1, 0x42, 1, 2, 3], 0, &mut Vec::new()),
            Err(VideoError::Unsupported(text)) if text.contains("partitions")
        ));
        let huge = vec![0; MAX_UNIT_BYTES + 1];
        assert!(matches!(decoder.decode(&huge, 0, &mut Vec::new()), Err(VideoError::Corrupt(_))));
    }

    #[test]
    fn b_slices_are_told_from_others() {
        // first_mb_in_slice 0 `1`, then slice_type 0 `1`, 1 `010`, 2 `011`, 5 `00110`, 6 `00111`, 7 `0001000`.
        for (byte, expected) in [
            (0b1100_0000, false),
            (0b1010_0000, true),
            (0b1011_0000, false),
            (0b1001_1000, false),
            (0b1001_1100, true),
            (0b1000_1000, false),
        ] {
            assert_eq!(is_bidirectional(&[0x41, byte, 0]), expected, "{byte:b}");
        }
        assert!(!is_bidirectional(&[0x41]));
    }
}

//! Streams as encoders and senders make them, with what refers to what.

use bytes::Bytes;
use ooblex_ingest::decode::VideoCodec;

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// What must come out.
    pub(crate) data: Bytes,
    /// Frames that it refers to, by index.
    pub(crate) refers_to: Vec<usize>,
    pub(crate) keyframe: bool,
    /// Payloads of its packets.
    pub(crate) payloads: Vec<Bytes>,
}

#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) codec: VideoCodec,
    pub(crate) name: &'static str,
    pub(crate) frames: Vec<Frame>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// Writes bits as an encoder does.
#[derive(Default)]
pub(crate) struct Writer(Vec<bool>);

impl Writer {
    pub(crate) fn bits(mut self, value: u32, count: u32) -> Self {
        self.0.extend((0..count).rev().map(|n| value >> n & 1 == 1));
        self
    }

    pub(crate) fn ue(self, value: u32) -> Self {
        let length = 32 - (value + 1).leading_zeros();
        self.bits(0, length - 1).bits(value + 1, length)
    }

    /// Bytes, the last one filled up with ones.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let byte =
            |bits: &[bool]| (0..8).fold(0, |v, n| v << 1 | u8::from(bits.get(n).copied().unwrap_or(true)));
        self.0.chunks(8).map(byte).collect()
    }
}

/// `size` bytes that hold no start code and differ from frame to frame.
fn body(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|n| ((n * 7 + seed * 13) as u8) | 1).collect()
}

/// Size of frame `n`, one to some packets.
fn size(n: usize) -> usize {
    [30, 250, 230, 410, 99, 100, 101][n * 5 % 7] + if n.is_multiple_of(16) { 600 } else { 0 }
}

const MTU: usize = 100;

/// Temporal layer in a pattern of four with three layers.
fn layer_of(n: usize) -> u8 {
    [0, 2, 1, 2][n % 4]
}

/// The newest frame before `n` in layer 0.
fn base_before(n: usize) -> usize {
    (n - 1) / 4 * 4
}

/// References of frame `n` in that pattern; a key frame every 16.
fn layered_references(n: usize) -> Vec<usize> {
    match n % 4 {
        _ if n.is_multiple_of(16) => vec![],
        0 => vec![n - 4],
        1 => vec![n - 1],
        2 => vec![n - 2],
        _ => vec![base_before(n), n - 1],
    }
}

fn plain_references(n: usize) -> Vec<usize> {
    if n.is_multiple_of(16) { vec![] } else { vec![n - 1] }
}

fn vp8_data(n: usize, keyframe: bool) -> Vec<u8> {
    let mut data = body(size(n), n);
    data[0] = if keyframe { 0x10 } else { 0x11 };
    if keyframe {
        data[3..6].copy_from_slice(&[0x9D, 0x01, 0x2A]);
    }
    data
}

pub(crate) fn vp8(count: usize) -> Stream {
    let frame = |n: usize| {
        let data = vp8_data(n, n.is_multiple_of(16));
        let payload =
            |(at, chunk): (usize, &[u8])| [&[if at == 0 { 0x10 } else { 0 }], chunk].concat().into();
        let payloads = data.chunks(MTU).enumerate().map(payload).collect();
        Frame { data: data.into(), refers_to: plain_references(n), keyframe: n.is_multiple_of(16), payloads }
    };
    Stream { codec: VideoCodec::Vp8, name: "vp8", frames: (0..count).map(frame).collect() }
}

/// Three temporal layers; the top one is not referred to.
pub(crate) fn vp8_layers(count: usize, first_picture: u16) -> Stream {
    let frame = |n: usize| {
        let data = vp8_data(n, n.is_multiple_of(16));
        let (layer, picture) = (layer_of(n), (first_picture + n as u16) & 0x7FFF);
        let discardable = if layer == 2 { 0x20 } else { 0 };
        let sync = if n % 4 == 3 || layer == 0 { 0 } else { 0x20 };
        let payload = |(at, chunk): (usize, &[u8])| {
            let head = [
                0x80 | discardable | if at == 0 { 0x10 } else { 0 },
                0xE0,
                0x80 | (picture >> 8) as u8,
                picture as u8,
                (n / 4) as u8,
                layer << 6 | sync,
            ];
            [&head, chunk].concat().into()
        };
        let payloads = data.chunks(MTU).enumerate().map(payload).collect();
        Frame {
            data: data.into(),
            refers_to: layered_references(n),
            keyframe: n.is_multiple_of(16),
            payloads,
        }
    };
    Stream { codec: VideoCodec::Vp8, name: "vp8 layers", frames: (0..count).map(frame).collect() }
}

fn vp9_data(n: usize, keyframe: bool, seed: usize) -> Vec<u8> {
    let mut data = body(size(n), seed);
    data[..4].copy_from_slice(&[if keyframe { 0x82 } else { 0x86 }, 0x49, 0x83, 0x42]);
    let last = data.len() - 1;
    data[last] &= 0x7F;
    data
}

/// Three temporal layers, references listed.
pub(crate) fn vp9_flexible(count: usize, first_picture: u16) -> Stream {
    let frame = |n: usize| {
        let data = vp9_data(n, n.is_multiple_of(16), n);
        let picture = (first_picture + n as u16) & 0x7FFF;
        let references = layered_references(n);
        let last = data.chunks(MTU).count() - 1;
        let payload = |(at, chunk): (usize, &[u8])| {
            let inter = if references.is_empty() { 0 } else { 0x40 };
            let mut head = vec![0xB0 | inter | u8::from(at == 0) << 3 | u8::from(at == last) << 2];
            head.extend([0x80 | (picture >> 8) as u8, picture as u8, layer_of(n) << 5]);
            for (at, reference) in references.iter().enumerate() {
                head.push(((n - reference) as u8) << 1 | u8::from(at + 1 < references.len()));
            }
            [&head, chunk].concat().into()
        };
        let payloads = data.chunks(MTU).enumerate().map(payload).collect();
        Frame { data: data.into(), refers_to: references, keyframe: n.is_multiple_of(16), payloads }
    };
    Stream { codec: VideoCodec::Vp9, name: "vp9 flexible", frames: (0..count).map(frame).collect() }
}

/// Three temporal layers without a list of references, 7-bit picture ids, scalability structure on key frames.
pub(crate) fn vp9_fixed(count: usize) -> Stream {
    let frame = |n: usize| {
        let (keyframe, layer) = (n.is_multiple_of(16), layer_of(n));
        let data = vp9_data(n, keyframe, n);
        // Each picture of layer 0 is all that the layers above refer to.
        let switching_up = if layer == 0 { 0x10 } else { 0 };
        let last = data.chunks(MTU).count() - 1;
        let payload = |(at, chunk): (usize, &[u8])| {
            let structure = keyframe && at == 0;
            let flags = 0xA0
                | if keyframe { 0 } else { 0x40 }
                | u8::from(at == 0) << 3
                | u8::from(at == last) << 2
                | u8::from(structure) << 1;
            let mut head = vec![flags, n as u8 & 0x7F, layer << 5 | switching_up, (n / 4) as u8];
            if structure {
                // One spatial layer of 640x360, a pattern of one picture.
                head.extend([0x18, 2, 128, 1, 104, 1, 0x14, 1]);
            }
            [&head, chunk].concat().into()
        };
        let payloads = data.chunks(MTU).enumerate().map(payload).collect();
        Frame { data: data.into(), refers_to: layered_references(n), keyframe, payloads }
    };
    Stream { codec: VideoCodec::Vp9, name: "vp9 fixed", frames: (0..count).map(frame).collect() }
}

/// Two spatial layers; the upper one refers to the lower one in key pictures only.
pub(crate) fn vp9_spatial(count: usize) -> Stream {
    let frame = |n: usize| {
        let keyframe = n.is_multiple_of(16);
        let layers = [vp9_data(n, keyframe, n), vp9_data(n + 3, false, n + 1000)];
        let mut payloads = Vec::new();
        for (spatial, data) in layers.iter().enumerate() {
            let last = data.chunks(MTU).count() - 1;
            for (at, chunk) in data.chunks(MTU).enumerate() {
                let inter = if keyframe { 0 } else { 0x40 };
                let flags = 0xB0 | inter | u8::from(at == 0) << 3 | u8::from(at == last) << 2;
                let inter_layer = u8::from(keyframe && spatial == 1);
                let mut head = vec![flags, 0x80, n as u8, (spatial as u8) << 1 | inter_layer];
                if !keyframe {
                    head.push(1 << 1);
                }
                payloads.push([&head, chunk].concat().into());
            }
        }
        let mut data = layers.concat();
        // Two frames, one or two bytes a size.
        let wide = layers.iter().any(|layer| layer.len() > 255);
        let marker = 0b1100_0001 | u8::from(wide) << 3;
        data.push(marker);
        layers
            .iter()
            .for_each(|layer| data.extend(&(layer.len() as u16).to_le_bytes()[..1 + usize::from(wide)]));
        data.push(marker);
        Frame { data: data.into(), refers_to: plain_references(n), keyframe, payloads }
    };
    Stream { codec: VideoCodec::Vp9, name: "vp9 spatial", frames: (0..count).map(frame).collect() }
}

pub(crate) fn h264_sps() -> Vec<u8> {
    // Baseline, level 3.1, set 0, 4 bits of frame_num, order type 2, one reference, 640x368, no cropping, no VUI.
    let bits = Writer::default().bits(66, 8).bits(0xC0, 8).bits(31, 8).ue(0).ue(0).ue(2).ue(1).bits(0, 1);
    [&[0x67], &bits.ue(39).ue(22).bits(0b1100, 4).bits(1, 1).bytes()[..]].concat()
}

pub(crate) fn h264_pps() -> Vec<u8> {
    [&[0x68], &Writer::default().ue(0).ue(0).bits(0, 2).ue(0).bits(1, 1).bytes()[..]].concat()
}

pub(crate) fn h264_slice(
    header: u8,
    slice_type: u32,
    frame_number: u32,
    size: usize,
    seed: usize,
) -> Vec<u8> {
    let head = Writer::default().ue(0).ue(slice_type).ue(0).bits(frame_number % 16, 4).bytes();
    [&[header], &head[..], &body(size, seed)].concat()
}

/// The payload of one NAL unit, or its fragments.
pub(crate) fn h264_payloads(unit: &[u8]) -> Vec<Bytes> {
    if unit.len() <= MTU {
        return vec![Bytes::copy_from_slice(unit)];
    }
    let last = unit[1..].chunks(MTU).count() - 1;
    let fragment = |(at, chunk): (usize, &[u8])| {
        let head = u8::from(at == 0) << 7 | u8::from(at == last) << 6 | unit[0] & 0x1F;
        [&[unit[0] & 0xE0 | 28, head], chunk].concat().into()
    };
    unit[1..].chunks(MTU).enumerate().map(fragment).collect()
}

pub(crate) fn annex_b(units: &[Vec<u8>]) -> Bytes {
    units.iter().flat_map(|unit| [&[0, 0, 0, 1], &unit[..]].concat()).collect::<Vec<_>>().into()
}

/// Every other picture is one that no other refers to; two slices a picture.
pub(crate) fn h264(count: usize) -> Stream {
    let frame = |n: usize| {
        let (keyframe, at) = (n.is_multiple_of(16), n % 16);
        let reference = at.is_multiple_of(2);
        // frame_num counts reference pictures since the IDR picture, those in front of this one.
        let frame_number = at.div_ceil(2) as u32;
        let mut units = Vec::new();
        let mut payloads = Vec::new();
        let (header, slice_type) = match (keyframe, reference) {
            (true, _) => (0x65, 7),
            (false, true) => (0x41, 5),
            (false, false) => (0x01, 5),
        };
        if keyframe {
            let sets = [h264_sps(), h264_pps()];
            let sized = |unit: &Vec<u8>| [&(unit.len() as u16).to_be_bytes()[..], unit].concat();
            payloads.push([vec![0x78], sized(&sets[0]), sized(&sets[1])].concat().into());
            units.extend(sets);
        }
        let unit = h264_slice(header, slice_type, frame_number, size(n), n);
        payloads.extend(h264_payloads(&unit));
        units.push(unit);
        let refers_to = match at {
            0 => vec![],
            _ => vec![n - 1 - usize::from(reference)],
        };
        Frame { data: annex_b(&units), refers_to, keyframe, payloads }
    };
    Stream { codec: VideoCodec::H264, name: "h264", frames: (0..count).map(frame).collect() }
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 127 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

pub(crate) fn av1(count: usize) -> Stream {
    let frame = |n: usize| {
        let keyframe = n.is_multiple_of(16);
        let sequence = [0x08, 0, 0, 0, 0x42];
        let mut frame = vec![0x30];
        frame.extend(body(size(n), n));
        frame[1] = if keyframe { 0x10 } else { 0x30 };
        let mut data = vec![0x12, 0x00];
        if keyframe {
            data.extend([0x0A, 4]);
            data.extend(&sequence[1..]);
        }
        data.push(0x32);
        data.extend(leb128(frame.len() - 1));
        data.extend(&frame[1..]);
        let last = frame.chunks(MTU).count() - 1;
        let payload = |(at, chunk): (usize, &[u8])| {
            let flags = u8::from(at > 0) << 7 | u8::from(at < last) << 6;
            if keyframe && at == 0 {
                let sized = [&leb128(sequence.len())[..], &sequence].concat();
                [vec![flags | 0x28], sized, chunk.to_vec()].concat().into()
            } else if n.is_multiple_of(2) {
                [&[flags | 0x10], chunk].concat().into()
            } else {
                // W = 0: every element with its size.
                [&[flags], &leb128(chunk.len())[..], chunk].concat().into()
            }
        };
        let payloads = frame.chunks(MTU).enumerate().map(payload).collect();
        Frame { data: data.into(), refers_to: plain_references(n), keyframe, payloads }
    };
    Stream { codec: VideoCodec::Av1, name: "av1", frames: (0..count).map(frame).collect() }
}

/// One of each kind.
pub(crate) fn all(count: usize) -> Vec<Stream> {
    vec![
        vp8(count),
        vp8_layers(count, 0x7FF0),
        vp9_flexible(count, 0x7FF0),
        vp9_fixed(count),
        vp9_spatial(count),
        h264(count),
        av1(count),
    ]
}

//! H.264 in MP4 (ISO/IEC 14496-12 and -15), demuxed by `re_mp4`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::num::NonZeroU32;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ooblex_core::{BoxError, BufferPool, Picture, SourceError};
use re_mp4::{Mp4, Sample, StsdBoxContent, Track};

use super::{Reader, Shown};
use crate::decode::{Decoded, H264Decoder, Order, SequenceParameters, VideoDecoder, VideoError};

/// No picture that a decoder accepts needs more.
const MAX_SAMPLE_BYTES: u64 = 64 << 20;
/// Enough for days of video; a bound on the memory of the index.
const MAX_SAMPLES: usize = 16 << 20;

/// Reading an index takes no more than each byte of the file once, and this.
const INDEX_SLACK: u64 = 1 << 20;
/// What a read or a seek costs at least.
const MIN_COST: u64 = 64;

/// A file that may be read for so many bytes only: `re_mp4` follows the box sizes of a damaged file in circles.
struct Guarded<'a> {
    file: &'a mut BufReader<File>,
    budget: u64,
}

impl Guarded<'_> {
    fn pay(&mut self, bytes: u64) -> std::io::Result<()> {
        let rest = self.budget.checked_sub(bytes.max(MIN_COST));
        self.budget = rest.ok_or_else(|| std::io::Error::other("the index leads in circles"))?;
        Ok(())
    }
}

impl Read for Guarded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.file.read(buffer)?;
        self.pay(got as u64).map(|()| got)
    }
}

impl Seek for Guarded<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        // The position alone is asked for often and costs nothing.
        if to != SeekFrom::Current(0) {
            self.pay(0)?;
        }
        self.file.seek(to)
    }

    fn stream_position(&mut self) -> std::io::Result<u64> {
        self.file.stream_position()
    }
}

pub(super) struct Mp4Reader {
    file: BufReader<File>,
    clip: Clip,
    next: usize,
    decoder: H264Decoder,
    pool: BufferPool,
    /// After damage nothing is decoded until the next key frame.
    damaged: bool,
    flushed: bool,
    ready: VecDeque<Decoded>,
    out: Vec<Decoded>,
    unit: Vec<u8>,
}

/// What is known of the track before anything is decoded.
struct Clip {
    rate: NonZeroU32,
    samples: Vec<Sample>,
    /// Parameter sets with start codes, repeated before key frames.
    parameters: Vec<u8>,
    length_size: usize,
    order: Order,
    /// Times that are shown; the edit list may hide the beginning or the end.
    shown: Range<i64>,
    /// Ticks of a picture, for the last one.
    typical: i64,
}

impl Mp4Reader {
    pub(super) fn open(path: &Path, pool: BufferPool) -> Result<Self, BoxError> {
        let mut file = BufReader::new(File::open(path)?);
        let bytes = file.get_ref().metadata()?.len();
        let budget = bytes.saturating_add(INDEX_SLACK);
        let guarded = Guarded { file: &mut file, budget };
        // `re_mp4` indexes tables of a damaged file without checking and may panic; nothing of it survives that.
        let parsed = catch_unwind(AssertUnwindSafe(|| Mp4::read(guarded, bytes)));
        let mp4 =
            parsed.map_err(|_| "the MP4 index is damaged")?.map_err(|e| format!("not a sound MP4: {e}"))?;
        let clip = Clip::new(&mp4, bytes)?;
        let decoder = H264Decoder::with_order(pool.clone(), clip.order)?;
        Ok(Self {
            file,
            clip,
            next: 0,
            decoder,
            pool,
            damaged: false,
            flushed: false,
            ready: VecDeque::new(),
            out: Vec::new(),
            unit: Vec::new(),
        })
    }

    /// Decodes the next sample, or empties the decoder at the end; false when nothing more will come.
    fn advance(&mut self) -> Result<bool, SourceError> {
        let result = if let Some(&sample) = self.clip.samples.get(self.next) {
            self.next += 1;
            if self.damaged && !sample.is_sync {
                return Ok(true);
            }
            self.damaged = false;
            self.read_unit(&sample).map_err(|e| {
                SourceError::Frame(format!("sample {} at byte {}: {e}", sample.id, sample.offset).into())
            })?;
            self.decoder.decode(&self.unit, sample.composition_timestamp, &mut self.out)
        } else if self.flushed {
            return Ok(false);
        } else {
            self.flushed = true;
            self.decoder.flush(&mut self.out)
        };
        self.ready.extend(self.out.drain(..));
        match result {
            Ok(()) => Ok(true),
            Err(error @ VideoError::Corrupt(_)) => {
                self.damaged = true;
                Err(SourceError::Frame(format!("sample {}: {error}", self.next.saturating_sub(1)).into()))
            }
            Err(error) => Err(SourceError::Fatal(error.into())),
        }
    }

    /// Reads a sample and turns its length-prefixed units into start codes.
    fn read_unit(&mut self, sample: &Sample) -> Result<(), BoxError> {
        self.unit.clear();
        if sample.is_sync {
            self.unit.extend_from_slice(&self.clip.parameters);
        }
        self.file.seek(SeekFrom::Start(sample.offset))?;
        let mut left = sample.size;
        while left > 0 {
            let mut prefix = [0; 4];
            let size = self.clip.length_size;
            left = left.checked_sub(size as u64).ok_or("a unit's length is cut")?;
            self.file.read_exact(&mut prefix[4 - size..])?;
            let length = u64::from(u32::from_be_bytes(prefix));
            left =
                left.checked_sub(length).ok_or_else(|| format!("a unit of {length} bytes does not fit"))?;
            self.unit.extend_from_slice(&[0, 0, 0, 1]);
            let from = self.unit.len();
            self.unit.resize(from + length as usize, 0);
            self.file.read_exact(&mut self.unit[from..])?;
        }
        Ok(())
    }
}

impl Reader for Mp4Reader {
    fn rate(&self) -> NonZeroU32 {
        self.clip.rate
    }

    fn next(&mut self) -> Result<Option<Shown>, SourceError> {
        loop {
            while let Some(Decoded { image, pts }) = self.ready.pop_front() {
                if !self.clip.shown.contains(&pts) {
                    continue;
                }
                let picture = Picture::new(image, self.pool.clone());
                return Ok(Some(Shown {
                    picture,
                    at: pts - self.clip.shown.start,
                    lasts: self.clip.typical,
                }));
            }
            if !self.advance()? {
                return Ok(None);
            }
        }
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        (self.next, self.damaged, self.flushed) = (0, false, false);
        self.ready.clear();
        self.decoder = H264Decoder::with_order(self.pool.clone(), self.clip.order)
            .map_err(|e| SourceError::Fatal(e.into()))?;
        Ok(())
    }
}

impl Clip {
    fn new(mp4: &Mp4, file_bytes: u64) -> Result<Self, BoxError> {
        let mut others = Vec::new();
        for track in mp4.tracks().values() {
            let content = &track.trak(mp4).mdia.minf.stbl.stsd.contents;
            match content {
                StsdBoxContent::Avc1(avc) => return Self::from_track(mp4, track, avc, file_bytes),
                other => others.push(describe(other)),
            }
        }
        Err(format!("no H.264 track; it holds: {}. Convert it with `ffmpeg -i IN -c:v libx264 OUT.mp4`", {
            others.sort_unstable();
            others.join(", ")
        })
        .into())
    }

    fn from_track(
        mp4: &Mp4,
        track: &Track,
        entry: &re_mp4::Avc1Box,
        file_bytes: u64,
    ) -> Result<Self, BoxError> {
        let config = &entry.avcc;
        let rate = u32::try_from(track.timescale).ok().and_then(NonZeroU32::new);
        let rate = rate.ok_or_else(|| format!("timescale {}", track.timescale))?;
        let samples = &track.samples;
        if samples.is_empty() || samples.len() > MAX_SAMPLES {
            return Err(format!("{} samples; 1 to {MAX_SAMPLES} are supported", samples.len()).into());
        }
        for sample in samples {
            let end = sample.offset.checked_add(sample.size);
            if sample.size > MAX_SAMPLE_BYTES || end.is_none_or(|end| end > file_bytes) {
                let Sample { id, offset, size, .. } = sample;
                return Err(format!("sample {id} of {size} bytes at byte {offset} is not in the file").into());
            }
        }
        let sets = || config.sequence_parameter_sets.iter().chain(&config.picture_parameter_sets);
        let mut may_reorder = true;
        if let Some(sps) = config.sequence_parameter_sets.first() {
            let sps = SequenceParameters::parse(&sps.bytes)?;
            H264Decoder::check(&sps)?;
            may_reorder = sps.may_reorder;
        }
        // A container whose samples are shown as they are stored needs no reordering whatever the stream allows.
        let in_order = samples.windows(2).all(|w| w[0].composition_timestamp < w[1].composition_timestamp);
        let order = if may_reorder && !in_order { Order::AsShown } else { Order::AsDecoded };
        let parameters = sets().flat_map(|set| [&[0, 0, 0, 1], &set.bytes[..]].concat()).collect();
        let typical = samples.iter().map(|s| s.duration as i64).find(|&d| d > 0).unwrap_or(1);
        Ok(Self {
            rate,
            parameters,
            length_size: usize::from(config.length_size_minus_one & 3) + 1,
            order,
            shown: shown(mp4, track),
            typical,
            samples: samples.clone(),
        })
    }
}

/// The part that the first real entry of the edit list shows (14496-12 section 8.6.6). An empty entry, which only
/// delays the track, and further entries are not honoured.
fn shown(mp4: &Mp4, track: &Track) -> Range<i64> {
    let trak = track.trak(mp4);
    let all = 0..i64::MAX;
    let Some(edits) = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()) else { return all };
    let empty = |media_time: u64| media_time == u64::MAX || media_time == u64::from(u32::MAX);
    let Some(edit) = edits.entries.iter().find(|e| !empty(e.media_time)) else { return all };
    // `re_mp4` shifts all times so that the smallest is 0; the edit list counts without that shift. The first
    // sample is decoded at time 0, so its composition offset is its unshifted time.
    let stbl = &trak.mdia.minf.stbl;
    let offset =
        stbl.ctts.as_ref().and_then(|ctts| ctts.entries.first()).map_or(0, |e| i64::from(e.sample_offset));
    let shift = offset - track.samples.first().map_or(0, |s| s.composition_timestamp);
    let Some(start) = i64::try_from(edit.media_time).ok().map(|t| t - shift) else { return all };
    let movie = u128::from(mp4.moov.mvhd.timescale).max(1);
    let length = u128::from(edit.segment_duration) * u128::from(track.timescale) / movie;
    let end = match i64::try_from(length) {
        Ok(length) if length > 0 => start.saturating_add(length),
        _ => i64::MAX,
    };
    // An edit that would hide everything is a mistake of the writer.
    if track.samples.iter().any(|s| (start..end).contains(&s.composition_timestamp)) {
        start..end
    } else {
        all
    }
}

fn describe(content: &StsdBoxContent) -> String {
    match content {
        StsdBoxContent::Av01(_) => "AV1".into(),
        StsdBoxContent::Hev1(_) | StsdBoxContent::Hvc1(_) => "H.265".into(),
        StsdBoxContent::Vp08(_) => "VP8".into(),
        StsdBoxContent::Vp09(_) => "VP9".into(),
        StsdBoxContent::Mp4a(_) => "AAC audio".into(),
        StsdBoxContent::Tx3g(_) => "text".into(),
        StsdBoxContent::Unknown(code) => format!("codec {code}"),
        StsdBoxContent::Avc1(_) => "H.264".into(),
    }
}

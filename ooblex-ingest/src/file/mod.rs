//! Clips and folders of pictures as sources.

mod folder;
#[cfg(feature = "h264")]
mod mp4;
mod y4m;

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use ooblex_core::{
    BoxError, BufferPool, Frame, FrameSource, MediaTime, Picture, QueuePolicy, QueueReceiver, QueueSender,
    Sent, SourceError, StreamId, queue,
};
use tokio::time::Instant as Tick;

use crate::picture::PictureLimits;

/// Decoded pictures that wait for their time.
const AHEAD: usize = 3;
/// Pictures in flight between the reading thread, the queue and a pipeline that keeps them in their pool.
const POOLED: usize = AHEAD + 8;
/// A source that is further behind than this cannot catch up by skipping; it goes on from where it is.
const GIVE_UP_AFTER: std::time::Duration = std::time::Duration::from_millis(500);

/// How fast a clip plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// Each picture at its time. A picture that is late when the next one is due is skipped, so the clip never
    /// drifts from the clock.
    RealTime,
    /// Every picture as soon as it is asked for.
    AsFast,
}

/// What happens at the end of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repeat {
    /// The source ends.
    Once,
    /// The clip begins again; media time goes on rising.
    Forever,
}

/// A clip or a folder of pictures as a source of frames.
///
/// | Path | What |
/// |---|---|
/// | `*.mp4`, `*.m4v`, `*.mov` | the first H.264 track (feature `h264`), progressive 8-bit 4:2:0; edit lists that cut the beginning or end are honoured, B frames are put in order |
/// | `*.y4m` | YUV4MPEG2: 8-bit 4:2:0, 4:2:2, 4:4:4 or mono, progressive |
/// | a folder | its JPEG, PNG and WebP files in the order of their names, [`fps`](Self::fps) a second; they stay compressed |
///
/// The type of a file is taken from its content, not from its name. Reading and decoding happen on a thread of the
/// source's own, at most three pictures ahead; it begins with the first call of
/// [`next_frame`](FrameSource::next_frame) and ends when the source is dropped. `captured` is the wall clock at
/// which a frame is handed out, so that a clip looks like a camera.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ooblex_core::FrameSource;
/// use ooblex_ingest::file::{FileSource, Pace};
///
/// let folder = tempfile::tempdir()?;
/// let clip = folder.path().join("clip.y4m");
/// std::fs::write(&clip, b"YUV4MPEG2 W2 H2 F30:1 Ip C420jpeg\nFRAME\nabcdUV")?;
/// let mut source = FileSource::open(&clip, Pace::AsFast)?;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let frame = source.next_frame().await?.expect("one picture");
/// assert_eq!((frame.image.width(), frame.image.height()), (2, 2));
/// assert!(source.next_frame().await?.is_none());
/// # Ok(()) })
/// # }
/// ```
pub struct FileSource {
    path: PathBuf,
    pace: Pace,
    repeat: Repeat,
    fps: NonZeroU32,
    limits: PictureLimits,
    /// Opened but not yet running.
    reader: Option<Box<dyn Reader>>,
    events: Option<QueueReceiver<Event>>,
    /// Taken from the queue and not yet due. Kept here so that a dropped future loses nothing.
    due: Option<Timed>,
    ahead: Option<Event>,
    /// The moment at which a media time is shown.
    anchor: Option<(Tick, i64)>,
    rate: NonZeroU32,
    skipped: u64,
    sequence: u64,
}

/// What the reading thread sends. Nearly always a frame, so boxing it would only add an allocation.
#[allow(clippy::large_enum_variant)]
enum Event {
    Frame(Timed),
    Failed(SourceError),
}

struct Timed {
    picture: Picture,
    /// Ticks since the first loop began.
    at: i64,
}

/// One picture of a clip, as its reader gives it.
struct Shown {
    picture: Picture,
    /// Ticks since the clip began.
    at: i64,
    /// Ticks until the next one.
    lasts: i64,
}

/// Reads one kind of clip. Blocking.
trait Reader: Send {
    /// Ticks a second.
    fn rate(&self) -> NonZeroU32;

    /// The next picture, `None` at the end. After an error reading goes on unless it was fatal.
    fn next(&mut self) -> Result<Option<Shown>, SourceError>;

    /// Goes back to the beginning.
    fn rewind(&mut self) -> Result<(), SourceError>;
}

impl FileSource {
    /// Opens a clip and reads its header; blocks for that long. [`Pace::RealTime`] repeats for ever and
    /// [`Pace::AsFast`] plays once unless [`repeat`](Self::repeat) says otherwise.
    ///
    /// # Errors
    /// [`SourceError::Fatal`] naming the path: not there, not of a known type, damaged, or a codec that is not
    /// supported.
    pub fn open(path: impl AsRef<Path>, pace: Pace) -> Result<Self, SourceError> {
        let path = path.as_ref().to_path_buf();
        let (fps, limits) = (folder::DEFAULT_FPS, PictureLimits::default());
        let reader = open_reader(&path, fps, limits)?;
        let repeat = if pace == Pace::RealTime { Repeat::Forever } else { Repeat::Once };
        Ok(Self {
            path,
            pace,
            repeat,
            fps,
            limits,
            rate: reader.rate(),
            reader: Some(reader),
            events: None,
            due: None,
            ahead: None,
            anchor: None,
            skipped: 0,
            sequence: 0,
        })
    }

    /// What happens at the end.
    pub fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// Pictures a second of a folder (default 10). Clips bring their own times and ignore this.
    ///
    /// # Errors
    /// [`SourceError::Fatal`] if the folder can no longer be read.
    pub fn fps(mut self, fps: NonZeroU32) -> Result<Self, SourceError> {
        self.fps = fps;
        self.open_again()?;
        Ok(self)
    }

    /// What the pictures of a folder may be at most.
    ///
    /// # Errors
    /// [`SourceError::Fatal`] if the folder can no longer be read.
    pub fn limits(mut self, limits: PictureLimits) -> Result<Self, SourceError> {
        self.limits = limits;
        self.open_again()?;
        Ok(self)
    }

    /// Pictures skipped so far because they were late.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn open_again(&mut self) -> Result<(), SourceError> {
        let reader = open_reader(&self.path, self.fps, self.limits)?;
        self.rate = reader.rate();
        self.reader = Some(reader);
        (self.events, self.due, self.ahead, self.anchor) = (None, None, None, None);
        Ok(())
    }

    fn start(&mut self, reader: Box<dyn Reader>) -> Result<(), SourceError> {
        let (to, from) = queue(QueuePolicy::Block(AHEAD));
        let repeat = self.repeat;
        std::thread::Builder::new()
            .name("ooblex-file".into())
            .spawn(move || play(reader, repeat, &to))
            .map_err(|e| self.fatal(format!("no thread to read it on: {e}").into()))?;
        self.events = Some(from);
        Ok(())
    }

    fn fatal(&self, error: BoxError) -> SourceError {
        fatal(&self.path, error)
    }

    fn take_waiting(&mut self) -> Option<Event> {
        self.ahead.take().or_else(|| self.events.as_ref().and_then(QueueReceiver::try_recv))
    }

    /// When a media time is shown; the first call makes it now.
    fn moment(&mut self, at: i64) -> Tick {
        let (moment, from) = *self.anchor.get_or_insert_with(|| (Tick::now(), at));
        let nanos = i128::from(at.saturating_sub(from)).max(0) * 1_000_000_000 / i128::from(self.rate.get());
        moment
            + std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4).min(u64::MAX / 4))
    }

    /// Waits for the time of the picture that is due, then replaces it by later ones whose time has come too.
    async fn keep_pace(&mut self, at: i64) {
        tokio::time::sleep_until(self.moment(at)).await;
        let now = Tick::now();
        while let Some(event) = self.take_waiting() {
            match event {
                Event::Frame(next) if self.moment(next.at) <= now => {
                    self.skipped += 1;
                    self.due = Some(next);
                }
                other => {
                    self.ahead = Some(other);
                    break;
                }
            }
        }
        let shown = self.due.as_ref().map_or(at, |due| due.at);
        if now.saturating_duration_since(self.moment(shown)) > GIVE_UP_AFTER {
            self.anchor = Some((now, shown));
        }
    }
}

#[async_trait]
impl FrameSource for FileSource {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        if let Some(reader) = self.reader.take() {
            self.start(reader)?;
        }
        if self.due.is_none() {
            let event = match self.ahead.take() {
                Some(event) => Some(event),
                None => match &mut self.events {
                    Some(events) => events.recv().await,
                    None => None,
                },
            };
            match event {
                None => return Ok(None),
                Some(Event::Failed(error)) => return Err(error),
                Some(Event::Frame(timed)) => self.due = Some(timed),
            }
        }
        if let (Pace::RealTime, Some(at)) = (self.pace, self.due.as_ref().map(|due| due.at)) {
            self.keep_pace(at).await;
        }
        let Some(Timed { picture, at }) = self.due.take() else { return Ok(None) };
        self.sequence += 1;
        let frame = Frame::new(StreamId::default(), self.sequence, Instant::now(), picture)
            .with_pts(Some(MediaTime::new(at, self.rate)))
            .with_captured(Some(SystemTime::now()));
        Ok(Some(frame))
    }

    async fn reopen(&mut self) -> Result<(), SourceError> {
        self.open_again()
    }
}

/// The reading thread: plays the clip into the queue until it ends or nobody listens.
fn play(mut reader: Box<dyn Reader>, repeat: Repeat, to: &QueueSender<Event>) {
    let mut begins = 0;
    loop {
        let (mut ends, mut any) = (begins, false);
        loop {
            let event = match reader.next() {
                Ok(None) => break,
                Ok(Some(Shown { picture, at, lasts })) => {
                    any = true;
                    ends = ends.max(begins + at + lasts.max(1));
                    Event::Frame(Timed { picture, at: begins + at })
                }
                Err(error) => Event::Failed(error),
            };
            let over = matches!(event, Event::Failed(SourceError::Fatal(_)));
            if matches!(to.send_blocking(event), Sent::Closed(_)) || over {
                return;
            }
        }
        if repeat == Repeat::Once {
            return;
        }
        // Media time goes on where the clip ended.
        begins = ends;
        let again = if any {
            reader.rewind()
        } else {
            Err(SourceError::Fatal("not a single picture could be read".into()))
        };
        if let Err(error) = again {
            let _ = to.send_blocking(Event::Failed(error));
            return;
        }
    }
}

fn fatal(path: &Path, error: BoxError) -> SourceError {
    SourceError::Fatal(format!("{}: {error}", path.display()).into())
}

fn open_reader(path: &Path, fps: NonZeroU32, limits: PictureLimits) -> Result<Box<dyn Reader>, SourceError> {
    open_kind(path, fps, limits).map_err(|e| fatal(path, e))
}

fn open_kind(path: &Path, fps: NonZeroU32, limits: PictureLimits) -> Result<Box<dyn Reader>, BoxError> {
    let pool = BufferPool::new(POOLED);
    if std::fs::metadata(path)?.is_dir() {
        return Ok(Box::new(folder::Folder::open(path, fps, limits, pool)?));
    }
    let mut head = [0; 12];
    let got = read_up_to(&mut File::open(path)?, &mut head)?;
    match &head[..got] {
        [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', b'2', ..] => {
            Ok(Box::new(y4m::Y4m::open(path, pool)?))
        }
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => open_mp4(path, pool),
        [] => Err("the file is empty".into()),
        _ => Err("not a clip that can be played: give an H.264 MP4, a Y4M, or a folder of pictures".into()),
    }
}

#[cfg(feature = "h264")]
fn open_mp4(path: &Path, pool: BufferPool) -> Result<Box<dyn Reader>, BoxError> {
    Ok(Box::new(mp4::Mp4Reader::open(path, pool)?))
}

#[cfg(not(feature = "h264"))]
fn open_mp4(_: &Path, _: BufferPool) -> Result<Box<dyn Reader>, BoxError> {
    Err("this build cannot play MP4; enable the feature `h264` of ooblex-ingest".into())
}

/// Reads until `buffer` is full or the file ends; the bytes read.
fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;

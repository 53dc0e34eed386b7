//! The viewers of one stream as the fan-out thread sees them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ooblex_core::{BoxError, BufferPool};

use crate::hub::{Channel, MjpegConfig, Shared};
use crate::multipart::{Part, PictureInfo};
use crate::placeholder;

/// Which room: the channel's address, which is unique while the room holds the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RoomKey(usize);

impl RoomKey {
    /// The room of those who wait for any stream.
    pub(crate) const LIMBO: Self = Self(0);

    pub(crate) fn of(channel: &Arc<Channel>) -> Self {
        Self(Arc::as_ptr(channel).addr())
    }
}

/// A room's placeholder picture.
pub(crate) enum Placeholder {
    Missing,
    Drawing,
    Ready((u32, u32), Arc<Part>),
}

impl Placeholder {
    pub(crate) fn ready(&self) -> Option<Arc<Part>> {
        if let Self::Ready(_, part) = self { Some(part.clone()) } else { None }
    }

    pub(crate) fn of_size(&self, size: (u32, u32)) -> Option<Arc<Part>> {
        if let Self::Ready(own, part) = self { (*own == size).then(|| part.clone()) } else { None }
    }

    pub(crate) fn is_being_drawn(&self) -> bool {
        matches!(self, Self::Drawing)
    }
}

/// Viewers of one stream, or of none.
pub(crate) struct Room {
    channel: Option<Arc<Channel>>,
    pub(crate) viewers: Vec<usize>,
    pub(crate) last: Option<Arc<Part>>,
    pub(crate) placeholder: Placeholder,
    /// When the room began, or its last stream ended: what staleness counts from without a part.
    pub(crate) frame_at: Instant,
    /// When something was last sent to all.
    pub(crate) sent_at: Instant,
}

impl Room {
    fn new(channel: Option<Arc<Channel>>, now: Instant) -> Self {
        Self {
            channel,
            viewers: Vec::new(),
            last: None,
            placeholder: Placeholder::Missing,
            frame_at: now,
            sent_at: now,
        }
    }

    pub(crate) fn key(&self) -> RoomKey {
        self.channel.as_ref().map_or(RoomKey::LIMBO, RoomKey::of)
    }

    /// The stream's name, empty in limbo.
    pub(crate) fn name(&self) -> String {
        self.channel.as_ref().map_or_else(String::new, |c| c.id.to_string())
    }

    /// Size of the stream's pictures, if one was seen.
    pub(crate) fn size(&self) -> Option<(u32, u32)> {
        self.last.as_ref().map(|part| part.size)
    }

    /// Whether the last picture is too old to be shown.
    pub(crate) fn is_stale(&self, now: Instant, config: &MjpegConfig) -> bool {
        let at = self.last.as_ref().map_or(self.frame_at, |part| part.at);
        let limit = self.channel.as_ref().map_or(config.placeholder_after, |c| c.placeholder_after);
        now.saturating_duration_since(at) >= limit
    }

    /// Whether something has to be sent: a repetition, or the placeholder for the first time.
    fn is_due(&self, now: Instant, config: &MjpegConfig) -> bool {
        // Ticks come four times in that time; half of one early is on average on time.
        let quiet = now.saturating_duration_since(self.sent_at);
        quiet >= config.repeat_after * 7 / 8 && (self.last.is_some() || self.is_stale(now, config))
    }
}

/// All rooms.
#[derive(Default)]
pub(crate) struct Rooms(HashMap<RoomKey, Room>);

impl Rooms {
    pub(crate) fn of(&mut self, channel: &Arc<Channel>, now: Instant) -> &mut Room {
        self.0.entry(RoomKey::of(channel)).or_insert_with(|| Room::new(Some(channel.clone()), now))
    }

    pub(crate) fn limbo(&mut self, now: Instant) -> &mut Room {
        self.0.entry(RoomKey::LIMBO).or_insert_with(|| Room::new(None, now))
    }

    pub(crate) fn get_mut(&mut self, key: RoomKey) -> Option<&mut Room> {
        self.0.get_mut(&key)
    }

    pub(crate) fn remove(&mut self, channel: &Arc<Channel>) -> Option<Room> {
        self.0.remove(&RoomKey::of(channel))
    }

    /// Rooms with viewers that something has to be sent to.
    pub(crate) fn due(&self, now: Instant, config: &MjpegConfig) -> Vec<RoomKey> {
        let due = |room: &&Room| !room.viewers.is_empty() && room.is_due(now, config);
        self.0.values().filter(due).map(Room::key).collect()
    }
}

/// Draws and encodes a placeholder.
pub(crate) fn placeholder_part(shared: &Shared, size: (u32, u32), name: &str) -> Result<Part, BoxError> {
    let image = placeholder::placeholder(size.0, size.1, name, &BufferPool::new(0))?;
    let jpeg = shared.encoders.encode(&image, shared.config.quality)?;
    let now = shared.config.clock.now();
    Ok(Part::new(jpeg, PictureInfo::placeholder(SystemTime::now()), size, now, now, None))
}

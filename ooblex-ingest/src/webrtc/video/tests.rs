use ooblex_core::Rotation;

use super::*;

const VP8: u8 = 96;

fn formats() -> Vec<Format> {
    let format = |payload_type, name: &str, codec| Format {
        payload_type,
        name: name.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        fmtp: String::new(),
        codec,
    };
    vec![
        format(VP8, "VP8", Some(VideoCodec::Vp8)),
        format(97, "rtx", None),
        format(102, "H264", Some(VideoCodec::H264)),
    ]
}

/// Sends frames of one layer: one packet each.
struct Layered {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    bytes: usize,
}

impl Layered {
    fn new(ssrc: u32, bytes: usize) -> Self {
        Self { ssrc, sequence: 0, timestamp: ssrc.wrapping_mul(1_000), bytes }
    }

    fn packet(&mut self, keyframe: bool) -> Arrived {
        self.sequence += 1;
        self.timestamp = self.timestamp.wrapping_add(3_000);
        // Descriptor with the start bit, then the frame tag; a key frame has start code and size (RFC 6386 9.1).
        let mut payload = vec![0x10, u8::from(!keyframe) | 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0];
        payload.resize(self.bytes, 0);
        Arrived {
            ssrc: self.ssrc,
            payload_type: VP8,
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: true,
            payload: payload.into(),
            orientation: None,
        }
    }
}

fn units(video: &mut Video, now: Instant) -> Vec<(usize, bool)> {
    std::iter::from_fn(|| video.pop(now)).map(|unit| (unit.data.len(), unit.fresh)).collect()
}

fn video() -> Video {
    Video::new(&formats(), AssemblerConfig::default())
}

#[test]
fn the_best_live_layer_is_shown_and_changes_come_at_key_frames() {
    let (mut video, start) = (video(), Instant::now());
    let (mut low, mut high) = (Layered::new(1, 200), Layered::new(2, 1_000));
    let mut shown = Vec::new();
    let mut asked = Vec::new();
    for n in 0..90u64 {
        let now = start + Duration::from_millis(n * 33);
        // The high layer starts late, answers a request with a key frame as both do, and dies at the end.
        let key = |ssrc| n == 0 || asked.last() == Some(&(n - 1, ssrc));
        video.push(low.packet(key(1)), now);
        if (10..60).contains(&n) {
            video.push(high.packet(key(2)), now);
        }
        shown.extend(units(&mut video, now).into_iter().map(|(bytes, fresh)| (n, bytes, fresh)));
        asked.extend(video.take_requests(now).into_iter().map(|ssrc| (n, ssrc)));
    }
    let first = shown[0];
    assert_eq!((first.0, first.2), (0, true));
    assert!(first.1 < 300, "the low layer is shown first");
    let change = shown.iter().find(|unit| unit.1 > 900).expect("the high layer came");
    assert!(change.2 && (25..45).contains(&change.0), "after its rate was seen: {change:?}");
    assert!(asked.contains(&(change.0 - 1, 2)), "{asked:?}");
    let back = shown.iter().find(|unit| unit.0 > change.0 && unit.1 < 300).expect("back to the low layer");
    assert!(asked.contains(&(back.0 - 1, 1)), "{asked:?}");
    assert!(back.2 && (back.0 - 60) * 33 < 900, "soon after the high one died: {back:?}");
}

#[test]
fn another_codec_on_the_same_track_begins_anew() {
    let (mut video, now) = (video(), Instant::now());
    let mut source = Layered::new(1, 300);
    video.push(source.packet(true), now);
    assert_eq!(units(&mut video, now).len(), 1);
    assert_eq!(video.codec(), Some(VideoCodec::Vp8));
    // An H.264 key frame: SPS, PPS and IDR slice in one aggregation packet (RFC 6184 section 5.7.1).
    let sps = [0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08, 0x84, 0x6a];
    let (pps, idr) = ([0x68, 0xce, 0x3c, 0x80], [0x65, 0x88, 0x84, 0x00]);
    let mut payload = vec![24];
    for nal in [&sps[..], &pps, &idr] {
        payload.extend((nal.len() as u16).to_be_bytes());
        payload.extend(nal);
    }
    video.push(Arrived { payload_type: 102, payload: payload.into(), ..source.packet(false) }, now);
    let unit = video.pop(now).expect("a unit");
    let h264 = Coding::Video(VideoCodec::H264);
    assert_eq!((unit.coding, unit.fresh, unit.keyframe), (h264, true, true));
    // Payload types that were not negotiated, and repair packets, are left alone.
    video.push(Arrived { payload_type: 97, ..source.packet(true) }, now);
    video.push(Arrived { payload_type: 33, ..source.packet(true) }, now);
    assert!(video.pop(now).is_none());
    assert_eq!(video.counts().packets, 2);
}

#[test]
fn orientation_belongs_to_the_frame_it_came_with_and_all_after_it() {
    let (mut video, now) = (video(), Instant::now());
    let mut source = Layered::new(1, 100);
    let mut turn = |orientation| {
        video.push(Arrived { orientation, ..source.packet(source.sequence == 0) }, now);
        video.pop(now).expect("a unit").rotation
    };
    assert_eq!(turn(None), Rotation::None);
    assert_eq!(turn(Some(0b01)), Rotation::Clockwise90);
    assert_eq!(turn(None), Rotation::Clockwise90, "it holds until another one comes");
    assert_eq!(turn(Some(0b11)), Rotation::Clockwise270);
    assert_eq!(turn(Some(0b00)), Rotation::None);
}

#[test]
fn a_sender_report_dates_frames() {
    let (mut video, now) = (video(), Instant::now());
    let mut source = Layered::new(1, 100);
    video.push(source.packet(true), now);
    assert!(video.pop(now).expect("a unit").captured.is_none());
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    video.clock(1, SenderClock { timestamp: source.timestamp, at });
    video.push(source.packet(false), now);
    let captured = video.pop(now).expect("a unit").captured.expect("dated");
    assert_eq!(captured.duration_since(at).expect("later").as_micros(), 33_333);
    // Frames from before the report are dated, too.
    let clock = SenderClock { timestamp: 9_000, at };
    assert_eq!(clock.when(0).expect("a time"), at - Duration::from_millis(100));
}

#[test]
fn strangers_cannot_push_out_a_live_layer() {
    let (mut video, now) = (video(), Instant::now());
    let mut shown = Layered::new(1, 100);
    video.push(shown.packet(true), now);
    assert_eq!(units(&mut video, now).len(), 1);
    for ssrc in 2..100 {
        video.push(Layered::new(ssrc, 100).packet(false), now);
    }
    assert_eq!(video.layers.len(), MAX_LAYERS);
    video.push(shown.packet(false), now);
    assert_eq!(units(&mut video, now), [(99, false)]);
    // A sender that starts anew under another SSRC takes the place of what is silent.
    let later = now + LAYER_SILENCE;
    video.push(Layered::new(500, 150).packet(true), later);
    assert_eq!(units(&mut video, later), [(149, true)]);
    assert_eq!(video.counts().packets, 10, "what was counted stays counted");
}

#[test]
fn a_decoder_that_failed_waits_for_a_key_frame() {
    let (mut video, now) = (video(), Instant::now());
    let mut source = Layered::new(7, 100);
    video.push(source.packet(true), now);
    assert_eq!(units(&mut video, now).len(), 1);
    assert!(video.take_requests(now).is_empty());
    video.require_keyframe();
    assert_eq!(video.take_requests(now), [7]);
    video.push(source.packet(false), now);
    assert!(units(&mut video, now).is_empty());
    video.push(source.packet(true), now);
    assert_eq!(units(&mut video, now).len(), 1);
    video.ask_anyway();
    assert_eq!(video.take_requests(now), [7]);
}

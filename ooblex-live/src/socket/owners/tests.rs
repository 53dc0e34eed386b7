//! Who gets a name. Nothing is published here, so every stream is silent.

use ooblex_core::hub::{Beginning, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::{BoxError, FrameSink, PassThrough};

use super::*;

const GRACE: Duration = Duration::from_secs(10);

struct Nothing;

impl StreamFactory for Nothing {
    fn effect(&self, _: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 0, Box::new(PassThrough))
    }
    fn sinks(&self, _: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        Vec::new()
    }
}

fn owners() -> Owners {
    Owners::new(Hub::new(HubConfig::default(), Nothing), GRACE, 6 * GRACE)
}

fn claim(
    owners: &Owners,
    caller: Option<u64>,
    token: Option<&str>,
    now: Instant,
) -> Result<Claim, &'static str> {
    let cam = StreamId::new("cam").expect("a name");
    owners.claim(Wanted { stream: Some(&cam), token, caller }, now).map_err(|problem| problem.code())
}

#[tokio::test]
async fn a_silent_stream_is_taken_over_by_its_caller_or_its_token_alone() {
    let (owners, now) = (owners(), Instant::now());
    let first = claim(&owners, Some(1), None, now).unwrap_or_else(|why| panic!("{why}"));
    for caller in [Some(2), None] {
        assert_eq!(claim(&owners, caller, None, now).err(), Some("name_taken"), "{caller:?}");
        assert_eq!(claim(&owners, caller, Some("a guess"), now).err(), Some("name_taken"), "{caller:?}");
    }
    let second = claim(&owners, Some(1), None, now).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(claim(&owners, Some(2), Some(&first.token), now).err(), Some("name_taken"), "an old token");
    let third = claim(&owners, Some(2), Some(&second.token), now).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(owners.connected(), 1);
    // Those that were taken over have nothing to let go of any more.
    drop((first, second));
    assert_eq!(owners.connected(), 1);
    drop(third);
    assert_eq!(owners.connected(), 0);
    let now = Instant::now();
    assert_eq!(claim(&owners, Some(3), None, now).err(), Some("name_taken"), "it may come back");
    assert!(claim(&owners, Some(3), None, now + GRACE).is_ok());
}

#[tokio::test]
async fn names_are_kept_for_so_many_lost_publishers_and_no_more() {
    let (owners, now) = (owners(), Instant::now());
    for n in 0..MOST_LOST + 50 {
        let stream = StreamId::new(&format!("cam{n}")).expect("a name");
        let wanted = Wanted { stream: Some(&stream), token: None, caller: None };
        drop(owners.claim(wanted, now).unwrap_or_else(|problem| panic!("{problem:?}")));
    }
    let kept = owners.lock().by_stream.len();
    assert!((MOST_LOST..=MOST_LOST + 1).contains(&kept), "{kept} names");
}

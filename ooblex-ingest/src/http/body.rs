//! Request bodies, read within a limit.

use std::time::Duration;

use ::http::{HeaderMap, header};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use ooblex_http::Problem;

use crate::picture::PictureError;

/// A body that does not go on for this long has failed.
const SILENCE: Duration = Duration::from_secs(20);
/// A client that is still sending when it is refused is listened to for this long and this many times the limit, so
/// that it gets to reading the answer. Closing at once would make its kernel throw the answer away.
const DRAIN_TIME: Duration = Duration::from_secs(5);
const DRAIN_LIMITS: usize = 4;

/// Reads the whole body, at most `limit` bytes. A body announced as longer is refused before any of it is read;
/// one that turns out longer is refused at that moment, so no more than `limit` bytes are ever held.
pub(crate) async fn collect(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if let Some(bytes) = announced.filter(|&n| n > limit as u64) {
        // Who waits for permission has sent nothing yet.
        if !headers.contains_key(header::EXPECT) {
            drain(body, limit);
        }
        return Err(PictureError::TooLarge { bytes, limit }.into());
    }
    let mut first: Option<Bytes> = None;
    let mut whole: Option<BytesMut> = None;
    let mut total = 0;
    while let Some(chunk) = next_chunk(&mut body).await? {
        total += chunk.len();
        if total > limit {
            drain(body, limit);
            return Err(PictureError::TooLarge { bytes: total as u64, limit }.into());
        }
        match (&mut whole, first.take()) {
            (Some(whole), _) => whole.extend_from_slice(&chunk),
            // A body that arrives in one piece is not copied.
            (None, None) => first = Some(chunk),
            (None, Some(before)) => {
                // Invariant: the announced length was found to be within the limit.
                let capacity = announced.map_or(2 * total, |n| n as usize).min(limit).max(total);
                let mut buffer = BytesMut::with_capacity(capacity);
                buffer.extend_from_slice(&before);
                buffer.extend_from_slice(&chunk);
                whole = Some(buffer);
            }
        }
    }
    Ok(whole.map(BytesMut::freeze).or(first).unwrap_or_default())
}

/// The next piece of data, `None` at the end.
async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    let incomplete = |why: String| Problem::new(400, "body_incomplete", why).field("body");
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        match frame {
            Err(_) => return Err(incomplete(format!("the body stopped for {} s", SILENCE.as_secs()))),
            Ok(None) => return Ok(None),
            Ok(Some(Err(e))) => return Err(incomplete(format!("the body ended early: {e}"))),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            },
        }
    }
}

/// Reads and forgets a bounded rest of the body while the answer is on its way.
fn drain(mut body: Body, limit: usize) {
    tokio::spawn(async move {
        let mut left = limit.saturating_mul(DRAIN_LIMITS);
        let _ = tokio::time::timeout(DRAIN_TIME, async {
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    break;
                }
            }
        })
        .await;
    });
}

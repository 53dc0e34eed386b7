use super::*;

/// A black picture, and one thing that a processor of the test found in it.
fn site_that_finds() -> Site {
    use ooblex_core::{Annotation, AnnotationKind, BoxError, KindSpec, Options, Verdict, processor_fn};
    let site = site();
    let mut registry = site.app.effects().registry().clone();
    registry.add(KindSpec::new("finder", "finds"), |_: &Options| {
        Ok::<_, BoxError>(processor_fn(|frame, cx| {
            let mut thing = Annotation::new(AnnotationKind::Box, "thing", 0.5, "finder");
            thing = thing.with_bounds([0.0, 0.25, 0.5, 1.0]);
            thing.generation = cx.generation;
            frame.annotations.push(thing);
            Ok(Verdict::Emit)
        }))
    });
    site_of(&["--model-name", "finder"], registry, Models::default())
}

fn push(site: &Site, stream: &str) -> u64 {
    let stream = site.app.hub().publish(&id(stream), "upload").expect("begins");
    let image = ooblex_core::Image::black(64, 48, stream.pool()).expect("a picture");
    let picture = ooblex_core::Picture::new(image, stream.pool().clone());
    stream.push(picture, None, None).expect("takes it").sequence()
}

#[tokio::test]
async fn findings_are_given_as_data() {
    let site = site_that_finds();
    site.problem("GET", "/streams/cam/annotations", "", 404, "unknown_stream").await;
    site.problem("GET", "/streams/c%20m/annotations", "", 400, "bad_name").await;
    site.app.hub().publish(&id("cam"), "upload").expect("begins");
    site.problem("GET", "/streams/cam/annotations", "", 503, "no_frame").await;
    let sequence = push(&site, "cam");
    let found = loop {
        let (status, found) = site.json("GET", "/streams/cam/annotations", "").await;
        if status == 200 {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(
        found,
        json!({"stream": "cam", "sequence": sequence, "width": 64, "height": 48, "items": [
            {"kind": "box", "label": "thing", "score": 0.5, "box": [0.0, 0.25, 0.5, 1.0], "points": [],
             "model": "finder", "generation": 1}
        ]})
    );
}

#[tokio::test]
async fn findings_from_before_a_private_effect_are_not_told() {
    let site = site_that_finds();
    push(&site, "cam");
    while site.json("GET", "/streams/cam/annotations", "").await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stream = site.app.hub().get(&id("cam")).expect("a stream");
    let private = ooblex_core::pipeline::Effect::pending("private", 9, ooblex_core::FailurePolicy::Blank);
    assert!(stream.pipeline().swap().to(private));
    site.problem("GET", "/streams/cam/annotations", "", 503, "no_frame").await;
    let accept = [("accept", "text/event-stream")];
    let response = site.ask("GET", "/streams/cam/annotations", &accept, "").await;
    let mut body = response.into_body().into_data_stream();
    let sequence = push(&site, "cam");
    let event = futures::StreamExt::next(&mut body).await.expect("an event").expect("no error");
    let event = String::from_utf8(event.to_vec()).expect("text");
    assert!(event.starts_with(&format!("id: {sequence}\n")) && event.contains("\"items\":[]"), "{event}");
}

#[tokio::test]
async fn findings_come_as_events_until_the_stream_ends() {
    let site = site_that_finds();
    site.app.hub().publish(&id("cam"), "upload").expect("begins");
    let accept = [("accept", "text/html, text/event-stream;q=0.9")];
    let response = site.ask("GET", "/streams/cam/annotations", &accept, "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let mut body = response.into_body().into_data_stream();
    for _ in 0..3 {
        let sequence = push(&site, "cam");
        let event = futures::StreamExt::next(&mut body).await.expect("an event").expect("no error");
        let event = String::from_utf8(event.to_vec()).expect("text");
        let (number, data) = event.split_once('\n').expect("two lines");
        assert_eq!(number, format!("id: {sequence}"));
        let data: Value =
            serde_json::from_str(data.trim().strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!((&data["sequence"], &data["items"][0]["label"]), (&json!(sequence), &json!("thing")));
    }
    site.app.hub().shutdown(Duration::from_secs(2)).await.expect("stops");
    assert!(futures::StreamExt::next(&mut body).await.is_none());
}

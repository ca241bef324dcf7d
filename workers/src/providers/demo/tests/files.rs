//! The files that the demo provider makes.

use std::{collections::HashSet, io::Cursor, time::Instant};

use image::{AnimationDecoder, ImageFormat, ImageReader, codecs::gif::GifDecoder};
use serde_json::json;

use super::{Duration, Fixture, call, small};

#[tokio::test]
async fn every_format_has_the_size_that_was_asked_for() {
    let fixture = Fixture::new();
    for (word, format) in
        [("png", ImageFormat::Png), ("jpeg", ImageFormat::Jpeg), ("webp", ImageFormat::WebP)]
    {
        let call = small(json!({"format": word, "width": 200, "height": 64, "count": 4}));
        let files = fixture.result(&call).await;
        assert_eq!(files.len(), 4);
        assert_eq!(files.iter().collect::<HashSet<_>>().len(), 4, "four different pictures");
        for (declared, bytes) in files {
            assert_eq!(declared, format.to_mime_type());
            let decoded = ImageReader::with_format(Cursor::new(bytes), format).decode().unwrap();
            assert_eq!((decoded.width(), decoded.height()), (200, 64));
        }
    }
}

#[tokio::test]
async fn prompt_seed_and_size_make_the_picture() {
    let fixture = Fixture::new();
    let same = fixture.result(&small(json!({}))).await;
    assert_eq!(fixture.result(&small(json!({}))).await, same);
    assert_eq!(Fixture::new().result(&small(json!({"delay_seconds": 0}))).await, same);
    let mut seen = HashSet::from([same]);
    for more in [
        json!({"seed": 0}),
        json!({"seed": 1}),
        json!({"seed": u64::MAX}),
        json!({"prompt": "another hill"}),
        json!({"width": 65}),
    ] {
        assert!(seen.insert(fixture.result(&small(more.clone())).await), "{more}");
    }
}

#[tokio::test]
async fn any_prompt_and_shape_can_be_painted() {
    let fixture = Fixture::new();
    // One prompt for each scene, and some that name nothing.
    for prompt in [
        "mountain",
        "ocean",
        "galaxy",
        "city",
        "mandala",
        "bubbles",
        "glass",
        "wind",
        "marble",
        "bauhaus",
        "\u{1F345}",
        "日本の山",
        "\"\\\n",
        "...",
    ] {
        for (width, height) in [(64, 64), (64, 500), (333, 65)] {
            let input = json!({"prompt": prompt, "width": width, "height": height});
            let files = fixture.result(&call("sketch", input)).await;
            let decoded = image::load_from_memory(&files[0].1).unwrap().to_rgb8();
            let colours = decoded.pixels().map(|p| p.0).collect::<HashSet<_>>().len();
            assert!(colours > 20, "{prompt}: a picture with {colours} colours");
        }
    }
}

#[tokio::test]
async fn a_clip_moves_and_lasts_as_long_as_asked() {
    let fixture = Fixture::new();
    for prompt in ["silk", "rain", "mandala"] {
        let input = json!({"prompt": prompt, "duration_seconds": 1.5, "width": 96, "height": 64});
        let call = call("clip", input);
        let files = fixture.result(&call).await;
        assert_eq!((files.len(), files[0].0.as_str()), (1, "image/gif"));
        let frames = GifDecoder::new(Cursor::new(&files[0].1)).unwrap().into_frames();
        let frames = frames.collect_frames().unwrap();
        let total = frames.iter().map(|frame| Duration::from(frame.delay())).sum::<Duration>();
        assert_eq!(total, Duration::from_millis(1_500));
        assert_eq!(frames[0].buffer().dimensions(), (96, 64));
        let pictures = frames.iter().map(|frame| frame.buffer().as_raw()).collect::<HashSet<_>>();
        assert_eq!(pictures.len(), frames.len(), "every frame differs");
    }
}

/// Prints what a picture takes; run with `--nocapture` to see it. Its only check is a generous
/// bound that catches work gone quadratic: a shared machine's time is no promise.
#[tokio::test]
async fn a_picture_takes_little_time() {
    let fixture = Fixture::new();
    for (model, prompt) in [
        ("sketch", "mountains at sunset"),
        ("sketch", "a garden of roses"),
        ("sketch", "city at night"),
        ("clip", "marble"),
    ] {
        let call = call(model, json!({"prompt": prompt}));
        let accepted = fixture.submit(&call).await;
        let start = Instant::now();
        let files = fixture.look(&call, &accepted).await;
        let took = start.elapsed();
        eprintln!("{model} {prompt}: {took:?}, {} bytes", files[0].1.len());
        assert!(took < Duration::from_secs(20), "{prompt}: {took:?}");
    }
}

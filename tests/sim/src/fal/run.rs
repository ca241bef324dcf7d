//! Running a request: it waits, runs, ends, is billed, and its callback goes out.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Fal, RUN,
    fault::{Failure, Fault, MediaFault, RunFault},
    request::{Outcome, Request},
    webhook,
};
use crate::{
    input::{self, Unreadable},
    media::{self, Media},
};

/// The longest that a simulated run waits for anything.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn run(fal: Fal, request: Arc<Request>) {
    let faults = Faults::of(&fal, &request);
    let ended = match wait(&fal, &request, &faults).await {
        Some(failure) => (Outcome::Error(failure, true), Vec::new(), 0.0, "canceled"),
        None => make(&fal, &request, faults).await,
    };
    let (outcome, media, units, word) = ended;
    if !request.end(outcome, media, units) {
        return;
    }
    fal.0.record.change(&request.id, |entry| {
        entry.end(word, units);
    });
    webhook::report(&fal, &request).await;
}

/// The rules that concern the run.
struct Faults {
    failure: Option<(Failure, bool)>,
    stall: bool,
    queue: bool,
    time: Duration,
    black: bool,
    gone: bool,
    odd: bool,
    output: Option<Value>,
    ignore_cancel: bool,
}

impl Faults {
    fn of(fal: &Fal, request: &Request) -> Self {
        let has = |wanted: &RunFault| {
            let same = |fault: &Fault| matches!(fault, Fault::Run(run) if run == wanted);
            fal.0.rules.take(&request.text, |fault| same(fault).then_some(())).is_some()
        };
        let pick = |fault: &Fault| match fault {
            Fault::Run(RunFault::Fail(failure)) => Some((failure.clone(), true)),
            Fault::Run(RunFault::FailSilently(failure)) => Some((failure.clone(), false)),
            _ => None,
        };
        let slow = |fault: &Fault| match fault {
            Fault::Run(RunFault::Slow(millis)) => Some(Duration::from_millis(*millis)),
            _ => None,
        };
        let output = |fault: &Fault| match fault {
            Fault::Run(RunFault::Output(output)) => Some(output.clone()),
            _ => None,
        };
        Self {
            failure: fal.0.rules.take(&request.text, pick),
            stall: has(&RunFault::Stall),
            queue: has(&RunFault::Queue),
            time: fal.0.rules.take(&request.text, slow).unwrap_or(RUN),
            black: has(&RunFault::Black),
            gone: has(&RunFault::Gone),
            odd: has(&RunFault::Odd),
            output: fal.0.rules.take(&request.text, output),
            ignore_cancel: has(&RunFault::IgnoreCancel),
        }
    }
}

/// One of those that wait, until it is dropped.
struct Queued(Fal);

impl Queued {
    fn of(fal: &Fal) -> Self {
        fal.0.queued.fetch_add(1, Ordering::SeqCst);
        Self(fal.clone())
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.0.queued.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits as long as the request takes. `Some`: it ends like this before.
async fn wait(fal: &Fal, request: &Request, faults: &Faults) -> Option<Failure> {
    let queued = Queued::of(fal);
    let canceled = || Failure::typed(499, "client_cancelled");
    let deadline = request.start_timeout.unwrap_or(FOREVER);
    let started = async {
        if faults.queue {
            tokio::time::sleep(FOREVER).await;
        }
        // A short wait, so that a request is seen in the queue too.
        tokio::time::sleep(faults.time / 3).await;
    };
    tokio::select! {
        () = started => {}
        () = request.to_be_canceled() => return Some(canceled()),
        () = tokio::time::sleep(deadline) => return Some(Failure::start_deadline()),
    }
    drop(queued);
    request.start();
    if faults.stall {
        tokio::time::sleep(FOREVER).await;
    }
    tokio::time::sleep(faults.time - faults.time / 3).await;
    request.released().await;
    (request.is_to_be_canceled() && !faults.ignore_cancel).then(canceled)
}

type Ended = (Outcome, Vec<Media>, f64, &'static str);

async fn make(fal: &Fal, request: &Request, faults: Faults) -> Ended {
    if let Some((failure, told)) = faults.failure {
        // What is the service's fault is never charged.
        let units = if failure.status < 500 { 0.5 } else { 0.0 };
        return (Outcome::Error(failure, told), Vec::new(), units, "failed");
    }
    if let Err(failure) = read_input(fal, request).await {
        return (Outcome::Error(failure, true), Vec::new(), 0.0, "failed");
    }
    let (files, units) = match media_of(request, faults.black) {
        Ok(made) => made,
        Err(error) => {
            let failure = Failure::list(422, "less_than_equal", &error.to_string());
            return (Outcome::Error(failure, true), Vec::new(), 0.0, "failed");
        }
    };
    if faults.gone {
        request.expire();
    }
    let output = match faults.output {
        Some(output) => output,
        None => output(fal, request, &files, faults.black, faults.odd),
    };
    (Outcome::Output(output), files, units, "succeeded")
}

/// A model reads the files that it is to work on.
async fn read_input(fal: &Fal, request: &Request) -> Result<(), Failure> {
    let failed = |field: &str, kind: &str, words: &str| {
        let mut failure = Failure::list(422, kind, words);
        failure.body["detail"][0]["loc"] = json!(["body", field]);
        failure
    };
    if input::wants_picture(&request.model) && input::places(&request.input).is_empty() {
        return Err(failed("image_url", "missing", "Field required"));
    }
    let read =
        input::read(&fal.0.client, &request.input).await.map_err(|(field, unreadable)| {
            match unreadable {
                Unreadable::NotFetched => {
                    failed(&field, "file_download_error", "Failed to download the file.")
                }
                Unreadable::NoPicture => {
                    failed(&field, "image_load_error", "Failed to load the image.")
                }
            }
        })?;
    fal.0.record.change(&request.id, |entry| entry.files = read);
    Ok(())
}

fn is_video(model: &str) -> bool {
    model.contains("video")
}

/// The files, and what they cost: megapixels of pictures, seconds of video.
fn media_of(request: &Request, black: bool) -> image::ImageResult<(Vec<Media>, f64)> {
    let input = &request.input;
    if is_video(&request.model) {
        let seconds = match &input["duration"] {
            Value::String(text) => text.trim_end_matches('s').parse().unwrap_or(5),
            Value::Number(number) => number.as_u64().unwrap_or(5),
            _ => 5,
        };
        let seconds = u32::try_from(seconds.min(60)).unwrap_or(60);
        return Ok((vec![media::film(&request.text, seconds)?], f64::from(seconds)));
    }
    let (width, height) = size(&input["image_size"]);
    let count = input["num_images"].as_u64().unwrap_or(1).min(4);
    let jpeg = input["output_format"] == "jpeg";
    let files: Result<Vec<Media>, _> = (0..count)
        .map(|n| media::picture(&format!("{} {n}", request.text), width, height, jpeg, black))
        .collect();
    let megapixels = (u64::from(width) * u64::from(height)).div_ceil(1_000_000);
    let units = u32::try_from(megapixels * count).unwrap_or(u32::MAX);
    Ok((files?, f64::from(units)))
}

fn size(asked: &Value) -> (u32, u32) {
    let side = |name: &str| asked[name].as_u64().and_then(|side| u32::try_from(side).ok());
    if let (Some(width), Some(height)) = (side("width"), side("height")) {
        return (width.min(2048), height.min(2048));
    }
    match asked.as_str() {
        Some("square_hd") => (1024, 1024),
        Some("square") => (512, 512),
        Some("portrait_4_3") => (768, 1024),
        Some("portrait_16_9") => (576, 1024),
        Some("landscape_16_9") => (1024, 576),
        _ => (1024, 768),
    }
}

fn output(fal: &Fal, request: &Request, files: &[Media], black: bool, odd: bool) -> Value {
    let moved = fal.0.rules.take(&request.text, |fault| match fault {
        Fault::Media(MediaFault::Elsewhere(base)) => Some(base.clone()),
        _ => None,
    });
    let base = moved.unwrap_or_else(|| fal.base());
    let file = |(index, media): (usize, &Media)| {
        let url = format!("{base}/files/{}/{index}.{}", request.id, media.extension);
        let mut file = json!({"url": url, "content_type": media.content_type});
        if is_video(&request.model) {
            file["file_name"] = json!(format!("output.{}", media.extension));
            file["file_size"] = json!(media.bytes.len());
        } else {
            let (width, height) = size(&request.input["image_size"]);
            file["width"] = if odd { Value::Null } else { json!(width) };
            file["height"] = if odd { Value::Null } else { json!(height) };
        }
        file
    };
    let files: Vec<Value> = files.iter().enumerate().map(file).collect();
    let seed = if odd { json!(u64::MAX) } else { json!(1_234_567) };
    if is_video(&request.model) {
        return json!({"video": files.first(), "seed": seed});
    }
    let flags = if odd { Value::Null } else { json!(vec![black; files.len()]) };
    json!({
        "images": files, "timings": {"inference": 0.1}, "seed": seed,
        "has_nsfw_concepts": flags, "prompt": request.text,
    })
}

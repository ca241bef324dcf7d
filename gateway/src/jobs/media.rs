//! The media of a job's input: each URL, data: URI and upload becomes an upload of the caller's
//! before the job is written, and its id stands in the input.

use config::{
    catalogue::Model,
    uploads::{self, Owner, TakeError, Taken},
};
use entities::ids::UploadId;
use futures::future::join_all;
use serde_json::Value;

use crate::{
    app::App,
    platform,
    problem::{Code, FieldError, Problem},
};

/// The most media of one input.
const MOST: usize = 16;

/// What was taken in for a job.
#[derive(Debug, Default)]
pub(super) struct Media {
    taken: Vec<Taken>,
}

impl Media {
    /// Takes in what the input names and puts the ids in its place.
    pub(super) async fn take(
        app: &App,
        owner: Owner,
        model: &Model,
        input: &mut Value,
    ) -> Result<Self, Problem> {
        let pointers = model.media_pointers(input);
        if pointers.len() > MOST {
            let detail = format!("must not hold more than {MOST} files");
            return Err(Problem::invalid(vec![FieldError::new("/input", detail)]));
        }
        let texts = pointers.iter().filter_map(|at| input.pointer(at).and_then(Value::as_str));
        let takes = texts.map(|text| uploads::take(&app.context, owner, text));
        let mut media = Self::default();
        let mut faults = Vec::new();
        let mut broken = None;
        for (pointer, done) in pointers.iter().zip(join_all(takes).await) {
            match done {
                Ok(taken) => {
                    media.taken.push(taken);
                    if let Some(place) = input.pointer_mut(pointer) {
                        *place = taken.id.to_string().into();
                    }
                }
                Err(error) if error.is_users() => {
                    faults.push(FieldError::new(format!("/input{pointer}"), error.to_string()));
                }
                Err(error) => broken = Some(error),
            }
        }
        if faults.is_empty() && broken.is_none() {
            return Ok(media);
        }
        media.give_up(app).await;
        Err(match broken {
            Some(error) => unavailable(&error),
            None => Problem::invalid(faults),
        })
    }

    /// How large the files are, in the order in which the input names them.
    pub(super) fn sizes(&self) -> Vec<u64> {
        self.taken.iter().map(|taken| taken.bytes).collect()
    }

    /// The uploads, each once.
    pub(super) fn ids(&self) -> Vec<UploadId> {
        let mut ids: Vec<UploadId> = self.taken.iter().map(|taken| taken.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The job was not accepted: what was made for it goes again.
    pub(super) async fn give_up(&self, app: &App) {
        let new: Vec<UploadId> =
            self.taken.iter().filter(|taken| taken.is_new).map(|taken| taken.id).collect();
        if !new.is_empty() {
            platform::give_up_uploads(&app.context, &new).await;
        }
    }
}

/// The platform's own fault.
fn unavailable(error: &TakeError) -> Problem {
    tracing::error!(%error, "input media was not stored");
    Problem::new(Code::Unavailable, "The input's media cannot be stored now. Try again.")
}

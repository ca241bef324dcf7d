//! Media on its way: to a provider, and from it.

use bytes::Bytes;
use entities::job::Usage;
use futures::stream::BoxStream;
use url::Url;

/// A file of an input, as a provider that takes files gets it.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// A name that no other file has.
    pub name: String,
    /// Its type.
    pub content_type: String,
    /// All of it.
    pub bytes: Bytes,
}

/// A finished result.
#[derive(Debug)]
pub struct Finished {
    /// The media, in order.
    pub artifacts: Vec<Artifact>,
    /// What the provider says that it used.
    pub usage: Usage,
}

/// One media file at the provider.
pub struct Artifact {
    /// What the provider says that it is; checked against the bytes.
    pub content_type: Option<String>,
    /// Where its bytes come from.
    pub source: ArtifactSource,
}

/// Where a file's bytes come from.
pub enum ArtifactSource {
    /// They came with the answer.
    Bytes(Bytes),
    /// They are read from here, if it is one of [`super::Provider::media_origins`].
    Url(Url),
    /// They are produced as they are read.
    Stream(BoxStream<'static, std::io::Result<Bytes>>),
}

impl std::fmt::Debug for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = match &self.source {
            ArtifactSource::Bytes(bytes) => format!("{} bytes", bytes.len()),
            // Its path may be all that protects the file.
            ArtifactSource::Url(url) => format!("at {}", url.origin().ascii_serialization()),
            ArtifactSource::Stream(_) => "stream".to_owned(),
        };
        f.debug_struct("Artifact")
            .field("content_type", &self.content_type)
            .field("source", &source)
            .finish()
    }
}

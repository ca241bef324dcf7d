use std::io::Cursor;

use entities::ids::JobId;
use futures::{Stream, stream};
use image::{DynamicImage, ImageFormat};
use object_store::PutPayload;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::media::{boxes, ebml};

fn png(width: u32, height: u32) -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(width, height).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner().into()
}

fn in_pieces(bytes: &Bytes, size: usize) -> impl Stream<Item = io::Result<Bytes>> + Unpin + use<> {
    let pieces: Vec<_> =
        bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

struct Fixture {
    folder: tempfile::TempDir,
    store: MediaStore,
    key: MediaKey,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = MediaStore::local(folder.path()).unwrap();
    Fixture { folder, store, key: MediaKey::output(JobId::generate(), 0) }
}

impl Fixture {
    fn files(&self) -> usize {
        fn count(folder: &Path) -> usize {
            std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| if path.is_dir() { count(&path) } else { 1 })
                .sum()
        }
        count(self.folder.path())
    }

    async fn refused(&self, bytes: Bytes, limits: PutLimits) -> MediaError {
        let error = self.store.put(&self.key, in_pieces(&bytes, 7), limits).await.unwrap_err();
        assert_eq!(self.files(), 0, "{error}");
        error
    }
}

#[tokio::test]
async fn a_picture_comes_back_as_it_was_stored() {
    let f = fixture();
    let bytes = png(30, 20);
    for piece in [1, 5, 100_000] {
        let put = f.store.put(&f.key, in_pieces(&bytes, piece), PutLimits::image()).await;
        let stored = put.unwrap();
        assert_eq!((stored.width, stored.height), (Some(30), Some(20)));
        assert_eq!(stored.sha256, hex::encode(Sha256::digest(&bytes)));
        assert_eq!(stored.bytes, bytes.len() as u64);
    }
    assert_eq!(f.files(), 1);
    let file = f.store.head(f.key.as_str()).await.unwrap();
    assert_eq!(file, File { bytes: bytes.len() as u64, content_type: "image/png" });
    let part = f.store.read(f.key.as_str(), 3..9).await.unwrap();
    let part: Vec<Bytes> = part.try_collect().await.unwrap();
    assert_eq!(part.concat(), bytes[3..9]);
    f.store.delete(f.key.as_str()).await.unwrap();
    f.store.delete(f.key.as_str()).await.unwrap();
    assert!(matches!(f.store.head(f.key.as_str()).await, Err(MediaError::NotFound)));
}

/// A picture whose file is exactly this long: what follows its end is padding.
fn padded(length: usize) -> Bytes {
    let mut bytes = png(400, 300).to_vec();
    bytes.resize(length, 0);
    bytes.into()
}

#[tokio::test]
async fn a_picture_may_have_50_megabytes_and_no_byte_more() {
    let f = fixture();
    let most = 50_000_000;
    let whole = padded(most);
    let stored = f.store.put(&f.key, in_pieces(&whole, 1 << 20), PutLimits::image()).await.unwrap();
    assert_eq!((stored.bytes, stored.width), (most as u64, Some(400)));
    f.store.delete(&f.key).await.unwrap();
    let more = padded(most + 1);
    let put = f.store.put(&f.key, in_pieces(&more, 1 << 20), PutLimits::image()).await;
    assert!(matches!(put, Err(MediaError::TooLarge(50_000_000))), "{put:?}");
    assert_eq!(f.files(), 0, "nothing of it is left");
}

#[tokio::test]
async fn a_large_picture_has_a_thumbnail_that_goes_with_it() {
    let f = fixture();
    let put = async |bytes: Bytes, limits| {
        f.store.put(&f.key, in_pieces(&bytes, 1 << 16), limits).await.unwrap().thumbnail
    };
    let small = put(png(1000, 700), PutLimits::image()).await.unwrap();
    assert_eq!((small.width, small.height, small.content_type.mime()), (320, 224, "image/jpeg"));
    let key = f.key.thumbnail().unwrap();
    let file = f.store.head(key.as_str()).await.unwrap();
    assert_eq!(file, File { bytes: small.bytes, content_type: "image/jpeg" });
    assert_eq!(f.files(), 2);
    f.store.delete(&f.key).await.unwrap();
    assert_eq!(f.files(), 0);
    // Small ones, and what users hand in, have none.
    assert_eq!(put(png(320, 320), PutLimits::image()).await, None);
    assert_eq!(put(png(1000, 700), PutLimits::upload()).await, None);
    assert_eq!(f.files(), 1);
}

/// The picture is what was paid for; it is stored all the same.
#[tokio::test]
async fn a_thumbnail_that_cannot_be_stored_is_left_out() {
    let f = fixture();
    let name = f.key.thumbnail().unwrap();
    let in_the_way = f.folder.path().join(name.as_str()).join("x");
    std::fs::create_dir_all(in_the_way).unwrap();
    let bytes = png(1000, 700);
    let stored = f.store.put(&f.key, in_pieces(&bytes, 999), PutLimits::image()).await.unwrap();
    assert_eq!(stored.thumbnail, None);
    assert_eq!(f.store.head(f.key.as_str()).await.unwrap().bytes, bytes.len() as u64);
}

#[tokio::test]
async fn what_is_not_whole_and_right_leaves_nothing() {
    let f = fixture();
    let bytes = png(64, 64);
    let html = Bytes::from_static(b"<html><script>alert(1)</script></html>");
    assert!(matches!(f.refused(html, PutLimits::image()).await, MediaError::WrongType));
    assert!(matches!(f.refused(Bytes::new(), PutLimits::image()).await, MediaError::WrongType));
    assert!(matches!(f.refused(bytes.clone(), PutLimits::video()).await, MediaError::WrongType));
    let half = bytes.slice(..bytes.len() / 2);
    assert!(matches!(f.refused(half, PutLimits::image()).await, MediaError::Unreadable(_)));
    let small = PutLimits { bytes: 20, ..PutLimits::upload() };
    assert!(matches!(f.refused(bytes.clone(), small).await, MediaError::TooLarge(20)));

    let broken = stream::iter([Ok(bytes.slice(..40)), Err(io::Error::other("reset"))]);
    let error = f.store.put(&f.key, broken, PutLimits::image()).await.unwrap_err();
    assert!(matches!(error, MediaError::Source(_)) && !error.is_final());
    assert_eq!(f.files(), 0);
}

/// A few bytes that claim a picture of 100,000 x 100,000.
#[tokio::test]
async fn a_bomb_is_not_unpacked() {
    let f = fixture();
    let mut bytes = png(1, 1).to_vec();
    bytes[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    assert!(f.refused(bytes.into(), PutLimits::image()).await.is_final());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_falls_silent_is_given_up() {
    let f = fixture();
    let silent = stream::iter([Ok(png(8, 8))]).chain(stream::pending());
    let error = f.store.put(&f.key, Box::pin(silent), PutLimits::image()).await.unwrap_err();
    assert!(matches!(error, MediaError::Source(_)));
    assert_eq!(f.files(), 0);
}

/// Processes that start at the same moment, and delete what lies there besides: a deletion takes
/// folders away that it leaves empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_can_probe_at_once() {
    let f = fixture();
    let many = (0..8).map(|number| {
        let store = f.store.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                store.probe().await.unwrap();
                let path = ObjectPath::from(format!("{STAGING}/other-{number}-{round}"));
                // Whether that one is lucky is not asked here.
                drop(store.objects.put(&path, PutPayload::from_static(b"x")).await);
                drop(store.objects.delete(&path).await);
            }
        })
    });
    for one in futures::future::join_all(many).await {
        one.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_cannot_write_says_so() {
    let f = fixture();
    std::fs::write(f.folder.path().join("staging"), b"in the way").unwrap();
    assert!(matches!(f.store.probe().await, Err(MediaError::Store(_))));
    let put = f.store.put(&f.key, in_pieces(&png(8, 8), 99), PutLimits::image()).await;
    assert!(matches!(put, Err(MediaError::Store(_))));
}

#[tokio::test]
async fn a_download_that_was_cut_off_is_never_kept() {
    let f = fixture();
    let mut jpeg = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(64, 64).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = Bytes::from(jpeg.into_inner());
    let mp4 = Bytes::from(boxes::tests::film());
    let webm = Bytes::from(ebml::tests::film(b"webm"));
    let (image, video) = (PutLimits::image(), PutLimits::video());
    for (whole, limits) in [(jpeg, image), (png(9, 9), image), (mp4, video), (webm, video)] {
        for missing in [1, 2, 3, whole.len() / 3, whole.len() / 2] {
            let error = f.refused(whole.slice(..whole.len() - missing), limits).await;
            assert!(matches!(error, MediaError::Unreadable(_)), "{error}");
        }
        let stored = f.store.put(&f.key, in_pieces(&whole, 11), limits).await.unwrap();
        assert!(stored.width.is_some() && stored.height.is_some(), "{stored:?}");
        f.store.delete(&stored.key).await.unwrap();
    }
}

/// Also those that the store itself was writing when the process died, which its list hides.
#[tokio::test]
async fn what_a_crash_left_is_removed_when_it_is_old() {
    let f = fixture();
    f.store.put(&f.key, in_pieces(&png(8, 8), 99), PutLimits::image()).await.unwrap();
    let staging = f.folder.path().join(STAGING);
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (name, old) in [("a", Some(old)), ("a#1", Some(old)), ("b", None), ("b#2", None)] {
        let file = std::fs::File::create(staging.join(name)).unwrap();
        if let Some(old) = old {
            file.set_modified(old).unwrap();
        }
    }
    assert_eq!(f.store.remove_stale().await.unwrap(), 2);
    assert_eq!(f.files(), 3, "the new ones and the finished file stay");
    assert_eq!(f.store.remove_stale().await.unwrap(), 0);
    let empty = fixture();
    assert_eq!(empty.store.remove_stale().await.unwrap(), 0);
}

#[test]
fn a_full_disk_is_told_from_other_failures() {
    let wrapped = |kind: io::ErrorKind| object_store::Error::Generic {
        store: "test",
        source: Box::new(io::Error::from(kind)),
    };
    let full = MediaError::from(wrapped(io::ErrorKind::StorageFull));
    assert!(matches!(full, MediaError::Full) && !full.is_final());
    let other = MediaError::from(wrapped(io::ErrorKind::PermissionDenied));
    assert!(matches!(other, MediaError::Store(_)));
}

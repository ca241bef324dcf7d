//! Reading a WebM: its document type, whether it is whole, its size and its length.
//!
//! The first piece of the file tells all: the segment's length is written at its start, and a
//! segment without one is refused, because whether its end is missing could not be told.

use super::probe::Found;

/// How much of the start is kept to be read.
pub(super) const HEAD: usize = 1024 * 1024;

const EBML: u32 = 0x1A45_DFA3;
const DOC_TYPE: u32 = 0x4282;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const TIMESTAMP_SCALE: u32 = 0x002A_D7B1;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const VIDEO: u32 = 0xE0;
const PIXEL_WIDTH: u32 = 0xB0;
const PIXEL_HEIGHT: u32 = 0xBA;

/// Whether the file calls itself a WebM; other Matroska files may hold anything.
pub(super) fn is_webm(start: &[u8]) -> bool {
    let Some(header) = Elements(start).next() else { return false };
    let mut inner = Elements(header.body);
    header.id == EBML
        && inner.any(|part| part.id == DOC_TYPE && part.body.trim_ascii_end() == b"webm")
}

/// What the file says of itself; `start` is its beginning and `bytes` its whole length.
pub(super) fn read(start: &[u8], bytes: u64) -> Result<Found, String> {
    let mut outer = Elements(start);
    let header = outer.next().filter(|header| header.id == EBML).ok_or("there is no header")?;
    let segment = outer.next().filter(|next| next.id == SEGMENT).ok_or("there is no segment")?;
    let size = segment.size.ok_or("the segment does not say how long it is")?;
    let before = (header.end + segment.head) as u64;
    if before.checked_add(size).is_none_or(|end| end != bytes) {
        return Err("the file is cut off".to_owned());
    }
    let mut found = Found::default();
    for part in Elements(segment.body) {
        match part.id {
            INFO => found.duration_ms = duration(part.body),
            TRACKS => (found.width, found.height) = size_of_largest(part.body),
            _ => {}
        }
    }
    Ok(found)
}

fn duration(info: &[u8]) -> Option<u64> {
    let scale = Elements(info).find(|part| part.id == TIMESTAMP_SCALE);
    let nanoseconds = scale.and_then(|part| unsigned(part.body)).unwrap_or(1_000_000);
    let ticks = match Elements(info).find(|part| part.id == DURATION)?.body {
        four if four.len() == 4 => f64::from(f32::from_be_bytes(*four.first_chunk()?)),
        eight => f64::from_be_bytes(*eight.first_chunk::<8>()?),
    };
    #[expect(clippy::cast_precision_loss, reason = "a millisecond more or less")]
    let milliseconds = ticks * nanoseconds as f64 / 1_000_000.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
    (1.0..1e12).contains(&milliseconds).then_some(milliseconds as u64)
}

fn size_of_largest(tracks: &[u8]) -> (Option<u32>, Option<u32>) {
    let number = |video: &[u8], id| {
        let part = Elements(video).find(|part| part.id == id)?;
        u32::try_from(unsigned(part.body)?).ok().filter(|pixels| *pixels > 0)
    };
    let videos = Elements(tracks)
        .filter(|track| track.id == TRACK_ENTRY)
        .flat_map(|track| Elements(track.body).filter(|part| part.id == VIDEO));
    let sizes =
        videos.map(|video| (number(video.body, PIXEL_WIDTH), number(video.body, PIXEL_HEIGHT)));
    sizes.max().unwrap_or_default()
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
}

/// One element; its body may be cut off by the end of what was kept.
struct Element<'b> {
    id: u32,
    /// `None`: unknown.
    size: Option<u64>,
    body: &'b [u8],
    /// How long its id and size are.
    head: usize,
    /// Where the next one begins.
    end: usize,
}

/// The elements of a piece of a file, until one cannot be read.
struct Elements<'b>(&'b [u8]);

impl<'b> Iterator for Elements<'b> {
    type Item = Element<'b>;

    fn next(&mut self) -> Option<Element<'b>> {
        let (id, id_length) = variable(self.0, 4, false)?;
        let (size, size_length) = variable(self.0.get(id_length..)?, 8, true)?;
        let body = self.0.get(id_length + size_length..)?;
        let unknown = size == (1 << (7 * size_length)) - 1;
        let length = if unknown { usize::MAX } else { usize::try_from(size).ok()? };
        let inside = body.get(..length).unwrap_or(body);
        let end = (id_length + size_length).saturating_add(length);
        self.0 = self.0.get(end..).unwrap_or_default();
        Some(Element {
            id: u32::try_from(id).ok()?,
            size: (!unknown).then_some(size),
            body: inside,
            head: id_length + size_length,
            end,
        })
    }
}

/// A number whose first byte says how long it is; with `strip`, without that mark.
fn variable(bytes: &[u8], most: usize, strip: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > most {
        return None;
    }
    let mark = 0x80_u8 >> (length - 1);
    let first = if strip { first & !mark } else { first };
    let rest = bytes.get(1..length)?;
    Some((rest.iter().fold(u64::from(first), |sum, byte| (sum << 8) | u64::from(*byte)), length))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn element(id: u32, body: &[u8]) -> Vec<u8> {
        let id = id.to_be_bytes();
        let id = &id[id.iter().position(|byte| *byte != 0).unwrap()..];
        let size = (0x0100_0000_0000_0000_u64 | body.len() as u64).to_be_bytes();
        [id, &size, body].concat()
    }

    pub(in super::super) fn film(doc_type: &[u8]) -> Vec<u8> {
        let header = element(EBML, &element(DOC_TYPE, doc_type));
        let info = element(INFO, &element(DURATION, &1_500.0_f64.to_be_bytes()));
        let video = [element(PIXEL_WIDTH, &[1, 64]), element(PIXEL_HEIGHT, &[240])].concat();
        let tracks = element(TRACKS, &element(TRACK_ENTRY, &element(VIDEO, &video)));
        let cluster = element(0x1F43_B675, &[9; 200]);
        [header, element(SEGMENT, &[info, tracks, cluster].concat())].concat()
    }

    #[test]
    fn a_whole_film_tells_its_size_and_length() {
        let film = film(b"webm");
        assert!(is_webm(&film));
        let found = read(&film, film.len() as u64).unwrap();
        assert_eq!((found.width, found.height), (Some(320), Some(240)));
        assert_eq!(found.duration_ms, Some(1_500));
    }

    #[test]
    fn a_film_that_is_cut_off_anywhere_is_refused() {
        let film = film(b"webm");
        for length in 0..film.len() {
            assert!(read(&film[..length], length as u64).is_err(), "{length} of {}", film.len());
        }
        let mut endless = film.clone();
        let at = endless.windows(4).position(|id| id == SEGMENT.to_be_bytes()).unwrap();
        endless[at + 4..at + 12].copy_from_slice(&[1, 255, 255, 255, 255, 255, 255, 255]);
        assert!(read(&endless, endless.len() as u64).is_err());
    }

    #[test]
    fn other_documents_are_no_webm() {
        for bytes in [&film(b"matroska")[..], &film(b"")[..], b"", b"\x1a\x45\xdf\xa3"] {
            assert!(!is_webm(bytes));
        }
    }
}

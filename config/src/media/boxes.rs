//! Reading an MP4 as it streams by: its top-level boxes must add up to the file, and what it plays
//! must lie inside it. A download that was cut off fails one of the two.

use super::probe::Found;

/// The largest `moov` that is read; an hour of video has a few megabytes.
const MOOV: u64 = 64 * 1024 * 1024;

/// Follows the boxes of one file.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    /// How many bytes were seen.
    at: u64,
    /// Where the current box ends.
    end: u64,
    header: Vec<u8>,
    moov: Vec<u8>,
    in_moov: bool,
    seen: Seen,
    wrong: Option<&'static str>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    boxes: u64,
    ftyp: bool,
    moov: bool,
    mdat: bool,
}

impl Boxes {
    /// The next bytes of the file.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.wrong.is_none() {
            if self.at < self.end {
                let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
                let (body, rest) = bytes.split_at(left.min(bytes.len()));
                if self.in_moov {
                    self.moov.extend_from_slice(body);
                }
                self.at += body.len() as u64;
                bytes = rest;
                continue;
            }
            let missing = header_length(&self.header) - self.header.len();
            let (head, rest) = bytes.split_at(missing.min(bytes.len()));
            self.header.extend_from_slice(head);
            self.at += head.len() as u64;
            bytes = rest;
            if self.header.len() == header_length(&self.header) {
                self.begin();
            }
        }
    }

    /// A header is complete: a box begins.
    fn begin(&mut self) {
        let header = std::mem::take(&mut self.header);
        let length = header.len() as u64;
        let size = match u64::from(number(&header, 0)) {
            1 => (u64::from(number(&header, 8)) << 32) | u64::from(number(&header, 12)),
            size => size,
        };
        // Size 0 means "to the end of the file": whether the end is missing could not be told.
        let Some(end) = size.checked_sub(length).and_then(|body| self.at.checked_add(body)) else {
            self.wrong = Some("a box has an impossible size");
            return;
        };
        self.end = end;
        self.in_moov = false;
        self.seen.boxes += 1;
        match header.get(4..8) {
            Some(b"ftyp") if self.seen.boxes == 1 => self.seen.ftyp = true,
            Some(b"moov") if self.seen.moov || size > MOOV => {
                self.wrong = Some("the moov box is too large, or there are two");
            }
            Some(b"moov") => (self.seen.moov, self.in_moov) = (true, true),
            Some(b"mdat") => self.seen.mdat = true,
            _ => {}
        }
    }

    /// The end of the file: what was found in it.
    pub(super) fn finish(self) -> Result<Found, String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong.to_owned());
        }
        if self.at != self.end || !self.header.is_empty() {
            return Err("the file is cut off".to_owned());
        }
        if !(self.seen.ftyp && self.seen.moov && self.seen.mdat) {
            return Err("the file has no ftyp, moov or mdat box".to_owned());
        }
        let mut movie = Movie::default();
        read(&self.moov, &mut movie, 0)?;
        if movie.last_chunk >= self.at {
            return Err("the file is cut off: what it plays lies behind its end".to_owned());
        }
        let size = movie.size.filter(|(width, height)| *width > 0 && *height > 0);
        Ok(Found {
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            duration_ms: movie.duration_ms.filter(|duration| *duration > 0),
        })
    }
}

/// 8 bytes, or 16 when the first four say that the size follows as 64 bits.
fn header_length(header: &[u8]) -> usize {
    if header.starts_with(&[0, 0, 0, 1]) { 16 } else { 8 }
}

/// What the `moov` box says.
#[derive(Debug, Default)]
struct Movie {
    duration_ms: Option<u64>,
    /// Of the largest track.
    size: Option<(u32, u32)>,
    /// Where the last chunk of samples begins.
    last_chunk: u64,
}

fn read(mut boxes: &[u8], movie: &mut Movie, depth: usize) -> Result<(), String> {
    while boxes.len() >= 8 {
        let length = header_length(boxes);
        let size = match number(boxes, 0) {
            1 => usize::try_from(number(boxes, 12)).ok().filter(|_| number(boxes, 8) == 0),
            size => usize::try_from(size).ok(),
        };
        let inner = size.filter(|size| *size >= length).and_then(|size| boxes.get(length..size));
        let (Some(size), Some(inner)) = (size, inner) else {
            return Err("a box in moov has an impossible size".to_owned());
        };
        match boxes.get(4..8) {
            Some(b"trak" | b"mdia" | b"minf" | b"stbl") if depth < 5 => {
                read(inner, movie, depth + 1)?;
            }
            Some(b"mvhd") => movie.duration_ms = duration(inner),
            Some(b"tkhd") => {
                let at = if inner.first() == Some(&1) { 88 } else { 76 };
                // 16.16 fixed point.
                let size = (number(inner, at) >> 16, number(inner, at + 4) >> 16);
                movie.size = movie.size.max(Some(size));
            }
            Some(b"stco") => {
                let last = inner.get(8..).and_then(|chunks| chunks.chunks_exact(4).max());
                let last = last.map_or(0, |last| u64::from(number(last, 0)));
                movie.last_chunk = movie.last_chunk.max(last);
            }
            Some(b"co64") => {
                let last = inner.get(8..).and_then(|chunks| chunks.chunks_exact(8).max());
                let last =
                    last.map_or(0, |c| (u64::from(number(c, 0)) << 32) | u64::from(number(c, 4)));
                movie.last_chunk = movie.last_chunk.max(last);
            }
            _ => {}
        }
        boxes = boxes.get(size..).unwrap_or_default();
    }
    Ok(())
}

fn duration(mvhd: &[u8]) -> Option<u64> {
    let (scale, duration) = if mvhd.first() == Some(&1) {
        (number(mvhd, 20), (u64::from(number(mvhd, 24)) << 32) | u64::from(number(mvhd, 28)))
    } else {
        (number(mvhd, 12), u64::from(number(mvhd, 16)))
    };
    duration.checked_mul(1_000)?.checked_div(u64::from(scale))
}

/// The big-endian number at `at`; 0 where there is none.
fn number(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    found.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn boxed(name: &[u8; 4], inner: &[u8]) -> Vec<u8> {
        let size = u32::try_from(inner.len() + 8).unwrap();
        [&size.to_be_bytes()[..], name, inner].concat()
    }

    /// A film of 320 x 240, 2.5 seconds long; one chunk of samples begins at `chunk`.
    fn moov(chunk: u32) -> Vec<u8> {
        let mut mvhd = [0_u8; 100];
        mvhd[12..16].copy_from_slice(&600_u32.to_be_bytes());
        mvhd[16..20].copy_from_slice(&1_500_u32.to_be_bytes());
        let mut tkhd = [0_u8; 84];
        tkhd[76..80].copy_from_slice(&(320_u32 << 16).to_be_bytes());
        tkhd[80..84].copy_from_slice(&(240_u32 << 16).to_be_bytes());
        let stco = [&[0; 4][..], &1_u32.to_be_bytes(), &chunk.to_be_bytes()].concat();
        let tables = boxed(b"mdia", &boxed(b"minf", &boxed(b"stbl", &boxed(b"stco", &stco))));
        let trak = boxed(b"trak", &[boxed(b"tkhd", &tkhd), tables].concat());
        boxed(b"moov", &[boxed(b"mvhd", &mvhd), trak].concat())
    }

    pub(in super::super) fn film() -> Vec<u8> {
        let ftyp = boxed(b"ftyp", b"isom\0\0\x02\0isomiso2avc1mp41");
        let samples = boxed(b"mdat", &[7; 300]);
        let start = u32::try_from(ftyp.len() + moov(0).len() + 8).unwrap();
        [ftyp, moov(start), samples].concat()
    }

    fn found(bytes: &[u8], piece: usize) -> Result<Found, String> {
        let mut boxes = Boxes::default();
        bytes.chunks(piece).for_each(|piece| boxes.take(piece));
        boxes.finish()
    }

    #[test]
    fn a_whole_film_tells_its_size_and_length() {
        for piece in [1, 3, 64, 100_000] {
            let found = found(&film(), piece).unwrap();
            assert_eq!((found.width, found.height), (Some(320), Some(240)));
            assert_eq!(found.duration_ms, Some(2_500));
        }
    }

    #[test]
    fn a_film_that_is_cut_off_anywhere_is_refused() {
        let film = film();
        for length in 0..film.len() {
            assert!(found(&film[..length], 50).is_err(), "{length} of {}", film.len());
        }
        let longer = [film, vec![0]].concat();
        assert!(found(&longer, 50).is_err());
    }

    #[test]
    fn boxes_of_impossible_sizes_are_refused() {
        let ftyp = boxed(b"ftyp", b"isom");
        for size in [0_u32, 2, 7] {
            let bad = [&ftyp[..], &size.to_be_bytes(), b"moov", &[0; 50]].concat();
            assert!(found(&bad, 9).is_err(), "{size}");
        }
        let huge = [&ftyp[..], &1_u32.to_be_bytes(), b"mdat", &[0xff; 8], &[0; 50]].concat();
        assert!(found(&huge, 9).is_err());
        let mut inner = film();
        let at = inner.windows(4).position(|name| name == b"trak").unwrap();
        inner[at - 4..at].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(found(&inner, 9).is_err());
    }
}

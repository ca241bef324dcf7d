//! Pictures from a prompt, a size and a seed: painted by rules, not by AI.
//!
//! The prompt's words choose the scene and the colours where they name one that is known
//! ("mountains at sunset", "city at night"); otherwise the prompt's hash does. The seed arranges
//! the scene. The same prompt, size, seed and variant give the same picture, always.

mod canvas;
mod cells;
mod film;
mod noise;
mod palette;
mod scenes;
mod words;

use image::RgbImage;
use sha2::{Digest, Sha256};

use self::noise::{Chance, Noise};
use self::{palette::Palette, words::Words};

/// What is to be painted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) prompt: &'a str,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) seed: u64,
    /// Which of several pictures of one request.
    pub(super) variant: u32,
}

/// Everything a scene is painted from.
struct Plan {
    size: (u32, u32),
    words: Words,
    palette: Palette,
    chance: Chance,
    noise: Noise,
    /// Chosen by the prompt alone, where its words leave a choice open.
    taste: u64,
}

impl Plan {
    fn of(subject: Subject<'_>) -> Self {
        let words = Words::of(subject.prompt);
        let mut by_prompt = Chance::new(seed_of(&[b"prompt", subject.prompt.as_bytes()]));
        let palette = Palette::of(&words, &mut by_prompt);
        let taste = by_prompt.next();
        let mut chance = Chance::new(seed_of(&[
            b"picture",
            subject.prompt.as_bytes(),
            &subject.seed.to_le_bytes(),
            &subject.variant.to_le_bytes(),
        ]));
        let noise = Noise::new(&mut chance);
        Self { size: (subject.width, subject.height), words, palette, chance, noise, taste }
    }
}

pub(super) use self::film::Film;

/// Paints a picture.
pub(super) fn paint(subject: Subject<'_>) -> RgbImage {
    let mut plan = Plan::of(subject);
    scenes::paint(&mut plan).into_image()
}

/// The seed of a request that names none.
pub(super) fn seed_of_prompt(prompt: &str) -> u64 {
    seed_of(&[b"seed", prompt.as_bytes()])
}

/// A number from some texts, the same on every machine.
fn seed_of(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_le_bytes(first)
}

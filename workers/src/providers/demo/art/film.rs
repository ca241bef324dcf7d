//! Moving pictures that loop without a seam: coloured bands along a field that changes.
//!
//! Every frame shows the same few colours (at most 256, all that a GIF frame can hold), so
//! nothing is lost when it is encoded. The field walks a circle through the noise and so ends
//! where it began.

use std::f32::consts::TAU;

use image::RgbaImage;

use super::{
    Chance, Noise, Plan, Subject,
    canvas::{Rgb, field},
    scenes::marble::inks,
};

/// How the field moves.
#[derive(Debug, Clone, Copy)]
enum Motion {
    /// A slow current.
    Silk,
    /// Rings from several drops.
    Ripples,
    /// A turning figure of equal sectors.
    Kaleidoscope,
}

const RIPPLES: &[&str] = &[
    "water", "sea", "ocean", "lake", "rain", "wave", "ripple", "drop", "river", "pond", "sound",
    "radio", "fish", "boat",
];
const KALEIDOSCOPE: &[&str] = &[
    "flower",
    "mandala",
    "star",
    "kaleidoscope",
    "rose",
    "snowflake",
    "crystal",
    "music",
    "dance",
    "magic",
    "butterfly",
    "galaxy",
    "city",
    "robot",
    "neon",
];
const SILK: &[&str] = &[
    "silk", "smoke", "wind", "cloud", "marble", "lava", "fire", "aurora", "dream", "mountain",
    "forest", "sunset", "sky", "sand", "desert", "liquid",
];

/// A film that is painted frame by frame.
pub(in super::super) struct Film {
    size: (u32, u32),
    motion: Motion,
    noise: Noise,
    colours: Vec<Rgb>,
    shift: f32,
    sectors: f32,
    drops: [(f32, f32); 3],
}

impl Film {
    pub(in super::super) fn of(subject: Subject<'_>) -> Self {
        let mut plan = Plan::of(subject);
        let score = |known| plan.words.count(known);
        let scores = [score(SILK), score(RIPPLES), score(KALEIDOSCOPE)];
        let most = scores.into_iter().max().unwrap_or(0);
        let kind = match scores.iter().position(|&score| score == most) {
            Some(kind) if most > 0 => kind,
            _ => (plan.taste % 3) as usize,
        };
        let motion = [Motion::Silk, Motion::Ripples, Motion::Kaleidoscope][kind];
        let chance: &mut Chance = &mut plan.chance;
        let bands = match motion {
            Motion::Silk => chance.range(9.0, 13.0),
            Motion::Ripples | Motion::Kaleidoscope => chance.range(5.0, 8.0),
        };
        let first = chance.unit();
        let unit = subject.width.min(subject.height) as f32;
        let (wide, tall) = (subject.width as f32 / unit, subject.height as f32 / unit);
        let shift = chance.range(0.0, 90.0);
        let sectors = (4 + chance.below(5)) as f32;
        let drops = std::array::from_fn(|_| {
            (chance.range(0.05, 0.95) * wide, chance.range(0.05, 0.95) * tall)
        });
        let colours = inks(&plan.palette, bands, first, 250);
        Self { size: plan.size, motion, noise: plan.noise, colours, shift, sectors, drops }
    }

    /// The frame at `time`, where 0 is the beginning and 1 is the beginning again.
    pub(in super::super) fn frame(&self, time: f32) -> RgbaImage {
        let (width, height) = self.size;
        let values = field(self.size, 64, |x, y| match self.motion {
            Motion::Silk => self.silk(x, y, time),
            Motion::Ripples => self.ripples(x, y, time),
            Motion::Kaleidoscope => self.kaleidoscope(x, y, time),
        });
        let mut pixels = vec![255; values.len() * 4];
        let mut i = 0;
        while i < values.len() {
            let colour = self.colours[(values[i] as usize * self.colours.len()) >> 16];
            pixels[i * 4] = colour[0];
            pixels[i * 4 + 1] = colour[1];
            pixels[i * 4 + 2] = colour[2];
            i += 1;
        }
        RgbaImage::from_raw(width, height, pixels).unwrap_or_default()
    }

    fn silk(&self, x: f32, y: f32, time: f32) -> f32 {
        let (sin, cos) = (time * TAU).sin_cos();
        let (u, v) = (x * 1.1 + self.shift, y * 1.1);
        let a = self.noise.layers(u + cos * 0.32, v + sin * 0.32, 2);
        let b = self.noise.layers(u + 5.2 - sin * 0.32, v + 1.3 + cos * 0.32, 2);
        0.5 + 0.5 * self.noise.layers(u * 0.8 + a, v * 0.8 + b, 2)
    }

    fn ripples(&self, x: f32, y: f32, time: f32) -> f32 {
        let bend = self.noise.at(x * 1.5 + self.shift, y * 1.5) * 0.07;
        let mut sum = 0.0;
        for (i, &(dx, dy)) in self.drops.iter().enumerate() {
            let away = ((x - dx).powi(2) + (y - dy).powi(2)).sqrt() + bend;
            let rings = 15.0 + 4.0 * i as f32;
            sum += (away * rings - time * TAU * (1 + i % 2) as f32).sin() * (-away * 1.1).exp();
        }
        0.5 + 0.27 * sum
    }

    fn kaleidoscope(&self, x: f32, y: f32, time: f32) -> f32 {
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        let unit = width.min(height);
        let (dx, dy) = (x - width / unit * 0.5, y - height / unit * 0.5);
        let away = (dx * dx + dy * dy).sqrt();
        let sector = TAU / self.sectors;
        let turned = dy.atan2(dx) + time * sector;
        let folded = ((turned.rem_euclid(sector)) - sector * 0.5).abs();
        let (sin, cos) = folded.sin_cos();
        let (ts, tc) = (time * TAU).sin_cos();
        let (u, v) = (away * cos * 2.6 + self.shift, away * sin * 2.6);
        let shape = self.noise.layers(u + tc * 0.25, v + ts * 0.25, 2);
        0.5 + 0.38 * shape + 0.16 * (away * 11.0 - time * TAU).sin()
    }
}

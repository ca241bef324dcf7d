//! The colours of a prompt: from its words where they name a mood, from its hash otherwise.
//!
//! Colours are chosen in OKLCH (lightness, chroma, hue), where equal steps look equal, so that
//! any hue gives a balanced picture.

use super::{canvas::Rgb, noise::Chance, words::Words};

/// Hue of the darks, hue of the lights, hue of the accent (degrees), strength of colour.
struct Mood {
    words: &'static [&'static str],
    dark: f32,
    light: f32,
    accent: f32,
    chroma: f32,
}

const fn mood(
    words: &'static [&'static str],
    [dark, light, accent]: [f32; 3],
    chroma: f32,
) -> Mood {
    Mood { words, dark, light, accent, chroma }
}

/// Those that say a colour come before those that say a place: the first ones found win.
const MOODS: &[Mood] = &[
    mood(&["tomato", "red", "cherry", "strawberry", "apple"], [15.0, 45.0, 140.0], 0.17),
    mood(&["purple", "violet", "lavender", "magic"], [290.0, 325.0, 90.0], 0.14),
    mood(&["gold", "golden", "yellow", "lemon", "sun", "honey"], [50.0, 95.0, 255.0], 0.14),
    mood(&["orange", "pumpkin", "amber", "tiger"], [30.0, 75.0, 200.0], 0.15),
    mood(&["teal", "turquoise", "mint", "emerald"], [215.0, 165.0, 30.0], 0.11),
    mood(
        &["noir", "ink", "pencil", "monochrome", "black", "white", "fog"],
        [260.0, 80.0, 30.0],
        0.015,
    ),
    mood(&["rose", "pink", "love", "candy", "blossom"], [340.0, 395.0, 165.0], 0.13),
    mood(&["blue", "sky", "rain", "storm", "cold"], [265.0, 230.0, 70.0], 0.12),
    mood(&["sunset", "sunrise", "dusk", "dawn", "evening", "morning"], [300.0, 445.0, 35.0], 0.15),
    mood(&["autumn", "fall", "desert", "sand", "dune", "coffee"], [25.0, 85.0, 220.0], 0.11),
    mood(&["fire", "lava", "volcano", "flame", "dragon", "hot"], [15.0, 85.0, 60.0], 0.17),
    mood(&["nebula", "neon", "cyberpunk", "aurora", "dream"], [285.0, 175.0, 345.0], 0.17),
    mood(&["snow", "ice", "winter", "frost", "arctic", "glacier"], [262.0, 225.0, 20.0], 0.07),
    mood(&["ocean", "sea", "water", "lake", "river", "beach", "wave"], [265.0, 195.0, 40.0], 0.12),
    mood(&["forest", "jungle", "green", "spring", "meadow", "leaf"], [175.0, 115.0, 60.0], 0.12),
    mood(&["night", "midnight", "moon", "space", "galaxy", "star"], [275.0, 235.0, 75.0], 0.12),
];

const DARK_WORDS: &[&str] =
    &["night", "midnight", "dark", "space", "galaxy", "moon", "noir", "neon", "cyberpunk", "star"];

/// The colours of one picture.
#[derive(Debug, Clone)]
pub(super) struct Palette {
    ramp: Vec<Rgb>,
    accents: [f32; 2],
    accent_chroma: f32,
    /// Dark above light rather than light above dark.
    pub(super) night: bool,
}

impl Palette {
    pub(super) fn of(words: &Words, chance: &mut Chance) -> Self {
        let mut named = MOODS.iter().filter(|mood| words.any(mood.words));
        // Yellow and olive darks look like mud: start anywhere else.
        let turn = chance.range(160.0, 400.0);
        let sweep = chance.range(45.0, 110.0) * if chance.chance(0.5) { 1.0 } else { -1.0 };
        let (first, second) = (named.next(), named.next());
        let wobble = chance.range(-9.0, 9.0);
        let opposite = turn + sweep * 0.5 + 180.0 + chance.range(-30.0, 30.0);
        let (dark, light, accent, chroma) = match first {
            Some(m) => (m.dark + wobble, m.light + wobble, m.accent + wobble, m.chroma),
            None => (turn, turn + sweep, opposite, chance.range(0.11, 0.16)),
        };
        let night = words.any(DARK_WORDS) || (first.is_none() && chance.chance(0.25));
        let ramp = (0..256).map(|i| step(i as f32 / 255.0, dark, light, chroma)).collect();
        let apart = chance.range(30.0, 70.0) * if chance.chance(0.5) { 1.0 } else { -1.0 };
        let other = second.map_or(accent + apart, |m| m.light);
        Self { ramp, accents: [accent, other], accent_chroma: (chroma * 1.35).min(0.19), night }
    }

    /// From the darkest (0) to the lightest (1) colour.
    pub(super) fn tone(&self, t: f32) -> Rgb {
        self.ramp[(t.clamp(0.0, 1.0) * 255.0) as usize]
    }

    /// A colour that stands out, at a lightness.
    pub(super) fn accent(&self, which: usize, lightness: f32) -> Rgb {
        oklch(lightness, self.accent_chroma, self.accents[which % 2])
    }
}

/// One step of the ramp: strongest in colour in the middle, never quite black or white.
fn step(t: f32, dark: f32, light: f32, chroma: f32) -> Rgb {
    let bell = (t * std::f32::consts::PI).sin().max(0.0).powf(0.6);
    oklch(0.17 + 0.80 * t, chroma * (0.3 + 0.7 * bell), dark + (light - dark) * t)
}

/// An sRGB colour from OKLCH; what sRGB cannot show loses chroma until it can.
fn oklch(lightness: f32, chroma: f32, degrees: f32) -> Rgb {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let mut chroma = chroma;
    loop {
        let linear = linear(lightness, chroma * cos, chroma * sin);
        let fits = linear.iter().all(|v| (-0.002..=1.002).contains(v));
        if fits || chroma < 0.005 {
            return linear.map(|v| {
                let v = v.clamp(0.0, 1.0);
                let s = if v < 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
                (s * 255.0 + 0.5) as u8
            });
        }
        chroma *= 0.93;
    }
}

/// OKLab to linear sRGB.
fn linear(l: f32, a: f32, b: f32) -> [f32; 3] {
    let cube = |v: f32| v * v * v;
    let (l, m, s) = (
        cube(l + 0.396_337_78 * a + 0.215_803_76 * b),
        cube(l - 0.105_561_346 * a - 0.063_854_17 * b),
        cube(l - 0.089_484_18 * a - 1.291_485_5 * b),
    );
    [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
}

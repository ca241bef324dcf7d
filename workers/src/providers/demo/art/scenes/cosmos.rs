//! A nebula full of stars, and a planet that may have rings.

use super::super::{
    Plan,
    canvas::{Canvas, Paint, Point, ellipse, mix},
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let shift = plan.chance.range(0.0, 90.0);
    let (palette, noise) = (&plan.palette, &plan.noise);
    let (warm, cold) = (palette.accent(0, 0.66), palette.accent(1, 0.52));
    let mut canvas = Canvas::soft(plan.size, 112, |x, y| {
        let (wx, wy) =
            (noise.layers(x * 1.5 + shift, y * 1.5, 2), noise.layers(x * 1.5, y * 1.5 + shift, 2));
        let cloud = noise.layers(x * 1.8 + wx * 1.3, y * 1.8 + wy * 1.3 + shift, 4) * 0.5 + 0.5;
        let dense = cloud.clamp(0.0, 1.0);
        let base = palette.tone(0.02 + 0.62 * dense * dense * dense);
        let tint = mix(base, warm, (dense - 0.5).max(0.0) * 1.7);
        mix(tint, cold, (wx * 0.9).clamp(0.0, 0.34))
    });
    stars(plan, &mut canvas, 420, 1.0);
    flares(plan, &mut canvas);
    if !plan.words.any(&["galaxy", "nebula"]) || plan.words.any(&["planet"]) {
        let (width, height) = canvas.size();
        let radius = canvas.unit() * plan.chance.range(0.13, 0.25);
        let spot = (width * plan.chance.range(0.3, 0.7), height * plan.chance.range(0.35, 0.65));
        planet(plan, &mut canvas, spot, radius);
        let small = (width * plan.chance.range(0.08, 0.92), height * plan.chance.range(0.08, 0.25));
        ball(plan, &mut canvas, small, radius * 0.22, 1);
    }
    canvas
}

/// Stars over the upper part of the picture.
pub(super) fn stars(plan: &mut Plan, canvas: &mut Canvas, count: usize, part: f32) {
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    let count = (count as f32 * width * height / (unit * unit)) as usize;
    for _ in 0..count.min(2_000) {
        let centre = (width * plan.chance.unit(), height * part * plan.chance.unit());
        let size = plan.chance.unit().powi(5);
        let radius = unit * (0.0011 + 0.0036 * size);
        let colour = match plan.chance.below(5) {
            0 => plan.palette.accent(0, 0.9),
            1 => plan.palette.tone(0.85),
            _ => [255, 253, 248],
        };
        let alpha = plan.chance.range(0.35, 1.0);
        // Six corners are round enough for a dot.
        let dot: [Point; 6] = std::array::from_fn(|i| {
            let (s, c) = (i as f32 * std::f32::consts::FRAC_PI_3).sin_cos();
            (centre.0 + c * radius, centre.1 + s * radius)
        });
        canvas.fill(&dot, Paint::solid(colour).fade(alpha));
    }
}

/// A few bright stars with rays.
fn flares(plan: &mut Plan, canvas: &mut Canvas) {
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    for _ in 0..9 {
        let (x, y) = (width * plan.chance.unit(), height * plan.chance.unit());
        let ray = unit * plan.chance.range(0.012, 0.045);
        let thin = ray * 0.07;
        let colour = mix(plan.palette.accent(0, 0.9), [255, 255, 255], 0.6);
        for glow in [0.22, 0.12] {
            canvas.circle((x, y), ray * glow * 2.2, Paint::solid(colour).fade(0.18));
        }
        let star = [
            (x, y - ray),
            (x + thin, y - thin),
            (x + ray, y),
            (x + thin, y + thin),
            (x, y + ray),
            (x - thin, y + thin),
            (x - ray, y),
            (x - thin, y - thin),
        ];
        canvas.fill(&star, Paint::solid(colour));
    }
}

fn planet(plan: &mut Plan, canvas: &mut Canvas, centre: Point, radius: f32) {
    let ringed = plan.chance.chance(0.7);
    let tilt = plan.chance.range(-0.5, 0.5);
    if ringed {
        rings(plan, canvas, centre, radius, tilt, true);
    }
    for glow in [1.16, 1.09, 1.04] {
        canvas.circle(centre, radius * glow, Paint::solid(plan.palette.accent(0, 0.75)).fade(0.10));
    }
    ball(plan, canvas, centre, radius, 0);
    if ringed {
        rings(plan, canvas, centre, radius, tilt, false);
    }
}

/// A ball with bands, lit from the upper left.
fn ball(plan: &mut Plan, canvas: &mut Canvas, (x, y): Point, radius: f32, accent: usize) {
    let light = plan.palette.accent(accent, 0.80);
    let deep = plan.palette.accent(accent, 0.42);
    canvas.circle((x, y), radius, Paint::gradient(light, deep));
    let mut band = -0.8;
    while band < 0.8 {
        let thick = plan.chance.range(0.03, 0.12);
        let half = |at: f32| (1.0 - at * at).max(0.0).sqrt() * radius;
        let (a, b) = (half(band), half(band + thick));
        let strip = [
            (x - a, y + band * radius),
            (x + a, y + band * radius),
            (x + b, y + (band + thick) * radius),
            (x - b, y + (band + thick) * radius),
        ];
        let colour = plan.palette.tone(plan.chance.range(0.3, 0.95));
        canvas.fill(&strip, Paint::solid(colour).fade(0.30));
        band += thick + plan.chance.range(0.04, 0.16);
    }
    // The night side: crescents, each a little wider than the last, too many to be seen.
    for shade in 0..16 {
        let inner = 0.97 - 0.085 * shade as f32;
        let mut crescent = Vec::with_capacity(66);
        for i in 0..=32 {
            let (s, c) = (-0.9 + i as f32 / 32.0 * std::f32::consts::PI).sin_cos();
            crescent.push((x + c * radius * 1.004, y + s * radius * 1.004));
        }
        for i in (0..=32).rev() {
            let (s, c) = (i as f32 / 32.0 * std::f32::consts::PI).sin_cos();
            // An ellipse squeezed towards the light, turned like the outer arc.
            let (px, py) = (c, s * inner);
            let (sin, cos) = (-0.9_f32).sin_cos();
            crescent.push((x + (px * cos - py * sin) * radius, y + (px * sin + py * cos) * radius));
        }
        canvas.fill(&crescent, Paint::solid(plan.palette.tone(0.0)).fade(0.105));
    }
}

fn rings(plan: &Plan, canvas: &mut Canvas, centre: Point, radius: f32, tilt: f32, back: bool) {
    for (ring, (inner, outer, alpha)) in
        [(1.35, 1.52, 0.55), (1.56, 1.85, 0.75), (1.90, 1.97, 0.5)].into_iter().enumerate()
    {
        let half = |scale: f32| {
            let whole = ellipse(centre, radius * scale, radius * scale * 0.26, tilt);
            let middle = whole.len() / 2;
            // The first half of the ellipse is the lower, nearer one.
            let mut arc = if back { whole[middle..].to_vec() } else { whole[..=middle].to_vec() };
            if back {
                arc.push(whole[0]);
            }
            arc
        };
        let mut band = half(outer);
        band.extend(half(inner).into_iter().rev());
        let colour = mix(plan.palette.accent(1, 0.82), plan.palette.tone(0.9), 0.2 * ring as f32);
        canvas.fill(&band, Paint::solid(colour).fade(alpha));
    }
}

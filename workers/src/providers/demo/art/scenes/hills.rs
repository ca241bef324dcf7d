//! Ridges behind ridges in the haze, below a sky with a sun or a moon.

use super::{
    super::{
        Plan,
        canvas::{Canvas, Paint, Point, mix},
    },
    cosmos,
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let mut canvas = sky(plan, 0.62);
    let pines = plan.words.any(&["forest", "tree", "wood", "pine", "jungle"]);
    let smooth = plan.words.any(&["desert", "dune", "hill", "meadow", "field"]);
    let layers = 5 + plan.chance.below(3);
    let (haze, near) = if plan.palette.night { (0.40, 0.02) } else { (0.80, 0.07) };
    for layer in 0..layers {
        let depth = (layer + 1) as f32 / layers as f32;
        let tone = haze + (near - haze) * depth.powf(0.85);
        let ridge = ridge(plan, &canvas, depth, smooth);
        if pines && depth > 0.3 {
            trees(plan, &mut canvas, &ridge, depth, tone);
        }
        let (width, height) = canvas.size();
        let mut outline = ridge;
        outline.extend([(width + 2.0, height + 2.0), (-2.0, height + 2.0)]);
        let mist = (tone + 0.17 * (1.0 - depth * 0.6)).min(0.95);
        canvas.fill(&outline, Paint::gradient(plan.palette.tone(tone), plan.palette.tone(mist)));
    }
    canvas
}

/// A sky down to `horizon` (a share of the height), with light around the sun or moon.
pub(super) fn sky(plan: &mut Plan, horizon: f32) -> Canvas {
    let (width, height) = plan.size;
    let unit = width.min(height) as f32;
    let (wide, tall) = (width as f32 / unit, height as f32 / unit);
    let night = plan.palette.night;
    let sun = (wide * plan.chance.range(0.2, 0.8), tall * horizon * plan.chance.range(0.35, 0.75));
    let glow = plan.palette.accent(0, if night { 0.80 } else { 0.88 });
    let (high, low) = if night { (0.03, 0.42) } else { (0.50, 0.93) };
    let (palette, noise) = (&plan.palette, &plan.noise);
    let mut canvas = Canvas::soft(plan.size, 72, |x, y| {
        let fall = (y / (tall * horizon)).min(1.0);
        let clouds = noise.layers(x * 1.6 + 3.0, y * 6.5, 3) * 0.09 * (0.35 + fall);
        let base = palette.tone(high + (low - high) * fall.powf(1.2) + clouds);
        let (dx, dy) = (x - sun.0, y - sun.1);
        let light = (-(dx * dx + dy * dy) * 9.0).exp() * if night { 0.35 } else { 0.6 };
        mix(base, glow, light)
    });
    let centre = (sun.0 * unit, sun.1 * unit);
    let radius = unit * plan.chance.range(0.055, 0.10);
    if night {
        cosmos::stars(plan, &mut canvas, 130, horizon);
        let moon = plan.palette.tone(0.97);
        canvas.circle(centre, radius, Paint::gradient(moon, mix(moon, glow, 0.4)));
        for (x, y, size) in [(-0.3, -0.2, 0.22), (0.25, 0.3, 0.3), (0.2, -0.4, 0.13)] {
            let spot = (centre.0 + radius * x, centre.1 + radius * y);
            canvas.circle(spot, radius * size, Paint::solid(glow).fade(0.35));
        }
    } else {
        for ring in [2.1, 1.5] {
            canvas.circle(centre, radius * ring, Paint::solid(glow).fade(0.16));
        }
        let top = mix(glow, [255, 255, 250], 0.75);
        canvas.circle(
            centre,
            radius,
            Paint::gradient(top, mix(top, plan.palette.accent(0, 0.8), 0.6)),
        );
    }
    canvas
}

/// The upper edge of one layer, from left to right.
fn ridge(plan: &mut Plan, canvas: &Canvas, depth: f32, smooth: bool) -> Vec<Point> {
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    let base = height * (0.46 + 0.46 * depth);
    let (rough, reach) = if smooth { (2, 0.16) } else { (6, 0.30) };
    let shift = plan.chance.range(0.0, 200.0);
    let stretch = (1.5 + depth * 1.2) * if smooth { 0.8 } else { 1.0 };
    let steps = (width / 2.0).clamp(24.0, 360.0);
    (0..=steps as usize)
        .map(|i| {
            let x = -2.0 + (width + 4.0) * i as f32 / steps;
            let at = x / unit * stretch + shift;
            let shape = plan.noise.layers(at, shift * 0.37, rough);
            // Mountains have sharp tops: fold the noise.
            let shape = if smooth { shape } else { 0.55 - 1.5 * shape.abs() + 0.25 * shape };
            (x, base - shape * reach * unit * (1.15 - depth * 0.65))
        })
        .collect()
}

/// Pines along a ridge, larger and darker the nearer it is.
fn trees(plan: &mut Plan, canvas: &mut Canvas, ridge: &[Point], depth: f32, tone: f32) {
    let unit = canvas.unit();
    let tall = unit * (0.03 + 0.15 * depth * depth);
    let spacing = tall * 0.24;
    let mut next = 0.0;
    for &(x, y) in ridge {
        if x < next {
            continue;
        }
        next = x + spacing * plan.chance.range(0.5, 1.8);
        let height = tall * plan.chance.range(0.55, 1.25);
        let colour = plan.palette.tone(tone + plan.chance.range(-0.02, 0.02));
        let lighter = plan.palette.tone(tone + 0.07);
        canvas.fill(&pine((x, y + height * 0.12), height), Paint::gradient(colour, lighter));
    }
}

fn pine((x, y): Point, height: f32) -> Vec<Point> {
    const TIERS: usize = 5;
    let mut right = Vec::with_capacity(TIERS * 2 + 1);
    for tier in 0..TIERS {
        let down = tier as f32 / TIERS as f32;
        let reach = height * 0.21 * (0.28 + 0.72 * (down + 1.0 / TIERS as f32));
        right.push((height * 0.19 * down * 0.55, height * (1.0 - down)));
        right.push((reach, height * (1.0 - down - 1.25 / TIERS as f32)));
    }
    let left = right.iter().rev().map(|&(dx, up)| (x - dx, y - up)).collect::<Vec<_>>();
    right.into_iter().map(|(dx, up)| (x + dx, y - up)).chain(left).collect()
}

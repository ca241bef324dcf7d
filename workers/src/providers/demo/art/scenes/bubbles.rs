//! Circles of all sizes packed tightly, shaded like balls, rings or discs.

use super::super::{
    Plan,
    canvas::{Canvas, Paint, Point, mix},
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let shift = plan.chance.range(0.0, 90.0);
    let night = plan.palette.night;
    let (palette, noise) = (&plan.palette, &plan.noise);
    let mut canvas = Canvas::soft(plan.size, 40, |x, y| {
        let base = if night { 0.06 } else { 0.93 };
        palette.tone(base + noise.layers(x * 1.4 + shift, y * 1.4, 2) * 0.05)
    });
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    let flat = plan.taste.is_multiple_of(3);
    for (x, y, radius) in pack(plan, width / unit, height / unit) {
        let (centre, radius) = ((x * unit, y * unit), radius * unit);
        let near = plan.noise.layers(x * 1.1 + shift, y * 1.1 - shift, 2) * 0.5 + 0.5;
        if flat {
            disc(plan, &mut canvas, centre, radius, near);
        } else {
            ball(plan, &mut canvas, centre, radius, near);
        }
    }
    canvas
}

/// Circles that do not overlap, from large to small.
fn pack(plan: &mut Plan, wide: f32, tall: f32) -> Vec<(f32, f32, f32)> {
    let mut circles: Vec<(f32, f32, f32)> = Vec::new();
    let largest = plan.chance.range(0.13, 0.21);
    let mut misses = 0;
    while misses < 160 && circles.len() < 190 {
        let (x, y) = (plan.chance.range(0.0, wide), plan.chance.range(0.0, tall));
        let shrink = 1.0 - (circles.len() as f32 / 46.0).min(0.90);
        let mut room = largest * shrink.max(plan.chance.unit().powi(3) * 0.5);
        let mut i = 0;
        while i < circles.len() && room > 0.0 {
            let (ox, oy, other) = circles[i];
            let (dx, dy) = (x - ox, y - oy);
            let gap = (dx * dx + dy * dy).sqrt() - other - 0.006;
            if gap < room {
                room = gap;
            }
            i += 1;
        }
        if room > 0.011 {
            circles.push((x, y, room));
            misses = 0;
        } else {
            misses += 1;
        }
    }
    circles
}

fn ball(plan: &mut Plan, canvas: &mut Canvas, (x, y): Point, radius: f32, near: f32) {
    let colour = match plan.chance.below(6) {
        0 => plan.palette.accent(0, 0.70),
        1 => plan.palette.accent(1, 0.62),
        _ => plan.palette.tone(0.28 + 0.55 * near + plan.chance.range(-0.08, 0.08)),
    };
    let (light, dark) =
        (mix(colour, [255, 255, 255], 0.35), mix(colour, plan.palette.tone(0.0), 0.5));
    let shadow = Paint::solid(plan.palette.tone(0.0)).fade(0.13);
    for grow in [1.03, 1.09] {
        canvas.circle((x + radius * 0.07, y + radius * 0.12), radius * grow, shadow);
    }
    canvas.circle((x, y), radius, Paint::gradient(mix(colour, light, 0.5), dark));
    // Light towards the upper left, in steps too small to see.
    for step in 1..9 {
        let inward = step as f32 / 9.0;
        let centre = (x - radius * 0.28 * inward, y - radius * 0.34 * inward);
        canvas.circle(centre, radius * (1.0 - inward) * 0.94, Paint::solid(light).fade(0.11));
    }
    let shine = (x - radius * 0.36, y - radius * 0.44);
    canvas.circle(shine, radius * 0.13, Paint::solid([255, 255, 255]).fade(0.65));
}

fn disc(plan: &mut Plan, canvas: &mut Canvas, centre: Point, radius: f32, near: f32) {
    let rings = 1 + plan.chance.below(5);
    let accent = plan.chance.below(5);
    for ring in 0..rings {
        let part = 1.0 - ring as f32 / rings as f32;
        let tone = 0.2 + 0.6 * near + 0.35 * ((ring % 2) as f32 - 0.5);
        let colour = if ring == rings - 1 && accent < 2 {
            plan.palette.accent(accent, 0.7)
        } else {
            plan.palette.tone(tone)
        };
        let lower = mix(colour, plan.palette.tone(0.1), 0.22);
        canvas.circle(centre, radius * part, Paint::gradient(colour, lower));
    }
}

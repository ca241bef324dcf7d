//! Flowers of many petals, crowded together, the largest in front.

use super::super::{
    Plan,
    canvas::{Canvas, Paint, Point, mix},
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let shift = plan.chance.range(0.0, 90.0);
    let (low, high) = if plan.palette.night { (0.02, 0.16) } else { (0.16, 0.42) };
    let (palette, noise) = (&plan.palette, &plan.noise);
    let mut canvas = Canvas::soft(plan.size, 48, |x, y| {
        palette.tone(low + (high - low) * (0.5 + noise.layers(x * 2.2 + shift, y * 2.2, 3)))
    });
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    if plan.words.any(&["mandala", "lotus", "sunflower"]) {
        flower(plan, &mut canvas, (width * 0.5, height * 0.5), unit * 0.47, 7);
        return canvas;
    }
    for spot in spots(plan, width / unit, height / unit) {
        let centre = (spot.0 * unit, spot.1 * unit);
        leaves(plan, &mut canvas, centre, spot.2 * unit);
        let rings = 3 + plan.chance.below(3);
        flower(plan, &mut canvas, centre, spot.2 * unit, rings);
    }
    canvas
}

/// Where flowers stand and how large they are, the smallest first.
fn spots(plan: &mut Plan, wide: f32, tall: f32) -> Vec<(f32, f32, f32)> {
    let mut spots: Vec<(f32, f32, f32)> = Vec::new();
    for attempt in 0..320 {
        let size = 0.24 - 0.17 * (attempt as f32 / 320.0);
        let (x, y) = (plan.chance.range(-0.03, wide + 0.03), plan.chance.range(-0.03, tall + 0.03));
        let free = spots.iter().all(|&(ox, oy, other)| {
            let (dx, dy, room) = (x - ox, y - oy, (size + other) * 0.86);
            dx * dx + dy * dy > room * room
        });
        if free && spots.len() < 21 {
            spots.push((x, y, size));
        }
    }
    spots.reverse();
    spots
}

fn flower(plan: &mut Plan, canvas: &mut Canvas, centre: Point, size: f32, rings: usize) {
    let petals = 6 + plan.chance.below(8);
    let turn = plan.chance.range(0.0, 6.3);
    let (hue, plump) = (plan.chance.below(5), plan.chance.range(0.75, 1.5));
    for ring in 0..rings {
        let inward = ring as f32 / rings as f32;
        let length = size * (1.0 - inward * 0.82);
        let lightness = 0.46 + 0.42 * inward;
        let colour = match hue {
            accent @ (0 | 1) => plan.palette.accent(accent, lightness),
            _ => plan.palette.tone(0.35 + 0.6 * inward),
        };
        let edge = mix(colour, plan.palette.tone(0.97), 0.30);
        let dark = mix(colour, plan.palette.tone(0.05), 0.42);
        for petal in 0..petals {
            let angle = turn
                + ring as f32 * 0.5 * std::f32::consts::TAU / petals as f32
                + petal as f32 * std::f32::consts::TAU / petals as f32;
            let wide = length * plump * 2.1 / petals as f32;
            canvas.fill(
                &petal_shape(centre, length * 1.03, wide * 1.08, angle),
                Paint::solid(dark).fade(0.5),
            );
            canvas.fill(&petal_shape(centre, length, wide, angle), Paint::gradient(edge, colour));
            canvas.fill(
                &petal_shape(centre, length * 0.72, wide * 0.22, angle),
                Paint::solid(dark).fade(0.35),
            );
        }
    }
    let heart = size * 0.17;
    let (light, deep) = (plan.palette.accent(0, 0.86), plan.palette.accent(0, 0.55));
    canvas.circle(centre, heart, Paint::gradient(light, deep));
    // Seeds in the golden-angle spiral of a sunflower.
    for seed in 1..34 {
        let (s, c) = (seed as f32 * 2.399_963).sin_cos();
        let out = heart * 0.92 * (seed as f32 / 34.0).sqrt();
        let spot = (centre.0 + c * out, centre.1 + s * out);
        canvas.circle(spot, heart * 0.075, Paint::solid(plan.palette.tone(0.10)).fade(0.65));
    }
}

fn leaves(plan: &mut Plan, canvas: &mut Canvas, centre: Point, size: f32) {
    let turn = plan.chance.range(0.0, 6.3);
    for leaf in 0..4 {
        let angle = turn + leaf as f32 * 1.6 + plan.chance.range(-0.3, 0.3);
        let tone = plan.chance.range(0.18, 0.42);
        let (a, b) = (plan.palette.tone(tone + 0.1), plan.palette.tone(tone - 0.1));
        canvas.fill(&petal_shape(centre, size * 1.34, size * 0.42, angle), Paint::gradient(a, b));
        let vein = petal_shape(centre, size * 1.28, size * 0.025, angle);
        canvas.fill(&vein, Paint::solid(plan.palette.tone(tone + 0.25)).fade(0.6));
    }
}

/// A petal from the centre outwards: narrow, wide, then pointed.
fn petal_shape((x, y): Point, length: f32, wide: f32, angle: f32) -> Vec<Point> {
    const STEPS: usize = 11;
    let (sin, cos) = angle.sin_cos();
    let place =
        |along: f32, aside: f32| (x + along * cos - aside * sin, y + along * sin + aside * cos);
    let half = |t: f32| {
        wide * 0.5 * (t * std::f32::consts::PI).sin().max(0.0).powf(0.75) * (0.45 + 0.75 * t)
    };
    let mut points = Vec::with_capacity(STEPS * 2);
    for i in 0..=STEPS {
        let t = i as f32 / STEPS as f32;
        points.push(place(length * t, half(t)));
    }
    for i in (1..STEPS).rev() {
        let t = i as f32 / STEPS as f32;
        points.push(place(length * t, -half(t)));
    }
    points
}

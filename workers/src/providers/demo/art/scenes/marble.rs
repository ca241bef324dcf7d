//! Marbled paper: layers of ink in a slow current.

use super::super::{
    Plan,
    canvas::{Canvas, Paint, Point, Rgb, mix, ribbon},
    palette::Palette,
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let bands = plan.chance.range(10.0, 16.0);
    let shift = plan.chance.range(0.0, 90.0);
    let scale = plan.chance.range(1.0, 1.6);
    let first = plan.chance.range(0.0, 1.0);
    let inks = inks(&plan.palette, bands, first, 2_048);
    let noise = &plan.noise;
    let mut canvas = Canvas::field(plan.size, 110, &inks, |x, y| {
        let (u, v) = (x * scale + shift, y * scale);
        let (a, b) = (noise.layers(u, v, 2), noise.layers(u + 5.2, v + 1.3, 2));
        0.5 + 0.5 * noise.layers(u * 0.8 + a * 1.1, v * 0.8 + b * 1.1, 2)
    });
    splashes(plan, &mut canvas);
    canvas
}

/// The colours across all layers of ink: each darkens towards the next, with a seam of gold.
pub(in super::super) fn inks(palette: &Palette, bands: f32, first: f32, steps: usize) -> Vec<Rgb> {
    let gold = palette.accent(0, 0.80);
    let ink = |band: f32, within: f32| {
        // The golden ratio keeps neighbours apart.
        let layer = (band * 0.618_034 + first).rem_euclid(1.0);
        palette.tone(0.14 + 0.82 * layer - 0.22 * within)
    };
    (0..steps)
        .map(|i| {
            let at = i as f32 / steps as f32 * bands;
            let (band, within) = (at.floor(), at - at.floor());
            let seam = ((within - 0.93) / 0.07).clamp(0.0, 1.0);
            let colour = mix(ink(band, within), ink(band + 1.0, 0.0), seam);
            let vein = 1.0 - ((within - 0.93).abs() / 0.06).min(1.0);
            mix(colour, gold, (vein * 2.0).min(1.0) * 0.85)
        })
        .collect()
}

/// Drops and threads of ink on top.
fn splashes(plan: &mut Plan, canvas: &mut Canvas) {
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    for _ in 0..26 {
        let centre = (width * plan.chance.unit(), height * plan.chance.unit());
        let radius = unit * (0.002 + 0.012 * plan.chance.unit().powi(3));
        let colour = if plan.chance.chance(0.5) {
            plan.palette.accent(0, 0.85)
        } else {
            plan.palette.tone(0.97)
        };
        canvas.circle(centre, radius, Paint::solid(colour).fade(0.85));
    }
    for _ in 0..5 {
        let (mut x, mut y) = (width * plan.chance.unit(), height * plan.chance.unit());
        let mut thread: Vec<Point> = Vec::with_capacity(40);
        for _ in 0..40 {
            thread.push((x, y));
            let (s, c) = (plan.noise.at(x / unit * 1.6, y / unit * 1.6) * 3.0).sin_cos();
            (x, y) = (x + c * unit * 0.012, y + s * unit * 0.012);
        }
        let taper = |t: f32| unit * 0.0035 * (t * std::f32::consts::PI).sin();
        canvas.fill(&ribbon(&thread, taper), Paint::solid(plan.palette.tone(0.97)).fade(0.7));
    }
}

//! Brush strokes that follow an invisible current.

use super::super::{
    Plan,
    canvas::{Canvas, Paint, Point, ribbon},
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let shift = plan.chance.range(0.0, 90.0);
    let night = plan.palette.night;
    let (palette, noise) = (&plan.palette, &plan.noise);
    let mut canvas = Canvas::soft(plan.size, 40, |x, y| {
        let base = if night { 0.06 } else { 0.20 };
        palette.tone(base + noise.layers(x * 1.3 + shift, y * 1.3, 2) * 0.12)
    });
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    let (wide, tall) = (width / unit, height / unit);
    let turns = plan.chance.range(0.8, 1.5);
    let swirl = (plan.chance.range(0.3, 0.7) * wide, plan.chance.range(0.3, 0.7) * tall);
    let count = (460.0 * (wide * tall).sqrt()) as usize;
    for stroke in 0..count.min(1_200) {
        let late = stroke as f32 / count as f32;
        let start = (plan.chance.range(-0.1, wide), plan.chance.range(-0.05, tall + 0.05));
        let length = 14 + plan.chance.below(18);
        let line = follow(plan, start, length, turns, swirl);
        let line = line.iter().map(|&(x, y)| (x * unit, y * unit)).collect::<Vec<_>>();
        let value = plan.noise.layers(start.0 * 1.2 - shift, start.1 * 1.2, 2) * 0.5 + 0.5;
        let tone = 0.12 + 0.75 * value + 0.22 * (late - 0.5) + plan.chance.range(-0.14, 0.14);
        let colour = match plan.chance.below(14) {
            0 => plan.palette.accent(0, 0.72),
            1 => plan.palette.accent(1, 0.64),
            _ => plan.palette.tone(tone),
        };
        let thick = unit * (0.003 + 0.024 * (1.0 - late).powi(2) * plan.chance.unit());
        let taper = |t: f32| thick * ((1.0 - t) * t * 4.0).max(0.0).sqrt();
        canvas.fill(&ribbon(&line, taper), Paint::solid(colour).fade(0.92));
    }
    canvas
}

/// The line that something afloat would take: noise bent around one swirl.
fn follow(plan: &Plan, start: Point, steps: usize, turns: f32, swirl: Point) -> Vec<Point> {
    let (mut x, mut y) = start;
    let mut line = Vec::with_capacity(steps + 1);
    line.push(start);
    for _ in 0..steps {
        let (dx, dy) = (x - swirl.0, y - swirl.1);
        let near = (-(dx * dx + dy * dy) * 7.0).exp();
        let (sin, cos) = (plan.noise.at(x * 1.3, y * 1.3) * 3.1 * turns).sin_cos();
        let away = (dx * dx + dy * dy).sqrt().max(0.02);
        let (vx, vy) =
            (cos * (1.0 - near) - dy / away * near, sin * (1.0 - near) + dx / away * near);
        (x, y) = (x + vx * 0.016, y + vy * 0.016);
        line.push((x, y));
    }
    line
}

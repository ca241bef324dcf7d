//! Rows of towers behind each other, the nearest with lit windows.

use super::{
    super::{
        Plan,
        canvas::{Canvas, Paint},
    },
    hills,
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let mut canvas = hills::sky(plan, 0.85);
    let rows = 5;
    let (far, near) = if plan.palette.night { (0.36, 0.03) } else { (0.76, 0.12) };
    for row in 0..rows {
        let depth = row as f32 / (rows - 1) as f32;
        let (width, height) = canvas.size();
        let unit = canvas.unit();
        let mut x = -unit * plan.chance.range(0.0, 0.1);
        let centre = width * plan.chance.range(0.3, 0.7);
        while x < width {
            let wide = unit * plan.chance.range(0.045, 0.11) * (0.7 + 0.6 * depth);
            // The tallest stand together.
            let middle = 1.0 - ((x + wide * 0.5 - centre) / width).abs() * 1.3;
            let tall =
                unit * (0.16 + 0.42 * middle.max(0.1) * plan.chance.unit()) * (1.1 - depth * 0.42);
            let top = height * (0.66 + 0.30 * depth) - tall;
            let tone = far + (near - far) * depth + plan.chance.range(-0.025, 0.025);
            tower(plan, &mut canvas, (x, top, wide), tone, depth);
            x += wide * plan.chance.range(0.82, 1.25);
        }
    }
    canvas
}

/// One tower down to the lower edge of the picture.
fn tower(
    plan: &mut Plan,
    canvas: &mut Canvas,
    (x, top, wide): (f32, f32, f32),
    tone: f32,
    depth: f32,
) {
    let (_, height) = canvas.size();
    let unit = canvas.unit();
    let mut outline = vec![(x, height + 1.0), (x, top)];
    match plan.chance.below(5) {
        0 => outline.extend([(x + wide * 0.5, top - wide * 0.5)]),
        1 => outline.extend([
            (x + wide * 0.2, top),
            (x + wide * 0.2, top - wide * 0.3),
            (x + wide * 0.8, top - wide * 0.3),
            (x + wide * 0.8, top),
        ]),
        2 => outline.extend([
            (x + wide * 0.47, top),
            (x + wide * 0.49, top - wide * 1.1),
            (x + wide * 0.51, top - wide * 1.1),
            (x + wide * 0.53, top),
        ]),
        3 => outline.extend([(x, top - wide * 0.35)]),
        _ => {}
    }
    outline.extend([(x + wide, top), (x + wide, height + 1.0)]);
    let foot = plan.palette.tone(tone + 0.16);
    canvas.fill(&outline, Paint::gradient(plan.palette.tone(tone), foot));
    let side = [
        (x + wide * 0.72, top),
        (x + wide, top),
        (x + wide, height + 1.0),
        (x + wide * 0.72, height + 1.0),
    ];
    canvas.fill(&side, Paint::solid(plan.palette.tone(tone - 0.12)).fade(0.45));
    if depth < 0.2 {
        return;
    }
    let columns = 3 + plan.chance.below(3);
    let cell = wide / (columns as f32 + 0.6);
    let (pane, tall) = (cell * 0.56, cell * 0.72);
    let lit = plan.chance.range(0.18, 0.6);
    let warm = plan.palette.accent(0, 0.86);
    let cool = plan.palette.accent(1, 0.78);
    let mut y = top + cell * 0.7;
    // Past this, nearer towers stand in front.
    let end = (top + unit * 0.62).min(height);
    while y < end {
        for column in 0..columns {
            if plan.chance.chance(lit) {
                let left = x + cell * (column as f32 + 0.52);
                let colour = if plan.chance.chance(0.82) { warm } else { cool };
                let window =
                    [(left, y), (left + pane, y), (left + pane, y + tall), (left, y + tall)];
                let alpha = plan.chance.range(0.35, 1.0) * (0.45 + 0.55 * depth);
                canvas.fill(&window, Paint::solid(colour).fade(alpha));
            }
        }
        y += cell * 1.25;
    }
}

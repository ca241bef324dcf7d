//! Waves before waves, with crests of foam, below a large sun.

use super::{
    super::{
        Plan,
        canvas::{Canvas, Paint, Point, mix, ribbon},
    },
    hills,
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let mut canvas = hills::sky(plan, 0.5);
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    let layers = 8 + plan.chance.below(4);
    let wild = if plan.words.any(&["storm", "wave", "surf"]) { 1.7 } else { 1.0 };
    let night = plan.palette.night;
    for layer in 0..layers {
        let depth = layer as f32 / (layers - 1) as f32;
        let crest = crest(plan, &canvas, depth, wild);
        let tone = if night { 0.34 - 0.26 * depth } else { 0.74 - 0.56 * depth };
        let light = plan.palette.tone(tone + 0.13);
        let mut body = crest.clone();
        body.extend([(width + 2.0, height + 2.0), (-2.0, height + 2.0)]);
        // Only the strip below the crest shows; the gradient has to happen there.
        let foot = height * (0.60 + 0.5 * depth) + unit * 0.1;
        body[crest.len()].1 = foot.max(crest[crest.len() - 1].1 + 1.0);
        body[crest.len() + 1].1 = body[crest.len()].1;
        canvas.fill(&body, Paint::gradient(light, plan.palette.tone(tone - 0.12)));
        let below =
            [(-2.0, foot - 1.0), (width + 2.0, foot - 1.0), (width + 2.0, height), (-2.0, height)];
        canvas.fill(&below, Paint::solid(plan.palette.tone(tone - 0.12)));
        lines(plan, &mut canvas, &crest, depth, light);
    }
    canvas
}

fn crest(plan: &mut Plan, canvas: &Canvas, depth: f32, wild: f32) -> Vec<Point> {
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    let base = height * (0.5 + 0.46 * depth.powf(1.25));
    let reach = unit * (0.008 + 0.055 * depth) * wild;
    let length = (1.0 + 9.0 * (1.0 - depth)) * 0.9;
    let shift = plan.chance.range(0.0, 100.0);
    let steps = (width / 3.0).clamp(24.0, 260.0);
    (0..=steps as usize)
        .map(|i| {
            let x = -2.0 + (width + 4.0) * i as f32 / steps;
            let at = x / unit * length + shift;
            let swell = (at * 2.6 + plan.noise.at(at * 0.8, shift) * 2.4).sin();
            // A trough is wide, a crest is narrow.
            let swell = 1.0 - 2.0 * (1.0 - (swell * 0.5 + 0.5).powf(1.7));
            (x, base - reach * (swell + 0.5 * plan.noise.at(at * 1.7, shift)))
        })
        .collect()
}

/// Foam on the crest, and fainter lines of light below it that follow its shape.
fn lines(plan: &mut Plan, canvas: &mut Canvas, crest: &[Point], depth: f32, light: [u8; 3]) {
    let unit = canvas.unit();
    let foam = mix(light, plan.palette.tone(0.98), 0.75);
    let thick = unit * (0.0012 + 0.006 * depth);
    let noise = plan.noise.clone();
    let shift = plan.chance.range(0.0, 50.0);
    let width = |t: f32| thick * (0.25 + 1.5 * noise.at(t * 7.0, shift).max(0.0));
    canvas.fill(&ribbon(crest, width), Paint::solid(foam).fade(0.9));
    for line in 1..4 {
        let drop = unit * (0.004 + 0.022 * depth) * line as f32;
        let from = plan.chance.below(crest.len() * 2 / 3);
        let size = crest.len() / 5 + plan.chance.below(crest.len() / 4);
        let part = crest.iter().skip(from).take(size).map(|&(x, y)| (x, y + drop));
        let part = part.collect::<Vec<_>>();
        let taper = |t: f32| thick * 0.9 * (t * std::f32::consts::PI).sin();
        canvas.fill(&ribbon(&part, taper), Paint::solid(foam).fade(0.45));
    }
}

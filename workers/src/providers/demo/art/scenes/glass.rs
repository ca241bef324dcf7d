//! Stained glass: cells around scattered points, held by dark lead.

use super::super::{
    Plan,
    canvas::{Canvas, Paint, Point, mix},
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let lead = plan.palette.tone(0.0);
    let mut canvas = Canvas::soft(plan.size, 4, |_, _| lead);
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    let sites = sites(plan, width / unit, height / unit);
    let shift = plan.chance.range(0.0, 90.0);
    let focus =
        (plan.chance.range(0.25, 0.75) * width / unit, plan.chance.range(0.2, 0.6) * height / unit);
    for (i, &site) in sites.iter().enumerate() {
        let cell = cell(&sites, i, 0.0045);
        let cell = cell.iter().map(|&(x, y)| (x * unit, y * unit)).collect::<Vec<_>>();
        let away = ((site.0 - focus.0).powi(2) + (site.1 - focus.1).powi(2)).sqrt();
        let tone =
            0.92 - away * 0.95 + plan.noise.layers(site.0 * 2.0 + shift, site.1 * 2.0, 2) * 0.3;
        let tone = tone.clamp(0.14, 0.95) + plan.chance.range(-0.05, 0.05);
        let colour = if plan.chance.chance(0.14) {
            plan.palette.accent(plan.chance.below(2), 0.45 + 0.35 * tone)
        } else {
            plan.palette.tone(tone)
        };
        let (light, dark) = (mix(colour, [255, 255, 255], 0.25), mix(colour, lead, 0.30));
        canvas.fill(&cell, Paint::gradient(light, dark));
        facets(plan, &mut canvas, (site.0 * unit, site.1 * unit), &cell, colour);
    }
    canvas
}

/// A cut stone has sides: each a little lighter or darker by where it faces.
fn facets(plan: &Plan, canvas: &mut Canvas, centre: Point, cell: &[Point], colour: [u8; 3]) {
    for i in 0..cell.len() {
        let (a, b) = (cell[i], cell[(i + 1) % cell.len()]);
        let (nx, ny) = (a.1 - b.1, b.0 - a.0);
        let facing = (nx * 0.5 + ny * 0.85) / (nx * nx + ny * ny).sqrt().max(1e-3);
        let shade = if facing > 0.0 { [255, 255, 255] } else { plan.palette.tone(0.0) };
        let inner = |p: Point| (p.0 + (centre.0 - p.0) * 0.42, p.1 + (centre.1 - p.1) * 0.42);
        let side = [a, b, inner(b), inner(a)];
        let strength = facing.abs() * 0.26;
        canvas.fill(&side, Paint::gradient(mix(colour, shade, 0.9), shade).fade(strength));
    }
}

/// Points on a grid, each moved a little, and a margin of them outside of the picture.
fn sites(plan: &mut Plan, wide: f32, tall: f32) -> Vec<Point> {
    let step = plan.chance.range(0.085, 0.13).max((wide * tall / 260.0).sqrt());
    let mut sites = Vec::new();
    let mut y = -step;
    while y < tall + step {
        let mut x = -step;
        while x < wide + step {
            let (dx, dy) = (plan.chance.range(0.0, 0.95), plan.chance.range(0.0, 0.95));
            sites.push((x + step * dx, y + step * dy));
            x += step;
        }
        y += step;
    }
    sites
}

/// The part of the plane nearest to one site, less a margin for the lead.
fn cell(sites: &[Point], index: usize, margin: f32) -> Vec<Point> {
    let (x, y) = sites[index];
    let reach = 0.4;
    let mut shape = vec![
        (x - reach, y - reach),
        (x + reach, y - reach),
        (x + reach, y + reach),
        (x - reach, y + reach),
    ];
    for (other, &(ox, oy)) in sites.iter().enumerate() {
        let (dx, dy) = (ox - x, oy - y);
        let apart = (dx * dx + dy * dy).sqrt();
        if other == index || apart > reach || apart < 1e-4 {
            continue;
        }
        let (nx, ny) = (dx / apart, dy / apart);
        let limit = nx * x + ny * y + apart * 0.5 - margin;
        shape = cut(&shape, |p| limit - nx * p.0 - ny * p.1);
    }
    shape
}

/// The part of a convex polygon where `inside` is positive.
fn cut(shape: &[Point], inside: impl Fn(Point) -> f32) -> Vec<Point> {
    let mut kept = Vec::with_capacity(shape.len() + 1);
    for i in 0..shape.len() {
        let (a, b) = (shape[i], shape[(i + 1) % shape.len()]);
        let (da, db) = (inside(a), inside(b));
        if da >= 0.0 {
            kept.push(a);
        }
        if (da >= 0.0) != (db >= 0.0) {
            let t = da / (da - db);
            kept.push((a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t));
        }
    }
    kept
}

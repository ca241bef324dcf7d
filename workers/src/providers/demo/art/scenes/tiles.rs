//! A poster of square tiles, each with a simple figure.

use super::super::{
    Plan,
    canvas::{Canvas, Paint, Point, Rgb, mix},
};

pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let paper = plan.palette.tone(if plan.palette.night { 0.05 } else { 0.96 });
    let mut canvas = Canvas::soft(plan.size, 4, |_, _| paper);
    let (width, height) = canvas.size();
    let unit = canvas.unit();
    let size = unit / (4 + plan.taste % 4) as f32;
    let (columns, rows) = ((width / size).ceil() as usize, (height / size).ceil() as usize);
    let (left, top) = ((width - columns as f32 * size) * 0.5, (height - rows as f32 * size) * 0.5);
    let colours = [
        plan.palette.tone(0.12),
        plan.palette.tone(0.38),
        plan.palette.tone(0.62),
        plan.palette.tone(0.84),
        paper,
        plan.palette.accent(0, 0.72),
        plan.palette.accent(1, 0.56),
    ];
    for row in 0..rows {
        for column in 0..columns {
            let corner = (left + column as f32 * size, top + row as f32 * size);
            let ground = plan.chance.below(colours.len());
            let figure = (ground + 1 + plan.chance.below(colours.len() - 1)) % colours.len();
            let third = (figure + 1 + plan.chance.below(colours.len() - 2)) % colours.len();
            let (figure, third) = (colours[figure], colours[third]);
            square(&mut canvas, corner, size, colours[ground]);
            tile(plan, &mut canvas, corner, size, [figure, third, colours[ground]]);
        }
    }
    canvas
}

fn square(canvas: &mut Canvas, (x, y): Point, size: f32, colour: Rgb) {
    let shape = [(x, y), (x + size, y), (x + size, y + size), (x, y + size)];
    canvas.fill(
        &shape,
        Paint::gradient(mix(colour, [255, 255, 255], 0.05), mix(colour, [0, 0, 0], 0.05)),
    );
}

fn tile(
    plan: &mut Plan,
    canvas: &mut Canvas,
    corner: Point,
    size: f32,
    [one, two, ground]: [Rgb; 3],
) {
    let quarter = plan.chance.below(4);
    // From the tile's own square, turned by quarters, to the picture.
    let place = |(u, v): Point| {
        let (u, v) = match quarter {
            0 => (u, v),
            1 => (1.0 - v, u),
            2 => (1.0 - u, 1.0 - v),
            _ => (v, 1.0 - u),
        };
        (corner.0 + u * size, corner.1 + v * size)
    };
    let mut draw = |shape: Vec<Point>, colour: Rgb| {
        let shape = shape.into_iter().map(place).collect::<Vec<_>>();
        canvas.fill(&shape, Paint::solid(colour));
    };
    match plan.chance.below(9) {
        0 => draw(wedge((0.0, 0.0), 1.0, 0.0, 0.25), one),
        1 => {
            for (radius, colour) in [(1.0, one), (0.75, ground), (0.5, two), (0.25, ground)] {
                draw(wedge((0.0, 0.0), radius, 0.0, 0.25), colour);
            }
        }
        2 => {
            draw(wedge((0.0, 0.5), 0.5, -0.25, 0.25), one);
            draw(wedge((0.5, 0.5), 0.5, -0.25, 0.25), two);
        }
        3 => {
            // Where the quarter discs around two opposite corners overlap.
            let mut leaf = wedge((0.0, 1.0), 1.0, -0.25, 0.0);
            leaf.pop();
            let back = wedge((1.0, 0.0), 1.0, 0.25, 0.5);
            leaf.extend(&back[..back.len() - 1]);
            draw(leaf, one);
            draw(wedge((0.5, 0.5), 0.12, 0.0, 1.0), two);
        }
        4 => {
            draw(vec![(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)], one);
            draw(wedge((1.0, 1.0), 0.5, 0.5, 0.75), two);
        }
        5 => {
            for (radius, colour) in [(0.42, one), (0.28, ground), (0.15, two)] {
                draw(wedge((0.5, 0.5), radius, 0.0, 1.0), colour);
            }
        }
        6 => {
            for stripe in 0..4 {
                let y = stripe as f32 * 0.25;
                let colour = if stripe % 2 == 0 { one } else { two };
                draw(vec![(0.0, y), (1.0, y), (1.0, y + 0.125), (0.0, y + 0.125)], colour);
            }
        }
        7 => {
            draw(wedge((0.0, 0.0), 0.5, 0.0, 0.25), one);
            draw(wedge((1.0, 1.0), 0.5, 0.5, 0.75), one);
            draw(vec![(0.5, 0.22), (0.78, 0.5), (0.5, 0.78), (0.22, 0.5)], two);
        }
        _ => {
            for dot in 0..9 {
                let spot = ((dot % 3) as f32 / 3.0 + 1.0 / 6.0, (dot / 3) as f32 / 3.0 + 1.0 / 6.0);
                draw(wedge(spot, 0.09, 0.0, 1.0), if dot % 2 == 0 { one } else { two });
            }
        }
    }
}

/// A slice of a disc between two angles (in whole turns), with the centre as its last corner.
fn wedge((x, y): Point, radius: f32, from: f32, to: f32) -> Vec<Point> {
    const STEPS: usize = 36;
    let mut shape = (0..=STEPS)
        .map(|i| {
            let turn = from + (to - from) * i as f32 / STEPS as f32;
            let (s, c) = (turn * std::f32::consts::TAU).sin_cos();
            (x + c * radius, y + s * radius)
        })
        .collect::<Vec<_>>();
    shape.push((x, y));
    shape
}

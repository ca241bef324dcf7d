//! A small anti-aliased painter: filled polygons over a soft background.
//!
//! Smooth backgrounds are computed on a coarse
//! grid and enlarged, and runs of one colour are copied rather than blended, because this crate
//! is not optimised in development builds. Hot loops use `while` and plain slices for the same
//! reason: an iterator there costs more than the work.

use image::{DynamicImage, ImageBuffer, Luma, RgbImage, imageops::FilterType};

use super::cells::Cells;

/// Red, green, blue.
pub(super) type Rgb = [u8; 3];
/// x and y in pixels, y downwards.
pub(super) type Point = (f32, f32);

/// What a shape is filled with: a vertical gradient over the shape's height.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    top: Rgb,
    bottom: Rgb,
    alpha: f32,
}

impl Paint {
    pub(super) fn solid(colour: Rgb) -> Self {
        Self { top: colour, bottom: colour, alpha: 1.0 }
    }

    pub(super) fn gradient(top: Rgb, bottom: Rgb) -> Self {
        Self { top, bottom, alpha: 1.0 }
    }

    /// The same, let through by `alpha` (0 to 1).
    pub(super) fn fade(self, alpha: f32) -> Self {
        Self { alpha, ..self }
    }
}

/// A colour between two others.
pub(super) fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    let t = t.clamp(0.0, 1.0);
    [0, 1, 2].map(|i| (f32::from(a[i]) + (f32::from(b[i]) - f32::from(a[i])) * t + 0.5) as u8)
}

/// The picture while it is being painted.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// Starts from a smooth picture: `colour(x, y)` is asked on a coarse grid of about `detail`
    /// points along the short side, with x and y in units of the short side.
    pub(super) fn soft(
        (width, height): (u32, u32),
        detail: u32,
        mut colour: impl FnMut(f32, f32) -> Rgb,
    ) -> Self {
        let (columns, rows) = coarse((width, height), detail);
        let unit = width.min(height) as f32;
        let (dx, dy) = (width as f32 / columns as f32, height as f32 / rows as f32);
        let mut small = Vec::with_capacity((columns * rows * 3) as usize);
        for row in 0..rows {
            let y = (row as f32 + 0.5) * dy / unit;
            for column in 0..columns {
                small.extend_from_slice(&colour((column as f32 + 0.5) * dx / unit, y));
            }
        }
        let small = RgbImage::from_raw(columns, rows, small).unwrap_or_default();
        let full =
            DynamicImage::ImageRgb8(small).resize_exact(width, height, FilterType::CatmullRom);
        Self { width: width as usize, height: height as usize, pixels: full.into_bytes() }
    }

    /// Starts from a smooth field of values between 0 and 1, each shown in its colour of `scale`.
    /// Colours may change abruptly along the scale: edges follow the field, not the coarse grid.
    pub(super) fn field(
        size: (u32, u32),
        detail: u32,
        scale: &[Rgb],
        value: impl FnMut(f32, f32) -> f32,
    ) -> Self {
        let values = field(size, detail, value);
        let mut pixels = vec![0; values.len() * 3];
        let mut i = 0;
        while i < values.len() {
            let colour = scale[(values[i] as usize * scale.len()) >> 16];
            pixels[i * 3] = colour[0];
            pixels[i * 3 + 1] = colour[1];
            pixels[i * 3 + 2] = colour[2];
            i += 1;
        }
        Self { width: size.0 as usize, height: size.1 as usize, pixels }
    }

    /// Width and height in pixels.
    pub(super) fn size(&self) -> (f32, f32) {
        (self.width as f32, self.height as f32)
    }

    /// The short side in pixels: what sizes are measured in.
    pub(super) fn unit(&self) -> f32 {
        self.width.min(self.height) as f32
    }

    /// The finished picture.
    pub(super) fn into_image(self) -> RgbImage {
        RgbImage::from_raw(self.width as u32, self.height as u32, self.pixels).unwrap_or_default()
    }

    /// Fills a closed polygon; parts outside of the picture are cut off.
    pub(super) fn fill(&mut self, points: &[Point], paint: Paint) {
        let Some(mut cells) = Cells::around(points, self.width, self.height) else { return };
        let mut from = points[points.len() - 1];
        for &to in points {
            cells.edge(from, to);
            from = to;
        }
        let span = (cells.lowest - cells.highest).max(1.0);
        for row in 0..cells.rows {
            let y = cells.top + row;
            let t = (y as f32 + 0.5 - cells.highest) / span;
            self.row(&cells, row, mix(paint.top, paint.bottom, t), paint.alpha);
        }
    }

    /// Turns one row of cells into runs of equal coverage and paints them.
    fn row(&mut self, cells: &Cells, row: usize, colour: Rgb, alpha: f32) {
        let (first, last) = cells.touched[row];
        if first > last {
            return;
        }
        let line = &cells.cells[row * cells.columns..(row + 1) * cells.columns];
        let end = cells.right - cells.left;
        let start = ((cells.top + row) * self.width + cells.left) * 3;
        let target = &mut self.pixels[start..start + end * 3];
        let (mut x, mut sum) = (first, 0.0_f32);
        while x < end {
            sum += line[x];
            let from = x;
            x += 1;
            while x < end && line[x] == 0.0 {
                x += 1;
            }
            let weight = if sum < 0.0 { -sum } else { sum };
            let weight = if weight > 1.0 { alpha } else { weight * alpha };
            if weight > 0.002 {
                run(&mut target[from * 3..x * 3], colour, weight);
            }
            if from >= last {
                break;
            }
        }
    }

    pub(super) fn circle(&mut self, centre: Point, radius: f32, paint: Paint) {
        self.fill(&ellipse(centre, radius, radius, 0.0), paint);
    }
}

/// A smooth field of values (0 to 1 becomes 0 to 65,535), computed on a coarse grid.
pub(super) fn field(
    (width, height): (u32, u32),
    detail: u32,
    mut value: impl FnMut(f32, f32) -> f32,
) -> Vec<u16> {
    let (columns, rows) = coarse((width, height), detail);
    let unit = width.min(height) as f32;
    let (dx, dy) = (width as f32 / columns as f32, height as f32 / rows as f32);
    let mut small = Vec::with_capacity((columns * rows) as usize);
    for row in 0..rows {
        let y = (row as f32 + 0.5) * dy / unit;
        for column in 0..columns {
            let v = value((column as f32 + 0.5) * dx / unit, y);
            small.push((v.clamp(0.0, 1.0) * 65_535.0) as u16);
        }
    }
    let small = ImageBuffer::<Luma<u16>, _>::from_raw(columns, rows, small).unwrap_or_default();
    let full = DynamicImage::ImageLuma16(small).resize_exact(width, height, FilterType::CatmullRom);
    full.into_luma16().into_raw()
}

/// The size of the coarse grid.
fn coarse((width, height): (u32, u32), detail: u32) -> (u32, u32) {
    let short = width.min(height);
    let detail = detail.min(short);
    let scale = |side: u32| {
        (u64::from(side) * u64::from(detail) / u64::from(short)).clamp(2, 4 * u64::from(detail))
            as u32
    };
    (scale(width).min(width), scale(height).min(height))
}

/// An ellipse as a polygon, turned by `angle`, fine enough to look round.
pub(super) fn ellipse((x, y): Point, across: f32, along: f32, angle: f32) -> Vec<Point> {
    let corners = (across.max(along).sqrt() * 5.0).clamp(10.0, 160.0) as usize;
    let (sin, cos) = angle.sin_cos();
    (0..corners)
        .map(|i| {
            let (s, c) = (i as f32 / corners as f32 * std::f32::consts::TAU).sin_cos();
            (x + c * across * cos - s * along * sin, y + c * across * sin + s * along * cos)
        })
        .collect()
}

/// A line with a width at each of its points, as a polygon.
pub(super) fn ribbon(line: &[Point], width: impl Fn(f32) -> f32) -> Vec<Point> {
    let last = line.len().saturating_sub(1);
    let mut left = Vec::with_capacity(line.len() * 2);
    let mut right = Vec::with_capacity(line.len());
    for (i, &(x, y)) in line.iter().enumerate() {
        let (a, b) = (line[i.saturating_sub(1)], line[(i + 1).min(last)]);
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let half =
            0.5 * width(i as f32 / last.max(1) as f32) / (dx * dx + dy * dy).sqrt().max(1e-3);
        left.push((x - dy * half, y + dx * half));
        right.push((x + dy * half, y - dx * half));
    }
    left.extend(right.into_iter().rev());
    left
}

/// Paints a run of pixels in one colour.
fn run(target: &mut [u8], colour: Rgb, weight: f32) {
    let size = target.len();
    if weight > 0.996 {
        target[..3].copy_from_slice(&colour);
        let mut done = 3;
        while done < size {
            let more = if size - done < done { size - done } else { done };
            target.copy_within(..more, done);
            done += more;
        }
        return;
    }
    let keep = 256 - (weight * 256.0) as u32;
    let add = colour.map(|c| u32::from(c) * (256 - keep) + 128);
    let mut i = 0;
    while i + 2 < size {
        target[i] = ((target[i] as u32 * keep + add[0]) >> 8) as u8;
        target[i + 1] = ((target[i + 1] as u32 * keep + add[1]) >> 8) as u8;
        target[i + 2] = ((target[i + 2] as u32 * keep + add[2]) >> 8) as u8;
        i += 3;
    }
}

//! How much of each pixel a polygon covers, exactly.
//!
//! Each edge adds the area to its right to the cells that it crosses; the running sum over a row
//! is the coverage. Plain comparisons instead of `min` and `max`: see [`super::canvas`].

use super::canvas::Point;

/// The cells around one shape in which its edges add up.
pub(super) struct Cells {
    pub(super) left: usize,
    pub(super) right: usize,
    pub(super) top: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) highest: f32,
    pub(super) lowest: f32,
    pub(super) cells: Vec<f32>,
    /// The first and last cell of each row that an edge touched.
    pub(super) touched: Vec<(usize, usize)>,
}

impl Cells {
    /// None if the shape shows nowhere.
    pub(super) fn around(points: &[Point], width: usize, height: usize) -> Option<Self> {
        let (mut x0, mut x1, mut y0, mut y1) = (f32::MAX, f32::MIN, f32::MAX, f32::MIN);
        let mut i = 0;
        while i < points.len() {
            let (x, y) = points[i];
            if x < x0 {
                x0 = x;
            }
            if x > x1 {
                x1 = x;
            }
            if y < y0 {
                y0 = y;
            }
            if y > y1 {
                y1 = y;
            }
            i += 1;
        }
        let inside = x1 > 0.0 && y1 > 0.0 && x0 < width as f32 && y0 < height as f32;
        if points.len() < 3 || !inside {
            return None;
        }
        // A cast from float cuts off below zero.
        let (left, right) = (x0 as usize, (x1.ceil() as usize).min(width));
        let (top, bottom) = (y0 as usize, (y1.ceil() as usize).min(height));
        let (rows, columns) = (bottom - top, right - left + 2);
        Some(Self {
            left,
            right,
            top,
            rows,
            columns,
            highest: y0,
            lowest: y1,
            cells: vec![0.0; rows * columns],
            touched: vec![(usize::MAX, 0); rows],
        })
    }

    pub(super) fn edge(&mut self, from: Point, to: Point) {
        let (direction, upper, lower) =
            if from.1 < to.1 { (1.0, from, to) } else { (-1.0, to, from) };
        let (top, height) = (self.top as f32, self.rows as f32);
        let (y0, y1) = (upper.1 - top, lower.1 - top);
        let mut y = if y0 < 0.0 { 0.0 } else { y0 };
        let end = if y1 > height { height } else { y1 };
        // Also false for what is not a number.
        let crosses = end > y;
        if !crosses {
            return;
        }
        let slope = (lower.0 - upper.0) / (y1 - y0);
        let mut x = upper.0 + (y - y0) * slope - self.left as f32;
        let most = (self.right - self.left) as f32;
        let mut row = y as usize;
        while y < end && row < self.rows {
            let border = (row + 1) as f32;
            let next = if border > end { end } else { border };
            let x_next = x + slope * (next - y);
            let (a, b) = if x < x_next { (x, x_next) } else { (x_next, x) };
            let a = if a < 0.0 { 0.0 } else { a };
            let b = if b > most { most } else { b };
            let (a, b) = (if a > most { most } else { a }, if b < 0.0 { 0.0 } else { b });
            self.add(row, a, b, (next - y) * direction);
            (x, y) = (x_next, next);
            row += 1;
        }
    }

    /// One row's part of an edge, from `a` to `b`, spread over the cells by the area it cuts.
    fn add(&mut self, row: usize, a: f32, b: f32, height: f32) {
        let first = a as usize;
        let mut last = b as usize;
        if last == first || (last as f32) < b {
            last += 1;
        }
        let touched: &mut [(usize, usize)] = &mut self.touched;
        if first < touched[row].0 {
            touched[row].0 = first;
        }
        if last > touched[row].1 {
            touched[row].1 = last;
        }
        let cells: &mut [f32] = &mut self.cells;
        let base = row * self.columns;
        if last == first + 1 {
            let middle = (a + b) * 0.5 - first as f32;
            cells[base + first] += height * (1.0 - middle);
            cells[base + last] += height * middle;
            return;
        }
        // The share of the edge's height that lies within each cell, and what is left of it for
        // the cell after that.
        let share = height / (b - a);
        let (mut cell, mut before) = (first, 0.0);
        while cell < last {
            let border = (cell + 1) as f32;
            let l = if cell == first { a } else { cell as f32 };
            let r = if border < b { border } else { b };
            let part = share * (r - l);
            let beside = border - (l + r) * 0.5;
            cells[base + cell] += before + part * beside;
            before = part * (1.0 - beside);
            cell += 1;
        }
        cells[base + last] += before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of all coverage, and of its rows' greatest.
    fn area(points: &[Point]) -> f32 {
        let mut cells = Cells::around(points, 40, 40).unwrap();
        for i in 0..points.len() {
            cells.edge(points[i], points[(i + 1) % points.len()]);
        }
        let width = cells.right - cells.left;
        let rows = cells.cells.chunks(cells.columns);
        rows.map(|row| {
            let mut sum = 0.0_f32;
            row[..width]
                .iter()
                .map(|cell| {
                    sum += cell;
                    sum.abs()
                })
                .sum::<f32>()
        })
        .sum()
    }

    #[test]
    fn coverage_is_the_area() {
        let square = [(3.25, 4.5), (9.75, 4.5), (9.75, 8.0), (3.25, 8.0)];
        assert!((area(&square) - 6.5 * 3.5).abs() < 1e-3);
        let triangle = [(2.0, 1.0), (30.5, 7.0), (11.0, 33.3)];
        let expected = 0.5 * ((30.5 - 2.0) * (33.3 - 1.0) - (11.0 - 2.0) * (7.0 - 1.0_f32));
        assert!((area(&triangle) - expected).abs() < 0.01, "{}", area(&triangle));
    }

    #[test]
    fn what_is_outside_is_cut_off() {
        let square = [(-50.0, -50.0), (90.0, -50.0), (90.0, 20.5), (-50.0, 20.5)];
        assert!((area(&square) - 40.0 * 20.5).abs() < 1e-3);
        assert!(Cells::around(&[(50.0, 0.0), (60.0, 0.0), (55.0, 9.0)], 40, 40).is_none());
        assert!(Cells::around(&[(f32::NAN, f32::NAN); 3], 40, 40).is_none());
    }
}

//! Repeatable chance: a generator of numbers and smooth noise, both from one seed.
//!
//! Written out here, because a picture must stay the same when a library changes its generator.

/// SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, not including, 1.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    pub(super) fn range(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * self.unit()
    }

    /// A whole number from 0 up to, not including, `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.unit() * end as f32) as usize
    }

    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }
}

/// Gradient noise in two dimensions, about -1 to 1.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    order: [u8; 512],
    slopes: [(f32, f32); 256],
}

impl Noise {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let mut order: [u8; 512] = std::array::from_fn(|i| i as u8);
        for i in (1..256).rev() {
            order.swap(i, chance.below(i + 1));
        }
        order.copy_within(..256, 256);
        let mut slopes = [(0.0, 0.0); 256];
        for slope in &mut slopes {
            let (sin, cos) = chance.range(0.0, std::f32::consts::TAU).sin_cos();
            *slope = (cos * 1.5, sin * 1.5);
        }
        Self { order, slopes }
    }

    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let (column, row) = (left as i32 & 255, top as i32 & 255);
        let a = self.order[column as usize] as usize + row as usize;
        let b = self.order[column as usize + 1] as usize + row as usize;
        let corner = |hash: usize, dx: f32, dy: f32| {
            let (sx, sy) = self.slopes[self.order[hash & 511] as usize];
            sx * dx + sy * dy
        };
        let ease = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let (ex, ey) = (ease(fx), ease(fy));
        let upper = corner(a, fx, fy);
        let upper = upper + (corner(b, fx - 1.0, fy) - upper) * ex;
        let lower = corner(a + 1, fx, fy - 1.0);
        let lower = lower + (corner(b + 1, fx - 1.0, fy - 1.0) - lower) * ex;
        upper + (lower - upper) * ey
    }

    /// Several layers of it, each finer and fainter: about -1 to 1.
    pub(super) fn layers(&self, mut x: f32, mut y: f32, count: u32) -> f32 {
        let (mut sum, mut weight) = (0.0, 0.6);
        for _ in 0..count {
            sum += self.at(x, y) * weight;
            (x, y) = (x * 2.03 + 17.7, y * 2.03 - 9.2);
            weight *= 0.5;
        }
        sum
    }
}
